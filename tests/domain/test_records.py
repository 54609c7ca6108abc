"""Records as JSON: agents, wishes, tasks, outcomes, events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import AT, QUICK, make_agent, make_task, make_wish
from tinytown.domain.agent import Agent, Wish
from tinytown.domain.event import Event
from tinytown.domain.outcome import RULES, FollowUp, Outcome, OutcomeKind
from tinytown.domain.record import Record
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.store.agents import read_wish
from tinytown.store.tasks import read_task

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@QUICK
@given(
    st.sampled_from([make_agent(), make_wish(), make_task(tags=["a", "b"])]),
    st.dictionaries(st.text(), JSON, max_size=4),
)
def test_a_rewrite_keeps_what_it_does_not_know(record: Record, unknown: dict[str, Any]) -> None:
    """Fields of a newer version survive reading, changing and writing, whatever their names and values are."""
    known = record.to_dict()
    unknown = {name: value for name, value in unknown.items() if name not in known}

    again = type(record).from_json(json.dumps(known | unknown))

    assert again == record
    assert json.loads(again.to_json()) == json.loads(json.dumps(known | unknown))


def test_long_integers_and_empty_lists_survive() -> None:
    """Nothing is re-encoded on the way: [] stays [], a long integer keeps its digits."""
    text = make_task(tags=[]).to_json().replace("}", ',"big":9007199254740993,"none":[]}')

    assert json.loads(Task.from_json(text).to_json())["big"] == 9007199254740993
    assert '"none":[]' in Task.from_json(text).to_json()
    assert '"tags":[]' in Task.from_json(text).to_json()


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", '"x"', "null", "{}", '{"id":"x"}', "[" * 5000, '{"state":"flying"}']
)
@pytest.mark.parametrize("kind", [Agent, Wish, Task])
def test_what_is_no_record_is_a_value_error(kind: type[Record], text: str) -> None:
    """Text that is no record of the kind raises ValueError, however wrong it is."""
    with pytest.raises(ValueError):  # noqa: PT011  any of its kinds
        kind.from_json(text)


@QUICK
@given(st.text() | JSON.map(json.dumps))
def test_readers_of_stored_records_never_raise(text: str) -> None:
    """What somebody wrote by hand is a record or None for the readers that lists are made with."""
    assert read_task(text, "t") is None
    assert read_wish(text) is None or isinstance(read_wish(text), Wish)


def test_an_older_name_of_running_is_understood() -> None:
    """`in_flight` is running."""
    text = make_task(TaskState.RUNNING).to_json().replace('"running"', '"in_flight"')

    assert Task.from_json(text).state is TaskState.RUNNING


def test_the_id_in_the_plan_is_a_tag() -> None:
    """The first tag `plan:<id>`; a task that came from no plan has none."""
    assert make_task(tags=["x", "plan:auth:1"]).plan_id == "auth:1"
    assert make_task(tags=["x", "planner"]).plan_id is None
    assert make_task(tags=None).plan_id is None


def test_states_are_stored_in_lower_case() -> None:
    """Enums in records are their lower-case words."""
    assert '"state":"draining"' in make_agent(state=AgentState.DRAINING).to_json()
    assert Agent.from_json(make_agent(state=AgentState.DRAINING).to_json()).state is AgentState.DRAINING


def test_records_are_readable_text() -> None:
    """Umlauts and emoji are stored as they are, not as escapes."""
    assert "Grüße 🏘️" in make_task(description="Grüße 🏘️").to_json()


OUTCOMES = st.builds(
    Outcome,
    kind=st.sampled_from(OutcomeKind),
    detail=st.text(),
    result=st.text(),
    until=st.none() | st.floats(allow_nan=False),
    exit_code=st.none() | st.integers(-64, 255),
)


@QUICK
@given(OUTCOMES)
def test_an_outcome_survives_the_journal(outcome: Outcome) -> None:
    """An outcome written and read is the same outcome."""
    assert Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome


@pytest.mark.parametrize("raw", [{}, {"kind": "flying"}, {"kind": None}, {"kind": []}])
def test_what_is_no_outcome_is_refused(raw: dict[str, Any]) -> None:
    """A journal of another program is an error of the kinds that readers expect."""
    with pytest.raises((ValueError, TypeError, KeyError)):
        Outcome.from_dict(raw)


def test_the_rules_are_complete() -> None:
    """One row for each outcome."""
    assert set(RULES) == set(OutcomeKind)


def test_what_is_not_the_agents_fault_is_not_charged() -> None:
    """Rate limit, login, a missing CLI, a stop and a worktree that is not ready charge nothing; the rest does."""
    free = {kind for kind, rule in RULES.items() if not rule.charged}
    held = {OutcomeKind.RATE_LIMITED, OutcomeKind.AUTH_FAILED, OutcomeKind.NOT_FOUND}

    assert free == held | {OutcomeKind.STOPPED, OutcomeKind.UNPREPARED}
    assert {k for k, r in RULES.items() if r.follow_up is FollowUp.HOLD_CLI} == held
    assert [k for k, r in RULES.items() if r.follow_up is FollowUp.DONE] == [OutcomeKind.OK]


def test_an_event_leaves_out_what_it_does_not_have() -> None:
    """Empty fields are not stored; details stand beside the known ones."""
    event = Event("task_completed", "done", AT, task_id="t", detail={"round": 3})

    assert json.loads(event.to_json()) == {
        "event_type": "task_completed", "task_id": "t", "message": "done", "timestamp": AT, "round": 3,
    }  # fmt: skip


def test_a_name_of_before_is_read() -> None:
    """Agents could be called `-x` once: their records and wishes still count."""
    assert Agent.from_json(make_agent("-x").to_json()).name == "-x"
    assert Wish.from_json(make_wish("-x").to_json()).name == "-x"
    for bad in ("..", "a/b", "", "x" * 65):
        with pytest.raises(ValueError, match="not valid"):
            Agent.from_json(make_agent(bad).to_json())
