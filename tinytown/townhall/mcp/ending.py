"""Streams have no end of their own: when the town hall leaves, they get one."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LAST_WORDS_S = 1.0  # for what answers or says good-bye by itself; less than the program waits for all of them


class Ending:
    """In front of `app`; `leaving` is set when the program is told to leave."""

    def __init__(self, app: ASGIApp, leaving: asyncio.Event) -> None:
        self._app = app
        self._leaving = leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on, and cut it off in good order."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_open = False

        async def watched(message: Message) -> None:
            nonlocal is_open
            is_open = message["type"] == "http.response.start" or bool(message.get("more_body"))
            await send(message)

        answering = asyncio.ensure_future(self._app(scope, receive, watched))
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([answering], timeout=LAST_WORDS_S)
            if answering.done():
                answering.result()
        finally:
            leaving.cancel()
            if not answering.done():
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
        if is_open:
            await send({"type": "http.response.body", "body": b""})
