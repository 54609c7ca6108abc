"""The server a town keeps for itself: started once, never beside a live one, its data kept."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.redis_server import TestRedis
from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.config import RedisConfig
from tinytown.errors import ConfigInvalid, Forbidden, RedisNotInstalled, RedisVersionTooOld, TinytownError, Unavailable
from tinytown.store import binary, server_conf
from tinytown.store import server as server_module
from tinytown.store.connection import Connector
from tinytown.store.server import Answer, ManagedServer

pytestmark = pytest.mark.slow

Make = Callable[..., TestRedis]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Make]:
    """Makes servers of the town in tmp_path, with the settings given; ends them all."""
    made: list[TestRedis] = []

    def make(root: Path | None = None, **settings: Any) -> TestRedis:
        made.append(TestRedis(root or tmp_path / "town", **{"appendfsync": "no"} | settings))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter bounds for what does not answer."""
    monkeypatch.setattr(server_module, "ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(server_module, "GONE_TIMEOUT_S", 0.3)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def refusal(server: TestRedis) -> TinytownError:
    with pytest.raises(TinytownError) as caught:
        server.start()
    assert "\n" not in str(caught.value)
    assert "\n" not in str(caught.value.remedy)
    return caught.value


# Start and stop


def test_start_use_stop_start(town: Make) -> None:
    """Ensure starts when needed, stop ends it and leaves no socket and pid file; the data is there again."""
    live = town()
    assert live.server.identity() is None
    assert live.server.ensure()
    assert not live.server.ensure()
    first = live.process
    client = live.client()
    client.set("key", "value")
    assert live.connector.check(client).pid == first.pid
    assert live.server.stop()
    assert not live.server.stop()
    assert not processes.is_alive(first)
    left = {path.name for path in live.state_dir.iterdir()}
    assert not left & {"redis.sock", "redis.pid", "redis.json"}
    assert live.server.ensure()
    assert client.get("key") == "value"


def test_its_files_are_the_users_alone(town: Make) -> None:
    """The folder, the configuration with the password, the socket and the data; no password on the command line."""
    live = town(password="open sesame").start()  # noqa: S106
    live.client().set("a", "b")
    for path in [live.state_dir, *live.state_dir.rglob("*")]:
        assert path.lstat().st_mode & 0o077 == 0, path
    assert "open sesame" in (live.state_dir / "redis.conf").read_text()
    assert b"sesame" not in Path(f"/proc/{live.process.pid}/cmdline").read_bytes()


def test_eight_commands_at_once_start_one_server(town: Make) -> None:
    """Callers that come together end up with the same one process, and one of them started it."""
    live = town()
    context = multiprocessing.get_context("fork")
    gate = context.Event()

    def start() -> None:
        gate.wait()
        os._exit(10 if ManagedServer(live.config, live.state_dir).ensure() else 0)

    starters = [context.Process(target=start) for _ in range(8)]
    for starter in starters:
        starter.start()
    gate.set()
    for starter in starters:
        starter.join(20)
    assert sorted(starter.exitcode or 0 for starter in starters) == [0] * 7 + [10]
    assert live.client().ping()
    assert (live.state_dir / "redis.log").read_text().count("Ready to accept connections") == 1


def test_a_killed_server_comes_back_with_all_its_data(town: Make) -> None:
    """SIGKILL, with appendfsync always: what was acknowledged is there; stale socket and pid file do not hinder."""
    live = town(appendfsync="always").start()
    client = live.client()
    for number in range(100):
        client.rpush("list", number)
    live.kill()
    assert (live.state_dir / "redis.sock").is_socket()
    assert (live.state_dir / "redis.pid").exists()
    assert live.server.look() is Answer.NOBODY
    assert live.server.ensure()
    assert client.llen("list") == 100


def test_a_recycled_pid_is_not_taken_for_the_server(town: Make) -> None:
    """A pid file and a record that name some living process are stale when its start time differs."""
    live = town()
    (live.state_dir / "redis.pid").write_text(f"{os.getpid()}\n")
    (live.state_dir / "redis.json").write_text(f'{{"pid": {os.getpid()}, "started": 1}}')
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(live.state_dir / "redis.sock"))
    assert live.server.identity() is None
    assert live.server.ensure()
    assert live.process.pid != os.getpid()


