"""Two people, or a person and the scheduler, inside of each other: as if one had come after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.support import invariants
from tests.support.builders import make_item, make_mission, make_watch
from tests.support.interleaving import Frozen, freeze, named, shape, thaw, unforced, visited
from tests.support.missions import put_mission
from tests.support.town import claim_all, give_task, register
from tinytown.domain.mission import Mission
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.errors import TinytownError
from tinytown.services import tasks
from tinytown.services.caller import Caller
from tinytown.services.missions import control, lease, verdicts
from tinytown.services.missions.ticking import Ticker
from tinytown.town import Town

pytestmark = pytest.mark.slow
PERSON = Caller()
DONE = "done"


def tick(town: Town) -> None:
    held = lease.Lease(town)
    assert held.take() is None
    Ticker(town, held).tick()


# What is done, to the world that `begin` makes. The review's task is completed by its agent without a verdict.
VERBS: dict[str, Callable[[Town], object]] = {
    "stop": lambda t: control.stop(t, "aaaa", PERSON),
    "force": lambda t: control.stop(t, "aaaa", PERSON, force=True),
    "resume": lambda t: control.resume(t, "aaaa", PERSON),
    "note": lambda t: control.note(t, "aaaa", "look", PERSON),
    "approve": lambda t: verdicts.approve(t, "#2", PERSON),
    "reject": lambda t: verdicts.reject(t, "#2", "no tests", PERSON),
    "cancel": lambda t: control.cancel(t, "#1", PERSON),
    "cancel the reviewed": lambda t: control.cancel(t, "#2", PERSON),
    "retry": lambda t: control.retry(t, "#3", PERSON),
    "silence": lambda t: tasks.complete(t, review_task(t), "fine, I think", PERSON),
    "tick": tick,
}
IN_STEPS = {"tick"}  # others may come between its steps
PAIRS = [pair for pair in itertools.permutations(VERBS, 2) if pair[0] != "silence"] + [(v, v) for v in VERBS]


def review_task(town: Town) -> str:
    file = town.store.missions.file(MISSION.id)
    assert file is not None
    found = next(item for item in file.items.values() if item.number == 2)
    return found.task_id or "0" * 8


MISSION: Mission = make_mission(id="aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", objectives=["acme/web#1"])


def begin(town: Town) -> None:
    """Item 1 was given and not begun, 2 is under review, 3 needs a person, 4 waits for 1."""
    author, reviewer = register(town, "backend"), register(town, "reviewer", role_id="reviewer")
    first, second = make_item(MISSION, 1), make_item(MISSION, 2)

    def tagged(item: WorkItem, agent_id: str, job: Job) -> WorkItem:
        agent = author if agent_id == author.id else reviewer
        task, _message = give_task(town, agent, tags=["mission-work-item", f"work-item:{item.id}"])
        return replace(item, job=job, task_id=task.id, assigned_to=agent.id, status=WorkStatus.ASSIGNED, tries=1)

    second = tagged(second, reviewer.id, Job.REVIEW)
    claim_all(town, reviewer)
    given: dict[str, Any] = {"author": author.id, "authors": ["backend"], "result": "done"}
    second = replace(second, status=WorkStatus.RUNNING, **given)
    third = make_item(MISSION, 3, status=WorkStatus.BLOCKED, needs_person=True, reason="stuck", **given)
    fourth = make_item(MISSION, 4, depends_on=[first.id])
    put_mission(
        town, MISSION, tagged(first, author.id, Job.WORK), second, third, fourth,
        watches=[make_watch(third, text="passing", state="passing", next_due_at="2099-01-01T00:00:00Z")],
    )  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_one_inside_of_another(supervised: Town, pair: tuple[str, str]) -> None:
    """Before each round trip of the one, all of the other: all holds, and who is refused has done nothing."""
    town = supervised
    with unforced(town):
        begin(town)
        if "resume" in pair:
            control.stop(town, MISSION.id, PERSON)
        start = freeze(town)
        known = named(invariants.look(town))
        rows = [end_of(town, start, order, known) for order in (pair, pair[::-1])]
        for trip in itertools.count(1):
            thaw(town, start)
            inner: list[str] = []
            with visited(town, {trip: partial(visit, inner, pair[1], town)}) as (client, store):
                outer = told(pair[0], client)
            assert invariants.of_records(invariants.look(town)) == []
            if IN_STEPS.isdisjoint(pair):
                found = [outer, *inner], shape(invariants.look(town), known)
                assert found in [rows[0], (rows[1][0][::-1], rows[1][1])]
            if store.trips <= trip:
                return


def visit(answers: list[str], verb: str, town: Town) -> None:
    answers.append(told(verb, town))


def end_of(town: Town, start: Frozen, order: tuple[str, str], known: str) -> tuple[list[str], Any]:
    thaw(town, start)
    answers = [told(verb, town) for verb in order]
    assert invariants.of_records(invariants.look(town)) == []
    return answers, shape(invariants.look(town), known)


def told(verb: str, town: Town) -> str:
    try:
        VERBS[verb](town)
    except TinytownError as error:
        return type(error).__name__
    return DONE
