"""Who fits, who is free, who is chosen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tests.missions.builders import a_run, a_task, a_view, an_item, handed_in, with_task, worker
from tinytown.domain.work import Job, WorkItem, WorkKind
from tinytown.missions import matching
from tinytown.missions.matching import EXACT, GENERIC, OTHER, UNFIT
from tinytown.missions.snapshot import Snapshot, Worker
from tinytown.missions.team import Choice, Team

BACKEND = an_item(1, owner_role="backend")


@pytest.mark.parametrize(
    ("role", "name", "lane"),
    [
        ("backend", "x", "backend"),
        ("API", "x", "backend"),
        ("qa", "x", "tester"),
        ("audit", "x", "reviewer"),
        ("worker", "reviewer", ""),  # what it was spawned as comes first
        (None, "reviewer-2", "reviewer"),
        (None, "my_frontend", "frontend"),
        (None, "builder", ""),  # whole words: "ui" is none in it
        (None, "bob", ""),
        ("wizard", "x", "wizard"),
    ],
)
def test_lanes(role: str | None, name: str, lane: str) -> None:
    """Lanes."""
    assert matching.lane(role, name) == lane


@pytest.mark.parametrize(
    ("agent", "item", "score"),
    [
        (worker("a", "backend"), BACKEND, EXACT),
        (worker("backend"), BACKEND, EXACT),
        (worker("a"), BACKEND, GENERIC),
        (worker("a", "frontend"), BACKEND, OTHER),
        (worker("a", "frontend"), replace(BACKEND, is_role_strict=True), UNFIT),
        (worker("a"), replace(BACKEND, is_role_strict=True), GENERIC),
        (worker("a", "reviewer"), BACKEND, UNFIT),
        (worker("a", "reviewer"), an_item(1), UNFIT),
        (worker("a"), an_item(1), EXACT),
        (worker("a", "backend"), an_item(1), OTHER),
        (worker("a", "tester"), an_item(1, kind=WorkKind.TEST), EXACT),
        (worker("a", "reviewer"), an_item(1, kind=WorkKind.REVIEW), EXACT),
        (worker("Zoe"), an_item(1, owner_role="zoe"), EXACT),
    ],
)
def test_role_first_then_an_agent_without_one_then_any_other(agent: Worker, item: WorkItem, score: int) -> None:
    """Role first then an agent without one then any other."""
    assert matching.fit(agent, item, Job.WORK) == score


@pytest.mark.parametrize(
    ("agent", "score"),
    [
        (worker("eve", "reviewer"), EXACT),
        (worker("eve"), GENERIC),
        (worker("eve", "backend"), OTHER),
        (worker("ann", "reviewer"), UNFIT),  # by id and name
        (replace(worker("ann"), name="renamed"), UNFIT),
        (replace(worker("ann"), id="another"), UNFIT),
    ],
)
def test_an_author_never_reviews(agent: Worker, score: int) -> None:
    """An author never reviews."""
    assert matching.fit(agent, handed_in(1), Job.REVIEW) == score


# Choosing


def chosen(agents: Iterable[Worker], item: WorkItem, job: Job = Job.WORK, *, slot: bool = True, **more: Any) -> Choice:
    return Team(Snapshot([a_view(a_run(), item)], agents=tuple(agents), **more)).choose(item, job, has_slot=slot)


def name_of(choice: Choice) -> str | None:
    return choice.agent.name if choice.agent else None


def test_the_best_that_is_free_is_chosen() -> None:
    """The best that is free is chosen."""
    agents = [worker("a"), worker("b", "backend"), worker("c", "frontend")]
    assert name_of(chosen(agents, BACKEND)) == "b"
    agents[1] = replace(agents[1], is_free=False)
    assert name_of(chosen(agents, BACKEND)) == "a"


def test_work_goes_to_whoever_has_had_least() -> None:
    """Work goes to whoever has had least."""
    team = Team(
        Snapshot([a_view(a_run(), handed_in(1), handed_in(2, author="id-a"))], agents=(worker("a"), worker("b")))
    )
    assert name_of(team.choose(an_item(3), Job.WORK, has_slot=True)) == "b"
    assert name_of(team.choose(an_item(4), Job.WORK, has_slot=True)) == "a"
    assert name_of(team.choose(an_item(5), Job.WORK, has_slot=True)) is None, "one task each"


def test_a_wait_for_a_slot_or_a_free_agent_says_nothing() -> None:
    """A wait for a slot or a free agent says nothing."""
    assert chosen([worker("a")], BACKEND, slot=False) == Choice(None)
    busy = with_task(BACKEND, Job.WORK, "a")
    team = Team(Snapshot([a_view(a_run(), busy)], {busy.task_id or "": a_task(busy)}, [worker("a", is_free=False)]))
    assert team.choose(an_item(2), Job.WORK, has_slot=True) == Choice(None)


def test_a_busy_town_holds_up_no_mission() -> None:
    """When nobody is free, one task of a mission lies behind other work: where there is least of it."""
    agents = [worker("a", is_free=False, load=3), worker("b", is_free=False, load=2), worker("c", takes_work=False)]
    team = Team(Snapshot([a_view(a_run(), an_item(1))], agents=[*agents[:2], replace(agents[2], is_free=False)]))
    names = [name_of(team.choose(an_item(n), Job.WORK, has_slot=True)) for n in (1, 2, 3)]
    assert names == ["b", "a", None]


@pytest.mark.parametrize(
    ("agents", "item", "job", "said", "remedy"),
    [
        ([], BACKEND, Job.WORK, "no agent runs", "tt spawn backend"),
        ([worker("a", is_ended=True)], an_item(1), Job.WORK, "a would fit, but has ended", "tt restart a"),
        ([worker("a", is_ended=True), worker("r", "reviewer")], an_item(1), Job.WORK, "a would fit", "tt restart a"),
        ([worker("ann"), worker("r", is_ended=True)], handed_in(1), Job.REVIEW, "r would fit", "tt restart r"),
        ([worker("r", "reviewer", is_ended=True)], an_item(1), Job.WORK, "no agent runs", "tt spawn worker"),
        ([worker("a", "reviewer")], an_item(1), Job.WORK, "no agent takes such work", "tt spawn worker"),
        ([worker("a", "reviewer")], BACKEND, Job.WORK, "no agent has the role 'backend'", "--role backend"),
        ([worker("ann")], handed_in(1), Job.REVIEW, "its author does not", "tt spawn reviewer --role reviewer"),
        (
            [worker("a", takes_work=False, is_free=False)],
            an_item(1),
            Job.WORK,
            "a would fit, but takes no work now",
            "tt resume a",
        ),
    ],
)
def test_nobody_comes_with_the_reason_and_what_would_help(
    agents: list[Worker], item: WorkItem, job: Job, said: str, remedy: str
) -> None:
    """Nobody comes with the reason and what would help."""
    choice = chosen(agents, item, job)
    assert choice.agent is None
    assert said in (choice.reason or "")
    assert remedy in (choice.remedy or "")


def test_an_agent_on_its_way_out_is_waited_for() -> None:
    """An agent on its way out is waited for: nobody has to do anything until it has ended."""
    leaving = worker("a", takes_work=False, is_free=False, is_leaving=True)
    assert chosen([leaving], an_item(1)) == Choice(None, "a would fit, but is about to end")
    team = Team(Snapshot([], agents=[leaving]))
    assert team.rests(leaving.id) == Choice(None, "a is about to end")


@pytest.mark.parametrize("job", [Job.FIX, Job.VERIFY])
def test_fixes_and_verifications_go_to_the_author_free_or_not(job: Job) -> None:
    """Fixes and verifications go to the author free or not."""
    agents = [worker("a"), worker("ann", is_free=False)]
    assert name_of(chosen(agents, handed_in(1), job)) == "ann"
    assert name_of(chosen(agents, handed_in(1), job, slot=False)) == "ann"


def test_an_agent_that_took_over_the_author_s_name_is_as_good() -> None:
    """An agent that took over the author's name is as good."""
    agents = [worker("a"), replace(worker("ann"), id="new")]
    assert name_of(chosen(agents, handed_in(1, author="gone", authors=["a", "ann"]), Job.FIX)) == "ann"


def test_without_its_author_a_fix_goes_to_another_that_fits() -> None:
    """Without its author a fix goes to another that fits."""
    assert name_of(chosen([worker("a"), worker("ann", is_ended=True)], handed_in(1), Job.FIX)) == "a"


def test_a_verification_needs_the_worktree_of_the_author() -> None:
    """A verification needs the worktree of the author."""
    agents = [worker("a"), worker("ann", is_ended=True)]
    assert name_of(chosen(agents, handed_in(1), Job.VERIFY)) == "a"
    alone = chosen(agents, handed_in(1), Job.VERIFY, shares_folder=False)
    assert (name_of(alone), alone.remedy) == (None, "tt restart ann")