@pytest.mark.usefixtures("impatient")
def test_a_frozen_server_is_left_alone(town: Make) -> None:
    """A live server that does not answer keeps its socket, and no second one is started."""
    live = town().start()
    before = live.process
    live.freeze()
    socket_inode = (live.state_dir / "redis.sock").stat().st_ino
    error = refusal(live)
    assert type(error) is Unavailable
    assert str(error) == f"Redis (pid {before.pid}) is not answering."
    assert f"kill -9 {before.pid}" in str(error.remedy)
    assert (live.state_dir / "redis.sock").stat().st_ino == socket_inode
    live.thaw()
    wait_until(lambda: live.server.look() is Answer.READY, what="the thawed server")
    assert not live.server.ensure()
    assert live.process == before


def test_a_frozen_server_is_stopped_by_force_in_the_end(town: Make) -> None:
    """Stop waits, then kills exactly the identified process."""
    live = town().start()
    before = live.process
    live.freeze()
    assert live.server.stop(timeout_s=0.3)
    assert not processes.is_alive(before)
    assert live.server.ensure()


@pytest.mark.usefixtures("impatient")
def test_no_second_server_beside_one_that_lost_everything_but_its_life(town: Make) -> None:
    """Its starter died before recording it, its socket was deleted: still nothing is started on its data."""
    live = town().start()
    before = live.process
    for name in ("redis.sock", "redis.json"):
        (live.state_dir / name).unlink()
    assert str(refusal(live)) == f"Redis (pid {before.pid}) is not answering."
    (live.state_dir / "redis.pid").unlink()
    assert "A Redis process has not left" in str(refusal(live))
    assert processes.is_alive(before)
    processes.send(before, signal.SIGKILL)


def test_a_server_started_by_hand_is_used(town: Make) -> None:
    """One that answers on the town's socket is the town's, whoever started it; stop ends it."""
    live = town().start()
    before = live.process
    (live.state_dir / "redis.json").unlink()
    (live.state_dir / "redis.alive").unlink()
    assert not live.server.ensure()
    assert live.process == before
    assert live.server.stop()


