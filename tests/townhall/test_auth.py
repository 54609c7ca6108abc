"""Who may come in, asked of the real program: keys, scopes, sessions, foreign pages, limits, what is written down."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import httpx2
import pytest
from argon2.profiles import CHEAPEST
from starlette.requests import Request
from starlette.routing import Route

from tests.support.cli import Tt
from tests.support.issuer import Issuer
from tests.support.redis_server import TestRedis
from tests.support.townhall import TownHall, make_town
from tests.townhall.conftest import OpenHall
from tinytown import clock
from tinytown.config_townhall import Townhall
from tinytown.services import web_codes
from tinytown.town import Town
from tinytown.townhall.auth import gate
from tinytown.townhall.auth.principals import Principal
from tinytown.townhall.auth.sessions import OF_ONE_MOST, Sessions
from tinytown.townhall.rest import app

pytestmark = pytest.mark.slow

OWNER, READER, WORKER, NOBODY = "owner-key", "reader-key", "worker-key", "nobody-key"
STATUS, WRITE = "/v1/status", "/v1/backlog"
TASK = {"description": "write the manual"}
DATABASE = 4


def hashed(key: str) -> str:
    return argon2.PasswordHasher.from_parameters(CHEAPEST).hash(key)


def key_settings() -> dict[str, Any]:
    return {
        "mode": "api_key",
        "api_key_hash": hashed(OWNER),
        "keys": [
            {"name": "reader", "hash": hashed(READER), "scopes": ["town.read"]},
            {"name": "worker", "hash": hashed(WORKER), "scopes": ["town.write"]},
            {"name": "nobody", "hash": hashed(NOBODY), "scopes": []},
        ],
    }


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def audit(root: Path) -> list[dict[str, Any]]:
    path = root / ".tt" / "townhall-audit.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """The answer is a problem document of this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    assert told["request_id"] == answer.headers["x-request-id"]
    return told


@pytest.fixture(scope="module")
def keyed(redis_server: TestRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TownHall]:
    """A town hall with four keys, that all tests of the module ask."""
    root = tmp_path_factory.mktemp("keyed") / "town"
    town = make_town(redis_server, root, DATABASE, townhall={"auth": key_settings()})
    with TownHall(town.root) as opened:
        yield opened
    town.store.redis.flushdb()
    town.store.close()


@pytest.fixture
def http(keyed: TownHall) -> httpx2.Client:
    return keyed.client()


def test_without_a_key(http: httpx2.Client) -> None:
    """401 with what is wanted, for every verb, for paths that do not exist, and before a body is looked at."""
    reads = (STATUS, "/nowhere", "/openapi.json", "/metrics", "/session", "/page/state")
    for method, path in [("POST", WRITE), ("HEAD", STATUS), *(("GET", path) for path in reads)]:
        answer = http.request(method, path, content=b"{" if method == "POST" else None)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == 'Bearer realm="tinytown"'
    assert "Authorization: Bearer" in problem(http.get(STATUS), 401)["remedy"]


@pytest.mark.parametrize(
    "host",
    ["", "[::1", "localhost/healthz?", "localhost/#", "x@localhost", "localhost:x", "a b", "\u00e9", "evil.example"],
)
def test_hosts_that_are_none(keyed: TownHall, host: str) -> None:
    """Whatever stands in the Host header: it opens no other path, and breaks nothing."""
    with socket.create_connection(("127.0.0.1", keyed.port), 10) as connection:
        head = f"GET /v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode("latin-1"))
        status = connection.makefile("rb").readline()
    assert int(status.split()[1]) in {400, 421}, status
    assert "Traceback" not in keyed.said


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/"])
def test_open_to_all(http: httpx2.Client, path: str) -> None:
    """The probes and the page itself, with whatever key."""
    assert http.get(path).status_code == 200
    assert http.get(path, headers=bearer("wrong")).status_code == 200


