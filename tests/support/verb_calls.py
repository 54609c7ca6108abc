"""A verb of the town hall as an HTTP request, made from what the verb says of itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx2

from tinytown.townhall.verbs import VERBS


def send(http: httpx2.Client, name: str, /, **inputs: Any) -> httpx2.Response:
    """Ask for this verb: inputs go into the path, the query or the body, as the verb has it."""
    verb = VERBS[name]
    path = verb.path
    for part in verb.in_path:
        path = path.replace(f"{{{part}}}", quote(str(inputs.pop(part)), safe=""))
    if verb.method == "POST":
        return http.post(path, json=inputs)
    shown = {
        key: [str(one).lower() if isinstance(one, bool) else one for one in _many(value)]
        for key, value in inputs.items()
    }
    return http.request(verb.method, path, params=shown)


def ask(http: httpx2.Client, name: str, /, **inputs: Any) -> Any:
    """As `send`; it must be done, and the answer must be what the verb promises."""
    answer = send(http, name, **inputs)
    verb = VERBS[name]
    assert answer.status_code == verb.status, f"{name}: {answer.status_code} {answer.text}"
    verb.answer.model_validate_json(answer.content)
    return answer.json()


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
