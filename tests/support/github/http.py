"""The wire of the scripted GitHub: one handler for all requests."""

from __future__ import annotations

import contextlib
import json
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, ClassVar

from tests.support.github.routes import Answer

if TYPE_CHECKING:
    from tests.support.github.server import GitHub

TRICKLE_S = 0.1


class Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the world, writes the answer."""

    world: ClassVar[GitHub]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the acknowledgement of its headers

    def setup(self) -> None:
        super().setup()
        self.world.opened(self.connection)

    def finish(self) -> None:
        self.world.closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client, or the whole server, has gone
            super().handle()

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        return

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(raw) if raw else None
        headers = {name.lower(): text for name, text in self.headers.items()}
        manner, answer = self.world.answer(self.command, self.path, headers, body)
        if answer is not None:
            self._send(answer)
            return
        self.close_connection = True
        if manner == "hang":
            self.world.over.wait()
        elif manner == "trickle":
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "100000")
            self.end_headers()
            while not self.world.over.wait(TRICKLE_S):
                self.wfile.write(b" ")

    def _send(self, answer: Answer) -> None:
        content = answer.content
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 304:
            self.send_header("content-type", "application/json; charset=utf-8")
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        if answer.status != 304:
            self.wfile.write(content)
