"""The contract: generated, kept in docs/, served, and said of every endpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tinytown.config import Config
from tinytown.config_townhall import Townhall
from tinytown.town import Town
from tinytown.townhall.rest import app, openapi

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads(json.dumps(app.make(Town(Path("/no-town"), Config(name="my-project")), Townhall()).openapi()))
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


@pytest.mark.slow
def test_what_is_kept_is_current() -> None:
    """docs/openapi/townhall-v1.yaml and the table in docs/townhall.md are what scripts/openapi writes."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "openapi.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_what_is_served_is_the_same(shared_http: httpx2.Client) -> None:
    """As JSON and as YAML."""
    assert shared_http.get("/openapi.json").json() == DOCUMENT
    answer = shared_http.get("/openapi.yaml")
    assert answer.headers["content-type"].startswith("application/yaml")
    assert yaml.safe_load(answer.text) == DOCUMENT


@pytest.mark.parametrize(
    "value",
    [
        {"a": "yes", "b": "1", "c": 1, "d": None, "e": True, "f": "", "g": "a: b", "h": "# x", "i": [], "j": {}},
        {"a": ["x", ["y", {"b": [1]}], {"c": {"d": "e"}, "f": "g"}]},
        {"200": "no", "a b": "null", "x-y": "é\n\"'", "on": "~", "z": "- a", "k": 1.5, "l": "1e3", "m": "0x10"},
    ],
)
def test_yaml_says_what_json_says(value: dict[str, Any]) -> None:
    """Whatever is in the document, a reader of YAML finds it again."""
    assert yaml.safe_load(openapi.as_yaml(value)) == value


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_says_what_it_answers(name: str) -> None:
    """Its errors, its scope with both ways to show a key, what it does."""
    method, path, operation = OPERATIONS[name]
    answers = set(operation["responses"])
    assert operation["description"]
    assert {"421", "429", "500", "503"} <= answers
    if not path.startswith("/v1/"):
        return
    assert {"400", "401", "403", "422", "504"} <= answers
    scope = operation["x-scope"]
    assert {"bearer": [scope]} in operation["security"]
    assert {"api_key": [scope]} in operation["security"]
    if method == "post":
        assert {"408", "413", "415"} <= answers
    if "{" in path:
        assert "404" in answers
    keys = [one["name"] for one in operation.get("parameters", [])]
    assert ("Idempotency-Key" in keys) == (method != "get")


def test_every_reference_leads_somewhere() -> None:
    """No part is named that is not there, and none is there that nobody names."""
    named = {ref.removeprefix("#/components/") for ref in _references(DOCUMENT)}
    there = {f"{kind}/{name}" for kind in ("schemas", "responses") for name in DOCUMENT["components"][kind]}
    assert named == there


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(one) for one in value.values()))
    return set().union(*(_references(one) for one in value)) if isinstance(value, list) else set()
