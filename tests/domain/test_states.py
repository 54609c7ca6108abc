"""The transition tables."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import AT, QUICK, make_task
from tinytown.domain.states import TASK_RESET, TASK_RETRY, TASK_TRANSITIONS, AgentState, TaskState, advance
from tinytown.errors import Conflict, IllegalTransition

P, A, R = TaskState.PENDING, TaskState.ASSIGNED, TaskState.RUNNING
ENDED = (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED)
ALLOWED = {
    *((P, new) for new in (A, *ENDED)),
    *((A, new) for new in (P, A, R, *ENDED)),
    *((R, new) for new in (P, A, *ENDED)),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(TaskState, TaskState)))
def test_every_pair_of_task_states(old: TaskState, new: TaskState) -> None:
    """A task moves along the table and no other way; a refusal is a conflict that names both states."""
    if (old, new) in ALLOWED:
        assert advance(old, new) is new
    else:
        with pytest.raises(IllegalTransition, match=f"{old.value} cannot become {new.value}") as caught:
            advance(old, new)
        assert caught.value.kind == "conflict"


@pytest.mark.parametrize(("old", "new"), list(itertools.product(TaskState, TaskState)))
def test_only_failed_and_cancelled_tasks_are_retried(old: TaskState, new: TaskState) -> None:
    """Retry leads out of failed and cancelled only, to an agent or to the backlog; a completed task stays completed."""
    if old in {TaskState.FAILED, TaskState.CANCELLED} and new in {P, A}:
        assert advance(old, new, TASK_RETRY) is new
    else:
        with pytest.raises(Conflict):
            advance(old, new, TASK_RETRY)


@pytest.mark.parametrize(("old", "new"), list(itertools.product(TaskState, TaskState)))
def test_a_reset_leads_out_of_every_ended_state(old: TaskState, new: TaskState) -> None:
    """Also out of completed; an open task is not reset."""
    if old in ENDED and new in {P, A}:
        assert advance(old, new, TASK_RESET) is new
    else:
        with pytest.raises(Conflict):
            advance(old, new, TASK_RESET)


def test_the_table_names_every_state() -> None:
    """No state is missing from the table, and the terminal ones lead nowhere."""
    assert set(TASK_TRANSITIONS) == set(TaskState)
    assert {state for state, after in TASK_TRANSITIONS.items() if not after} == set(ENDED)
    assert {state for state in TaskState if state.is_terminal} == set(ENDED)
    assert {s for s in AgentState if s.is_terminal} == {AgentState.COLD, AgentState.STOPPED, AgentState.ERROR}
    assert [s for s in AgentState if s.can_accept_work] == [AgentState.IDLE]


VERBS = ("assigned", "started", "put_back", "parked", "completed", "failed", "cancelled", "retried")


@QUICK
@given(st.lists(st.sampled_from(VERBS), max_size=20))
def test_a_task_ends_once_whatever_is_tried(verbs: list[str]) -> None:
    """Any order of verbs: a refused one changes nothing, and between two retries there is at most one end."""
    task = make_task()
    for verb in verbs:
        before = task
        try:
            match verb:
                case "assigned":
                    task = task.assigned("agent", "boss", AT)
                case "started":
                    task = task.started(AT)
                case "put_back" if task.state is R:  # what was not begun is not put back
                    task = task.put_back(AT)
                case "put_back":
                    continue
                case "parked":
                    task = task.parked(AT)
                case "retried":
                    task = task.retried("agent", AT)
                case _:
                    task = task.ended(TaskState(verb), "words", "run", AT)
        except IllegalTransition:
            assert task is before
            continue
        assert before.state.is_terminal == (verb == "retried")
        assert task.state.is_terminal == (task.completed_at is not None) == (task.ended_by is not None)
        assert (task.started_at is not None) <= (task.state in {R, *ENDED})
        assert (task.assigned_to is None) <= (task.state in {P, *ENDED})


def test_a_retried_task_forgets_its_end() -> None:
    """A retry clears result, times and who ended it, and keeps who assigned it and what is to be done."""
    ended = make_task(A, assigned_to="a", assigned_by="boss", tags=["x"]).ended(TaskState.FAILED, "no", "run", AT)

    again = ended.retried(None, AT)

    assert (again.state, again.assigned_to, again.result, again.completed_at, again.ended_by) == (
        P,
        None,
        None,
        None,
        None,
    )
    assert (again.assigned_by, again.tags, again.description) == ("boss", ["x"], "build it")
