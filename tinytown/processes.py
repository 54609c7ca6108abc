"""The door to the process table (psutil, pidfd, prctl). A process is (pid, start time), never a pid."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ctypes

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
RUN_VARIABLE = "TINYTOWN_RUN"
_PID_MAX = 1 << 22  # the kernel's bound; what is beyond it is no file name and no argument of a system call
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for all time: `started` is its start in clock ticks since boot."""

    pid: int
    started: int

    def to_dict(self) -> dict[str, Any]:
        """The journals' form. Start times count from the boot, so it names the boot."""
        return {"pid": self.pid, "started": self.started, "boot": boot_id()}

    @classmethod
    def from_dict(cls, raw: Any) -> Identity | None:
        """Read the journals' form; None when it is none, or of an earlier boot: then that process is dead."""
        try:
            if raw.get("boot", boot_id()) != boot_id():
                return None
            found = cls(int(raw["pid"]), int(raw["started"]))
        except (AttributeError, TypeError, KeyError, ValueError, OverflowError):
            return None
        return found if 0 < found.pid <= _PID_MAX else None


@functools.cache
def boot_id() -> str:
    """This boot of the machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def identity(pid: int) -> Identity | None:
    """The process that has this pid now; None when there is none. A zombie counts as dead."""
    stat = _stat(pid)
    if stat is None or stat[0] in {"Z", "X"}:
        return None
    return Identity(pid, int(stat[19]))


def own() -> Identity:
    """This process."""
    found = identity(os.getpid())
    assert found is not None
    return found


def is_alive(process: Identity | None) -> bool:
    """It still runs, and the pid was not reused."""
    return process is not None and identity(process.pid) == process


def open_pidfd(process: Identity) -> int | None:
    """A file descriptor that becomes readable when it ends; None when it has ended."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return None
    if not is_alive(process):
        os.close(fd)
        return None
    return fd


def send(process: Identity, signum: int) -> bool:
    """Signal exactly this process, race-free. False when it has ended, or is of a user whom we may not signal."""
    fd = open_pidfd(process)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, signum)
    except (ProcessLookupError, PermissionError):  # what a model runs with sudo is not ours to end
        return False
    finally:
        os.close(fd)
    return True


def die_with_parent(parent_pid: int) -> None:
    """In a fresh child, before exec: be killed when the parent dies, also if it died just now."""
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def outlive_parent() -> None:
    """Undo `die_with_parent`."""
    _libc().prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)


def become_subreaper() -> None:
    """Adopt the orphans among our descendants, so that none escapes to init."""
    _libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def trim_memory() -> None:
    """Give the C allocator's free pages back to the kernel (glibc); takes less than a millisecond."""
    with contextlib.suppress(AttributeError):
        _libc().malloc_trim(0)


def is_subreaper() -> bool:
    """This process adopts its orphaned descendants."""
    import ctypes  # noqa: PLC0415  most commands need none of it

    answer = ctypes.c_int(0)
    _libc().prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return bool(answer.value)


def marked(run_prefix: str) -> list[Identity]:
    """Every living process of this user whose TINYTOWN_RUN starts with `run_prefix`."""
    wanted = f"{RUN_VARIABLE}={run_prefix}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as stream:
                environment = stream.read()
        except OSError:
            continue
        if wanted in environment and any(v.startswith(wanted) for v in environment.split(b"\0")):
            process = identity(int(name))
            if process is not None and process.pid != os.getpid():
                found.append(process)
    return found


def mark_of(pid: int) -> str | None:
    """The TINYTOWN_RUN that a process was started with; None when there is none (or it hides its environment)."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            environment = stream.read()
    except OSError:
        return None
    head = f"{RUN_VARIABLE}=".encode()
    return next((v[len(head) :].decode() for v in environment.split(b"\0") if v.startswith(head)), None)


def kin(leader: Identity) -> list[Identity]:
    """The living processes in the leader's session or process group, and its descendants.

    The leader itself may be gone: its session lives on in its children.
    """
    table: dict[int, tuple[int, int, int, Identity]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        stat = _stat(int(name))
        if stat is not None and stat[0] not in {"Z", "X"}:
            process = Identity(int(name), int(stat[19]))
            table[process.pid] = (int(stat[1]), int(stat[2]), int(stat[3]), process)
    reused = leader.pid in table and table[leader.pid][3] != leader
    chosen = {
        pid
        for pid, (_parent, group, session, process) in table.items()
        if process == leader or (not reused and leader.pid in (group, session) and process.started >= leader.started)
    }
    if leader.pid not in table:  # the number may have been another's since: only what also carries a mark is kin
        chosen = {pid for pid in chosen if mark_of(pid) is not None}
    grew = True
    while grew:
        more = {pid for pid, row in table.items() if row[0] in chosen} - chosen
        chosen |= more
        grew = bool(more)
    return [table[pid][3] for pid in sorted(chosen)]


def descendants(pid: int, but_not: Collection[int] = ()) -> list[Identity]:
    """Every living process below this one, without `but_not` and what is below those.

    Reads only their own entries, not the whole table.
    """
    found: list[Identity] = []
    waiting = [pid]
    while waiting:
        for child in _children(waiting.pop()):
            if child in but_not:
                continue
            waiting.append(child)
            process = identity(child)
            if process is not None:
                found.append(process)
    return found


def kill_all(processes: list[Identity], signum: int = signal.SIGKILL) -> int:
    """Signal each; returns how many were reached."""
    return sum(send(process, signum) for process in processes)


def cpu_and_memory(pid: int) -> tuple[float, int]:
    """CPU seconds used and resident bytes; zeros when it has ended."""
    import psutil  # noqa: PLC0415  costs a command 20 ms

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        times = process.cpu_times()
        return times.user + times.system, int(process.memory_info().rss)
    return 0.0, 0


def usage(pid: int) -> tuple[float, int] | None:
    """CPU seconds (of children that ended, too) and resident bytes of a process and all below it; None when it is gone.

    Memory that several share is counted in each.
    """
    own = _stat(pid)
    if own is None:
        return None
    rows = [own, *(stat for below in descendants(pid) if (stat := _stat(below.pid)) is not None)]
    ticks = sum(int(number) for row in rows for number in row[11:15])
    return ticks / os.sysconf("SC_CLK_TCK"), sum(int(row[21]) for row in rows) * os.sysconf("SC_PAGE_SIZE")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as stream:
                found += [int(number) for number in stream.read().split()]
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name: state, ppid, pgrp, session, ..., start time at [19].

    Read directly because psutil gives no session and costs a command 20 ms of start-up.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            text = stream.read()
    except OSError:
        return None
    return text[text.rindex(b")") + 2 :].decode().split()


@functools.cache
def _libc() -> ctypes.CDLL:
    import ctypes  # noqa: PLC0415  most commands need none of it

    return ctypes.CDLL(None, use_errno=True)
