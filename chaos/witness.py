"""Looks at the process table again and again while the trouble lasts, and at what the supervisor grows by."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaos.world import Run, World
from tinytown import processes
from tinytown.processes import Identity

OUTLIVES_S = 5.0  # how long a model may live without its actor while a supervisor is there (the design says one)
SETTLES_S = 3.0  # a new supervisor's age at its first measurement
DESCRIPTORS_OF_AN_ACTOR = 3
OTHER_DESCRIPTORS = 18  # lock, log, bells, Redis, a spare child, one that helps for a moment
MORE_BYTES = 6_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """What one supervisor uses: open descriptors, bytes of its own, and for how many actors."""

    descriptors: int
    own_bytes: int
    actors: int


@dataclass
class Witness:
    """`violations` are lines; `samples` how often the table was read."""

    world: World
    violations: list[str] = field(default_factory=list)
    samples: int = 0
    sizes: list[tuple[float, Identity, Size]] = field(default_factory=list)
    _orphans: dict[Identity, float] = field(default_factory=dict)

    def look(self) -> None:
        """One sample. The table is no snapshot: what is wrong is looked at twice."""
        self.samples += 1
        first = set(self._doubles())
        if first:
            self.violations += sorted(first & set(self._doubles()))
        self._outlived()
        self._measure()

    def _doubles(self) -> Iterator[str]:
        for name, actors in self.world.actors().items():
            if len(actors) > 1:
                yield f"agent {name}: {len(actors)} actors at once: {actors}"
        marks: dict[str, set[str]] = {}
        for run in self.world.runs():
            marks.setdefault(run.agent_id, set()).add(run.mark)
        for agent_id, several in marks.items():
            if len(several) > 1:
                yield f"agent {agent_id}: {len(several)} model runs at once: {sorted(several)}"

    def _outlived(self) -> None:
        """A run whose actor (that of its epoch) is gone, for too long, while a supervisor could have ended it."""
        now = time.monotonic()
        supervisor = self.world.supervisor()
        runs = self.world.runs()
        lonely = {run.process: run for run in runs if supervisor is not None and not self._has_actor(run)}
        self._orphans = {process: self._orphans.get(process, now) for process in lonely}
        for process, since in list(self._orphans.items()):
            if supervisor is not None and _age(supervisor) > OUTLIVES_S and now - since > OUTLIVES_S:
                self.violations.append(f"{lonely[process].mark} ({process}) outlived its actor by {now - since:.1f} s")
                self._orphans[process] = float("inf")  # once is enough

    def _has_actor(self, run: Run) -> bool:
        entry = self.world.journal(run.name).actor()
        return (
            entry is not None
            and (entry.agent_id, entry.epoch) == (run.agent_id, run.epoch)
            and processes.is_alive(entry.process)
        )

    def _measure(self) -> None:
        found = self.world.supervisor()
        if found is not None and _age(found) > SETTLES_S:
            with contextlib.suppress(OSError):
                size = size_of(found, len(self.world.holders()))
                if size.own_bytes:  # else it is ending
                    self.sizes.append((time.monotonic(), found, size))

    def growth(self) -> tuple[float, Size, Size] | None:
        """Of the supervisor that is there in the end: seconds watched, its first and last size."""
        if not self.sizes:
            return None
        last_at, last, size = self.sizes[-1]
        at, first = next((at, first) for at, process, first in self.sizes if process == last)
        return last_at - at, first, size

    def grown(self) -> list[str]:
        """A line for each thing that grew without need."""
        found = self.growth()
        if found is None:
            return ["no supervisor lived long enough to be measured"]
        seconds, first, last = found
        lines = []
        if last.descriptors > DESCRIPTORS_OF_AN_ACTOR * last.actors + OTHER_DESCRIPTORS:
            lines.append(f"the supervisor came to have {last.descriptors} descriptors, for {last.actors} actors")
        if last.own_bytes > first.own_bytes + MORE_BYTES:
            lines.append(f"the supervisor's memory grew from {first.own_bytes} to {last.own_bytes} bytes")
        return [f"{line} in {seconds:.0f} s" for line in lines]


def size_of(process: Identity, actors: int) -> Size:
    """Raises OSError when it has ended."""
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    own = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
    return Size(len(os.listdir(f"/proc/{process.pid}/fd")), own * 1024, actors)


def _age(process: Identity) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started / os.sysconf("SC_CLK_TCK")
