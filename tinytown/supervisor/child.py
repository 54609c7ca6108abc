"""Child specs and live children."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from tinytown.processes import Identity

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess


class RestartType(StrEnum):
    """When a child that ended is started again (OTP's words)."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # after an abnormal end
    TEMPORARY = "temporary"  # never


class Phase(StrEnum):
    """Where a child is in its life."""

    RUNNING = "running"
    ENDING = "ending"  # told to end; killed at `kill_at`
    DEAD = "dead"  # reaped; what it left is not yet taken care of
    WAITING = "waiting"  # to be started at `start_at`
    GIVEN_UP = "given up"  # it ended too often; `reason` says how


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What a supervisor knows of a child before it runs. `kind` says which program `start` runs."""

    id: str
    name: str
    kind: str = "agent"
    restart: RestartType = RestartType.TRANSIENT
    shutdown_s: float = 30.0

    @property
    def label(self) -> str:
        """For people: `agent backend`."""
        return f"{self.kind} {self.name}" if self.name != self.kind else self.kind


@dataclass(slots=True)
class Child:
    """One child. Times are monotonic seconds, `starts` wall seconds."""

    spec: ChildSpec
    phase: Phase
    start_at: float = 0.0
    identity: Identity | None = None
    pidfd: int = -1
    process: ForkProcess | None = None  # None: adopted from a supervisor before us
    slot: int = -1
    epoch: int = 0
    hung: bool = False
    kill_at: float = 0.0
    starts: list[float] = field(default_factory=list)
    exit_code: int | None = None
    up_since: float = 0.0
    restarts: int = 0
    reason: str = ""
    leftovers_since: float = 0.0
    is_swept: bool = True  # nothing of its models lives any more, as far as we looked

    @property
    def is_adopted(self) -> bool:
        """Forked by an earlier supervisor: watched by pidfd and lease."""
        return self.process is None and self.identity is not None

    @property
    def is_alive(self) -> bool:
        """Has a process, as far as this supervisor has seen."""
        return self.phase in {Phase.RUNNING, Phase.ENDING}
