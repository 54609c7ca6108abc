"""Reads everything that is left when the town is at rest, and says what is not as it must be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaos import quests, script
from chaos.world import World
from tests.support import invariants
from tests.support.invariants import Snapshot
from tinytown.errors import TinytownError
from tinytown.store.inboxes import read_dead_letter

# What may lie in `.tt` of a town at rest; everything else is left over.
EXPECTED = re.compile(
    r"""supervisor\.(lock|sock|log|json)|missions\.log(\.1)?|cache(/.*)?|start\.lock|reset\.lock
    |redis\.(sock|pid|conf|log|lock|alive|json)|appendonlydir(/.*)?|redis-data(/.*)?
    |agents(/[^/]+(/(actor|round)\.json)?)?
    |logs(/[^/]+\.log(\.1)?)?|runs(/.*)?|tasks(/.*)?|\.gitignore""",
    re.VERBOSE,
)
KEYS_PER_AGENT = 16
TOLD = "tt:0"  # the mark of a `tt` of the scripted CLI that was heard


@dataclass
class Accepted:
    """What the writers noted so far. `tasks`: id -> the name of its behaviour."""

    journals: list[Path]
    tasks: dict[str, str] = field(default_factory=dict)
    messages: set[str] = field(default_factory=set)
    missions: set[str] = field(default_factory=set)
    by_hand: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    _read: dict[Path, int] = field(default_factory=dict)

    def read_on(self) -> None:
        """Take what is new; a line that is not whole yet is left for the next time."""
        for path in self.journals:
            with path.open("rb") as stream:
                stream.seek(self._read.get(path, 0))
                text = stream.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for line in whole.decode().splitlines():
                self._take(*line.split(" ", 2)[1:])

    def _take(self, kind: str, rest: str) -> None:
        if kind == "task":
            task_id, behaviour = rest.split(" ", 1)
            self.tasks[task_id] = behaviour
        elif kind == "message":
            self.messages.add(rest)
        elif kind == "mission":
            self.missions.add(rest)
        elif kind == "hand":
            self.by_hand += 1
        else:
            self.errors[rest[:100]] += 1


@dataclass
class Reading:
    """What was found: `violations` and figures for the report."""

    violations: list[str]
    tasks: Counter[str] = field(default_factory=Counter)
    behaviours: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    given_up: dict[str, str] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)


def read(world: World, accepted: Accepted, *, limited: bool) -> Reading:
    """Everything in Redis, the marks of the scripted CLI, the files."""
    try:
        seen = invariants.look(world.town)
    except TinytownError as error:
        return Reading([f"nothing can be read: {error}"])
    noted = list(_marks(world))
    marks = Counter(what for what, _task_id in noted)
    found = list(_accepted(seen, accepted))
    done = Counter(e.get("work_item_id", "") for e in seen.events if e["event_type"] == "work_item_done")
    found += quests.violations(world, accepted.missions, done)
    if not limited:
        found += _scripted(seen, {task_id for what, task_id in noted if what == TOLD})
        found += [f"agent {a.name}: {a.state}, {a.reason}" for a in seen.agents.values() if a.state == "error"]
    else:
        found += _reasons(seen)
    if marks["overlap"]:
        found.append(f"{marks['overlap']} runs began while another one of the task or agent was alive")
    found += [f"left over: .tt/{name}" for name in _left_over(world)]
    keys = Counter(key.split(":")[2] for key in seen.keys)
    beside = sum(count for kind, count in keys.items() if kind not in {"task", "sent", "dependents"})
    if beside > KEYS_PER_AGENT * len(seen.agents) + 30:
        found.append(f"{beside} keys beside those of tasks, for {len(seen.agents)} agents")
    return Reading(
        found,
        Counter(task.state.value for task in seen.tasks.values()),
        Counter(
            ("of a mission" if task.is_of_mission else _behaviour(task.description), task.state.value)
            for task in seen.tasks.values()
        ),
        Counter(read_dead_letter(text).reason for texts in seen.of("dead").values() for text in texts),
        {a.name: a.reason or "" for a in seen.agents.values() if a.state == "error"},
        Counter(event["event_type"] for event in seen.events),
        keys,
    )


def _accepted(seen: Snapshot, accepted: Accepted) -> Iterator[str]:
    for task_id in accepted.tasks - seen.tasks.keys():
        yield f"task {task_id}: accepted, and lost"
    sent = {event.get("message_id") for event in seen.events}
    for message_id in accepted.messages - sent:
        yield f"message {message_id}: accepted, and no event knows it"


def _scripted(seen: Snapshot, told: set[str]) -> Iterator[str]:
    """Each task ended as its script says; that it ended once is the invariants' matter.

    `told`: tasks whose own `tt` was heard. One that could not say that it failed is done when its model is.
    """
    for task in seen.tasks.values():
        behaviour = script.behaviour_of(task.description)
        wanted = behaviour.end if behaviour is not None else script.ANY
        if behaviour is not None and behaviour.says_so and task.id not in told:
            wanted = script.ANY
        if not task.state.is_terminal:
            yield f"task {task.id} ({_behaviour(task.description)}): {task.state} in the end"
        elif wanted is not None and task.state != wanted:
            yield f"task {task.id} ({_behaviour(task.description)}): {task.state}, not {wanted}: {task.result}"


def _reasons(seen: Snapshot) -> Iterator[str]:
    """With the default limits work may be given up, but never in silence."""
    for texts in seen.of("dead").values():
        for text in texts:
            if not read_dead_letter(text).reason:
                yield f"a dead letter without a reason: {text[:200]}"
    for agent in seen.agents.values():
        if agent.state == "error" and not agent.reason:
            yield f"agent {agent.name}: given up without a reason"


def _behaviour(text: str) -> str:
    found = script.behaviour_of(text)
    return found.name if found is not None else "message"


def _marks(world: World) -> Iterator[tuple[str, str]]:
    """What the scripted CLI noted, and of which task."""
    path = world.control / "marks"
    for line in path.read_text().splitlines() if path.exists() else []:
        what, _run, task_id, *_rest = line.split(" ")
        yield what, task_id


def _left_over(world: World) -> Iterator[str]:
    folder = world.town.state_dir
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not EXPECTED.fullmatch(name):
            yield name
