"""Around every request: its id, its body within time, HEAD as GET without a body, and a count of what was answered."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import Counter
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinytown import clock

BODY_MOST = 1_000_000  # bytes
REQUEST_ID = "x-request-id"
OTHER = "other"  # requests that no route is for
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Envelope:
    """ASGI middleware. `counts`: how often (name of the operation, status) was answered."""

    def __init__(self, app: ASGIApp, counts: Counter[tuple[str, int]], body_within_s: float) -> None:
        self.app = app
        self._counts = counts
        self._body_within_s = body_within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        inner = {**scope, "method": "GET"} if is_head else scope
        inner.setdefault("state", {})
        inner["state"] |= {"request_id": _id_of(scope), "is_head": is_head}
        await self.app(inner, _limited(scope, receive, self._body_within_s), self._sending(inner, send))

    def _sending(self, scope: Scope, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = scope["state"]["request_id"]
                name = getattr(scope.get("route"), "operation_id", None) or OTHER
                self._counts[name, message["status"]] += 1
            await send(message)

        return sending


def _id_of(scope: Scope) -> str:
    """The visitor's id of the request if it is one that may be repeated in a log; else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID.encode():
            text: str = value.decode("latin-1")
            if _SANE.fullmatch(text):
                return text
    return uuid.uuid4().hex


def _limited(scope: Scope, receive: Receive, within_s: float) -> Receive:
    """`receive` that waits no longer for the whole body and takes no more of it; behind the body it waits for good."""
    deadline: float | None = clock.monotonic() + within_s
    length = Headers(scope=scope).get("content-length", "")
    said = int(length) if length.isdecimal() else 0
    came = 0  # may be more than was said: of a body in chunks that is not checked before

    async def limited() -> Any:
        nonlocal deadline, came
        if deadline is None:
            return await receive()
        if max(said, came) > BODY_MOST:
            raise HTTPException(413, f"A body may have {BODY_MOST} bytes.", {"Connection": "close"})
        try:
            message = await asyncio.wait_for(receive(), max(0.0, deadline - clock.monotonic()))
        except TimeoutError:
            raise HTTPException(408, "The body of the request did not come in time.", {"Connection": "close"}) from None
        came += len(message.get("body", b""))
        if came <= BODY_MOST and not message.get("more_body"):
            deadline = None
        return message if came <= BODY_MOST else await limited()

    return limited
