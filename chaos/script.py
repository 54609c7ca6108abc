"""What the tasks of a run tell the scripted CLI to do, and what must become of each. Pure."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

# How often, what the task's lines are, how the task must end (None: in any way). `first` is the task's first run only.
SUCCEEDS, FAILS, ANY = "completed", "failed", None
LONGEST_MS = 60


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One row: `weight` in a thousand tasks."""

    name: str
    weight: int
    directives: tuple[str, ...]
    end: str | None = SUCCEEDS

    @property
    def says_so(self) -> bool:
        """It fails by its own `tt`, which may not be heard."""
        return any(directive.startswith("tt task fail") for directive in self.directives)


BEHAVIOURS = (
    Behaviour("works", 560, ("work {ms}",)),
    Behaviour("completes itself", 50, ("work {ms}", "tt task complete {task} --result done")),
    Behaviour("fails itself", 20, ("tt task fail {task} --reason broken",), FAILS),
    Behaviour("crashes first", 60, ("first exit 3", "work {ms}")),
    Behaviour("fails first", 40, ("first fail broken", "work {ms}")),
    Behaviour("errs with exit 0 first", 30, ("first error-exit-0 broken", "work {ms}")),
    Behaviour("lies first", 20, ("first lie", "work {ms}")),
    Behaviour("hangs first", 12, ("first hang",)),
    Behaviour("ignores TERM first", 8, ("first ignore-term", "first hang")),
    Behaviour("leaves a child", 80, ("child kid", "work {ms}")),
    Behaviour("floods", 30, ("flood 300000", "work {ms}")),
    Behaviour("floods one line", 10, ("long-line 10000000",)),
    Behaviour("splits UTF-8", 30, ("split-utf8", "work {ms}")),
    Behaviour("closes its output first", 25, ("first close-output", "work {ms}")),
    Behaviour("is rate limited first", 5, ("first limit 1", "work {ms}")),
    Behaviour("anybody's", 20, ("work {ms}",), ANY),  # random commands fail and cancel these
)
# Only where attempts are limited: elsewhere they would go on for good.
HOPELESS = (Behaviour("crashes each time", 60, ("exit 3",), FAILS),)
PROBE = "chaos task: works\nstub: work 1"
_TITLE = re.compile(r"chaos task: (.+)")
_BY_NAME = {behaviour.name: behaviour for behaviour in (*BEHAVIOURS, *HOPELESS)}


def description(choice: random.Random, *, limited: bool = False) -> str:
    """The text of a random task; `limited`: also one that never succeeds."""
    rows = (*BEHAVIOURS, *HOPELESS) if limited else BEHAVIOURS
    behaviour = choice.choices(rows, [b.weight for b in rows])[0]
    values = {"ms": choice.randrange(LONGEST_MS), "task": "{task}"}
    lines = [f"stub: {directive.format(**values)}" for directive in behaviour.directives]
    return "\n".join([f"chaos task: {behaviour.name}", *lines])


def hopeless() -> str:
    """The text of a task that never succeeds."""
    return "\n".join([f"chaos task: {HOPELESS[0].name}", *(f"stub: {line}" for line in HOPELESS[0].directives)])


def behaviour_of(text: str) -> Behaviour | None:
    """Which one a task's text asks for; None when it is none of ours."""
    found = _TITLE.match(text)
    return _BY_NAME.get(found[1].strip()) if found else None
