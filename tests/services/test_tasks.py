"""Assign, complete, fail, cancel, retry: task, index, mail and history in one step."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.town import (
    agent_now,
    claim_all,
    events,
    give_task,
    in_processes,
    register,
    same_town,
    snapshot,
    stats,
    task_now,
    texts,
)
from tinytown import ids
from tinytown.domain.message import parse
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import AgentNotFound, Conflict, Invalid, TaskNotFound
from tinytown.services import tasks
from tinytown.services.caller import Caller
from tinytown.services.settlement import Round, settle
from tinytown.store.inboxes import bury
from tinytown.town import Town, change

USER = Caller()
End = Callable[[Town, str, str | None, Caller], Task]
VERBS: dict[TaskState, End] = {
    TaskState.COMPLETED: tasks.complete,
    TaskState.FAILED: tasks.fail,
    TaskState.CANCELLED: tasks.cancel,
}


def leading_to(town: Town, agent_id: str, task: Task) -> int:
    """How many messages of the agent (waiting or claimed) lead to the task."""
    lists = [texts(town, kind, agent_id) for kind in ("inbox", "urgent", "claimed")]
    return sum(parse(text).task_id == task.id for found in lists for text in found)


def test_assign_is_one_step(town: Town) -> None:
    """Record, index, message, bell and history; the message leads to the task and says who sent it."""
    agent, boss = register(town), register(town, "boss")

    task = tasks.assign(town, "backend", "build it", Caller(boss.id, "run"), ["api"])

    assert task_now(town, task) == task
    assert (task.state, task.assigned_to, task.assigned_by, task.tags) == (
        TaskState.ASSIGNED,
        agent.id,
        boss.id,
        ["api"],
    )
    (text,) = texts(town, "inbox", agent.id)
    assert (parse(text).task_id, parse(text).sender, parse(text).to) == (task.id, boss.id, agent.id)
    assert texts(town, "wake", agent.id) == ["1"]
    assert [(e["task_id"], e["new_state"]) for e in events(town, "task_assigned")] == [(task.id, "assigned")]
    assert [e["message_id"] for e in events(town, "message_sent")] == [parse(text).id]


def test_a_wrong_agent_changes_nothing(town: Town) -> None:
    """An agent that is not there: an error, and not one key of the town differs."""
    register(town)
    before = snapshot(town)

    for name in ("backedn", "", " ", "*", "0000", "supervisor", "x" * 300, "a\nb", "\udcff"):
        with pytest.raises(AgentNotFound):
            tasks.assign(town, name, "build it", USER)
    assert snapshot(town) == before


@pytest.mark.parametrize("text", ["", "  \n", "\t"])
def test_an_empty_description_is_refused(town: Town, text: str) -> None:
    """There is nothing to do in an empty text; nothing is created."""
    register(town)
    before = snapshot(town)

    with pytest.raises(Invalid, match="The text is empty"):
        tasks.assign(town, "backend", text, USER)
    assert snapshot(town) == before


@pytest.mark.parametrize(
    "text", ["half \ud83d an emoji", "bytes \udcff", "zero \0 byte", "quote \" ' line\nbreak", "x" * 1_000_000]
)
def test_any_text_can_be_a_task(town: Town, text: str) -> None:
    """What comes from a shell or from JSON is stored as valid text, whole."""
    register(town)

    task = tasks.assign(town, "backend", text, USER)

    stored = task_now(town, task).description
    assert stored.encode()
    assert len(stored) >= len(text)
    tasks.complete(town, task.id, text, USER)
    assert task_now(town, task).state is TaskState.COMPLETED


@pytest.mark.parametrize("state", VERBS)
def test_an_end(town: Town, state: TaskState) -> None:
    """A task ends with its result and who ended it; its agent's bell rings, whoever assigned it hears of it."""
    agent, boss = register(town), register(town, "boss")
    task = tasks.assign(town, "backend", "build it", Caller(boss.id, "run"))
    town.store.redis.delete(town.store.keys.wake(agent.id))

    VERBS[state](town, task.id[:8], "because", Caller(agent.id, "the run"))

    now = task_now(town, task)
    assert (now.state, now.result, now.ended_by) == (state, "because", "the run")
    assert now.completed_at is not None
    assert texts(town, "wake", agent.id) == ["1"]
    told = parse(texts(town, "inbox", boss.id)[0])
    assert (told.type, told.sender) == ("task_done" if state is TaskState.COMPLETED else "task_failed", agent.id)
    assert told.payload["task_id"] == task.id
    assert stats(town, agent).get("tasks_completed", 0) == (1 if state is TaskState.COMPLETED else 0)
    assert [(e["old_state"], e["new_state"]) for e in events(town, f"task_{state}")] == [("assigned", state.value)]


