"""Forking: the only place that does it. Signals are blocked around it and reset in the child before it runs."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkProcess

from tinytown import processes

_CONTEXT = multiprocessing.get_context("fork")
_ALL = signal.valid_signals()


@dataclass(frozen=True, slots=True)
class Forked:
    """A fresh child and the descriptor that becomes readable when it ends."""

    process: ForkProcess
    identity: processes.Identity
    pidfd: int


def fork(main: Callable[[], int], leave_behind: Callable[[], None]) -> Forked:
    """Run `main` in a child; its result is the exit code.

    `leave_behind` runs first in the child, signals still blocked: it closes what only the parent may use
    (closed, never unregistered: an epoll set is shared with the parent).
    Until the child clears it, the parent's death kills it. Raises OSError (no room for a process or a descriptor).
    """
    parent = os.getpid()

    def body() -> None:
        processes.die_with_parent(parent)
        leave_behind()
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        raise SystemExit(main())

    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    try:
        process = _CONTEXT.Process(target=body)
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    pid = process.pid
    assert pid is not None
    identity = processes.identity(pid) or processes.Identity(pid, 0)  # 0: it has ended already
    try:
        return Forked(process, identity, os.pidfd_open(pid))
    except OSError:  # out of descriptors: what cannot be watched must not live
        process.kill()
        process.join()
        raise


def exit_code(process: ForkProcess) -> int | None:
    """Reap a child whose descriptor fired; None when the kernel has no code yet (look again)."""
    code = process.exitcode
    if code is None:
        return None
    process.join()
    process.close()
    return code


def reap_orphans(own: set[int]) -> int:
    """Reap what was adopted from dead descendants and is no child of our own; returns how many."""
    count = 0
    while True:
        try:
            waiting = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if waiting is None or waiting.si_pid in own:
                return count
            os.waitpid(waiting.si_pid, os.WNOHANG)
        except ChildProcessError:
            return count
        count += 1
