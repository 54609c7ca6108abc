"""The live children: forked, adopted, watched, reaped. Knows processes; why they run is the loop's matter."""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tinytown import clock, processes
from tinytown.supervisor.beats import Beats
from tinytown.supervisor.child import Child, ChildSpec, Phase
from tinytown.supervisor.fork import Forked, exit_code, fork, reap_orphans

HUNG_KILL_S = 2.0
SPARE_PAUSE_S = 0.05
FROZEN_S = 0.5


@dataclass(frozen=True, slots=True)
class Spare:
    """A child forked ahead of need: half of a restart is then done before the death."""

    forked: Forked
    slot: int
    pipe: int


class Children:
    """By id. `leave_behind` closes in a fresh child what only the supervisor may use.

    `program(assignment, beat)` runs in a child; `assignment()` blocks until it is told what it is (empty: nothing).
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        leave_behind: Callable[[], None],
        program: Callable[[Callable[[], bytes], Callable[[], None]], int],
    ) -> None:
        self._by_id: dict[str, Child] = {}
        self._helpers: dict[int, Forked] = {}
        self._selector = selector
        self._leave_behind = leave_behind
        self._program = program
        self._spare: Spare | None = None
        self._spare_at = 0.0
        self._awake_at = clock.monotonic()
        self._beats = Beats()

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_id.values()))

    def __contains__(self, child_id: object) -> bool:
        return child_id in self._by_id

    def __getitem__(self, child_id: str) -> Child:
        return self._by_id[child_id]

    @property
    def alive(self) -> list[Child]:
        """Those with a process."""
        return [child for child in self if child.is_alive]

    @property
    def unswept(self) -> list[Child]:
        """The dead whose leftovers may still live."""
        return [child for child in self if child.phase is Phase.DEAD and not child.is_swept]

    def dues(self, *, works: bool) -> list[float]:
        """When something has to be done for a child (monotonic); `works`: starting and deciding is possible."""
        found = [child.start_at for child in self.unswept]
        found += [child.kill_at for child in self if child.phase is Phase.ENDING]
        if works:
            found += [child.start_at for child in self if child.phase in {Phase.WAITING, Phase.DEAD}]
        return found

    def add(self, spec: ChildSpec) -> Child:
        """A child that is to be started."""
        self._by_id[spec.id] = child = Child(spec, Phase.WAITING)
        return child

    def forget(self, child: Child) -> None:
        """Nobody wants it any more; it has no process."""
        self._by_id.pop(child.spec.id, None)

    def start(self, child: Child, epoch: int) -> None:
        """Give it a process: the spare one, or a fresh fork. Raises OSError."""
        spare = self._spare or self._fork_spare()
        self._spare = None
        self._spare_at = clock.monotonic() + SPARE_PAUSE_S
        self._beats.beat(spare.slot)
        told = {"kind": child.spec.kind, "id": child.spec.id, "name": child.spec.name, "epoch": epoch}
        with contextlib.suppress(BrokenPipeError):  # it has just died: its descriptor says so
            os.write(spare.pipe, json.dumps(told).encode())
        os.close(spare.pipe)
        forked = spare.forked
        child.slot, child.process, child.identity, child.pidfd = (
            spare.slot,
            forked.process,
            forked.identity,
            forked.pidfd,
        )
        child.phase, child.epoch, child.up_since = Phase.RUNNING, epoch, clock.monotonic()
        child.starts.append(clock.wall())

    def keep_spare(self, now: float) -> None:
        """Fork one child ahead of need, when there are children and no start was asked for just now."""
        if self._spare is None and now >= self._spare_at and self._by_id:
            with contextlib.suppress(OSError):
                self._spare = self._fork_spare()
            self._spare_at = now + SPARE_PAUSE_S

    def drop_spare(self) -> None:
        """Its settings are old, or no start will come."""
        if self._spare is not None:
            self._helpers[self._spare.forked.pidfd] = self._spare.forked
            self._beats.free(self._spare.slot)
            os.close(self._spare.pipe)
            self._spare = None

    def end_helpers(self) -> None:
        """On the way out: nothing of ours stays, not for a moment."""
        for helper in self._helpers.values():
            helper.process.kill()
            helper.process.join()

    @property
    def spare_due(self) -> float:
        """When `keep_spare` has something to do (monotonic)."""
        return self._spare_at if self._spare is None and self._by_id else math.inf

    def _fork_spare(self) -> Spare:
        slot = self._beats.take()
        inner, outer = os.pipe2(os.O_CLOEXEC)

        def main() -> int:
            os.close(outer)
            return self._program(lambda: os.read(inner, 4096), lambda: self._beats.beat(slot))

        try:
            forked = fork(main, self._leave_behind)
        except OSError:
            self._beats.free(slot)
            os.close(outer)
            raise
        finally:
            os.close(inner)
        self._selector.register(forked.pidfd, selectors.EVENT_READ)
        return Spare(forked, slot, outer)

    def adopt(self, child: Child, process: processes.Identity, epoch: int) -> bool:
        """Watch a process that an earlier supervisor forked; False when it has ended."""
        fd = processes.open_pidfd(process)
        if fd is None:
            return False
        child.phase, child.identity, child.pidfd, child.epoch = Phase.RUNNING, process, fd, epoch
        child.up_since = clock.monotonic()
        self._selector.register(fd, selectors.EVENT_READ)
        return True

    def run_helper(self, main: Callable[[], int]) -> None:
        """A short-lived child for work that may block."""
        helper = fork(main, self._leave_behind)
        self._helpers[helper.pidfd] = helper
        self._selector.register(helper.pidfd, selectors.EVENT_READ)

    def on_ready(self, fd: int) -> Child | None:
        """A descriptor fired: reap. Returns the child that died; None for a helper, or when there is no code yet."""
        helper = self._helpers.get(fd)
        if helper is not None:
            if exit_code(helper.process) is not None:
                self._close(fd)
                del self._helpers[fd]
            return None
        if self._spare is not None and fd == self._spare.forked.pidfd:
            self.drop_spare()
            return self.on_ready(fd)
        for child in self:
            if child.pidfd == fd:
                return child if self._reap(child) else None
        return None

    def end(self, child: Child, signum: int, kill_after_s: float) -> None:
        """Signal it; it is killed when that time is over."""
        if child.identity is not None and child.phase is Phase.RUNNING:
            child.phase, child.kill_at = Phase.ENDING, clock.monotonic() + kill_after_s
            processes.send(child.identity, signum)

    def kill_overdue(self, now: float) -> None:
        """Insist where an end was asked for and did not come."""
        for child in self:
            if child.phase is Phase.ENDING and child.identity is not None and now >= child.kill_at:
                processes.send(child.identity, signal.SIGKILL)
                child.kill_at = now + HUNG_KILL_S

    def seen_awake(self, slept_s: float = 0.0) -> None:
        """The supervisor runs. Has it stood still itself (frozen, suspended) nobody could show a beat: count anew."""
        now = clock.monotonic()
        if now - self._awake_at > slept_s + FROZEN_S:
            for child in self:
                if child.slot >= 0:
                    self._beats.beat(child.slot)
        self._awake_at = now

    def silent(self, limit_s: float) -> list[Child]:
        """Those whose beat stands still for longer than this."""
        running = (c for c in self if c.phase is Phase.RUNNING and c.slot >= 0)
        return [child for child in running if self._beats.age(child.slot) > limit_s]

    def reap_orphans(self, helper_pid: int | None) -> None:
        """What was adopted from dead descendants."""
        own = [c.process.pid for c in self if c.process is not None]
        helpers = [helper.process.pid for helper in self._helpers.values()]
        helpers += [self._spare.forked.process.pid] if self._spare is not None else []
        reap_orphans({pid for pid in (*own, *helpers, helper_pid) if pid is not None})

    def close_in_child(self) -> None:
        """The forked copies."""
        for child in self:
            if child.pidfd >= 0:
                os.close(child.pidfd)
        if self._spare is not None:
            os.close(self._spare.forked.pidfd)
            os.close(self._spare.pipe)  # or its end would never be seen

    def status(self) -> list[dict[str, Any]]:
        """One row per child, for people and scripts."""
        return [
            {
                "id": c.spec.id,
                "name": c.spec.name,
                "kind": c.spec.kind,
                "phase": c.phase.value,
                "reason": c.reason,
                "pid": c.identity.pid if c.identity else None,
                "epoch": c.epoch,
                "restarts": c.restarts,
                "start_in_s": round(max(0.0, c.start_at - clock.monotonic()), 3) if not c.is_alive else None,
                "beat_age_s": round(self._beats.age(c.slot), 3) if c.slot >= 0 else None,
                "adopted": c.is_adopted,
            }
            for c in self
        ]

    def _reap(self, child: Child) -> bool:
        code = None
        if child.process is not None:
            code = exit_code(child.process)
            if code is None:
                return False
        self._close(child.pidfd)
        self._beats.free(child.slot)
        child.process, child.pidfd, child.slot, child.identity = None, -1, -1, None
        child.exit_code, child.phase, child.start_at, child.is_swept = code, Phase.DEAD, 0.0, False
        if code == 0:
            child.starts = child.starts[:-1]  # an end in order counts towards no restart intensity
        return True

    def _close(self, fd: int) -> None:
        self._selector.unregister(fd)
        os.close(fd)