@pytest.mark.parametrize("first", VERBS)
@pytest.mark.parametrize("second", VERBS)
def test_the_first_end_is_the_only_one(town: Town, first: TaskState, second: TaskState) -> None:
    """A second end is refused with what happened first, and changes nothing."""
    register(town)
    task = tasks.assign(town, "backend", "build it", USER)
    VERBS[first](town, task.id, "first words", USER)
    before = snapshot(town)

    with pytest.raises(Conflict, match=f"was {first} already at .*: first words"):
        VERBS[second](town, task.id, "second words", USER)
    assert snapshot(town) == before


def test_one_end_of_eight_at_once(town: Town) -> None:
    """Eight processes end one task: one does, the others hear what happened; one event, one word to who assigned it."""
    agent, boss = register(town), register(town, "boss")
    task = tasks.assign(town, "backend", "build it", Caller(boss.id, "run"))

    def work(number: int) -> bool:
        try:
            list(VERBS.values())[number % 3](same_town(town), task.id, f"by {number}", USER)
        except Conflict:
            return False
        return True

    won = in_processes(8, work)

    assert sum(won) == 1
    assert task_now(town, task).result == f"by {won.index(True)}"
    assert len(events(town, "task_completed", "task_failed", "task_cancelled")) == 1
    assert len(texts(town, "inbox", boss.id)) == 1
    assert leading_to(town, agent.id, task) == 1


@pytest.mark.parametrize(
    "reference", ["", "abc", "zzzz", "x" * 300, "*", "../..", "00000000-0000-4000-8000-000000000000"]
)
def test_a_task_that_is_not_there(town: Town, reference: str) -> None:
    """Every verb says so and changes nothing."""
    register(town)
    tasks.assign(town, "backend", "build it", USER)
    before = snapshot(town)

    def retry(town: Town, reference: str, _text: str | None, caller: Caller) -> Task:
        return tasks.retry(town, reference, caller)

    for verb in (*VERBS.values(), retry):
        with pytest.raises(TaskNotFound):
            verb(town, reference, None, USER)
    assert snapshot(town) == before


def test_the_default_words(town: Town) -> None:
    """Without a reason the record still says what happened."""
    register(town)
    for state, verb in VERBS.items():
        task = tasks.assign(town, "backend", "build it", USER)
        verb(town, task.id, None, USER)
        assert task_now(town, task).result == state.label


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.CANCELLED])
def test_retry_gives_it_back_to_its_agent(town: Town, state: TaskState) -> None:
    """A retried task is its agent's again, with a fresh end and exactly one message that leads to it."""
    agent = register(town)
    task = tasks.assign(town, "backend", "build it", USER)
    VERBS[state](town, task.id, "no", USER)

    tasks.retry(town, task.id, USER)

    now = task_now(town, task)
    assert (now.state, now.assigned_to, now.result, now.ended_by) == (TaskState.ASSIGNED, agent.id, None, None)
    assert leading_to(town, agent.id, task) == 1, "the message that waited from the first life still leads to it"
    assert [(e["old_state"], e["new_state"]) for e in events(town, "task_retried")] == [(state.value, "assigned")]


def test_retry_while_the_claim_is_still_held(town: Town) -> None:
    """Cancelled and retried before its actor noticed: the claim leads to it, and put back it is the only message."""
    agent = register(town)
    task = tasks.assign(town, "backend", "build it", USER)
    claim_all(town, agent)
    tasks.cancel(town, task.id, None, USER)
    tasks.retry(town, task.id, USER)
    assert leading_to(town, agent.id, task) == 1

    settle(town, agent.id, 1, Round(Outcome(OutcomeKind.STOPPED), run="r"))

    assert leading_to(town, agent.id, task) == 1
    assert task_now(town, task).state is TaskState.ASSIGNED


def test_retry_drops_its_dead_letter(town: Town) -> None:
    """The dead letter of a failed task goes in the same step, with an event: one message leads to it."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    settle(town, agent.id, 1, Round(Outcome(OutcomeKind.NEEDS_INPUT, "which?"), run="r"))
    assert [letter.text for letter in town.store.inboxes.dead(agent.id)] == [message.raw]

    tasks.retry(town, task.id, USER)

    assert town.store.inboxes.dead(agent.id) == []
    assert leading_to(town, agent.id, task) == 1
    assert [e["message_id"] for e in events(town, "message_dropped")] == [message.id]


def test_retry_to_another_agent(town: Town) -> None:
    """`to` gives it to somebody else; what waited at its first agent is taken back, and said so."""
    first, second = register(town), register(town, "second")
    task = tasks.assign(town, "backend", "build it", USER)
    (old,) = texts(town, "inbox", first.id)
    tasks.cancel(town, task.id, None, USER)

    tasks.retry(town, task.id, USER, to="second")

    assert task_now(town, task).assigned_to == second.id
    assert leading_to(town, second.id, task) == 1
    assert leading_to(town, first.id, task) == 0
    assert [e["message_id"] for e in events(town, "message_moved")] == [parse(old).id]


def test_retry_without_an_agent_goes_to_the_backlog(town: Town) -> None:
    """When its agent's record is gone the task waits in the backlog, once."""
    agent = register(town)
    task = tasks.assign(town, "backend", "build it", USER)
    tasks.fail(town, task.id, None, USER)
    town.store.redis.delete(town.store.keys.agent(agent.id))

    tasks.retry(town, task.id, USER)

    assert town.store.tasks.backlog_ids() == [task.id]
    assert (task_now(town, task).state, task_now(town, task).assigned_to) == (TaskState.PENDING, None)


