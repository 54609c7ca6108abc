"""MCP over HTTP: who may come in and do what, how much at once, and how it leaves."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import httpx2
import mcp_types as types
import pytest
import trustme
from argon2.profiles import CHEAPEST
from mcp.client.sse import sse_client
from mcp.client.streamable_http import MCP_SESSION_ID
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError

from tests.support.issuer import Issuer
from tests.support.mcp import LEGACY, MODERN, connected, error_of, over_http, request
from tests.support.redis_server import TestRedis
from tests.support.town import register
from tests.support.townhall import TownHall, make_town
from tests.support.waiting import wait_until
from tests.townhall.conftest import OpenHall
from tinytown.config_townhall import Townhall
from tinytown.errors import Invalid
from tinytown.town import Town
from tinytown.townhall import serving
from tinytown.townhall.mcp.http import BODY_MOST, SESSIONS_MOST
from tinytown.townhall.mcp.subscriptions import URIS_MOST

pytestmark = pytest.mark.slow
KEYS = {"owner": "owner-key", "reader": "reader-key", "worker": "worker-key"}
DATABASE = 5
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
NEW = HEADERS | {"mcp-protocol-version": "2026-07-28"}
HELLO = {
    "jsonrpc": "2.0", "id": 0, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def open_door(shared_town: Town) -> Iterator[TownHall]:
    """MCP over HTTP for whoever is on this machine; without --sse."""
    with TownHall(shared_town.root, command="mcp-http") as opened:
        yield opened


@pytest.fixture(scope="module")
def keyed(redis_server: TestRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TownHall]:
    """With keys: the owner's may do everything, the others what their names say."""
    hashes = {name: argon2.PasswordHasher.from_parameters(CHEAPEST).hash(key) for name, key in KEYS.items()}
    scopes = {"reader": ["town.read"], "worker": ["town.write"]}
    named = [{"name": name, "hash": hashes[name], "scopes": given} for name, given in scopes.items()]
    auth = {"mode": "api_key", "api_key_hash": hashes["owner"], "keys": named}
    town = make_town(redis_server, tmp_path_factory.mktemp("keyed") / "town", DATABASE, townhall={"auth": auth})
    with TownHall(town.root, "--sse", command="mcp-http") as opened:
        yield opened
    town.store.redis.flushdb()
    town.store.close()


def key(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[name]}"}


def asking(http: httpx2.Client, message: Any, path: str = "/mcp", **headers: str) -> httpx2.Response:
    """A message on the wire, in the protocol of 2026 when it carries the envelope of it."""
    method = {"mcp-method": message["method"]} if isinstance(message, dict) and "method" in message else {}
    return http.post(path, json=message, headers=NEW | method | headers)


@pytest.mark.parametrize("path", ["/", "/mcp", "/mcp/"])
@pytest.mark.parametrize("mode", [MODERN, LEGACY])
def test_it_answers_at_each_address(open_door: TownHall, path: str, mode: str) -> None:
    """Whatever a host's configuration names."""
    with connected(open_door.url + path, mode) as host:
        assert host.call("agent.list") == {"agents": [], "count": 0} or host.call("agent.list")["count"] > 0


def test_it_lives(open_door: TownHall) -> None:
    """A probe needs no protocol."""
    assert open_door.client().get("/healthz").json() == {"status": "ok"}


def test_old_streams_are_asked_for(open_door: TownHall) -> None:
    """Without --sse there is none."""
    assert open_door.client().get("/sse").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8788"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/", "/mcp"])
def test_foreign_pages_are_refused(open_door: TownHall, path: str, headers: dict[str, str], status: int) -> None:
    """As at the REST API: a page in a browser on this machine cannot use it, whatever name it has."""
    answer = asking(open_door.client(), request(1, "tools/list"), path, **headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"garbage{{{", 400), (b"", 400), (b"[]", 400), (b'{"jsonrpc": "2.0"}', 400), (b"17", 400), (b"[" * 50_000, 400),
     (b" " * (BODY_MOST + 1), 413)],
)  # fmt: skip
@pytest.mark.parametrize("headers", [HEADERS, NEW], ids=["2025", "2026"])
def test_garbage_is_refused(open_door: TownHall, body: bytes, status: int, headers: dict[str, str]) -> None:
    """In either protocol; and it goes on."""
    http = open_door.client()
    answer = http.post("/mcp", content=body, headers=headers)
    assert answer.status_code in ({status, 202} if body == b'{"jsonrpc": "2.0"}' else {status}), answer.text
    assert "Traceback" not in answer.text
    assert asking(http, request(1, "tools/list")).status_code == 200


