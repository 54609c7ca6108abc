"""Whether an agent can run rounds at all, and how long it waits when it could not."""

from __future__ import annotations

from tinytown import clock
from tinytown.domain.outcome import Outcome, OutcomeKind

PAUSE_S = 5.0
RETRY_S = 1.0
RETRY_MOST_S = 300.0


class Fitness:
    """Waits longer the more often a worktree could not be made ready; a new actor tries at once."""

    def __init__(self) -> None:
        self._until = 0.0
        self._failures = 0
        self._complaint = ""

    @property
    def wait_s(self) -> float:
        """Seconds to wait before the next round; 0 or less when there is nothing to wait for."""
        return self._until - clock.monotonic()

    def pause(self) -> float:
        """Nothing runs for a little; returns until when (monotonic)."""
        self._until = clock.monotonic() + PAUSE_S
        return self._until

    def judge(self, outcome: Outcome) -> bool:
        """Take note of a round's end; False when a human was asked the very same the last time."""
        if outcome.kind is not OutcomeKind.UNPREPARED:
            self._failures, self._complaint = 0, ""
            return True
        self._until = clock.monotonic() + min(RETRY_S * 2 ** min(self._failures, 30), RETRY_MOST_S)
        self._failures += 1
        is_new, self._complaint = outcome.detail != self._complaint, outcome.detail
        return is_new
