"""Signals as a queue behind a descriptor."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

from tests.support.waiting import wait_until
from tinytown.signals import SignalQueue


def in_a_child(test: Callable[[], None]) -> None:
    """Signal handlers are the process's own: each test in one of its own."""
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


def test_signals_come_in_order_through_a_descriptor() -> None:
    """A caught signal makes the descriptor readable and is read once, in order, repeated ones too."""

    def body() -> None:
        queue = SignalQueue([signal.SIGTERM, signal.SIGHUP])
        assert queue.drain() == []
        for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), signum)
        assert select.select([queue.fd], [], [], 2)[0]
        assert queue.drain() == [signal.SIGHUP, signal.SIGTERM, signal.SIGHUP]
        assert queue.drain() == []
        assert not select.select([queue.fd], [], [], 0)[0]

    in_a_child(body)


def test_a_flood_does_not_block() -> None:
    """More signals than the pipe holds: nothing blocks, nothing is printed, the last ones may be lost."""

    def body() -> None:
        queue = SignalQueue([signal.SIGUSR1])
        for _ in range(70_000):
            signal.raise_signal(signal.SIGUSR1)
        assert set(queue.drain()) == {signal.SIGUSR1}
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_until(lambda: queue.drain() == [signal.SIGUSR1], 2)

    in_a_child(body)


def test_other_signals_are_not_ours() -> None:
    """A signal that somebody else handles wakes us and is not in the list."""

    def body() -> None:
        queue = SignalQueue([signal.SIGTERM])
        signal.signal(signal.SIGUSR2, lambda _signum, _frame: None)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert select.select([queue.fd], [], [], 2)[0]
        assert queue.drain() == []

    in_a_child(body)


def test_closed_is_as_before() -> None:
    """After `close` the signals act by default again and the descriptors are gone; twice is no harm."""

    def body() -> None:
        before = set(os.listdir("/proc/self/fd"))
        queue = SignalQueue([signal.SIGTERM])
        queue.close()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.set_wakeup_fd(-1) == -1
        assert set(os.listdir("/proc/self/fd")) == before
        queue.close()

    in_a_child(body)
