"""How a town reaches its server, and what it says when it cannot."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.certificates import Authority
from tests.support.proxy import proxy
from tests.support.redis_server import TestRedis
from tests.support.waiting import wait_until
from tinytown.config import RedisConfig
from tinytown.errors import ConfigInvalid, RedisAway, RedisVersionTooOld, TinytownError, Unavailable
from tinytown.sockets import LIMIT, SocketPath
from tinytown.store.connection import Connector, ServerInfo, redact, translate


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestRedis]:
    """One for all tests that only talk to it."""
    with TestRedis(tmp_path_factory.mktemp("shared"), password="open sesame", appendfsync="no") as running:  # noqa: S106
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


def connector(tmp_path: Path, **settings: Any) -> Connector:
    return Connector(RedisConfig(**settings), tmp_path / ".tt")


def failure(way: Connector, **options: Any) -> TinytownError:
    """What a user is told."""
    client = way.client(**options)
    try:
        with pytest.raises(TinytownError) as caught:
            way.check(client)
    finally:
        client.close()
    return caught.value


# Where the server is


@pytest.mark.parametrize(
    ("settings", "managed", "url"),
    [
        ({}, True, "unix://{root}/.tt/redis.sock"),
        ({"socket_path": "run/r.sock"}, True, "unix://{root}/run/r.sock"),
        ({"socket_path": "/run/r.sock"}, True, "unix:///run/r.sock"),
        ({"use_socket": False}, True, "redis://127.0.0.1:6379"),
        ({"use_socket": False, "host": "localhost", "port": 7}, True, "redis://localhost:7"),
        ({"use_socket": False, "host": "::1"}, True, "redis://[::1]:6379"),
        ({"use_socket": False, "host": "redis.example.com"}, False, "redis://redis.example.com:6379"),
        ({"use_socket": False, "host": "127.example.com"}, False, "redis://127.example.com:6379"),
        ({"use_socket": False, "password": "s3cret"}, True, "redis://:****@127.0.0.1:6379"),
        ({"use_socket": False, "tls_enabled": True, "host": "r"}, False, "rediss://r:6379"),
        ({"url": "redis://127.0.0.1:1", "use_central": True}, False, "redis://127.0.0.1:1"),
        ({"use_central": True, "use_socket": False}, True, "unix://{home}/.tt/redis.sock"),
    ],
)
def test_who_keeps_the_server_and_where_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    managed: bool,  # noqa: FBT001  a parameter of the table above
    url: str,
) -> None:
    """A socket, a loopback host and the central server are the town's own; a URL and other hosts are not."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    way = connector(tmp_path / "town", **settings)
    assert way.is_managed is managed
    assert way.url == url.format(root=tmp_path / "town", home=tmp_path / "home")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://example.com:6379/0", "redis://example.com:6379/0"),
        ("redis://:hunter2@example.com", "redis://:****@example.com"),
        ("redis://joe:hunter2@example.com:1/2", "redis://joe:****@example.com:1/2"),
        ("rediss://joe:hun@ter2@example.com", "rediss://joe:****@example.com"),
        ("redis://joe:hun/t#e?r2@example.com", "redis://joe:****@example.com"),
        ("redis://hunter2@example.com", "redis://:****@example.com"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("unix:///tmp/a b.sock?password=hunter2&db=1", "unix:///tmp/a b.sock?password=****&db=1"),
        ("redis://joe:hunter2", "redis://****"),
        ("redis//:hunter2@example.com", ":****@example.com"),
        ("hunter2@example.com", ":****@example.com"),
        ("joe:hunter2://example.com", "****"),
        ("http://joe:hunter2@example.com:abc", "http://joe:****@example.com:abc"),
        ("redis://a://hunter2@b", "redis://a:****@b"),
        ("example.com:6379", "example.com:6379"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    """The password of a URL reads ****, however malformed it is."""
    assert redact(url) == shown
    assert "hunter2" not in redact(url)


@pytest.mark.parametrize(
    "url", ["redis//:hunter2@h", "http://h", "redis://joe:hunter2", "unix://", "redis://h?db=x", "x"]
)
def test_a_url_that_is_none_is_one_line(tmp_path: Path, url: str) -> None:
    """A malformed URL is ConfigInvalid before anything is connected, its password stays secret."""
    with pytest.raises(ConfigInvalid) as caught:
        connector(tmp_path, url=url).client()
    assert "hunter2" not in f"{caught.value} {caught.value.remedy} {caught.value.__cause__}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_settings_that_contradict_each_other(tmp_path: Path) -> None:
    """TLS on a Unix socket, a port that is none, a key without certificate and missing files are refused."""
    for settings, text in (
        ({"tls_enabled": True}, "use_socket = false"),
        ({"use_socket": False, "port": 0}, "redis.port must be"),
        ({"use_socket": False, "port": 70000}, "redis.port must be"),
        ({"use_socket": False, "tls_enabled": True, "tls_ca_cert": "~/none.pem"}, "redis.tls_ca_cert cannot be read"),
        ({"use_socket": False, "tls_enabled": True, "tls_key": __file__}, "tls_key needs redis.tls_cert"),
    ):
        with pytest.raises(ConfigInvalid, match=text):
            connector(tmp_path, **settings).client()


# The command client


def test_a_connect_sends_nothing_but_the_password(server: TestRedis) -> None:
    """No HELLO, no CLIENT SETINFO: one round trip less each, for every short command."""
    server.client().config_resetstat()
    with server.client() as client:
        client.ping()
    seen = {name.removeprefix("cmdstat_") for name in server.client().info("commandstats")}
    assert seen - {"config|resetstat", "info"} == {"auth", "ping"}


def test_texts_that_are_no_utf8_survive(server: TestRedis) -> None:
    """Bytes that somebody else wrote come back as they were."""
    client = server.client()
    odd = b"\xff\xfe caf\xe9".decode("utf-8", "surrogateescape")
    client.set("odd", odd)
    assert client.get("odd") == odd


def test_a_frozen_server_is_given_up_in_bounded_time_with_beats(tmp_path: Path) -> None:
    """One try and three more, each bounded, with a beat between them; then one line."""
    with TestRedis(tmp_path, appendfsync="no") as frozen:
        beats: list[float] = []
        client = frozen.client(timeout_s=0.2, on_retry=lambda: beats.append(time.monotonic()))
        client.ping()
        frozen.freeze()
        started = time.monotonic()
        with pytest.raises(RedisAway) as caught, translate(frozen.connector):
            client.ping()
        assert 0.8 <= time.monotonic() - started < 4
        assert len(beats) == 3
        assert str(caught.value) == f"Redis is not answering at {frozen.connector.url}."
        assert caught.value.remedy == "Start it with: tt supervise --detach"
        frozen.thaw()
        assert client.ping()


def test_a_dead_server_costs_four_connects_not_sixteen(tmp_path: Path) -> None:
    """The retries of the connect do not multiply with those of the command; a new server is found again."""
    with TestRedis(tmp_path, appendfsync="no") as dead:
        beats: list[None] = []
        client = dead.client(on_retry=lambda: beats.append(None))
        client.ping()
        dead.kill()
        with pytest.raises(RedisAway), translate(dead.connector):
            client.ping()
        assert len(beats) == 3
        dead.restart()
        assert client.ping()


def test_nobody_listens(tmp_path: Path) -> None:
    """Without a server: one line and how to start it; an external one is not ours to start."""
    assert failure(connector(tmp_path)).remedy == "Start it with: tt supervise --detach"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = failure(connector(tmp_path, url=f"redis://:hunter2@127.0.0.1:{port}"))
    assert isinstance(error, RedisAway)
    assert str(error) == f"Redis is not answering at redis://:****@127.0.0.1:{port}."
    assert "tt supervise" not in str(error.remedy)


def test_wrong_and_missing_password(server: TestRedis) -> None:
    """Said as such, at once and without the password."""
    for password in ("wrong", None):
        beats: list[None] = []
        way = Connector(RedisConfig(password=password), server.state_dir)
        error = failure(way, on_retry=lambda: beats.append(None))  # noqa: B023
        assert type(error) is Unavailable
        assert str(error) == f"Redis authentication failed at {way.url}."
        assert error.remedy is not None
        assert not beats


def test_an_external_server_by_url(server: TestRedis, tmp_path: Path) -> None:
    """A URL wins over all settings: socket and TCP, password and database of the URL."""
    path = server.connector.socket_path
    way = connector(
        tmp_path, url=f"unix://{path}?password=open%20sesame&db=3", use_socket=False, host="nowhere.invalid"
    )
    with way.client() as client:
        assert way.check(client).name in {"redis", "valkey"}
        assert client.client_info()["db"] == 3
    assert path is not None
    with proxy(path) as port:
        way = connector(tmp_path, url=f"redis://:open%20sesame@127.0.0.1:{port}/2")
        with way.client() as client:
            assert client.client_info()["db"] == 2


def test_refusals_of_the_server_are_one_line(tmp_path: Path) -> None:
    """No memory, a replica, no rights: the project's errors; a programmer's error passes unchanged."""
    with TestRedis(tmp_path, appendfsync="no") as live:
        client = live.client()
        client.config_set("maxmemory", "1")
        with pytest.raises(Unavailable, match="no memory left"), translate(live.connector):
            client.set("a", "b")
        client.config_set("maxmemory", "0")
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(Unavailable, match="read-only replica"), translate(live.connector):
            client.set("a", "b")
        client.replicaof("NO", "ONE")
        client.acl_setuser("default", commands=["-get"])
        with pytest.raises(Unavailable, match="refuses a command"), translate(live.connector):
            client.get("a")
        client.set("a", "b")
        with pytest.raises(Unavailable, match="WRONGTYPE"), translate(live.connector):
            client.lpush("a", "b")


def test_what_is_not_redis(tmp_path: Path, server: TestRedis) -> None:
    """A port on which something else talks is no Redis that is away."""
    path = server.connector.socket_path
    assert path is not None
    with proxy(path, rewrite=("-NOAUTH", "HTTP/1.")) as port:
        assert "is not Redis" in str(failure(connector(tmp_path, url=f"redis://127.0.0.1:{port}")))


# Versions


@pytest.mark.parametrize(
    ("raw", "name", "version", "old"),
    [
        ({"redis_version": "8.2.3"}, "redis", "8.2.3", False),
        ({"redis_version": "7.4.1"}, "redis", "7.4.1", True),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.1.2"}, "valkey", "9.1.2", False),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "7.2.9"}, "valkey", "7.2.9", True),
    ],
)
def test_every_valkey_says_7_2_4(raw: dict[str, str], name: str, version: str, old: bool) -> None:  # noqa: FBT001
    """A Valkey is judged by its own version."""
    info = ServerInfo.from_info(raw)
    assert (info.name, info.version, info.is_older_than_recommended) == (name, version, old)


def test_an_external_server_that_is_too_old(tmp_path: Path) -> None:
    """Below 7.0 is refused in the reference's words; 7.x is accepted and known as old."""
    with TestRedis(tmp_path, appendfsync="no") as live, live.client() as client:
        version = live.connector.check(client).version
        path = live.connector.socket_path
        assert path is not None
        with proxy(path, rewrite=(f"_version:{version[0]}.", "_version:6.")) as port:
            error = failure(connector(tmp_path, url=f"redis://127.0.0.1:{port}"))
        assert isinstance(error, RedisVersionTooOld)
        assert str(error).startswith("Redis version 6.")
        assert "is too old. Tinytown requires Redis 8.0 or later.\nSee: https://redis.io/downloads/" in str(error)
        with proxy(path, rewrite=(f"_version:{version[0]}.", "_version:7.")) as port:
            way = connector(tmp_path, url=f"redis://127.0.0.1:{port}")
            with way.client() as old:
                assert way.check(old).is_older_than_recommended


# The bell


def test_a_bell_waits_on_its_socket(server: TestRedis) -> None:
    """BLPOP is sent, the socket tells when there is an answer, a read has no time-out."""
    bell = server.connector.bell(timeout_s=0.2)
    bell.connect()
    bell.send_command("BLPOP", "bell", 10)
    assert not bell.has_reply()
    assert not select.select([bell], [], [], 0.3)[0]
    server.client().lpush("bell", "x")
    assert select.select([bell], [], [], 5)[0]
    assert bell.has_reply()
    assert bell.read_response() == ["bell", "x"]
    bell.disconnect()


def test_a_bell_hears_the_death_of_its_server(tmp_path: Path) -> None:
    """No retries: a killed server is a readable socket and then a ConnectionError."""
    with TestRedis(tmp_path, appendfsync="no") as live:
        bell = live.connector.bell()
        bell.connect()
        bell.send_command("BLPOP", "bell", 10)
        live.kill()
        assert select.select([bell], [], [], 5)[0]
        with pytest.raises(redis.ConnectionError):
            bell.read_response()
        with pytest.raises(redis.ConnectionError):
            bell.connect()
        bell.disconnect()


def test_a_bell_does_not_hang_on_a_frozen_server(tmp_path: Path) -> None:
    """The handshake is bounded although reads are not."""
    with TestRedis(tmp_path, appendfsync="no", password="x") as live:  # noqa: S106
        live.freeze()
        bell = live.connector.bell(timeout_s=0.2)
        with pytest.raises(redis.TimeoutError):
            bell.connect()
        live.thaw()
        wait_until(lambda: live.client().ping(), what="the thawed server")


# TLS


def tls(tmp_path: Path, port: int, **files: Path) -> Connector:
    named = {name: str(path) for name, path in files.items()}
    secret = "open sesame"  # noqa: S105
    return connector(tmp_path, use_socket=False, port=port, tls_enabled=True, password=secret, **named)


def test_tls_with_the_right_authority(server: TestRedis, authority: Authority, tmp_path: Path) -> None:
    """The certificate is verified; commands and the bell work through TLS."""
    path = server.connector.socket_path
    assert path is not None
    with proxy(path, cert=authority.issue("server")) as port:
        way = tls(tmp_path, port, tls_ca_cert=authority.ca)
        assert way.url == f"rediss://:****@127.0.0.1:{port}"
        with way.client() as client:
            way.check(client)
            bell = way.bell()
            bell.connect()
            bell.send_command("BLPOP", "tls", 10)
            assert not bell.has_reply()
            client.lpush("tls", "x")
            wait_until(bell.has_reply, what="the bell")
            assert bell.read_response() == ["tls", "x"]
            bell.disconnect()
        by_url = f"rediss://:open%20sesame@localhost:{port}"
        with connector(tmp_path, url=by_url, tls_ca_cert=str(authority.ca)).client() as client:
            assert client.ping()


def test_tls_with_a_wrong_authority(server: TestRedis, authority: Authority, tmp_path: Path) -> None:
    """A certificate of somebody else's authority, or of none that is known, is refused."""
    path = server.connector.socket_path
    assert path is not None
    other = Authority.make(tmp_path, "other")
    with proxy(path, cert=authority.issue("server")) as port:
        for way in (tls(tmp_path, port, tls_ca_cert=other.ca), tls(tmp_path, port)):
            error = failure(way, retries=0)
            assert type(error) is Unavailable
            assert str(error).startswith(f"No TLS connection to Redis at {way.url}: certificate verify failed")
            assert "\n" not in str(error)


def test_tls_with_a_required_client_certificate(server: TestRedis, authority: Authority, tmp_path: Path) -> None:
    """tls_cert and tls_key are the client's; without them the server's wish is named."""
    path = server.connector.socket_path
    assert path is not None
    with proxy(path, cert=authority.issue("server"), client_ca=authority.ca) as port:
        mine = authority.issue("client")
        way = tls(tmp_path, port, tls_ca_cert=authority.ca, tls_cert=mine, tls_key=mine)
        with way.client() as client:
            assert way.check(client).pid
        bare = tls(tmp_path, port, tls_ca_cert=authority.ca)
        error = failure(bare)
        # TLS 1.3 refuses after the handshake; the reason is lost when our first command crosses it.
        assert str(error) in {
            f"Redis wants a client certificate at {bare.url}.",
            f"Redis closed the TLS connection at {bare.url}.",
        }
        assert "redis.tls_cert" in str(error.remedy)


def test_tls_to_a_server_without(server: TestRedis, authority: Authority, tmp_path: Path) -> None:
    """A plain port is no TLS server, and that is said."""
    path = server.connector.socket_path
    assert path is not None
    with proxy(path) as port:
        error = failure(tls(tmp_path, port, tls_ca_cert=authority.ca), retries=0, timeout_s=0.5)
        assert str(error).startswith(("No TLS connection", "Redis is not answering"))


# Long paths


@pytest.mark.parametrize("folder", ["x" * 200, "a b/" + "ü ä" * 30 + "/" + "深" * 40, "/".join(["d" * 100] * 5)])
def test_sockets_in_folders_of_any_length(tmp_path: Path, folder: str) -> None:
    """Bind and connect work although the path does not fit into an address; the plain path leads there too."""
    deep = tmp_path / folder
    deep.mkdir(parents=True)
    path = SocketPath(deep / "supervisor.sock")
    assert path.is_too_long
    assert len(os.fsencode(path.address)) <= LIMIT
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s,
    ):
        bound.bind(path.address)
        assert path.path.is_socket()
        other = SocketPath(path.path)
        s.sendto(b"look", other.address)
        assert bound.recv(10) == b"look"
    other.close()
    path.close()


def test_a_folder_that_was_replaced_is_found_again(tmp_path: Path) -> None:
    """An address follows the path, not the folder that once was there."""
    deep = tmp_path / ("x" * 200)
    deep.mkdir()
    path = SocketPath(deep / "s.sock")
    assert path.address
    deep.rmdir()
    with pytest.raises(FileNotFoundError):
        assert path.address
    deep.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        bound.bind(path.address)
    assert path.path.is_socket()
    path.close()


def test_a_short_path_is_its_own_address() -> None:
    """Nothing is opened when it fits."""
    assert SocketPath(Path("/tmp/a.sock")).address == "/tmp/a.sock"
