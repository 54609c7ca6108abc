"""Routes out of verbs: parameters of the path, of the query (GET, DELETE) or fields of a JSON body (POST)."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Path, Query, Request
from pydantic import BaseModel

from tinytown.services.caller import Caller
from tinytown.townhall.hall import Hall
from tinytown.townhall.rest.problems import MEDIA_TYPE, Problem
from tinytown.townhall.verbs import VERBS, Scope, Verb

BODY = "body"
TAGS = {"GET": "read", "POST": "write", "DELETE": "write"}
Guard = Callable[[Request], Awaitable[None]]
_PROBLEM = {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "A problem document."}
_ERRORS: dict[int | str, dict[str, Any]] = {"default": _PROBLEM}


def add(app: FastAPI, hall: Hall, guard: Callable[[Scope], Guard], timeout_s: float) -> None:
    """A route for each verb. `guard(scope)` lets in who may."""
    # A path without variables first: /v1/agents/prune is no agent.
    for verb in sorted(VERBS.values(), key=lambda each: each.path.count("{")):
        app.add_api_route(
            verb.path, _endpoint(hall, verb, timeout_s), methods=[verb.method], status_code=verb.status,
            response_model=verb.answer, operation_id=verb.name, summary=verb.title, description=verb.help,
            tags=[verb.name.partition(".")[0]], responses=_ERRORS, dependencies=[Depends(guard(verb.scope))],
            openapi_extra={"x-scope": verb.scope.value, "x-command": verb.command},
        )  # fmt: skip


def _endpoint(hall: Hall, verb: Verb, timeout_s: float) -> Callable[..., Awaitable[Any]]:
    async def endpoint(**given: Any) -> Any:
        body: BaseModel | None = given.pop(BODY, None)
        inputs = given | ({name: getattr(body, name) for name in type(body).model_fields} if body is not None else {})
        if verb.name == "town.get_status" and not inputs.get("deep"):
            return await hall.status()
        return await hall.call(verb, inputs, Caller(), timeout_s)

    endpoint.__name__ = verb.name.replace(".", "_")
    endpoint.__signature__ = _signature(verb)  # type: ignore[attr-defined]
    return endpoint


def _signature(verb: Verb) -> inspect.Signature:
    none = inspect.Parameter.empty
    found = [_parameter(name, Annotated[verb.inputs[name].annotation, Path()], none) for name in verb.in_path]
    others = [name for name in verb.inputs if name not in verb.in_path]
    if verb.method == "POST":
        if others:
            model = verb.model(others)
            is_optional = all(verb.inputs[name].default is not none for name in others)
            default = model() if is_optional else none
            found.append(_parameter(BODY, Annotated[model, Body()], default))
    else:
        for name in others:
            given = verb.inputs[name]
            found.append(_parameter(name, Annotated[given.annotation, Query()], given.default))
    return inspect.Signature(found)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
