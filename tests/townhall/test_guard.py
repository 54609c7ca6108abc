"""The guard alone, asked everything: nobody passes who may not, and nothing that is sent breaks it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import argon2
import pytest
from argon2.profiles import CHEAPEST
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.config import Config
from tinytown.config_townhall import Auth, Key, RateLimit, Townhall
from tinytown.town import Town
from tinytown.townhall import auth
from tinytown.townhall.auth.gate import is_public

KEY = "the-key"
HASH = argon2.PasswordHasher.from_parameters(CHEAPEST).hash(KEY)
OURS = ["127.0.0.1:8787", "localhost", "[::1]:1"]

texts = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40)
hosts = st.sampled_from([*OURS, "evil.example", "localhost/", ""]) | texts
origins = st.sampled_from(["http://127.0.0.1:8787", "http://localhost", "null", "http://evil.example"]) | texts
keys = st.sampled_from([f"Bearer {KEY}", f"bearer {KEY}", "Bearer wrong", "Bearer", f"Basic {KEY}", KEY]) | texts
paths = st.sampled_from(["/", "/healthz", "/v1/status", "/session", "/page/main.js", "/page/state", "/metrics", "//"])
headers = st.fixed_dictionaries(
    {},
    optional={
        "host": hosts, "origin": origins, "authorization": keys, "x-api-key": st.sampled_from([KEY, "wrong"]) | texts,
        "cookie": texts, "sec-fetch-site": st.sampled_from(["cross-site", "same-origin"]) | texts,
        "x-forwarded-for": texts,
    },
)  # fmt: skip


class Behind:
    """What stands behind the guard: it keeps who came through."""

    def __init__(self) -> None:
        self.reached: list[auth.Visitor] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.reached.append(auth.visitor(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Town:
    root = tmp_path_factory.mktemp("guarded")
    (root / ".tt" / "logs").mkdir(parents=True)
    return Town(root, Config(name="guarded"))


def ask(guard: Any, method: str, path: str, given: dict[str, str]) -> int:
    """The status of the answer to a request with these headers."""
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "scheme": "http", "server": ("127.0.0.1", 8787), "client": ("127.0.0.1", 5),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(guard(scope, None, send))
    return int(sent[0]["status"])


@QUICK
@given(st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", "PATCH"]), paths | texts.map("/{}".format), headers)
def test_nobody_passes_who_may_not(place: Town, method: str, path: str, sent: dict[str, str]) -> None:
    """Only with the key, but for what is open to all; only under our names; from no other page. Nothing breaks."""
    behind = Behind()
    settings = Townhall(auth=Auth(mode="api_key", api_key_hash=HASH), rate_limit=RateLimit(0, 0))
    status = ask(auth.protect(behind, settings, place), method, path, sent)
    assert status in {200, 401, 403, 421, 429}
    assert (status == 200) == bool(behind.reached)
    if behind.reached:
        shown = sent.get("authorization", sent.get("x-api-key"))
        assert is_public(method, path) or shown is not None
        assert is_public(method, path) or shown in {KEY, f"Bearer {KEY}", f"bearer {KEY}"}
        assert "evil" not in sent["host"] + sent.get("origin", "")
        assert sent.get("sec-fetch-site") != "cross-site"


@QUICK
@given(st.sampled_from(["GET", "POST"]), paths, headers)
def test_without_authentication_pages_stay_out(place: Town, method: str, path: str, sent: dict[str, str]) -> None:
    """Whatever key is sent: it is about names and pages alone."""
    behind = Behind()
    status = ask(auth.protect(behind, Townhall(rate_limit=RateLimit(0, 0)), place), method, path, sent)
    assert status in {200, 403, 421}
    if status == 200:
        assert "evil" not in sent["host"] + sent.get("origin", "")


def test_paths_that_need_a_scope(place: Town) -> None:
    """What no verb stands for: the contract and the numbers are for who may read."""
    keys = (Key("writer", HASH, ("town.write",)),)
    settings = Townhall(auth=Auth(mode="api_key", keys=keys), rate_limit=RateLimit(0, 0))
    guard = auth.protect(Behind(), settings, place)
    sent = {"host": "localhost", "x-api-key": KEY}
    told = [ask(guard, "GET", path, sent) for path in ("/metrics", "/openapi.json", "/openapi.yaml", "/v1/status")]
    assert told == [403, 403, 403, 200]


def test_other_protocols(place: Town, tmp_path: Path) -> None:
    """A web socket is closed: nothing here speaks that. The application hears of its start and end."""
    behind, sent = Behind(), []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    guard = auth.protect(behind, Townhall(), place)
    asyncio.run(guard({"type": "websocket", "path": "/"}, None, send))  # type: ignore[arg-type]
    assert (sent, behind.reached) == (["websocket.close"], [])
