"""What one town hall knows about who may come in: keys or tokens, sessions, limits, names of its own."""

from __future__ import annotations

import asyncio
import re
from typing import Protocol

from starlette.requests import Request

from tinytown.config_townhall import Auth, Townhall
from tinytown.errors import Unavailable
from tinytown.services import web_codes
from tinytown.town import Town
from tinytown.townhall.auth import origins, refusal
from tinytown.townhall.auth.audit import AuditLog
from tinytown.townhall.auth.keys import Keys
from tinytown.townhall.auth.limits import Limits, counted_as
from tinytown.townhall.auth.principals import LOCAL, WEB, Principal
from tinytown.townhall.auth.refusal import Refused
from tinytown.townhall.auth.sessions import Sessions
from tinytown.townhall.auth.visitors import Visitor
from tinytown.townhall.verbs import Scope

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Open to all: the probes, the page (which asks for the rest with what somebody signs in with), signing in and out.
PUBLIC = frozenset({"/", "/favicon.ico", "/healthz", "/readyz"})
_PAGE_FILE = re.compile(r"/page/[\w-]+(\.[\w-]+)+", re.ASCII)  # and not /page/state
SESSION = "/session"
# Paths that no verb stands for, and what they need.
SCOPED = {"/openapi.json": Scope.READ, "/openapi.yaml": Scope.READ, "/metrics": Scope.READ}


class Credentials(Protocol):
    """Keys or tokens."""

    async def principal(self, credential: str, address: str, /) -> Principal | None:
        """Whose it is; None when it is nobody's. Raises Refused, Unavailable."""


class Gate:
    """See the module. Used in one event loop."""

    def __init__(self, settings: Townhall, town: Town) -> None:
        """Raises Invalid for settings that let nobody in."""
        self.mode = settings.auth.mode
        self.limits = Limits(settings.rate_limit)
        self.audit = AuditLog(town.state_dir)
        self.sessions = Sessions(str(town.root))
        self._hosts = settings.allowed_hosts
        self._folder = town.state_dir
        self._credentials = _credentials(settings.auth, self.limits)

    async def admit(self, request: Request, visitor: Visitor, *, counts_writes: bool = True) -> None:
        """Let the visitor in, who gets their principal. Raises Refused."""
        self._check_origin(request)  # uncounted: a page from elsewhere must not use up what this machine may ask
        kind = "write" if counts_writes and request.method not in READ_METHODS else "read"
        self._count(kind, counted_as(visitor.address))
        if is_public(request.method, visitor.path):
            return
        visitor.principal = await self._principal(request, visitor.address)
        self._count(kind, f"principal {visitor.principal.name}")
        scope = SCOPED.get(visitor.path)
        if scope is not None and not visitor.may(scope):
            raise refusal.not_allowed(scope.value)

    async def sign_in(self, address: str, key: str | None, code: str | None) -> Principal:
        """Whose key or token it is, or whose code. A code is good once. Raises Refused."""
        if self.mode == "none":
            return LOCAL
        if code is not None:
            seconds = self.limits.wait("failure", counted_as(address))
            if seconds:
                raise refusal.too_many(seconds, "wrong codes")
            if await asyncio.to_thread(web_codes.redeem, self._folder, code):
                return WEB
            self.limits.take("failure", counted_as(address))
            if not key:
                raise refusal.spent()
        found = await self._owner(key, address) if key else None
        if found is None:
            raise refusal.unknown(is_given=True)
        return found

    def _count(self, kind: str, who: str) -> None:
        seconds = self.limits.take(kind, who)
        if seconds:
            raise refusal.too_many(seconds)

    def _check_origin(self, request: Request) -> None:
        headers, server = request.headers, request.scope.get("server") or (None, None)
        host = headers.get("host", "")
        if not origins.is_our_host(host, server[0], self._hosts):
            remedy = 'Use the address it said at its start, or add the name: [townhall] allowed_hosts = ["NAME"]'
            raise Refused(421, "This town hall does not answer under that name.", remedy)
        origin = headers.get("origin")
        if origin is not None and not origins.is_our_origin(origin, host, request.scope["scheme"]):
            raise Refused(403, "Pages from elsewhere may not ask this town hall.")
        if origins.is_foreign_fetch(request.method, headers):
            raise Refused(403, "Pages from elsewhere may not ask this town hall.")

    async def _principal(self, request: Request, address: str) -> Principal:
        if self.mode == "none":
            return LOCAL
        given = _given(request)
        if given is not None:
            found = await self._owner(given, address)
        else:
            found = self.sessions.principal(request)
            is_write = request.method not in READ_METHODS
            if found is not None and is_write and not origins.is_from_our_page(request.headers):
                raise Refused(403, "A session changes something only from its page.", "Send a key instead.")
        if found is None:
            raise refusal.unknown(is_given=given is not None)
        return found

    async def _owner(self, credential: str, address: str) -> Principal | None:
        assert self._credentials is not None
        try:
            return await self._credentials.principal(credential, counted_as(address))
        except Unavailable as error:
            raise Refused(503, str(error), error.remedy, {"Retry-After": "1"}) from error


def _credentials(auth: Auth, limits: Limits) -> Credentials | None:
    if auth.mode == "api_key":
        return Keys(auth, limits)
    if auth.mode == "oidc":
        from tinytown.townhall.auth.oidc import Tokens  # noqa: PLC0415  costs a tenth of a second

        return Tokens(auth, limits)
    return None


def is_public(method: str, path: str) -> bool:
    """Whoever may send something may ask this."""
    if path == SESSION:
        return method != "GET"
    return method in READ_METHODS and (path in PUBLIC or _PAGE_FILE.fullmatch(path) is not None)


def _given(request: Request) -> str | None:
    """The key or token of the request's headers; empty when what is there is none."""
    header = request.headers.get("authorization")
    if header is None:
        return request.headers.get("x-api-key")
    scheme, _space, rest = header.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""
