"""Sessions of the page: a random text in a cookie that scripts cannot read; here only its digest."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from starlette.requests import Request

from tinytown import clock
from tinytown.townhall.auth.principals import Principal
from tinytown.townhall.auth.remembering import Remembered

LASTS_S = 12 * 3600.0
SESSIONS_MOST = 1000  # the oldest ends when there is one more
OF_ONE_MOST = 50  # of one principal, who must not end those of others


@dataclass(frozen=True, slots=True)
class _Session:
    """`stops` end what lasts no longer than it."""

    principal: Principal
    stops: list[Callable[[], None]] = field(default_factory=list)

    def end(self) -> None:
        for stop in tuple(self.stops):
            stop()


class Sessions:
    """Those that are open. They end with the town hall."""

    def __init__(self, town: str) -> None:
        # Cookies know no ports: each town of this machine has one of its own.
        self._name = f"tinytown-{hashlib.sha256(town.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
        self._open: Remembered[_Session] = Remembered(SESSIONS_MOST, _Session.end)

    def begin(self, request: Request, principal: Principal) -> str:
        """Open one for this principal instead of the request's, for as long as what it came with is good.

        Returns the header that sets its cookie.
        """
        self.end(request)
        now = clock.wall()
        lasts = LASTS_S if principal.expires is None else min(LASTS_S, principal.expires - now)
        token = secrets.token_urlsafe(32)
        self._open.thin(lambda other: other.principal.name == principal.name, OF_ONE_MOST - 1)
        self._open.put(token, _Session(replace(principal, expires=now + lasts)), lasts)
        return self._cookie(request, token, max(0, int(lasts)))

    def principal(self, request: Request) -> Principal | None:
        """Whose session the request belongs to."""
        session = self._open.get(self._token(request))
        return session.principal if session is not None else None

    def end(self, request: Request) -> str:
        """End the request's session, if there is one; the header that removes its cookie."""
        self._open.forget(self._token(request))
        return self._cookie(request, "", 0)

    @contextlib.contextmanager
    def while_open(self, request: Request, stop: Callable[[], None]) -> Iterator[None]:
        """Around an answer: call `stop` when the request's session ends meanwhile."""
        session = self._open.get(self._token(request))
        if session is not None:
            session.stops.append(stop)
        try:
            yield
        finally:
            if session is not None:
                session.stops.remove(stop)

    def _cookie(self, request: Request, token: str, seconds: int) -> str:
        secure = "; Secure" if _is_secure(request) else ""
        return f"{self._called(request)}={token}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict{secure}"

    def _token(self, request: Request) -> str:
        return request.cookies.get(self._called(request), "")

    def _called(self, request: Request) -> str:
        return f"__Host-{self._name}" if _is_secure(request) else self._name


def _is_secure(request: Request) -> bool:
    return bool(request.scope["scheme"] == "https")
