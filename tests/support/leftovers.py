"""Finds what a test left running.

The test process is a subreaper: whatever its tests start, at any depth and however orphaned, stays its
descendant. (A mark in the environment would not do alone: setproctitle writes over /proc/<pid>/environ.)
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.processes import Identity

MARK = "TINYTOWN_TEST"
GRACE_S = 2.0  # what was told to end may take this long to be gone
KNOWN: set[int] = set()  # processes of the tests themselves, which belong to no test
_HELPERS = ("multiprocessing.resource_tracker",)  # lives as long as the Python process that needed it


def descendants() -> set[Identity]:
    """The living processes under this one."""
    found: set[Identity] = set()
    _collect(os.getpid(), found)
    return {p for p in found if p.pid not in KNOWN and not any(helper in command_of(p) for helper in _HELPERS)}


def left_over(before: set[Identity]) -> list[str]:
    """Wait for what was started since `before` to end, then kill the rest; a line for each that had to be killed."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not descendants() - before, GRACE_S)
    found = sorted(descendants() - before, key=lambda process: process.pid)
    lines = [f"pid {process.pid}: {command_of(process)}" for process in found]
    for _ in range(10):  # a supervisor may have replaced what was killed before it
        if not found:
            break
        processes.kill_all(found)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not descendants() - before, 0.2)
        found = list(descendants() - before)
    return lines


def strangers(mark: str) -> list[str]:
    """Kill what carries this test process's mark without being its descendant; a line for each."""
    wanted = f"{MARK}={mark}".encode()
    lines = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            process = processes.identity(int(entry.name))
            if process and process.pid != os.getpid() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                lines.append(f"pid {process.pid}: {command_of(process)}")
                processes.send(process, signal.SIGKILL)
    return lines


def command_of(process: Identity) -> str:
    """Its command line or title; empty when it has just ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def reap() -> None:
    """Collect the orphans that ended under this process. Only when no test waits for a child of its own."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _collect(pid: int, found: set[Identity]) -> None:
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                process = processes.identity(int(child))
                if process is not None and process not in found:
                    found.add(process)
                    _collect(process.pid, found)
