"""The process table: who is it, does it live, who belongs to it."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.processes import Identity

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
TREE = """
import os, sys, time
def child(how):
    if os.fork() == 0:
        if "session" in how:
            os.setsid()
        if "daemon" in how and os.fork():
            os._exit(0)
        os.write(1, b"%s %d\\n" % (how.encode(), os.getpid()))
        time.sleep(60)
for how in sys.argv[1:]:
    child(how)
time.sleep(60)
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP) as child:
        yield child
        child.kill()


@contextmanager
def tree(*kinds: str, mark: str = "none") -> Iterator[tuple[Identity, dict[str, Identity]]]:
    """A leader in a session of its own, and children of these kinds, by kind."""
    argv = [sys.executable, "-S", "-c", TREE, *kinds]
    environment = os.environ | {processes.RUN_VARIABLE: mark}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True, env=environment) as leader:
        assert leader.stdout is not None
        found = {}
        for _ in kinds:
            how, pid = leader.stdout.readline().decode().split()
            found[how] = identity_of(int(pid))
        yield identity_of(leader.pid), found
        processes.kill_all(
            [identity_of(leader.pid), *found.values()] if leader.poll() is None else list(found.values())
        )
    wait_until(lambda: not any(processes.is_alive(p) for p in found.values()), 5)


def identity_of(pid: int) -> Identity:
    found = processes.identity(pid)
    assert found is not None
    return found


def test_who_i_am() -> None:
    """This process lives, by pid and start time; both stay the same."""
    assert processes.own() == processes.own() == processes.identity(os.getpid())
    assert processes.is_alive(processes.own())
    assert not processes.is_alive(None)


def test_a_pid_that_was_reused_is_somebody_else(sleeper: subprocess.Popen[bytes]) -> None:
    """The same pid with another start time is dead, and gets no signal and no descriptor."""
    real = identity_of(sleeper.pid)
    ghost = Identity(real.pid, real.started - 1)

    assert processes.is_alive(real)
    assert not processes.is_alive(ghost)
    assert processes.open_pidfd(ghost) is None
    assert not processes.send(ghost, signal.SIGKILL)
    assert processes.kill_all([ghost]) == 0
    assert sleeper.poll() is None
    assert processes.kill_all([real, ghost]) == 1


