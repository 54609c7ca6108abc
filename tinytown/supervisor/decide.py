"""What follows from a child's end. Pure: facts in, decision out.

Restart types, intensity and the give-up are those of OTP's supervisor, per child; the growing pause with jitter
is added to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinytown.config import SupervisorConfig
from tinytown.supervisor.child import RestartType

CLOCK_SLACK_S = 1.0  # starts of the future are of a clock that was set back since


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended: exit code (negative: the signal), None for one that was adopted; `hung`: by our own hand."""

    code: int | None
    hung: bool = False

    def describe(self) -> str:
        """For people."""
        if self.hung:
            return "hung, ended"
        if self.code is None:
            return "ended"
        if self.code < 0:
            return f"killed by signal {-self.code}"
        return f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after this many seconds."""

    after_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Too many restarts in the window: this child only."""

    reason: str


@dataclass(frozen=True, slots=True)
class Forget:
    """It is not wanted any more."""


Decision = Restart | GiveUp | Forget


def after_exit(
    restart: RestartType,
    exited: Exit,
    *,
    is_wanted: bool,
    starts: Sequence[float],
    now: float,
    policy: SupervisorConfig,
    jitter: float,
) -> Decision:
    """Decide. `starts` are the wall times of this wish's spawns, `jitter` is in [0, 1).

    A transient child's normal end takes its wish away in the same step as its last record, so an end with the
    wish still there is abnormal, whatever its exit code.
    """
    if restart is RestartType.TEMPORARY or (restart is RestartType.TRANSIENT and not is_wanted):
        return Forget()
    recent = [start for start in starts if now - policy.restart_period_s < start <= now + CLOCK_SLACK_S]
    restarts = len(recent) - (1 if len(recent) == len(starts) else 0)  # the first start is none
    if restarts >= policy.restart_intensity:
        return GiveUp(
            f"{restarts} restarts in {policy.restart_period_s:g} s, last: {exited.describe()}",
        )
    return Restart(backoff(restarts, policy, jitter))


def backoff(restarts: int, policy: SupervisorConfig, jitter: float) -> float:
    """Seconds before restart number `restarts` + 1: none before the first, then doubling, up to 25 % shorter."""
    if restarts <= 0:
        return 0.0
    pause = min(policy.backoff_s * 2 ** min(restarts - 1, 30), policy.backoff_max_s)
    return float(pause * (1 - jitter / 4))