def test_marks_of_a_run_or_a_service_are_not_inherited(
    town: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that carried TINYTOWN_RUN would be ended with the model run that happened to start it."""
    wrapper = tmp_path / "wrapper"
    real = binary.find(RedisConfig()).path
    wrapper.write_text(f'#!/bin/sh\n[ "$1" = --version ] || env > {tmp_path}/env\nexec "{real}" "$@"\n')
    wrapper.chmod(0o755)
    for name in ("TINYTOWN_RUN", "TINYTOWN_AGENT_ID", "TINYTOWN_REDIS_PASSWORD", "NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.setenv(name, "mark")
    town(server=str(wrapper)).start()
    assert "=mark" not in (tmp_path / "env").read_text()


@pytest.mark.parametrize("works", [True, False])
def test_in_a_service_it_gets_a_scope_of_its_own(
    town: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    works: bool,  # noqa: FBT001
) -> None:
    """Under systemd it is started by systemd-run, and plainly when that fails."""
    tool = tmp_path / "bin" / "systemd-run"
    tool.parent.mkdir()
    end = (
        'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"' if works else "echo 'Failed to connect to bus'; exit 1"
    )
    tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/argv\n{end}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("INVOCATION_ID", "x")
    live = town().start()
    assert live.client().ping()
    assert (tmp_path / "argv").read_text().startswith("--user --scope --collect --quiet /")


# Settings and their effect


@pytest.mark.parametrize("name", ["x" * 150, "a b/" + "ü ä\"'" * 20 + "/" + "深" * 30])
def test_a_town_in_a_folder_of_any_length_and_name(town: Make, tmp_path: Path, name: str) -> None:
    """A socket path beyond 107 bytes, spaces, quotes and unicode: server, commands and bell work."""
    live = town(tmp_path / name).start()
    assert live.connector.socket is not None
    assert live.connector.socket.is_too_long
    client = live.client()
    client.set("key", "value")
    live.kill()
    assert live.server.ensure()
    assert client.get("key") == "value"
    bell = live.connector.bell()
    bell.connect()
    bell.disconnect()


def test_a_socket_elsewhere(town: Make, tmp_path: Path) -> None:
    """socket_path is respected, relative to the town or absolute; one that is too long is refused."""
    live = town(socket_path="run/town.sock").start()
    assert (live.root / "run" / "town.sock").is_socket()
    assert not (live.state_dir / "redis.sock").exists()
    live.stop()
    live = town(socket_path=str(tmp_path / "abs.sock")).start()
    assert (tmp_path / "abs.sock").is_socket()
    live.stop()
    assert "redis.socket_path is too long" in str(refusal(town(socket_path=f"/tmp/{'x' * 110}/r.sock")))


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_appendfsync_is_what_the_server_does(town: Make, policy: str) -> None:
    """The setting reaches the server."""
    live = town(appendfsync=policy).start()
    client = live.client()
    assert client.config_get("append*")["appendonly"] == "yes"
    assert client.config_get("append*")["appendfsync"] == policy
    assert client.config_get("save")["save"] == ""


def test_without_persist_nothing_is_kept(town: Make) -> None:
    """Persist = false writes no file, and a restart begins empty."""
    live = town(persist=False).start()
    live.client().set("key", "value")
    live.stop()
    assert not (live.state_dir / "appendonlydir").exists()
    live.start()
    assert live.client().dbsize() == 0


def test_aof_path_says_where_the_data_is(town: Make) -> None:
    """Another name and another folder, and the data comes from there again."""
    live = town(aof_path="state/board.aof").start()
    live.client().set("key", "value")
    live.stop()
    folder = live.root / "state" / "appendonlydir"
    assert (folder / "board.aof.manifest").is_file()
    assert (live.state_dir / "appendonlydir").resolve() == folder
    live.start()
    assert live.client().get("key") == "value"


def test_a_changed_aof_path_does_not_hide_the_data(town: Make) -> None:
    """Starting empty while the data lies in the former place is refused, with both ways out."""
    live = town().start()
    live.client().set("key", "value")
    live.stop()
    for changed in (".tt/other.aof", "state/redis.aof"):
        error = refusal(town(aof_path=changed))
        assert isinstance(error, ConfigInvalid)
        assert str(live.state_dir / "redis.aof") in str(error.remedy)
    live.start()
    assert live.client().get("key") == "value"
    live.stop()
    moved = town(aof_path="state/redis.aof")
    (live.state_dir / "appendonlydir").rename(live.root / "state" / "appendonlydir")
    moved.start()
    assert moved.client().get("key") == "value"
    moved.stop()
    shutil.rmtree(live.root / "state")
    assert "append-only files are gone" in str(refusal(moved))


@pytest.mark.parametrize("aof_path", [".tt/redis.aof", "state/town.aof"])
def test_a_saved_file_is_left_to_restore(town: Make, aof_path: str) -> None:
    """What another machine saved at aof_path is neither loaded nor moved by a start; the town begins empty."""
    live = town(aof_path=aof_path)
    file = live.root / aof_path
    file.parent.mkdir(exist_ok=True)
    saved = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n"
    file.write_bytes(saved)
    live.start()
    assert live.client().get("key") is None
    live.client().set("more", "1")
    live.kill()
    live.start()
    assert (live.client().get("key"), live.client().get("more")) == (None, "1")
    assert file.read_bytes() == saved


def test_tcp_host_port_bind_and_password(town: Make) -> None:
    """use_socket = false: the port is open on the addresses of bind and on host, for the password only."""
    port = free_port()
    live = town(use_socket=False, port=port, bind="127.0.0.2", password="pass word").start()  # noqa: S106
    assert live.connector.url == f"redis://:****@127.0.0.1:{port}"
    assert live.client().ping()
    assert live.client().config_get("port")["port"] == str(port)
    other = Connector(RedisConfig(url=f"redis://127.0.0.2:{port}"), live.state_dir)
    with other.client() as client, pytest.raises(Unavailable, match="authentication failed"):
        other.check(client)
    with socket.socket() as third, pytest.raises(ConnectionRefusedError):
        third.connect(("127.0.0.3", port))
    before = live.process
    live.kill()
    assert live.server.ensure()
    assert live.process != before


def test_a_wrong_password_does_not_start_a_second_server(town: Make) -> None:
    """A server that refuses the password lives."""
    live = town(password="right").start()  # noqa: S106
    other = ManagedServer(RedisConfig(password="wrong"), live.state_dir)  # noqa: S106
    assert not other.ensure()
    with other.connector.client() as client, pytest.raises(Unavailable, match="authentication failed"):
        other.connector.check(client)


def test_an_open_door_needs_a_password(town: Make) -> None:
    """Binding to other than loopback addresses without a password is refused."""
    for bind in ("0.0.0.0", "127.0.0.1 192.0.2.1", "*"):  # noqa: S104
        assert "without a password" in str(refusal(town(use_socket=False, port=free_port(), bind=bind)))


def test_an_external_server_is_not_ours_to_start_or_stop(tmp_path: Path) -> None:
    """With a URL or another host nothing is started, stopped or written."""
    for config in (RedisConfig(url="redis://127.0.0.1:1"), RedisConfig(use_socket=False, host="redis.example.com")):
        server = ManagedServer(config, tmp_path / ".tt")
        assert not server.ensure()
        assert not server.stop()
    assert not (tmp_path / ".tt").exists()


def test_the_central_server_is_one_for_all_towns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """use_central: in ~/.tt, made for the user alone, whatever the towns' other settings are."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    one = ManagedServer(RedisConfig(use_central=True, password="a", persist=False), tmp_path / "one" / ".tt")  # noqa: S106
    two = ManagedServer(RedisConfig(use_central=True, use_socket=False), tmp_path / "two" / ".tt")
    try:
        assert one.ensure()
        assert not two.ensure()
        assert one.identity() == two.identity()
        assert two.connector.socket_path == tmp_path / "home" / ".tt" / "redis.sock"
        assert (tmp_path / "home" / ".tt").stat().st_mode & 0o777 == 0o700
        with two.connector.client() as client:
            assert client.config_get("appendonly")["appendonly"] == "yes"
    finally:
        one.stop()


@pytest.mark.parametrize(
    "text", ["plain", "a b", "q\"u\\o'te", "tab\tline\nbell\x07", "ümlaut 深", "#hash", "${HOME}", ""]
)
def test_any_text_survives_redis_conf(text: str) -> None:
    """A quoted value is read back by Redis' own rules."""
    quoted = server_conf.quote(text)
    assert "\n" not in quoted
    assert quoted[1:-1].encode().decode("unicode_escape").encode("latin-1").decode() == text


def test_an_odd_password_reaches_the_server(town: Make) -> None:
    """Quotes, backslashes, spaces and unicode in requirepass."""
    live = town(password="a 'b' \"c\" \\d #e ü").start()  # noqa: S106
    assert live.client().ping()


# What can go wrong


def test_no_usable_binary(town: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference's errors; nothing is left half done."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binary, "_in_package", lambda *_: iter(()))
    live = town()
    with pytest.raises(RedisNotInstalled):
        live.start()
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=7.0.15 sha=00000000:0'\n")
    old.chmod(0o755)
    with pytest.raises(RedisVersionTooOld):
        live.start()
    assert {path.name for path in live.state_dir.iterdir()} == {"redis.lock"}


@pytest.mark.usefixtures("impatient")
def test_a_port_that_somebody_else_has(town: Make) -> None:
    """Listening and silent, or only bound: said as such, with the setting to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refusal(town(use_socket=False, port=port))
        assert str(error) == f"Port {port} is in use by another program."
        assert "redis.port" in str(error.remedy)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert str(refusal(town(use_socket=False, port=port))) == f"Port {port} is in use by another program."


def test_an_address_that_is_not_ours(town: Make) -> None:
    """An address in bind that this machine lacks is named."""
    error = refusal(town(use_socket=False, port=free_port(), bind="192.0.2.1", password="x"))  # noqa: S106
    assert "Redis cannot listen on 192.0.2.1" in str(error)


def test_a_folder_that_cannot_be_written(town: Make, tmp_path: Path) -> None:
    """One line that names the place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Forbidden, match="Cannot write"):
        ManagedServer(RedisConfig(), tmp_path / "file" / ".tt").ensure()
    assert isinstance(refusal(town(aof_path="/proc/nowhere/redis.aof")), Forbidden)


def test_damaged_append_only_files(town: Make) -> None:
    """A start that fails for the data says so, names the tool, and changes nothing."""
    live = town().start()
    live.client().set("key", "value")
    live.stop()
    file = next((live.state_dir / "appendonlydir").glob("*.incr.aof"))
    damaged = b"this is no append-only file\r\n" + file.read_bytes()
    file.write_bytes(damaged)
    error = refusal(live)
    assert "they are damaged" in str(error)
    assert "redis-check-aof --fix" in str(error.remedy)
    assert file.read_bytes() == damaged


def test_tls_with_a_server_that_has_none(town: Make, tmp_path: Path) -> None:
    """A binary without TLS is named, not a time-out waited for; without a certificate it is not even tried."""
    mine = str(Authority.make(tmp_path).issue("server"))
    settings = {"use_socket": False, "port": free_port(), "tls_enabled": True}
    assert "needs redis.tls_cert" in str(refusal(town(**settings)))
    live = town(**settings, tls_cert=mine, tls_key=mine, tls_ca_cert=str(tmp_path / "ca.pem"))
    try:
        live.start()
    except Unavailable as error:
        assert str(error).startswith("This redis-server was built without TLS: ")  # noqa: PT017  it may have TLS
    else:
        assert live.client().ping()


def test_a_log_is_bounded(town: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis never rotates its log: a start begins a large one anew."""
    monkeypatch.setattr(server_module, "LOG_BYTES", 1000)
    live = town()
    (live.state_dir / "redis.log").write_text("old line\n" * 1000)
    live.start()
    assert "old line" not in (live.state_dir / "redis.log").read_text()


def test_the_way_out_of_the_error_texts_is_on_one_line(town: Make) -> None:
    """A server that cannot even read its configuration is quoted."""
    live = town(appendfsync="sometimes")
    error = refusal(live)
    assert "Redis did not start" in str(error)
    assert "appendfsync" in str(error)


def test_only_a_server_that_was_started_here_is_recorded(town: Make, tmp_path: Path) -> None:
    """Somebody else who answers on the socket is not: a record that lives is never replaced by a new server."""
    program = tmp_path / "redis-server"
    program.write_text(f"""#!{sys.executable}
import os, socket, sys
if "--version" in sys.argv:
    print("Redis server v=8.2.3 sha=00000000:0 malloc=libc bits=64 build=1")
    sys.exit()
listener = socket.socket(socket.AF_UNIX)
listener.bind("redis.sock")
read, write = os.pipe()
if os.fork():
    os.read(read, 1)
    sys.exit()
listener.listen()  # the kernel's word on who listens is who called this
os.write(write, b".")
os.closerange(0, listener.fileno())  # and with them the lock that a server holds
os.closerange(listener.fileno() + 1, 100)
while True:
    peer = listener.accept()[0]
    while data := peer.recv(1000):
        peer.sendall(b"+PONG\\r\\n" * data.count(b"*"))
""")
    program.chmod(0o755)
    live = town(server=str(program))
    assert live.server.ensure()
    stranger = live.server.identity()
    assert stranger is not None
    assert "pid" not in json.loads((live.state_dir / "redis.json").read_text())
    processes.send(stranger, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(stranger))
    assert live.server.identity() is None


def passwordless(port: int, tmp_path: Path) -> subprocess.Popen[bytes]:
    """A server that somebody else runs on that port, as every version before could use it."""
    program = binary.find(RedisConfig(), tmp_path).path
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "")
    return subprocess.Popen([program, *options], cwd=tmp_path, stdout=subprocess.DEVNULL)


def test_who_has_the_server_open_follows_its_password(town: Make, tmp_path: Path) -> None:
    """A password is made when ours takes the place of a server without one: open clients and bells go on. And back."""
    live = town(use_socket=False, port=free_port())
    stranger = passwordless(live.config.port, tmp_path)
    try:
        wait_until(lambda: live.server.look() is Answer.READY, what="the other's server")
        client, bell = live.client(), live.connector.bell()
        assert client.ping()
        bell.connect()
        assert not live.server.ensure()
    finally:
        stranger.kill()
        stranger.wait()
    assert live.server.ensure()
    assert client.ping()
    bell.disconnect()
    bell.connect()
    bell.send_command("PING")
    assert bell.read_response() == "PONG"
    assert live.server.stop()
    assert live.server.ensure()
    assert client.ping()
    live.kill()
    stranger = passwordless(live.config.port, tmp_path)
    try:
        wait_until(lambda: live.server.look() is Answer.READY, what="the other's server")
        live.connector.check(client)
        live.connector.check(live.client())
        bell.disconnect()
        bell.connect()
    finally:
        stranger.kill()
        stranger.wait()


def test_towns_that_share_a_server_agree_on_its_password(town: Make, tmp_path: Path) -> None:
    """Whoever starts it: several at once, and those who see its end while another town stops it."""
    settings = {"use_socket": False, "port": free_port()}
    towns = [town(tmp_path / name, **settings) for name in ("a", "b", "c")]
    context = multiprocessing.get_context("fork")
    for _ in range(8):
        gates = [context.Event() for _ in towns]
        running = next((found for one in towns if (found := one.server.identity()) is not None), None)

        def start(one: TestRedis, gate: Any, before: processes.Identity | None = running) -> None:
            gate.set()
            while processes.is_alive(before):
                pass
            with contextlib.suppress(TinytownError):  # another one has the port now
                one.server.ensure()
            os._exit(0)

        starters = [context.Process(target=start, args=pair) for pair in zip(towns[1:], gates[1:], strict=True)]
        for starter in starters:
            starter.start()
        for gate in gates[1:]:
            gate.wait()
        for one in towns:
            one.server.stop()
        for starter in starters:
            starter.join(20)
        for one in towns:
            one.server.ensure()
            one.connector.check(one.client())
