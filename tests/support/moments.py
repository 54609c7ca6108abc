"""Moments in the life of an item of a mission, for something to happen in; and how a mission is brought there.

The mission has one item, with a verification, a review and a pull request that the town merges. What the agents do at
the moment itself ends with `stage.town.go()`, or at once when they are asked for the same task again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.stage import Stage
from tinytown.domain.work import Job, WorkItem, WorkStatus

ALL = ["work 1", "verify 1", "review 1"]
WITH_FIX = [*ALL, "fix 1", "verify 1", "review 1"]
HOLD = ("first touch there", "first await go")
REJECT = 'tt mission reject {item} --reason "Not yet"'
_BUSY = r"printf 'do it\nstub: touch busy\nstub: await go\n'"


@dataclass(frozen=True)
class Moment:
    """`given` is all that agents are given until the end; at the moment `agent` has the task of this `job`, if any.

    `is_begun`: in a round. `arrange` says what the agents do.
    """

    agent: str
    job: Job | None
    arrange: Callable[[Stage], None]
    is_begun: bool = True
    given: tuple[str, ...] = tuple(ALL)

    def arrive(self, stage: Stage) -> WorkItem:
        """Start the mission, and return when the moment is there: the item then."""
        stage.issues("Implement login")
        stage.opens(1, stage.pull(11, "success"))
        stage.spawn("backend", "reviewer")
        stubborn = f"STUBBORN_DIR={stage.town.control} {stage.player.parent / 'stubborn'} {stage.plan('verify')}"
        stage.plays("verify", "say It works")
        self.arrange(stage)
        manifest = stage.manifest(f"[[overrides]]\nissue = 1\nverify = ['{stubborn}']\n")
        stage.start("--auto-merge", "--manifest", manifest, issues=(1,))
        if self.is_begun:
            stage.until_touched("there")
        stage.town.wait(lambda: stage.item(1).is_submitted or self.job is Job.WORK, "the work to be handed in")
        stage.town.wait(lambda: stage.item(1).job is self.job, f"job {self.job}")
        status = WorkStatus.RUNNING if self.is_begun else WorkStatus.ASSIGNED
        return stage.until(1, *((status,) if self.job else (WorkStatus.BLOCKED, "checks are running")))


def _assigned(stage: Stage) -> None:
    stage.town.assign("backend", "touch busy", "await go")
    stage.until_touched("busy")


def _work(stage: Stage) -> None:
    stage.opens(1, stage.github.pulls["acme/web", 11], *HOLD)


def _verify(stage: Stage) -> None:
    stage.plays("verify", *HOLD)


def _review(stage: Stage) -> None:
    stage.plays("review", *HOLD, "tt mission approve {item}")


def _fix_assigned(stage: Stage) -> None:
    """Its author was given something else before."""
    stage.plays("review", f'run tt assign backend "$({_BUSY})"', "await busy", REJECT, of=1, turn=1)


def _fix(stage: Stage) -> None:
    stage.plays("review", REJECT, of=1, turn=1)
    stage.plays("fix", *HOLD, "say Put right")


def _watched(stage: Stage) -> None:
    pull = stage.github.pulls["acme/web", 11]
    pull.push()
    pull.check("build", None)


MOMENTS = {
    "work assigned": Moment("backend", Job.WORK, _assigned, is_begun=False),
    "work": Moment("backend", Job.WORK, _work),
    "verification": Moment("backend", Job.VERIFY, _verify),
    "review": Moment("reviewer", Job.REVIEW, _review),
    "fix assigned": Moment("backend", Job.FIX, _fix_assigned, is_begun=False, given=tuple(WITH_FIX)),
    "fix": Moment("backend", Job.FIX, _fix, given=tuple(WITH_FIX)),
    "watched": Moment("", None, _watched, is_begun=False),
}
