"""Routes out of verbs: parameters of the path, of the query (GET, DELETE) or fields of a JSON body (POST)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, Path, Query, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from tinytown.services.caller import Caller
from tinytown.town import Town
from tinytown.townhall.auth import visitor
from tinytown.townhall.encoding import encoded
from tinytown.townhall.hall import Hall
from tinytown.townhall.once import Asked, once
from tinytown.townhall.verbs import VERBS, Scope, Verb, Visit

JSON = "application/json"
BODY, KEY, REQUEST = "body", "idempotency_key", "request"
KEY_HEADER = "Idempotency-Key"
MARGIN_S = 0.5  # so much earlier than the request a wait gives up: it can say what for
Guard = Callable[[Request], Awaitable[None]]
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def add(app: FastAPI, hall: Hall, guard: Callable[[Scope], Guard], timeout_s: float) -> None:
    """A route for each verb. `guard(scope)` lets in who may."""
    # A path without variables first: /v1/agents/prune is no agent.
    for verb in sorted(VERBS.values(), key=lambda each: each.path.count("{")):
        app.router.add_api_route(
            verb.path.replace("{item}", "{item:path}"),  # acme/web#23 is one, however its slash is written
            _endpoint(hall, verb, timeout_s), methods=[verb.method], status_code=verb.status,
            response_model=verb.answer, operation_id=verb.name, summary=verb.title, description=verb.help,
            tags=[verb.name.partition(".")[0]],
            route_class_override=guarded(guard(verb.scope), has_body=verb.method == "POST"),
            openapi_extra={"x-scope": verb.scope.value, "x-command": verb.command},
        )  # fmt: skip


def guarded(guard: Guard, *, has_body: bool = False) -> type[APIRoute]:
    """A route that lets in who may and looks at the form of the request, before a byte of its body is read."""

    class Guarded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            known = {parameter.alias for parameter in self.dependant.query_params}

            async def handler(request: Request) -> Response:
                await guard(request)
                _check_query(request, known)
                if has_body:
                    _check_type(request)
                return await handle(request)

            return handler

    return Guarded


def _check_query(request: Request, known: set[str]) -> None:
    for name in request.query_params:
        if name not in known:
            takes = f"It takes: {', '.join(sorted(known))}." if known else "It takes none."
            raise HTTPException(422, f"There is no query parameter {name[:80]!r} here. {takes}")


def _check_type(request: Request) -> None:
    headers = request.headers
    if "content-type" not in headers and headers.get("content-length", "0") == "0" and _has_no_chunks(request):
        return
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise HTTPException(415, f"The body must be {JSON}.", {"Accept": JSON})


def _has_no_chunks(request: Request) -> bool:
    return "transfer-encoding" not in request.headers


def _endpoint(hall: Hall, verb: Verb, timeout_s: float) -> Callable[..., Awaitable[Response]]:
    async def endpoint(**given: Any) -> Response:
        request: Request = given.pop(REQUEST)
        key: str | None = given.pop(KEY, None)
        body: BaseModel | None = given.pop(BODY, None)
        inputs = given | ({name: getattr(body, name) for name in type(body).model_fields} if body is not None else {})
        if verb.name == "town.get_status" and not inputs.get("deep"):
            return Response(await hall.status_json(), media_type=JSON)
        if "timeout_s" in inputs:  # else the thread would wait on when nobody does
            inputs["timeout_s"] = min(inputs["timeout_s"], max(0.0, timeout_s - MARGIN_S))
        return await _answer(hall, verb, inputs, _asked(request, key, verb, inputs), timeout_s)

    endpoint.__name__ = verb.name.replace(".", "_")
    endpoint.__signature__ = _signature(verb)  # type: ignore[attr-defined]
    return endpoint


async def _answer(hall: Hall, verb: Verb, inputs: dict[str, Any], asked: Asked | None, timeout_s: float) -> Response:
    def work(town: Town) -> bytes:
        return encoded(verb.function(Visit(town, Caller()), **inputs))

    def work_once(town: Town) -> tuple[bytes, bool]:
        return once(town, asked, lambda: work(town)) if asked is not None else (work(town), False)

    answer, was_given = await hall.run(work_once, timeout_s=timeout_s, waits=verb.waits, changes=not verb.is_read)
    headers = {"Idempotent-Replayed": "true"} if was_given else None
    return Response(answer, verb.status, headers, JSON)


def _asked(request: Request, key: str | None, verb: Verb, inputs: dict[str, Any]) -> Asked | None:
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise HTTPException(400, f"{KEY_HEADER} must be 1 to 255 visible ASCII characters.")
    return Asked.of(visitor(request.scope).principal.name, key, verb.name, inputs)


def _signature(verb: Verb) -> inspect.Signature:
    none = inspect.Parameter.empty
    found = [_parameter(REQUEST, Request, none)]
    found += [_parameter(name, Annotated[verb.inputs[name].annotation, Path()], none) for name in verb.in_path]
    others = [name for name in verb.inputs if name not in verb.in_path]
    if verb.method == "POST":
        if others:
            model = verb.model(others, strict=True)
            is_optional = all(verb.inputs[name].default is not none for name in others)
            default = model() if is_optional else none
            found.append(_parameter(BODY, Annotated[model, Body()], default))
    else:
        for name in others:
            given = verb.inputs[name]
            found.append(_parameter(name, Annotated[given.annotation, Query()], given.default))
    if verb.method != "GET":
        text = "Repeat a request with the same key, and it is done once: the first answer is given again."
        key = Annotated[str | None, Header(alias=KEY_HEADER, description=text, max_length=255)]
        found.append(_parameter(KEY, key, None))
    return inspect.Signature(found)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
