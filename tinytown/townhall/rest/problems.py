"""Errors as problem documents (RFC 9457): what went wrong in one line, and what helps."""

from __future__ import annotations

import http
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.routing import Route

from tinytown.errors import TinytownError
from tinytown.townhall.encoding import as_json

MEDIA_TYPE = "application/problem+json"
TYPE = "https://tinytown.dev/errors/"
STATUS = {
    "not_found": 404, "conflict": 409, "invalid": 400, "forbidden": 403, "unavailable": 503, "timeout": 504,
    "unprocessable": 422,
}  # fmt: skip
RETRY_AFTER_S = "1"
HELPS = {
    404: "All that there is: GET /openapi.json",
    415: "Send it with a header: Content-Type: application/json",
}  # by status
_log = logging.getLogger("tinytown.townhall")


class Problem(BaseModel):
    """What every error answers."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    remedy: str | None = None
    request_id: str | None = None


def answer(
    request: Request, status: int, detail: str, remedy: str | None = None, headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:  # fmt: skip
    """A problem document."""
    shown = {
        "type": f"{TYPE}{status}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "remedy": remedy,
        "request_id": getattr(request.state, "request_id", None),
        **more,
    }
    kept = {name: value for name, value in shown.items() if value is not None}
    return Response(as_json(kept), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the app so."""
    app.add_exception_handler(TinytownError, _of_the_town)
    app.add_exception_handler(RequestValidationError, _of_the_input)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _unexpected)


async def _of_the_town(request: Request, error: Exception) -> Response:
    assert isinstance(error, TinytownError)
    status = STATUS.get(error.kind, 500)
    headers = {"Retry-After": RETRY_AFTER_S} if status == 503 else None
    return answer(request, status, str(error), error.remedy, headers)


async def _of_the_input(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [{"where": [str(part) for part in one["loc"]], "what": one["msg"]} for one in error.errors()]
    first = f"{'.'.join(found[0]['where'][1:]) or 'body'}: {found[0]['what']}" if found else "The input is not valid."
    return answer(request, 422, first, errors=found)


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers, remedy = dict(error.headers) if error.headers else None, HELPS.get(error.status_code)
    if error.status_code == 405:
        allowed = ", ".join(_allowed(request))
        headers, remedy = {"Allow": allowed}, f"Allowed here: {allowed}"
    return answer(request, error.status_code, str(error.detail), remedy, headers)


def _allowed(request: Request) -> list[str]:
    """Every method that some route has for this path: the framework knows of the first only."""
    routes = [route for route in request.app.router.routes if isinstance(route, Route)]
    return sorted(
        {method for route in routes if route.path_regex.match(request.url.path) for method in route.methods or ()}
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("unexpected %s: %s", type(error).__name__, error, exc_info=error)
    return answer(request, 500, "Something unexpected went wrong; the town hall's log says what.")