def test_a_process_of_somebody_else(sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model started with sudo cannot be signalled: that is an answer and no error."""

    def refused(_fd: int, _signum: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", refused)
    real = identity_of(sleeper.pid)

    assert not processes.send(real, signal.SIGKILL)
    assert processes.kill_all([real, real]) == 0


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**31 - 1])
def test_pids_that_cannot_be(pid: int) -> None:
    """What is no process is None, and dead, never an error."""
    assert processes.identity(pid) is None
    assert not processes.is_alive(Identity(pid, 1))
    assert processes.open_pidfd(Identity(pid, 1)) is None
    assert not processes.send(Identity(pid, 1), 0)


def test_a_zombie_is_dead() -> None:
    """Ended and not yet reaped: dead for everybody who asks; a signal to it says so."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert processes.identity(pid) is None
    assert not processes.send(Identity(pid, 1), 0)
    assert not [p for p in processes.kin(processes.own()) if p.pid == pid]
    os.waitpid(pid, 0)


def test_a_descriptor_tells_the_end(sleeper: subprocess.Popen[bytes]) -> None:
    """A pidfd is silent while the process lives and readable from its end on."""
    fd = processes.open_pidfd(identity_of(sleeper.pid))
    assert fd is not None
    assert not select.select([fd], [], [], 0)[0]
    assert processes.send(identity_of(sleeper.pid), signal.SIGKILL)
    assert select.select([fd], [], [], 5)[0]
    os.close(fd)


def test_odd_names_do_not_confuse() -> None:
    """A process whose name looks like the rest of its stat line is read right."""
    rename = "import ctypes, time; ctypes.CDLL(None).prctl(15, b') Z 1 (x) 9', 0, 0, 0)"
    code = f"{rename}; print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = processes.identity(child.pid)
        child.kill()
    assert found is not None


def test_the_journals_form() -> None:
    """An identity survives the journal; what is none, or of another boot, is None."""
    me = processes.own()

    assert Identity.from_dict(me.to_dict()) == me
    assert Identity.from_dict(me.to_dict() | {"boot": "another"}) is None
    wrong: tuple[Any, ...] = (None, {}, [], "x", {"pid": 1}, {"pid": "x", "started": 1}, {"pid": None, "started": 1})
    for bad in wrong:
        assert Identity.from_dict(bad) is None


def test_marked_finds_every_process_of_a_run() -> None:
    """By the start of the variable's value: whoever inherited it, wherever it went, and nobody else."""
    with (
        tree("plain", "session", "session-daemon", mark="agent-7:3:12") as (leader, children),
        tree("plain", mark="agent-77:3:12") as (_other, _others),
    ):
        wait_until(lambda: len(processes.marked("agent-7:")) == 4, 2)
        assert {p.pid for p in processes.marked("agent-7:")} == {leader.pid, *(c.pid for c in children.values())}
        assert processes.marked("agent-7:3:13") == []
        assert len(processes.marked("agent-7:3:")) == 4
    assert processes.marked("agent-7:") == []


def test_kin_are_session_group_and_descendants() -> None:
    """Children, and children in sessions of their own, belong to the leader; a stranger does not."""
    with tree("plain", "session") as (leader, children), tree("plain") as (stranger, _others):
        found = set(processes.kin(leader))

        assert found == {leader, *children.values()}
        assert stranger not in found


def test_kin_of_a_leader_that_is_gone() -> None:
    """Its session lives on in its children; a later process with its pid as session does not count."""
    with tree("plain") as (leader, children):
        processes.send(leader, signal.SIGKILL)
        wait_until(lambda: not processes.is_alive(leader), 5)

        assert processes.kin(leader) == [children["plain"]]
        reused = Identity(leader.pid, children["plain"].started + 1000)
        assert processes.kin(reused) == []


def test_marked_and_kin_together_miss_nobody() -> None:
    """A daemonised child in a session of its own whose parent is gone has only the mark left."""
    with tree("plain", "session", "session-daemon", mark="agent-8:1:1") as (leader, children):
        everybody = {leader, *children.values()}
        assert {*processes.kin(leader), *processes.marked("agent-8:")} == everybody
        assert processes.kill_all(list(everybody)) == 4
        wait_until(lambda: not processes.marked("agent-8:") and not processes.kin(leader), 5)


def test_dying_with_a_parent_that_is_gone() -> None:
    """A child whose parent died before it could ask ends itself."""
    pid = os.fork()
    if pid == 0:
        processes.die_with_parent(os.getppid() + 1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_orphans_come_to_a_subreaper() -> None:
    """After `become_subreaper` an orphaned grandchild has this process as its parent."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        processes.become_subreaper()
        ready, tell = os.pipe()
        if os.fork() == 0:  # the parent of the one that will be an orphan
            if os.fork() == 0:
                born_to = os.getppid()
                os.write(tell, b"x")
                wait_until(lambda: os.getppid() != born_to, 5)
                os.write(writer, b"%d" % os.getppid())
            else:
                os.read(ready, 1)
            os._exit(0)
        os.wait()
        os.wait()
        os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(reader, 20)) == pid
    os.close(reader)
    os.close(writer)


def test_what_a_process_uses(sleeper: subprocess.Popen[bytes]) -> None:
    """CPU seconds and resident bytes; zeros for one that is gone."""
    cpu, memory = processes.cpu_and_memory(os.getpid())

    assert cpu > 0
    assert memory > 1_000_000
    sleeper.kill()
    sleeper.wait()
    assert processes.cpu_and_memory(sleeper.pid) == (0.0, 0)
