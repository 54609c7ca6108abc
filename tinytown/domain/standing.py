"""Where an agent stands: what users' wishes, flags set by hand, its rounds and its CLI's hold let it do. Pure.

The actor acts on it, `tt why` explains it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tinytown import clock
from tinytown.domain.agent import Wish


class Block(StrEnum):
    """Why an agent takes up no work now, whatever waits for it."""

    STOPPING = "stopping"
    PAUSED = "paused"
    SPENT = "spent"  # of its rounds
    HELD = "held"  # its CLI, for all agents


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The facts of one moment. `held_s` is the time left of its CLI's hold, 0 when there is none."""

    wish: Wish
    stop_flag: bool = False
    pause_flag: bool = False
    all_rounds: int = 0
    held_s: float = 0.0

    @property
    def stop(self) -> str | None:
        """How it is to stop: None, "graceful" or "now"."""
        return self.wish.stop or ("graceful" if self.stop_flag else None)

    @property
    def pause(self) -> bool:
        """It is to rest until somebody lets it go on."""
        return self.wish.pause or self.pause_flag

    @property
    def rounds(self) -> int:
        """How many rounds it has used of those that its wish allows."""
        return self.all_rounds - self.wish.rounds_from

    @property
    def block(self) -> Block | None:
        """What keeps it from work, the strongest first; None when it would take up what waits."""
        if self.stop is not None:
            return Block.STOPPING
        if self.pause:
            return Block.PAUSED
        if self.rounds >= self.wish.rounds:
            return Block.SPENT
        return Block.HELD if self.held_s > 0 else None


def is_late(created_at: str, closed_at: str | None) -> bool:
    """Mail that was made after its agent's close is left for the next life. Mail without a time is not late."""
    if closed_at is None:
        return False
    try:
        return clock.parse(created_at) > clock.parse(closed_at)
    except ValueError:
        return False
