"""Another user of this machine: connects to nothing, reads nothing, plants nothing that is run or written through."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.security.conftest import NOBODY, SETPRIV, as_stranger, give_away, needs_stranger
from tests.security.in_one_process import run_all
from tests.support.cli import Tt
from tests.support.waiting import wait_until
from tinytown.errors import Forbidden
from tinytown.files import FileLock, write_atomic
from tinytown.processes import identity

pytestmark = [pytest.mark.slow, needs_stranger]

KNOCK = """
import socket, sys
kind, address = sys.argv[1:3]
if kind == "tcp":
    knock = socket.create_connection(("127.0.0.1", int(address)))
else:
    knock = socket.socket(socket.AF_UNIX, {"stream": socket.SOCK_STREAM, "datagram": socket.SOCK_DGRAM}[kind])
    knock.connect(address)
knock.sendall(b"look" if kind == "datagram" else b"PING\\r\\n")
print("in", knock.recv(100) if kind != "datagram" else "")
"""
LISTEN = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
import os; os.chmod(sys.argv[1], 0o777)
listener.listen()
print("listening", flush=True)
while True:
    guest = listener.accept()[0]
    while guest.recv(1000):
        guest.sendall(b"+PONG\\r\\n")
"""


def knock(kind: str, address: object) -> tuple[int, str]:
    return as_stranger("python3", "-c", KNOCK, kind, str(address))


def running_pids(tt: Tt) -> list[int]:
    """Supervisor, actor and Redis of the town."""
    state = tt.cwd / ".tt"
    files = (state / "supervisor.json", state / "redis.json", *state.glob("agents/*/actor.json"))
    return [json.loads(path.read_text())["pid"] for path in files]


def test_a_living_town_is_closed(made: Tt) -> None:
    """Neither socket, file nor environment; not even when the folder itself were open."""
    made.ok("spawn", "backend", env={"ANTHROPIC_API_KEY": "sk-in-the-environment"})
    state = made.cwd / ".tt"
    for folder_mode in (0o700, 0o755):
        state.chmod(folder_mode)
        for kind, name in (("stream", "redis.sock"), ("datagram", "supervisor.sock")):
            code, said = knock(kind, state / name)
            assert (code, "Permission denied" in said) == (1, True), said
        _code, said = as_stranger("find", str(state), "-type", "f", "-readable")
        assert [line for line in said.splitlines() if not line.endswith("Permission denied")] == []
    state.chmod(0o700)
    pids = running_pids(made)
    assert len(pids) == 3
    for pid in pids:
        assert as_stranger("cat", f"/proc/{pid}/environ")[0] == 1
    code, said = as_stranger("tt", "--town", str(made.cwd), "status")
    assert code == 1
    assert "Traceback" not in said


def test_tcp_wants_a_password_that_nobody_wrote(tt: Tt, world: Path) -> None:
    """use_socket = false without a password: the town makes one, keeps it in ~/.tt, and finds its way by it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tt.cwd / "tinytown.toml").write_text(f'name = "town"\n[redis]\nuse_socket = false\nport = {port}\n')
    tt.ok("init")
    secret = world / "home" / ".tt" / f"redis-localhost-{port}.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(secret.read_text()) == 64
    _code, said = knock("tcp", port)
    assert "NOAUTH" in said, said
    tt.ok("spawn", "backend", "--cli", "true")
    tt.ok("wait", tt.ok("assign", "backend", "do it").out.split()[2], "--timeout", "20")
    assert secret.read_text() not in tt.ok("status").out + tt.ok("config", "--json").out + tt("doctor").out
    (world / "neighbour").mkdir()
    neighbour = Tt(world / "neighbour", env=tt.env)
    (neighbour.cwd / "tinytown.toml").write_text(f'name = "other"\n[redis]\nuse_socket = false\nport = {port}\n')
    neighbour.ok("init")  # this user's towns still share a server
    made = secret.read_text()
    tt.ok("stop", "--all", "--now")
    assert secret.read_text() == made  # the neighbour may be starting the server again with it
    neighbour.ok("stop", "--all", "--now")


def test_a_town_of_somebody_else_is_not_run(tt: Tt, world: Path) -> None:
    """Found on the way up, or planted where we make ours: nothing it names is started, until we name it."""
    proof = world / "proof"
    trap = world / "project" / "redis-server"
    trap.write_text(f"#!/bin/sh\necho run >> {proof}\n")
    trap.chmod(0o755)
    (tt.cwd / "tinytown.toml").write_text('name = "trap"\n[redis]\nserver = "./redis-server"\n')
    deep = tt.cwd / "a" / "b"
    deep.mkdir(parents=True)
    give_away(tt.cwd / "tinytown.toml", trap)
    commands = (
        "status", "list", "spawn x", "doctor", "config", "supervise", "start", "stop --all", "logs x", "conductor",
        "plan", "save", "restore", "service install", "worktree list",
    )  # fmt: skip
    for ran in run_all(tt, [command.split() for command in commands], cwd=deep):
        assert ran.code == 1, ran
        assert ran.complaint == [
            f"Error: The town at {tt.cwd} belongs to another user (uid {NOBODY}), and its settings say what is run.",
            f"If you trust them: tt --town {tt.cwd} ...",
        ], ran
    assert "belongs to another user" in tt.fails("init").err
    assert not proof.exists()
    assert not (tt.cwd / ".tt").exists()
    assert "redis.server is no Redis" in tt.fails("--town", str(tt.cwd), "supervise").err  # asked for by name
    assert proof.exists()


def test_root_owned_towns_are_fine(made: Tt) -> None:
    """Root can do anything anyway: a user may read a town's settings that root installed."""
    code, said = as_stranger("tt", "status", cwd=made.cwd)
    assert code == 1
    assert "belongs to" not in said