def test_a_key_in_either_header(http: httpx2.Client) -> None:
    """Authorization: Bearer (in any case), or X-API-Key; Authorization counts where both are."""
    assert http.get(STATUS, headers=bearer(OWNER)).status_code == 200
    assert http.get(STATUS, headers={"authorization": f"bearer  {OWNER}"}).status_code == 200
    assert http.get(STATUS, headers={"X-API-Key": OWNER}).status_code == 200
    problem(http.get(STATUS, headers={"X-API-Key": OWNER, **bearer("wrong")}), 401)


@pytest.mark.parametrize(
    "headers",
    [bearer("wrong"), {"Authorization": OWNER}, {"Authorization": f"Basic {OWNER}"}, {"X-API-Key": "wrong"},
     {"X-API-Key": ""}],
)  # fmt: skip
def test_a_wrong_key(http: httpx2.Client, headers: dict[str, str]) -> None:
    """401 that says that it is wrong, and shows nothing of it."""
    answer = http.get(STATUS, headers=headers)
    problem(answer, 401)
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "wrong" not in answer.text


def test_answers_are_for_who_asked(http: httpx2.Client) -> None:
    """No cache keeps an answer, and no browser takes it for something else; the page's files say for themselves."""
    for answer in (http.get(STATUS, headers=bearer(READER)), http.get(STATUS)):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert http.get("/").headers.get_list("cache-control") == ["no-cache"]


def test_scopes(http: httpx2.Client) -> None:
    """Each key does what its scopes allow; else 403 names the scope. The owner's does everything."""
    assert http.get(STATUS, headers=bearer(READER)).status_code == 200
    answer = http.post(WRITE, json=TASK, headers=bearer(READER))
    told = problem(answer, 403)
    assert ("town.write" in told["detail"], told["remedy"]) == (True, "Use a key that has it.")
    assert 'error="insufficient_scope", scope="town.write"' in answer.headers["www-authenticate"]
    assert http.post(WRITE, json=TASK, headers=bearer(WORKER)).status_code == 201
    for path in (STATUS, "/openapi.json", "/metrics"):
        problem(http.get(path, headers=bearer(WORKER)), 403)
        assert http.get(path, headers=bearer(READER)).status_code == 200
    problem(http.post("/v1/recover", headers=bearer(WORKER)), 403)
    assert http.post("/v1/recover", headers=bearer(OWNER)).status_code == 200


