"""Somebody with one request: who they are, what they may do, what was written down about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tinytown.errors import Forbidden, TinytownError, Unavailable
from tinytown.townhall.auth.audit import AuditLog
from tinytown.townhall.auth.limits import Limits
from tinytown.townhall.auth.principals import LOCAL, Principal
from tinytown.townhall.verbs import Scope, Verb

VISITOR = "visitor"  # in the state of a scope
_UNKNOWN = Principal("anonymous", frozenset())


@dataclass(slots=True)
class Visitor:
    """See the module. `principal` is nobody with no rights where everybody may come."""

    audit: AuditLog
    limits: Limits
    address: str
    method: str
    path: str
    request_id: str
    principal: Principal = _UNKNOWN

    @property
    def is_known(self) -> bool:
        """They have said who they are, or need not."""
        return self.principal is not _UNKNOWN

    def may(self, scope: Scope) -> bool:
        """Whether their scopes allow it."""
        return self.principal.may(scope)

    @contextlib.contextmanager
    def doing(self, verb: Verb) -> Iterator[None]:
        """For doors that are not REST: check scope and rate around a verb, and write down a change or a refusal.

        Raises Forbidden for a missing scope, Unavailable for too many changes a minute.
        """
        if not self.may(verb.scope):
            self.note("denied", verb=verb.name, status=403)
            raise Forbidden(f"This needs the scope {verb.scope.value}.", "Use a key that has it.")
        seconds = 0 if verb.is_read else self.limits.take("write", self.principal.name)
        if seconds:
            self.note("denied", verb=verb.name, status=429)
            raise Unavailable("Too many changes within a minute.", f"Try again in {seconds} s.")
        result = "error"
        try:
            yield
            result = "success"
        except TinytownError as error:
            result = "denied" if error.kind == "forbidden" else "error"
            raise
        finally:
            if not verb.is_read:
                self.note(result, verb=verb.name, status=None)

    def note(self, result: str, *, verb: str | None, status: int | None) -> None:
        """Write it down; of too many refusals some, with their number."""
        fields = {
            "request_id": self.request_id,
            "principal": self.principal.name,
            "scopes": sorted(self.principal.scopes),
            "address": self.address,
            "method": self.method,
            "path": self.path,
            "verb": verb,
            "status": status,
            "result": result,
        }
        if status == 429 or not self.is_known:
            self.audit.write_flood(f"{status} {self.address}", **fields)
        else:
            self.audit.write(**fields)


def at_the_terminal(audit: AuditLog, limits: Limits) -> Visitor:
    """Whoever started the program and speaks to it over its stdin: the town's user."""
    return Visitor(audit, limits, "stdio", "", "", "", LOCAL)
