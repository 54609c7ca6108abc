"""The guard at the door, as ASGI: nobody passes who is not admitted; changes and refusals are written down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinytown import clock, ids
from tinytown.townhall.auth.audit import result_of
from tinytown.townhall.auth.gate import READ_METHODS, Gate
from tinytown.townhall.auth.refusal import Refused
from tinytown.townhall.auth.visitors import VISITOR, Visitor
from tinytown.townhall.rest import problems
from tinytown.townhall.server import ABORT

_REFUSALS = frozenset({401, 403, 421, 429})


class Guard:
    """In front of `app`. `tells`: its doors say themselves what they change (Visitor.doing)."""

    def __init__(self, app: ASGIApp, gate: Gate, *, tells: bool = False) -> None:
        self._app = app
        self._gate = gate
        self._tells = tells

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass it on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        visitor = self._arrived(request)
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")  # what one visitor may read is not for the next
                self._note(scope, visitor, status)
            await send(message)

        try:
            await self._gate.admit(request, visitor, counts_writes=not self._tells)
        except Refused as refused:
            answer = problems.answer(request, refused.status, refused.detail, refused.remedy, refused.headers)
            answer.headers["X-Request-ID"] = visitor.request_id
            await answer(scope, receive, watched)
            return
        try:
            with self._lasting(request, visitor):
                await self._app(scope, receive, watched)
        except BaseException:
            if not status:  # nothing was answered
                self._note(scope, visitor, 500)
            raise

    @contextlib.contextmanager
    def _lasting(self, request: Request, visitor: Visitor) -> Iterator[None]:
        """A stream lasts no longer than the token or session that it was asked for with."""
        abort, expires = request.scope.get("extensions", {}).get(ABORT), visitor.principal.expires
        if abort is None or expires is None:
            yield
            return
        end = asyncio.get_running_loop().call_later(expires - clock.wall(), abort)
        try:
            with self._gate.sessions.while_open(request, abort):
                yield
        finally:
            end.cancel()

    def _arrived(self, request: Request) -> Visitor:
        state = request.scope.setdefault("state", {})
        request_id = state.setdefault("request_id", ids.new_id())
        address = request.client.host if request.client else "unknown"
        gate = self._gate
        visitor = Visitor(gate.audit, gate.limits, address, request.method, request.scope["path"], request_id)
        state[VISITOR] = visitor
        return visitor

    def _note(self, scope: Scope, visitor: Visitor, status: int) -> None:
        is_write = visitor.method not in READ_METHODS and not self._tells
        if is_write or status in _REFUSALS:
            verb = getattr(scope.get("route"), "operation_id", None)
            visitor.note(result_of(status), verb=verb, status=status)
