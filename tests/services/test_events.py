"""The history: filters, references that only it knows, following without gaps or repeats."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import town as towns
from tinytown import clock, ids
from tinytown.config import RedisConfig
from tinytown.domain.event import Event
from tinytown.errors import Conflict, NotFound
from tinytown.services import events, tasks
from tinytown.services.caller import Caller
from tinytown.services.events import Filter
from tinytown.store.events import NEVER
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change


def happen(town: Town, *happened: Event) -> None:
    def build(tx: Transaction) -> None:
        for event in happened:
            tx.event(event)

    change(town.store, build)


def event(number: int, **fields: str) -> Event:
    return Event(fields.pop("type", "agent_spawned"), f"number {number}", clock.stamp(), **fields)  # type: ignore[arg-type]


def said(entries: list[events.Entry]) -> list[str]:
    return [entry.event["message"] for entry in entries]


def test_the_newest_are_found_behind_many_others(town: Town) -> None:
    """The filter comes before the count: two of one agent's, though thousands of another's are newer."""
    one, other = ids.new_id(), ids.new_id()
    happen(town, *(event(n, agent_id=one) for n in range(3)))
    for start in range(0, 2400, 400):
        happen(town, *(event(n, agent_id=other) for n in range(start, start + 400)))

    found, end = events.newest(town, 2, Filter(agent_id=one))

    assert said(found) == ["number 1", "number 2"]
    assert end == town.store.events.last_id()
    assert len(events.newest(town, 5000, Filter())[0]) == 2403
    assert events.newest(town, 0, Filter())[0] == []


def test_filters_are_combined(town: Town) -> None:
    """Agent, task, mission and types must all fit."""
    one, two, task = ids.new_id(), ids.new_id(), ids.new_id()
    happen(
        town,
        event(0, agent_id=one, task_id=task, type="task_started"),
        event(1, agent_id=one, type="agent_stopped"),
        event(2, agent_id=two, task_id=task, type="task_completed"),
        event(3, mission_id=task, type="mission_event"),
    )

    def numbers(**fields: object) -> str:
        return "".join(text[-1] for text in said(events.newest(town, 9, Filter(**fields))[0]))  # type: ignore[arg-type]

    assert numbers(agent_id=one) == "01"
    assert numbers(task_id=task) == "02"
    assert numbers(agent_id=one, task_id=task) == "0"
    assert numbers(mission_id=task) == "3"
    assert numbers(types=frozenset({"task_started", "agent_stopped"})) == "01"
    assert numbers(task_id=task, types=frozenset({"agent_stopped"})) == ""


def test_what_is_gone_is_found_by_its_id(town: Town) -> None:
    """An agent or task without a record can still be asked for; what nobody knows cannot."""
    gone, lost = ids.new_id(), ids.new_id()
    happen(town, event(0, agent_id=gone), event(1, task_id=lost))
    agent = towns.register(town, "backend")

    assert events.about(town, gone[:8]) == Filter(agent_id=gone)
    assert events.about(town, lost[:8]) == Filter(task_id=lost)
    assert events.about(town, "backend") == Filter(agent_id=agent.id)
    assert events.about(town, "conductor") == Filter(agent_id=ids.SUPERVISOR_ID)
    for unknown in ("nobody", "0123456789"):
        with pytest.raises(NotFound):
            events.about(town, unknown)
    with pytest.raises(NotFound, match="Mission not found: abcdef"):
        events.filter_of(town, agent=None, task=None, mission="abcdef", types=[])


def test_an_ambiguous_id_of_the_past(town: Town) -> None:
    """Two that begin alike are both named."""
    happen(town, event(0, task_id="abcd0000" + ids.new_id()[8:]), event(1, task_id="abcd1111" + ids.new_id()[8:]))
    with pytest.raises(Conflict, match="ambiguous: abcd0000, abcd1111"):
        events.filter_of(town, agent=None, task="abcd", mission=None, types=[])


def test_following_has_no_gap_and_no_repeat(town: Town) -> None:
    """Everything after what was shown, each once, whatever is filtered out between."""
    wanted, other = ids.new_id(), ids.new_id()
    happen(town, event(0, agent_id=wanted))
    shown, end = events.newest(town, 5, Filter(agent_id=wanted))
    happen(town, event(1, agent_id=other), event(2, agent_id=wanted), event(3, agent_id=wanted))

    following = events.follow(town, end, Filter(agent_id=wanted))
    first = list(itertools.islice(following, 2))
    happen(town, event(4, agent_id=other), event(5, agent_id=wanted))
    then = next(following)

    assert said(shown) == ["number 0"]
    assert [entry.event["message"] for entry in (*first, then) if entry] == ["number 2", "number 3", "number 5"]


def test_each_change_of_a_task_is_told(town: Town) -> None:
    """From its making to its end, each state follows from the one before."""
    agent = towns.register(town)
    task = tasks.assign(town, agent.name, "a", Caller(), [])
    towns.claim_all(town, agent)
    tasks.cancel(town, task.id, None, Caller())
    tasks.retry(town, task.id, Caller())

    found, _end = events.newest(town, 50, Filter(task_id=task.id))

    changes = [(e.event.get("old_state"), e.event["new_state"]) for e in found if e.event.get("new_state")]
    states = [new for _old, new in changes if new != "working"]
    assert states == ["assigned", "running", "cancelled", "assigned"]


def test_a_reader_is_told_once_that_redis_is_away(town: Town, tmp_path: Path) -> None:
    """The door's test lets it come back."""
    nowhere = RedisConfig(url=f"unix://{tmp_path}/nobody.sock")
    cut_off = Town(town.root, replace(town.config, redis=nowhere), is_hurried=True)
    assert next(events.follow(cut_off, NEVER, Filter())) is None
