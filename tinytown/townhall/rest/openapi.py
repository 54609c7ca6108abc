"""The contract: what FastAPI knows of the routes, with every problem that may be answered, keys and scopes."""

from __future__ import annotations

import http
import json
import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response

from tinytown.townhall.rest.problems import MEDIA_TYPE, Problem

_ALWAYS = (400, 401, 403, 404, 409, 421, 422, 429, 500, 503, 504)
_BODY = (408, 413, 415)
_WHY = {
    400: "What was given cannot be used.",
    401: "Nobody knows the key or token, or none was given.",
    403: "The scope is missing, or the town's owner does not want this.",
    404: "What was named does not exist.",
    408: "The body did not come in time.",
    409: "It contradicts the present state; nothing was changed.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    421: "This host name is not served here.",
    422: "The input does not have the form that is asked for, or the Idempotency-Key belongs to another request.",
    429: "Too many requests; Retry-After says when to come again.",
    500: "Something unexpected went wrong.",
    503: "Redis or something else that is needed does not answer; try again.",
    504: "There was no answer in time; it may still be done.",
}
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the issuer."},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_REF = "#/components/responses/"
_PLAIN = re.compile(r"[A-Za-z_/$][A-Za-z0-9_/.$-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # no text for some readers of YAML


def install(app: FastAPI) -> None:
    """Make it the app's document, served as JSON and as YAML."""
    plain = app.openapi
    kept: list[dict[str, Any]] = []

    def document() -> dict[str, Any]:
        if not kept:
            kept.append(_completed(plain()))
        return kept[0]

    async def yaml() -> Response:
        """This document, as YAML."""
        return Response(as_yaml(document()), media_type="application/yaml")

    app.openapi = document  # type: ignore[method-assign]
    app.add_api_route("/openapi.yaml", yaml, include_in_schema=False)


def as_yaml(document: dict[str, Any]) -> str:
    """The document as YAML, as people read it."""
    return "\n".join(_lines(document, "")) + "\n"


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    components["responses"] = {_name(status): {"description": why, "content": content} for status, why in _WHY.items()}
    components["securitySchemes"] = _SCHEMES
    document["paths"] = dict(sorted(document["paths"].items()))
    for operations in document["paths"].values():
        for method, operation in operations.items():
            _complete(method, operation)
    return document


def _complete(method: str, operation: dict[str, Any]) -> None:
    found, scope = operation["responses"], operation.get("x-scope")
    statuses = {int(status) for status in found} | {421, 429, 500, 503}
    if operation.get("parameters") or method != "get":
        statuses |= {400, 422}
    if method == "post":
        statuses |= {401, 403, *_BODY}
    if scope is not None:
        statuses |= set(_ALWAYS)
        operation["security"] = [{"bearer": [scope]}, {"api_key": [scope]}, {}]
    operation["responses"] = {
        str(status): {"$ref": _REF + _name(status)} if status in _WHY else found[str(status)]
        for status in sorted(statuses)
    }


def _name(status: int) -> str:
    return http.HTTPStatus(status).phrase.replace(" ", "").replace("-", "").replace("'", "")


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _entry(f"{indent}{_scalar(name)}:", one, indent + "  ")
    else:
        for one in value:
            first, *rest = _lines(one, indent + "  ") if _is_nested(one) else [f"{indent}  {_scalar(one)}"]
            yield f"{indent}- {first.removeprefix(indent + '  ')}"
            yield from rest


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if _is_nested(value):
        yield head
        yield from _lines(value, indent)
    else:
        yield f"{head} {_scalar(value)}"


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list) and bool(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