@pytest.mark.parametrize("state", [TaskState.ASSIGNED, TaskState.RUNNING, TaskState.COMPLETED])
def test_what_cannot_be_retried(town: Town, state: TaskState) -> None:
    """Only a failed or cancelled task has another life; the refusal changes nothing."""
    agent = register(town)
    task = tasks.assign(town, "backend", "build it", USER)
    if state is TaskState.RUNNING:
        claim_all(town, agent)
    if state is TaskState.COMPLETED:
        tasks.complete(town, task.id, None, USER)
    before = snapshot(town)

    with pytest.raises(Conflict, match=f"is {state}; only a failed or cancelled one can be retried"):
        tasks.retry(town, task.id, USER)
    assert snapshot(town) == before


def test_current_is_the_task_of_the_run(town: Town) -> None:
    """The task of the agent's round, else its only open one, else none."""
    agent = register(town)
    assert tasks.current(town, "backend").task is None
    first = tasks.assign(town, "backend", "one", USER)
    current = tasks.current(town, "backend").task
    assert current is not None
    assert current.id == first.id
    tasks.assign(town, "backend", "two", USER)
    assert tasks.current(town, "backend").task is None
    claim_all(town, agent)
    current = tasks.current(town, agent.id[:8]).task
    assert current is not None
    assert current.id == first.id == agent_now(town, agent).current_task


def test_listing_by_state(town: Town) -> None:
    """All tasks or those of some states, oldest first."""
    register(town)
    made = [tasks.assign(town, "backend", str(n), USER) for n in range(3)]
    tasks.cancel(town, made[1].id, None, USER)

    assert [t.id for t in tasks.listing(town)] == [t.id for t in made]
    assert [t.id for t in tasks.listing(town, [TaskState.CANCELLED])] == [made[1].id]
    assert tasks.parse_state(" Cancelled ") is TaskState.CANCELLED
    with pytest.raises(Invalid, match="Unknown state: dancing"):
        tasks.parse_state("dancing")


def test_a_completion_from_outside_ends_the_run_uncharged(town: Town) -> None:
    """Completed by a person while it runs: the run is stopped, its message acked, no round and no attempt charged."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    tasks.complete(town, task.id, "by hand", USER)

    settle(town, agent.id, 1, Round(Outcome(OutcomeKind.STOPPED, "the task was completed from outside"), run="r"))

    assert (task_now(town, task).result, task_now(town, task).ended_by) == ("by hand", "user")
    assert texts(town, "claimed", agent.id) == texts(town, "inbox", agent.id) == []
    assert stats(town, agent).get("rounds", 0) == 0
    assert message.id in {e["message_id"] for e in events(town, "message_acked")}


def test_a_task_in_the_backlog_can_be_ended(town: Town) -> None:
    """Ended while it waits for an agent, it leaves the backlog in the same step."""
    register(town)
    task = tasks.assign(town, "backend", "x", USER)
    tasks.cancel(town, task.id, None, USER)
    town.store.redis.delete(town.store.keys.agent(task.assigned_to or ""))
    tasks.retry(town, task.id, USER)
    tasks.fail(town, task.id, "changed my mind", USER)

    assert town.store.tasks.backlog_ids() == []
    assert task_now(town, task).state is TaskState.FAILED


def test_a_dead_letter_of_another_task_stays(town: Town) -> None:
    """A retry drops what leads to its own task only."""
    agent = register(town)
    task = tasks.assign(town, "backend", "x", USER)
    tasks.fail(town, task.id, None, USER)
    other = json.dumps({"type": "task_assign", "task_id": ids.new_id()})
    change(town.store, lambda tx: bury(tx, agent.id, other, "why", "t", 3))

    tasks.retry(town, task.id, USER)

    assert [letter.text for letter in town.store.inboxes.dead(agent.id)] == [other]


def test_tags_are_clean_and_single(town: Town) -> None:
    """As in the backlog and in a plan, so that a role finds its tag when the task comes to the backlog one day."""
    agent = register(town)
    task = tasks.assign(town, agent.name, "build it", Caller(), [" dev ", "api", "dev", ""])
    assert task_now(town, task).tags == ["dev", "api"]
