"""Everything of a town ends at one instant: every process is killed, and the power with it if that is asked for."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.power.disk import Disk, Failure
from tests.support.running_town import RunningTown
from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.processes import Identity

_STILL = set("TtZXD")  # D: in the kernel, as one is who waits for a stopped child of vfork; it stops on its way out


def kill_everything(town: RunningTown, but_not: Collection[Identity] = ()) -> float:
    """SIGKILL for whatever the town and its test started, all of it at one instant; that instant (monotonic, s)."""
    at = kill_at_once(lambda: town.processes - set(but_not))
    town.kill_supervisor()  # it is dead already: collected
    return at


def kill_at_once(everybody: Callable[[], set[Identity]]) -> float:
    """SIGKILL for all of them, none of whom does anything after the others: that instant (monotonic, s)."""
    frozen: set[Identity] = set()
    while fresh := everybody() - frozen:
        processes.kill_all(list(fresh), signal.SIGSTOP)
        frozen |= fresh
        wait_until(partial(_stand_still, frozen), what="everybody to stand still")
    at = time.monotonic()
    with contextlib.ExitStack() as stack:
        gone = [fd for process in frozen if (fd := processes.open_pidfd(process)) is not None]
        for fd in gone:
            stack.callback(os.close, fd)
        processes.kill_all(list(frozen))
        for fd in gone:  # readable when its last thread has ended
            assert select.select([fd], [], [], 10)[0], "a process survived SIGKILL"
    return at


def _stand_still(everybody: set[Identity]) -> bool:
    return all(map(_stands_still, everybody))


def _stands_still(process: Identity) -> bool:
    """All its threads; none does another step in its program."""
    try:
        stats = [thread.read_text() for thread in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    except OSError:
        return not processes.is_alive(process)
    return all(stat[stat.rindex(")") + 2] in _STILL for stat in stats)


class Power:
    """What happens to a town when the power fails. From `watch` on, processes that start have their syncs noticed."""

    def __init__(self, folder: Path, library: Path, environment: pytest.MonkeyPatch) -> None:
        self._folder, self._library, self._environment = folder, library, environment
        self._disk: Disk | None = None

    @property
    def disk(self) -> Disk:
        """What is watched."""
        assert self._disk is not None, "no folder is watched"
        return self._disk

    def watch(self, root: Path) -> None:
        """This folder is on the disk that will fail; it exists, its name is durable, it is empty."""
        self._disk = Disk(root, self._folder)
        for name, value in self.disk.environment(self._library).items():
            self._environment.setenv(name, value)

    def stall(self) -> None:
        """From now on no append-only file is synced any more, until the power fails."""
        (self._folder / "stall").touch()

    def fail(self, town: RunningTown, failure: Failure) -> float:
        """All ends at one instant, which is returned (monotonic, seconds); the disk forgets what was not synced."""
        at = kill_everything(town)
        self.disk.lose(failure)
        (self._folder / "stall").unlink(missing_ok=True)
        return at

    def restart_machine(self) -> None:
        """Processes that start from now on are of another boot."""
        path = self._folder / f"boot-{uuid.uuid4().hex}"
        boot = str(uuid.uuid4())
        path.write_text(f"{boot}\n")
        self._environment.setenv("POWER_BOOT", str(path))
        self._environment.setattr(processes, "boot_id", lambda: boot)  # this process lives through it


@contextlib.contextmanager
def innocent() -> Iterator[Identity]:
    """A process that has nothing to do with the town; it must live on."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    found = processes.identity(pid)
    assert found is not None
    try:
        yield found
        assert processes.is_alive(found), "a process of somebody else was ended"
    finally:
        os.close(writer)
        os.waitpid(pid, 0)
