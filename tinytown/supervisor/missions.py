"""What keeping the missions means: one child, wanted exactly while a mission is active."""

from __future__ import annotations

import random
import signal

from tinytown import clock, processes
from tinytown.domain.event import Event
from tinytown.supervisor.child import Child, ChildSpec, Phase, RestartType
from tinytown.supervisor.children import Children
from tinytown.supervisor.decide import Decision, Exit, Forget, after_exit
from tinytown.supervisor.log import SupervisorLog
from tinytown.town import Town

KIND = "missions"


class Missions:
    """Keeps the scheduler. It leaves by itself when no mission is active, and is never adopted: it dies with us."""

    def __init__(self, town: Town, children: Children, log: SupervisorLog) -> None:
        self._town, self._children, self._log = town, children, log

    def look(self, *, is_wanted: bool) -> None:
        """A child while it is wanted. One that was given up stays so until it is not wanted for a moment."""
        if KIND in self._children:
            child = self._children[KIND]
            if not is_wanted and child.phase in {Phase.WAITING, Phase.GIVEN_UP}:
                self._children.forget(child)
        elif is_wanted:
            self._children.add(ChildSpec(KIND, KIND, kind=KIND, restart=RestartType.PERMANENT))

    def begin_anew(self) -> None:
        """The settings have changed: one that runs is followed by another, one that was given up gets another try."""
        if KIND not in self._children:
            return
        child = self._children[KIND]
        if child.phase is Phase.GIVEN_UP:
            self._children.forget(child)
        self._children.end(child, signal.SIGTERM, child.spec.shutdown_s)

    def leftovers(self, _child: Child) -> list[processes.Identity]:
        """Nothing: what it starts is killed with it, and ends when nobody asks it."""
        return []

    def prepare(self, _child: Child) -> int | None:
        """Its lease keeps two of them apart; there are no epochs."""
        return 0

    def decide(self, child: Child, exited: Exit) -> Decision:
        """What follows from its end."""
        is_wanted = bool(self._town.store.missions.active_count())
        if not is_wanted:
            self._log.write(f"⏹️ {child.spec.label} stopped ({exited.describe()}): none is active")
            return Forget()
        return after_exit(
            child.spec.restart,
            exited,
            is_wanted=is_wanted,
            starts=child.starts,
            now=clock.wall(),
            policy=self._town.config.supervisor,
            jitter=random.random(),  # noqa: S311  no secret
        )

    def give_up(self, child: Child, reason: str) -> None:
        """Missions stand still until somebody looks: the child stays, for people to see."""
        child.phase, child.reason = Phase.GIVEN_UP, reason
        tx = self._town.store.transaction()
        tx.event(Event("missions_gave_up", f"Nothing works on missions: {reason}", clock.stamp()))
        self._town.store.commit(tx)

    def note_stopped(self, _child: Child) -> None:
        """Nothing is to be noted."""
