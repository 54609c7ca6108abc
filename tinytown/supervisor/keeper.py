"""What the loop asks of whoever keeps one kind of child."""

from __future__ import annotations

from typing import Protocol

from tinytown.processes import Identity
from tinytown.supervisor.child import Child
from tinytown.supervisor.decide import Decision, Exit


class Keeper(Protocol):
    """One for each kind of child. What needs Redis raises RedisAway when it is away."""

    def leftovers(self, child: Child) -> list[Identity]:
        """What still lives of what its dead processes started; ended before the next start."""

    def prepare(self, child: Child) -> int | None:
        """Before its start: the number of this spawn. None: it is not wanted as it was; look again."""

    def decide(self, child: Child, exited: Exit) -> Decision:
        """What follows from its end."""

    def give_up(self, child: Child, reason: str) -> None:
        """It is not started again."""

    def note_stopped(self, child: Child) -> None:
        """It died while the supervisor was on its way out."""