def test_foreign_pages(http: httpx2.Client) -> None:
    """With the best key: another Host is 421, another Origin 403; no CORS header tells a browser otherwise."""
    with_key = bearer(OWNER)
    problem(http.get(STATUS, headers={**with_key, "Host": "evil.example"}), 421)
    for origin in ("http://evil.example", "null", "http://localhost:1"):
        answer = http.post(WRITE, json=TASK, headers={**with_key, "Origin": origin})
        problem(answer, 403)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    problem(http.get("/healthz", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}), 403)
    asked = http.options(WRITE, headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"})
    assert asked.status_code == 403
    own = {**with_key, "Origin": str(http.base_url).rstrip("/")}
    assert http.post(WRITE, json=TASK, headers=own).status_code == 201


def test_a_session(keyed: TownHall, http: httpx2.Client) -> None:
    """A key gives a cookie that scripts and other sites cannot use; it changes things from our page alone, and ends."""
    page = {"Origin": keyed.url}
    problem(http.post("/session", json={"key": "wrong"}, headers=page), 401)
    problem(http.post("/session", json={}, headers=page), 401)
    began = http.post("/session", json={"key": WORKER}, headers=page)
    assert began.json() == {"principal": "worker", "scopes": ["town.write"], "mode": "api_key"}
    cookie = began.headers["set-cookie"]
    assert cookie.startswith("tinytown-")
    for part in ("; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"):
        assert part in cookie
    assert "Secure" not in cookie
    assert http.get("/session").json()["principal"] == "worker"
    problem(http.post(WRITE, json=TASK), 403)
    assert http.post(WRITE, json=TASK, headers=page).status_code == 201
    assert http.post(WRITE, json=TASK, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 201
    noise = {"Cookie": f'other={{"a": 1}}; {cookie.partition(";")[0]}; =x'}  # other programs of localhost set some, too
    assert keyed.client().get("/session", headers=noise).json()["principal"] == "worker"
    kept = dict(http.cookies)
    ended = http.delete("/session", headers=page)
    assert ended.status_code == 204
    assert "Max-Age=0" in ended.headers["set-cookie"]
    problem(keyed.client(cookies=kept).get("/session"), 401)


def test_signing_out_ends_what_goes_on(keyed: TownHall, http: httpx2.Client) -> None:
    """Streams that were opened with a session end with it; those of another session go on."""
    page = {"Origin": keyed.url}
    other = keyed.client()
    for client in (http, other):
        client.post("/session", json={"key": READER}, headers=page)
    with http.stream("GET", "/v1/events/stream") as mine, other.stream("GET", "/v1/events/stream") as theirs:
        lines, others = mine.iter_lines(), theirs.iter_lines()
        assert next(lines).startswith("id: ")
        assert next(others).startswith("id: ")
        assert http.delete("/session", headers=page).status_code == 204
        with pytest.raises(httpx2.RemoteProtocolError):
            list(lines)
        keyed.client().post(WRITE, json=TASK, headers=bearer(WORKER)).raise_for_status()
        assert any("task_created" in line for line in others)


def test_sessions_of_one_push_out_none_of_others() -> None:
    """Whoever opens too many ends their own oldest, and what goes on in it."""
    sessions = Sessions("/a/town")

    def request(cookie: str = "") -> Request:
        return Request({"type": "http", "scheme": "http", "headers": [(b"cookie", cookie.encode())]})

    def begin(name: str) -> str:
        return sessions.begin(request(), Principal(name, frozenset())).partition(";")[0]

    others = begin("other")
    mine, cut = [begin("me")], []
    with sessions.while_open(request(mine[0]), lambda: cut.append(True)):
        mine += [begin("me") for _ in range(OF_ONE_MOST)]
    assert cut == [True]
    alive = [sessions.principal(request(cookie)) is not None for cookie in (others, *mine)]
    assert alive == [True, False, *[True] * OF_ONE_MOST]


def test_a_code_is_good_once(keyed: TownHall, http: httpx2.Client) -> None:
    """A link of `tt web` lets its user do everything, the first time."""
    page = {"Origin": keyed.url}
    code = web_codes.create(keyed.root / ".tt")
    began = http.post("/session", json={"code": code}, headers=page)
    assert began.json() == {"principal": "web", "scopes": ["admin"], "mode": "api_key"}
    assert http.get(STATUS).status_code == 200
    problem(keyed.client().post("/session", json={"code": code}), 401)
    problem(keyed.client().post("/session", json={"code": "other"}), 401)


def test_what_is_written_down(keyed: TownHall) -> None:
    """Every change and every refusal, by whom; no reading, no key, no code, no cookie."""
    http = keyed.client(transport=httpx2.HTTPTransport(local_address="127.0.0.9"))
    before = len(audit(keyed.root))
    http.get(STATUS, headers=bearer(READER))
    done = http.post(WRITE, json=TASK, headers=bearer(WORKER))
    refused = http.post(WRITE, json=TASK, headers=bearer(READER))
    http.get(STATUS, headers=bearer("wrong-secret"))
    http.get(STATUS, headers={"Host": "evil.example"})
    http.post("/session", json={"key": READER})
    http.post(WRITE, json={}, headers=bearer(WORKER))
    rows = audit(keyed.root)[before:]
    assert [(row["principal"], row["method"], row["path"], row["status"], row["result"]) for row in rows] == [
        ("worker", "POST", WRITE, 201, "success"),
        ("reader", "POST", WRITE, 403, "denied"),
        ("anonymous", "GET", STATUS, 401, "denied"),
        ("anonymous", "GET", STATUS, 421, "denied"),
        ("reader", "POST", "/session", 200, "success"),
        ("worker", "POST", WRITE, 422, "error"),
    ]
    assert [row["verb"] for row in rows] == ["backlog.add", "backlog.add", None, None, "session.begin", "backlog.add"]
    assert [row["request_id"] for row in rows[:2]] == [each.headers["x-request-id"] for each in (done, refused)]
    assert (rows[0]["scopes"], rows[0]["address"]) == (["town.write"], "127.0.0.9")
    path = keyed.root / ".tt" / "townhall-audit.log"
    assert path.stat().st_mode & 0o777 == 0o600
    told = path.read_text() + keyed.said
    assert not [secret for secret in (OWNER, READER, WORKER, "wrong-secret", "argon2") if secret in told]
    for end in ("log", "log/stream"):  # it is no agent's log: who may read the town does not read who did what
        problem(http.get(f"/v1/agents/townhall-audit/{end}", headers=bearer(READER)), 404)


def test_every_route_is_guarded(town: Town, http: httpx2.Client) -> None:
    """There is no route for whoever has any key: it is open to all, or a key without scopes is refused."""
    routes = [route for route in app.make(town, Townhall()).routes if isinstance(route, Route)]
    asked = [(method, route.path) for route in routes for method in route.methods or ()]
    assert len(asked) > 40
    open_to_all = {"/page/{name}", gate.SESSION, *gate.PUBLIC}  # the page's files; signing in and out; probes
    for method, path in asked:
        if path not in open_to_all:
            answer = http.request(method, re.sub(r"{\w+}", "x", path), headers=bearer(NOBODY))
            assert answer.status_code == 403, (method, path)


def test_a_made_key_works_as_printed(open_hall: OpenHall) -> None:
    """What `tt auth gen-key` prints, pasted into the town's file, lets its key in, under the name that it prints."""
    tt = Tt(Path.cwd())
    out = tt.ok("auth", "gen-key").out
    key = out.splitlines()[3]
    printed = out[out.index("  [townhall.auth]") : out.index("Then use")]
    hall = open_hall(**tomllib.loads(printed))
    http = hall.client(base_url=f"http://localhost:{hall.port}")
    assert http.get(STATUS).status_code == 401
    assert http.get(STATUS, headers=bearer(key)).status_code == 200
    assert http.post("/v1/recover", headers=bearer(key)).status_code == 200


def test_without_authentication(open_hall: OpenHall) -> None:
    """On the loopback everybody may do everything, but pages from elsewhere; a key that is sent is not looked at."""
    hall = open_hall(townhall={"allowed_hosts": ["town.example.com"]})
    http = hall.client()
    assert http.get(STATUS, headers=bearer("any")).status_code == 200
    assert http.get("/metrics").status_code == http.get("/openapi.json").status_code == 200
    assert http.get("/session").json() == {"principal": "local", "scopes": ["admin"], "mode": "none"}
    assert http.post("/session", json={}).status_code == 200
    assert http.get(STATUS, headers={"Host": "town.example.com:80"}).status_code == 200
    problem(http.get(STATUS, headers={"Host": "evil.example"}), 421)
    problem(http.post(WRITE, json=TASK, headers={"Origin": "http://evil.example"}), 403)
    assert http.post(WRITE, json=TASK).status_code == 201
    assert [row["principal"] for row in audit(hall.root)] == ["local", "anonymous", "anonymous", "local"]


def test_limits(open_hall: OpenHall) -> None:
    """So many reads and writes a minute; then 429 with when to come again. Nobody believes X-Forwarded-For."""
    hall = open_hall(townhall={"rate_limit": {"read_per_minute": 4, "write_per_minute": 2}})
    http = hall.client()
    reads = [http.get(STATUS, headers={"X-Forwarded-For": f"10.0.0.{n}"}) for n in range(5)]
    assert [answer.status_code for answer in reads] == [200, 200, 200, 200, 429]
    told = problem(reads[4], 429)
    assert 1 <= int(reads[4].headers["retry-after"]) <= 60
    assert told["remedy"].startswith("Try again in ")
    writes = [http.post(WRITE, json=TASK) for _ in range(3)]
    assert [answer.status_code for answer in writes] == [201, 201, 429]
    rows = audit(hall.root)
    assert [(row["status"], row["result"]) for row in rows][:3] == [(429, "denied"), (201, "success"), (201, "success")]


def test_a_foreign_page_uses_nothing_up(open_hall: OpenHall) -> None:
    """However often it asks, what this machine may ask a minute stays; of its refusals there are a few lines."""
    hall = open_hall(townhall={"rate_limit": {"read_per_minute": 5}})
    http = hall.client()
    foreign = [http.get(STATUS, headers={"Origin": "http://evil.example"}).status_code for _ in range(40)]
    assert foreign == [403] * 40
    assert http.get(STATUS).status_code == 200


def test_tokens_of_an_issuer(open_hall: OpenHall) -> None:
    """The program finds the issuer's keys and lets in who has a token for it, with the token's scopes."""
    with Issuer() as issuer:
        hall = open_hall(townhall={"auth": issuer.settings})
        http = hall.client()
        reader = bearer(issuer.token(scope="town.read"))
        assert http.get(STATUS, headers=reader).status_code == 200
        problem(http.post(WRITE, json=TASK, headers=reader), 403)
        assert http.post(WRITE, json=TASK, headers=bearer(issuer.token(scope="tinytown:admin"))).status_code == 201
        for wrong in (issuer.token(aud="other"), issuer.token(exp=1), "hello"):
            problem(http.get(STATUS, headers=bearer(wrong)), 401)
        problem(http.get(STATUS), 401)
        assert issuer.asked["/keys"] == 1
        began = http.post("/session", json={"key": issuer.token(scope="town.read", exp=None)})
        assert began.status_code == 401
        began = http.post("/session", json={"key": issuer.token(scope="town.read")})
        assert began.json() == {"principal": "ann", "scopes": ["town.read"], "mode": "oidc"}
        assert int(began.headers["set-cookie"].partition("Max-Age=")[2].partition(";")[0]) <= 360
        assert audit(hall.root)[0]["principal"] == "ann"


def test_a_stream_ends_with_its_token(open_hall: OpenHall) -> None:
    """Whoever was let in for two seconds hears no more than two seconds of events, and is not let in again."""
    with Issuer() as issuer:
        hall = open_hall(townhall={"auth": issuer.settings | {"clock_skew_seconds": 0}})
        http = hall.client()
        http.get(STATUS, headers=bearer(issuer.token(scope="town.read")))  # the issuer's keys are known from here on
        short = bearer(issuer.token(scope="town.read", exp=clock.wall() + 2))
        with http.stream("GET", "/v1/events/stream", headers=short) as events:
            assert events.status_code == 200
            began = clock.monotonic()
            with contextlib.suppress(httpx2.TransportError):
                for _ in events.iter_raw():
                    assert clock.monotonic() - began < 20
        assert clock.monotonic() - began < 10
        assert http.get(STATUS, headers=short).status_code == 401


def test_an_issuer_that_does_not_answer(open_hall: OpenHall) -> None:
    """503, as nobody can say whether the token is good; the town hall goes on."""
    with Issuer() as issuer:
        issuer.is_broken = True
        hall = open_hall(townhall={"auth": issuer.settings})
        http = hall.client()
        answer = http.get(STATUS, headers=bearer(issuer.token()))
        problem(answer, 503)
        assert "retry-after" in answer.headers
        assert http.get("/healthz").status_code == 200
