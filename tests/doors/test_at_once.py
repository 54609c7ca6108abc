"""Eight users type the same command at the same moment: one winner where there can be one, and nothing lost."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.support import invariants
from tests.support import town as towns
from tests.support.cli import TIMEOUT_S, Tt
from tinytown.domain.message import Message, parse
from tinytown.domain.states import TaskState
from tinytown.services import backlog, tasks
from tinytown.services.caller import Caller
from tinytown.town import Town

pytestmark = pytest.mark.slow

USERS = 8


def at_once(tt: Tt, *commands: Sequence[str]) -> list[tuple[int, str]]:
    """Start all of them, then wait for all: exit code and everything each of them printed."""
    with contextlib.ExitStack() as users:
        started = [users.enter_context(tt.running(*command)) for command in commands]
        printed = ["".join(process.communicate(timeout=TIMEOUT_S)) for process in started]
    ended = [(process.returncode, out) for process, out in zip(started, printed, strict=True)]
    assert not [out for _code, out in ended if "Traceback" in out]
    return ended


def winners(ended: list[tuple[int, str]]) -> list[str]:
    return [out for code, out in ended if code == 0]


def test_claim_of_one_task(tt: Tt, town: Town) -> None:
    """One agent has it, with one message; the others are told that it is gone."""
    for number in range(USERS):
        towns.register(town, f"a{number}")
    task = backlog.add(town, "only one", [], Caller())

    ended = at_once(tt, *(("backlog", "claim", task.id, f"a{n}") for n in range(USERS)))

    assert len(winners(ended)) == 1
    assert all("is not in the backlog" in out for code, out in ended if code)
    invariants.check(town, settled=False)


def test_assign_to_one_agent(tt: Tt, town: Town) -> None:
    """All of them arrive, each with its own task."""
    agent = towns.register(town)
    ended = at_once(tt, *(("assign", "backend", f"task {n}") for n in range(USERS)))
    assert len(winners(ended)) == USERS
    assert len(towns.texts(town, "inbox", agent.id)) == USERS
    assert sorted(t.description for t in tasks.listing(town)) == [f"task {n}" for n in range(USERS)]
    invariants.check(town, settled=False)


def test_one_task_ends_once(tt: Tt, town: Town) -> None:
    """Completed, failed and cancelled at once: whoever was first, and the others are told what happened."""
    agent = towns.register(town)
    task = tasks.assign(town, agent.name, "end me", Caller(), [])
    words = [("complete", "--result"), ("fail", "--reason"), ("cancel", "--reason"), ("complete", "--result")] * 2

    ended = at_once(tt, *(("task", verb, task.id, option, str(n)) for n, (verb, option) in enumerate(words)))

    assert len(winners(ended)) == 1
    final = towns.task_now(town, task)
    assert all(f"was {final.state} already" in out for code, out in ended if code)
    invariants.check(town, settled=False)


def test_reclaim_to_the_backlog(tt: Tt, town: Town) -> None:
    """Every task arrives in the backlog once."""
    gone = towns.register(town, "gone", wanted=False)
    moved = [towns.give_task(town, gone)[0] for _ in range(12)]

    ended = at_once(tt, *[("reclaim", "--to-backlog")] * USERS)

    assert len(winners(ended)) == USERS
    assert Counter(t.id for t in backlog.listing(town)) == Counter(t.id for t in moved)
    assert towns.texts(town, "inbox", gone.id) == []
    invariants.check(town, settled=False)


def test_reclaim_to_different_agents(tt: Tt, town: Town) -> None:
    """Every message and task arrives with exactly one of them."""
    gone = towns.register(town, "gone", wanted=False)
    heirs = [towns.register(town, f"heir{n}") for n in range(USERS)]
    moved = [towns.give_task(town, gone)[1] for _ in range(12)]
    moved += [towns.give_mail(town, gone, question=f"why {n}?") for n in range(4)]

    at_once(tt, *(("reclaim", "--from", "gone", "--to", heir.name) for heir in heirs))

    arrived = [m.id for heir in heirs for m in _mail(town, heir.id)]
    assert Counter(arrived) == Counter(m.id for m in moved)
    owners = {heir.id for heir in heirs}
    assert all(t.assigned_to in owners for t in tasks.listing(town, [TaskState.ASSIGNED]))
    invariants.check(town, settled=False)


def test_push_of_one_plan(tt: Tt, town: Town) -> None:
    """One task for each line of the plan."""
    entries = [f'[[tasks]]\nid = "t{n}"\ndescription = "task {n}"\nstatus = "pending"\n' for n in range(40)]
    (town.root / "tasks.toml").write_text("\n".join(entries))

    ended = at_once(tt, *[("sync", "push")] * USERS)

    assert len(winners(ended)) == USERS
    assert Counter(t.description for t in backlog.listing(town)) == Counter(f"task {n}" for n in range(40))
    invariants.check(town, settled=False)


def test_everything_at_once(tt: Tt, town: Town) -> None:
    """Claim, assign, complete, reclaim and push beside each other: nothing is lost, nothing is there twice."""
    gone, here = towns.register(town, "gone", wanted=False), towns.register(town, "here")
    old = [towns.give_task(town, gone)[0] for _ in range(6)]
    parked = backlog.add(town, "parked", [], Caller())
    (town.root / "tasks.toml").write_text('[[tasks]]\nid = "p"\ndescription = "planned"\nstatus = "pending"\n')

    at_once(
        tt,
        ("reclaim", "--to-backlog"),
        ("reclaim", "--to", "here"),
        ("backlog", "claim", parked.id, "here"),
        ("backlog", "assign-all", "here"),
        ("task", "complete", old[0].id),
        ("task", "cancel", old[0].id),
        ("assign", "here", "new"),
        ("sync", "push"),
    )

    assert towns.task_now(town, old[0]).state.is_terminal
    assert len(towns.all_tasks(town)) == len(old) + 3
    assert towns.texts(town, "inbox", gone.id) == []
    assert here.id in {t.assigned_to for t in tasks.listing(town)}
    invariants.check(town, settled=False)


def _mail(town: Town, agent_id: str) -> list[Message]:
    return [parse(text) for text in towns.texts(town, "inbox", agent_id)]
