"""The page's files, under a policy that lets in nothing from elsewhere, and the state that it shows."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from tinytown.townhall.hall import Hall
from tinytown.townhall.page.board import Board
from tinytown.townhall.rest.routes import Guard, guarded
from tinytown.townhall.verbs import Scope

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",  # asked again each time: after an update nobody runs old scripts on new data
}
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "txt": "text/plain"}
Since = Annotated[str | None, Query(max_length=64, description="`next` of the answer before.")]


def add(app: FastAPI, hall: Hall, guard: Callable[[Scope], Guard]) -> None:
    """`GET /`, `/page/...` (files; they hold nothing of the town) and `/page/state` for who may read."""
    board = Board(hall)
    files = {
        path.name: (path.read_bytes(), _TYPES[path.name.rpartition(".")[2]])
        for folder in ("static", "static/vendor")
        for path in importlib.resources.files(__package__).joinpath(folder).iterdir()
        if path.is_file() and path.name.rpartition(".")[2] in _TYPES
    }
    marks = {name: f'"{hashlib.sha256(content).hexdigest()[:32]}"' for name, (content, _type) in files.items()}

    async def state(since: Since = None) -> Response:
        """What the page shows: everything, or what changed since."""
        return Response(
            await board.changes(since), media_type="application/json", headers={"Cache-Control": "no-store"}
        )

    async def file(request: Request, name: str) -> Response:
        """One file of the page."""
        if name not in files:
            return Response("Not found.", 404, HEADERS, "text/plain")
        headers = HEADERS | {"ETag": marks[name]}
        if request.headers.get("if-none-match") == marks[name]:
            return Response(None, 304, headers)
        content, kind = files[name]
        return Response(content, headers=headers, media_type=f"{kind}; charset=utf-8")

    async def index(request: Request) -> Response:
        """The page."""
        return await file(request, "index.html")

    options: dict[str, Any] = {"methods": ["GET"], "include_in_schema": False, "response_model": None}
    app.router.add_api_route("/page/state", state, route_class_override=guarded(guard(Scope.READ)), **options)
    app.router.add_api_route("/page/{name}", file, **options)
    app.router.add_api_route("/", index, **options)
