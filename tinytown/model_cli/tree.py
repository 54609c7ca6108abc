"""A run's whole process tree: its leader, its session and group, their descendants, and whoever carries its mark."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Collection

from tinytown import clock, processes
from tinytown.processes import Identity


def members(leader: Identity, mark: str | None, but_not: Collection[int] = ()) -> list[Identity]:
    """Those that live now.

    Where this process is a subreaper (every actor is) the whole tree stays below it, daemons included, so all
    that was born below it since the leader is of the tree, unless it carries another run's mark. Elsewhere the
    process table is searched.
    `but_not`: the town's own processes, which a `tt` inside the run may have started.
    """
    if processes.is_subreaper():
        born = [p for p in processes.descendants(os.getpid(), but_not) if p.started >= leader.started]
        return [p for p in born if processes.mark_of(p.pid) in (mark, None)]
    found = {process.pid: process for process in processes.kin(leader)}
    for process in processes.marked(mark) if mark else []:
        found.setdefault(process.pid, process)
    found.pop(os.getpid(), None)
    return [process for process in found.values() if process.pid not in but_not]


def end(leader: Identity, mark: str | None, patience_s: float, but_not: Collection[int] = ()) -> bool:
    """KILL them all and wait until they are gone; looks again for those born meanwhile. False when time ran out."""
    deadline = clock.monotonic() + patience_s
    while left := members(leader, mark, but_not):
        processes.kill_all(left)
        _wait_gone(left, deadline)
        if clock.monotonic() >= deadline:
            return not members(leader, mark, but_not)
    return True


def reap_orphans() -> None:
    """Take the ends of adopted grandchildren (this process may be their subreaper), and of any other child."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _wait_gone(processes_left: list[Identity], deadline: float) -> None:
    fds = [fd for fd in map(processes.open_pidfd, processes_left) if fd is not None]
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    waiting = len(fds)
    while waiting and (rest := deadline - clock.monotonic()) > 0:
        for fd, _event in poll.poll(rest * 1000):
            poll.unregister(fd)
            waiting -= 1
    for fd in fds:
        os.close(fd)