def test_a_message_that_does_not_come_is_not_waited_for(open_hall: OpenHall) -> None:
    """Who says that there is one and sends none, or a part, is answered 408 within request_timeout_ms."""
    hall = open_hall("--sse", command="mcp-http", townhall={"request_timeout_ms": 1000})
    said = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    for path in ("/mcp", "/", "/messages/?session_id=0123456789abcdef0123456789abcdef"):
        with socket.create_connection(("127.0.0.1", hall.port), timeout=10) as visitor:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{said}Content-Length: 10\r\n\r\n"
            visitor.sendall(head.encode() + b"{")
            assert visitor.recv(4096).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("path", ["/", "/mcp", "/sse", "/messages/?session_id=0123456789abcdef0123456789abcdef"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_without_a_key_nothing_is_answered(keyed: TownHall, path: str, method: str) -> None:
    """Not even that there is something."""
    answer = keyed.client().request(method, path, headers=HEADERS)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    wrong = keyed.client().request(method, path, headers=HEADERS | {"X-API-Key": "wrong"})
    assert wrong.status_code == 401


@pytest.mark.parametrize("mode", [MODERN, LEGACY])
def test_a_call_needs_the_scope_of_its_verb(keyed: TownHall, mode: str) -> None:
    """Who may read may not write; who may write need not be allowed to read; refusals are written down."""
    with connected(over_http(keyed.url, key("reader")), mode) as host:
        assert host.call("backlog.list")["backlog"] is not None
        assert host.read("tinytown://backlog")
        assert host.prompt("conductor.startup_context")
        refused = "This needs the scope town.write. Use a key that has it."
        assert host.refused("backlog.add", description="x") == refused
        assert "agent.manage" in host.refused("agent.kill", agent="x")
    with connected(over_http(keyed.url, key("worker")), mode) as host:
        task_id = host.call("backlog.add", description="x")["task_id"]
        assert "town.read" in host.refused("backlog.list")
        for attempt in (
            lambda: host.read("tinytown://backlog"),
            lambda: host.prompt("conductor.startup_context"),
        ):
            with pytest.raises(Exception, match=r"This needs the scope town\.read") as caught:
                attempt()
            assert error_of(caught.value).code == types.INVALID_REQUEST or "Use a key" in str(caught.value)
    with connected(over_http(keyed.url, {"X-API-Key": KEYS["owner"]}), mode) as host:
        assert host.call("backlog.remove", task_id=task_id)["removed"] is True
    said = (keyed.root / ".tt" / "townhall-audit.log").read_text()
    rows = [json.loads(line) for line in said.splitlines()]
    told = {(row["principal"], row["verb"], row["result"]) for row in rows}
    assert {("reader", "backlog.add", "denied"), ("worker", "backlog.add", "success"),
            ("api_key", "backlog.remove", "success")} <= told  # fmt: skip
    assert not [secret for secret in KEYS.values() if secret in said]


def test_listening_needs_the_scope_to_read(keyed: TownHall) -> None:
    """In both ways."""
    with connected(over_http(keyed.url, key("worker"))) as host, pytest.raises(Exception, match=r"town\.read"):
        host.watching("tinytown://agents").__enter__()


def test_the_old_stream_asks_for_keys_as_well(keyed: TownHall) -> None:
    """Each message for itself."""
    with connected(sse_client(keyed.url + "/sse", headers=key("reader")), LEGACY) as host:
        assert host.call("agent.list")["count"] == 0
        assert "town.write" in host.refused("backlog.add", description="x")


def test_a_session_is_of_use_to_its_owner_alone(keyed: TownHall) -> None:
    """Somebody else with a good key and the session's id is told that there is no such session."""
    http = keyed.client(headers=HEADERS)
    answer = http.post("/mcp", json=HELLO, headers=key("owner"))
    assert answer.status_code == 200
    session = {MCP_SESSION_ID: answer.headers[MCP_SESSION_ID]}
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert http.post("/mcp", json=listing, headers=session | key("reader")).status_code == 404
    assert http.delete("/mcp", headers=session | key("reader")).status_code == 404
    assert http.post("/mcp", json=listing, headers=session | key("owner")).status_code == 200
    assert http.delete("/mcp", headers=session | key("owner")).status_code == 200


def test_sessions_are_bounded(open_hall: OpenHall) -> None:
    """Those of older clients; one more is told so, and newer clients, which have none, are served."""
    door = open_hall(command="mcp-http")
    http = door.client(headers=HEADERS)
    for _ in range(SESSIONS_MOST):
        assert http.post("/", json=HELLO).status_code == 200
    assert http.post("/", json=HELLO).status_code == 503
    assert asking(http, request(1, "tools/list")).status_code == 200


def test_a_client_that_is_killed_is_forgotten(open_door: TownHall, shared_town: Town) -> None:
    """Its stream is cut in the middle; those of others go on."""
    message = json.dumps(
        request(1, "subscriptions/listen", notifications={"resourceSubscriptions": ["tinytown://agents"]})
    )
    head = ["POST /mcp HTTP/1.1", f"Host: 127.0.0.1:{open_door.port}", "Mcp-Method: subscriptions/listen",
            f"Content-Length: {len(message)}", *(f"{name}: {value}" for name, value in NEW.items())]  # fmt: skip
    with connected(open_door.url) as host, host.watching("tinytown://agents") as told:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", open_door.port)) as connection:
                connection.sendall("\r\n".join([*head, "", message]).encode())
                assert b"acknowledged" in _until(connection, b"acknowledged")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset, no good-bye
        register(shared_town, "cut-off")
        host.call("task.assign", agent="cut-off", task="news")
        wait_until(lambda: told, 10.0, "news")
    assert "Traceback" not in open_door.said


def _until(connection: socket.socket, text: bytes) -> bytes:
    found = b""
    while text not in found and (block := connection.recv(65536)):
        found += block
    return found


@pytest.mark.parametrize("args", [(), ("--sse",)])
def test_it_leaves_with_streams_open(open_hall: OpenHall, args: tuple[str, ...]) -> None:
    """TERM: each stream gets its end, and the program its own within seconds, with code 0 and without complaint."""
    door = open_hall(*args, command="mcp-http")
    server = sse_client(door.url + "/sse") if args else door.url
    try:
        with connected(server, LEGACY if args else MODERN) as host:
            if not args:
                with host.watching("tinytown://agents"):
                    assert door.stop(5.0) == 0
            assert door.stop(5.0) == 0
    except* (SubscriptionLost, httpx2.HTTPError):
        pass  # the client's own words for it
    assert "Traceback" not in door.said
    assert "ERROR" not in door.said


def test_it_says_who_gives_tokens(open_hall: OpenHall) -> None:
    """RFC 9728: a client without a token is led to the issuer, and with a token of it may do what its scopes say."""
    with Issuer() as issuer:
        auth = issuer.settings | {"required_scopes": ["town.read"]}
        door = open_hall(command="mcp-http", townhall={"auth": auth})
        http = door.client()
        refused = asking(http, request(1, "tools/list"))
        assert refused.status_code == 401
        where = f"{door.url}/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{where}"' in refused.headers["www-authenticate"]
        for path in (where, where.removesuffix("/mcp")):
            told = http.get(path).json()
            assert told["resource"] == f"{door.url}/mcp"
            assert told["authorization_servers"] == [issuer.url]
            assert "town.write" in told["scopes_supported"]
        token = issuer.token(scope="town.read")
        with connected(over_http(door.url, {"Authorization": f"Bearer {token}"})) as host:
            assert host.call("agent.list")["count"] == 0
            assert "town.write" in host.refused("backlog.add", description="x")


def test_it_speaks_tls(open_hall: OpenHall, tmp_path: Path) -> None:
    """With the certificate of the settings, as the REST API."""
    authority = trustme.CA()
    cert = authority.issue_cert("127.0.0.1")
    files = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    cert.private_key_pem.write_to_path(files["key_file"])
    for part in cert.cert_chain_pems:
        part.write_to_path(files["cert_file"], append=True)
    door = open_hall(command="mcp-http", townhall={"tls": {"enabled": True, **files}})
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    assert door.url.startswith("https://")
    with connected(over_http(door.url, trust=trusting)) as host:
        assert host.call("agent.list")["count"] == 0


def test_a_subscription_is_bounded(open_door: TownHall) -> None:
    """So many resources at once, and no more."""
    uris = [f"tinytown://agents/a{number}" for number in range(URIS_MOST + 1)]
    with connected(open_door.url) as host:
        with pytest.raises(MCPError, match=f"At most {URIS_MOST} resources"):
            host.watching(*uris).__enter__()
        with host.watching(*uris[1:]):
            assert host.call("agent.list")["count"] >= 0


def test_without_an_issuer_nothing_is_said(keyed: TownHall) -> None:
    """A key is nothing that a client could look for."""
    assert keyed.client().get("/.well-known/oauth-protected-resource").status_code == 401


def test_it_is_not_open_beyond_this_machine(town: Town) -> None:
    """Without keys or tokens it refuses to start."""
    with pytest.raises(AssertionError, match=r"does not listen on 0\.0\.0\.0 without authentication"):
        TownHall(town.root, "--bind", "0.0.0.0", command="mcp-http").start()  # noqa: S104


@pytest.mark.parametrize(
    ("settings", "port"),
    [(Townhall(), 8788), (Townhall(rest_port=9000), 9001), (Townhall(mcp_port=9500), 9500)],
)
def test_its_port_is_the_one_after_that_of_rest(settings: Townhall, port: int) -> None:
    """Unless mcp_port says another."""
    assert serving.mcp_port(settings) == port


def test_there_may_be_no_port_after_that_of_rest() -> None:
    """It is said before the socket is asked."""
    with pytest.raises(Invalid, match="There is no port after 65535"):
        serving.mcp_port(Townhall(rest_port=65535))
