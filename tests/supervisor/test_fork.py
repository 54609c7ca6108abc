"""Forking: exit codes, signals, the parent's death, what a child must not inherit."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.files import FileLock
from tinytown.signals import SignalQueue
from tinytown.supervisor.fork import Forked, exit_code, fork, reap_orphans


def nothing() -> None:
    return


def ended(child: Forked) -> int:
    """Wait for its end as the loop does; the descriptor is closed."""
    assert select.select([child.pidfd], [], [], 10)[0], "the child lives"
    code = wait_until(lambda: (exit_code_or_minus(child),), 5)[0]
    os.close(child.pidfd)
    return code


def exit_code_or_minus(child: Forked) -> int:
    code = exit_code(child.process)
    assert code is not None
    return code


def hang() -> int:
    signal.pause()
    return 0


def in_a_child(test: Callable[[], None]) -> None:
    """Run the test's body in a process that may set signal handlers and be killed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(20)
            test()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_the_result_is_the_exit_code(code: int) -> None:
    """What `main` returns is what the parent reaps; afterwards no zombie is left."""
    child = fork(lambda: code, nothing)

    assert child.identity.pid == child.process.pid
    assert ended(child) == code
    assert not os.path.exists(f"/proc/{child.identity.pid}")


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_death_by_signal(signum: int) -> None:
    """A killed child's code is the negative signal; its pidfd fires; its identity is dead."""
    child = fork(hang, nothing)
    processes.send(child.identity, signum)

    assert ended(child) == -signum
    assert not processes.is_alive(child.identity)


def test_an_exception_is_an_abnormal_end(capfd: pytest.CaptureFixture[str]) -> None:
    """A child that fails ends with 1 and a traceback on stderr; it never returns into its parent's code."""

    def fail() -> int:
        raise LookupError("by intent")

    assert ended(fork(fail, nothing)) == 1
    assert "LookupError: by intent" in capfd.readouterr().err


def test_what_is_left_behind_comes_first() -> None:
    """`leave_behind` runs before `main`, with all signals still blocked; in `main` none is."""
    reader, writer = os.pipe()

    def note() -> None:
        os.write(writer, b"%d " % len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))

    def main() -> int:
        note()
        return 0

    assert ended(fork(main, note)) == 0
    blocked, free = os.read(reader, 100).split()
    os.close(reader)
    os.close(writer)
    assert int(blocked) > 50
    assert int(free) == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_the_parents_death_kills_a_fresh_child() -> None:
    """Until the child clears it, nobody survives the supervisor; afterwards it does."""
    reader, writer = os.pipe()

    def young() -> int:
        os.write(writer, b"%d\n" % os.getpid())
        return hang()

    def grown() -> int:
        processes.outlive_parent()
        return young()

    def parent() -> None:
        for main in (young, grown):
            fork(main, nothing)
        signal.pause()

    pid = os.fork()
    if pid == 0:
        try:
            parent()
        finally:
            os._exit(1)
    text = b""
    while text.count(b"\n") < 2:
        text += os.read(reader, 100)
    os.close(reader)
    os.close(writer)
    children = [processes.identity(int(p)) for p in text.split()]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    wait_until(lambda: [processes.is_alive(c) for c in children].count(False) == 1, 5, "the young one's death")
    (survivor,) = [c for c in children if c is not None and processes.is_alive(c)]
    processes.send(survivor, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(survivor), 5)


def test_a_signal_to_a_fresh_child_is_not_read_by_its_parent() -> None:
    """The wake-up descriptor is shared after a fork: a child resets it before its signals are unblocked."""

    def body() -> None:
        queue = SignalQueue([signal.SIGTERM, signal.SIGINT])
        for _ in range(20):
            child = fork(hang, queue.close)
            processes.send(child.identity, signal.SIGTERM)
            assert ended(child) == -signal.SIGTERM
        assert queue.drain() == []
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: queue.drain() == [signal.SIGINT], 2)

    in_a_child(body)


def test_a_signal_to_the_parent_around_a_fork_is_not_lost() -> None:
    """Blocked during the fork, delivered after it."""

    def body() -> None:
        queue = SignalQueue([signal.SIGUSR1])
        me = os.getpid()

        def leave() -> None:
            os.kill(me, signal.SIGUSR1)
            queue.close()

        assert ended(fork(lambda: 0, leave)) == 0
        wait_until(lambda: queue.drain() == [signal.SIGUSR1], 2)

    in_a_child(body)


def test_a_lock_does_not_outlive_its_holder_in_a_child(tmp_path: Path) -> None:
    """A child that gave its copy back does not keep the lock of a parent that died."""
    lock = FileLock(tmp_path / "lock")
    near, far = socket.socketpair()

    def survivor() -> int:
        processes.outlive_parent()
        far.send(b"x")
        return hang()

    def holder() -> None:
        assert lock.acquire()
        child = fork(survivor, lock.release)
        far.send(b"%d" % child.identity.pid)
        signal.pause()

    pid = os.fork()
    if pid == 0:
        try:
            holder()
        finally:
            os._exit(1)
    said = near.recv(100)
    while b"x" not in said or len(said) < 2:
        said += near.recv(100)
    near.close()
    far.close()
    child = processes.identity(int(said.replace(b"x", b"")))
    assert child is not None
    assert lock.is_taken()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert not lock.is_taken()
    assert processes.is_alive(child)
    processes.send(child, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(child), 5)


def test_orphans_are_reaped_and_own_children_are_not() -> None:
    """A subreaper collects what its dead descendants left; the exit codes of its own children stay to be read."""

    def body() -> None:
        processes.become_subreaper()
        own = fork(lambda: 7, nothing)
        reader, writer = os.pipe()

        def leave_an_orphan() -> int:
            if os.fork() == 0:
                os.write(writer, b"%d" % os.getpid())
                os._exit(0)
            return 0

        middle = fork(leave_an_orphan, nothing)
        assert ended(middle) == 0
        orphan = int(os.read(reader, 20))
        assert select.select([own.pidfd], [], [], 5)[0]
        assert reap_orphans({own.identity.pid, orphan}) == 0
        assert ended(own) == 7, "its code was still there"
        wait_until(lambda: (reap_orphans(set()), not os.path.exists(f"/proc/{orphan}"))[1], 3, "the orphan's end")

    in_a_child(body)


def test_reaping_without_children() -> None:
    """Nothing to reap is nothing to complain about."""
    in_a_child(lambda: None if reap_orphans(set()) == 0 else os._exit(1))
