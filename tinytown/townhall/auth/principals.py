"""Who somebody is and what they may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tinytown.townhall.verbs import Scope

PREFIX = "tinytown:"  # an issuer of many services may name our scopes so


@dataclass(frozen=True, slots=True)
class Principal:
    """A visitor who is known. `expires`: wall time in seconds, None for never."""

    name: str
    scopes: frozenset[str]
    expires: float | None = None

    def may(self, scope: Scope) -> bool:
        """Admin may do everything."""
        return Scope.ADMIN in self.scopes or scope in self.scopes


def everything(name: str) -> Principal:
    """Somebody with all rights."""
    return Principal(name, frozenset({Scope.ADMIN.value}))


LOCAL = everything("local")  # whoever reaches a town hall without authentication: a program of this machine
WEB = everything("web")  # whoever has a code that `tt web` wrote: the user whose town this is


def with_scopes(name: str, given: Iterable[str]) -> Principal:
    """Somebody with those of the scopes that are ours."""
    plain = {scope.removeprefix(PREFIX) for scope in given}
    return Principal(name, frozenset(plain & {scope.value for scope in Scope}))