def test_a_planted_socket_is_not_talked_to(tt: Tt, world: Path) -> None:
    """A socket in a folder where all may write: who listens must be us, root, or the owner of the folder."""
    shared = world / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    place = shared / "redis.sock"
    (tt.cwd / "tinytown.toml").write_text(f'name = "town"\n[redis]\nsocket_path = "{place}"\n')
    argv = [*SETPRIV, "--", "python3", "-c", LISTEN, str(place)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as trap:
        assert trap.stdout is not None
        assert trap.stdout.readline() == "listening\n"
        for args in (("init",), ("status",), ("spawn", "x", "--cli", "true")):
            assert "was started by another user" in tt.fails(*args).err
        assert trap.poll() is None
        trap.kill()


def test_our_socket_in_a_shared_folder_is_ours(tt: Tt, world: Path) -> None:
    """There the socket's own mode keeps others out."""
    shared = world / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (tt.cwd / "tinytown.toml").write_text(f'name = "town"\n[redis]\nsocket_path = "{shared}/redis.sock"\n')
    tt.ok("init")
    assert "Permission denied" in knock("stream", shared / "redis.sock")[1]
    tt.ok("status")


def test_links_in_the_way_are_not_followed(world: Path) -> None:
    """A temporary name or a lock that somebody guessed: what the link leads to stays as it is."""
    shared, victim = world / "shared", world / "victim"
    shared.mkdir()
    shared.chmod(0o1777)
    victim.write_text("mine")
    for name in (f"tinytown.toml.{os.getpid()}.tmp", "a.lock"):
        (shared / name).symlink_to(victim)
    write_atomic(shared / "tinytown.toml", "new")
    with pytest.raises(Forbidden, match=r"Cannot write .*a\.lock"):
        FileLock(shared / "a.lock").acquire()
    assert victim.read_text() == "mine"
    assert (shared / "tinytown.toml").read_text() == "new"
    assert not (shared / "tinytown.toml").is_symlink()


def test_logs_are_not_written_through_links(made: Tt, world: Path) -> None:
    """Nor those of an agent, of its rounds and of the supervisor: the agent works on without."""
    victim, logs = world / "victim", made.cwd / ".tt" / "logs"
    victim.write_text("mine")
    for path in (logs / "backend.log", logs / "backend_round_1.log"):
        path.symlink_to(victim)
    made.ok("spawn", "backend")
    task = made.ok("assign", "backend", "fake: print hello").out.split()[2]
    made.ok("wait", task, "--timeout", "20")
    assert victim.read_text() == "mine"


def test_a_pid_in_a_file_is_no_target(made: Tt) -> None:
    """Signals go to the very process that was recorded: a pid that somebody wrote there is not enough."""
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        state = made.cwd / ".tt"
        for name in ("supervisor.json", "redis.json"):
            (state / name).write_text(f'{{"pid": {bystander.pid}, "started": 1, "start_time": 1}}')
        made.ok("stop", "--all", "--now")
        assert bystander.poll() is None
        assert identity(bystander.pid) is not None
    finally:
        bystander.send_signal(signal.SIGKILL)
        bystander.wait()
        wait_until(lambda: not (made.cwd / ".tt" / "redis.sock").exists(), what="the end of Redis")


def test_only_this_interpreter_is_run(made: Tt) -> None:
    """What runs the supervisor is this Python, not a `python` or `tinytown` that lies in the working directory."""
    (made.cwd / "tinytown.py").write_text("raise SystemExit('planted')\n")
    (made.cwd / "tinytown").mkdir()
    (made.cwd / "tinytown" / "__init__.py").write_text("raise SystemExit('planted')\n")
    made.ok("spawn", "backend")
