"""Tasks by the channel: each stored move takes index, backlog, mail and whoever assigned it along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support import town as towns
from tinytown import (
    Agent,
    AgentId,
    AgentNotFound,
    AgentState,
    Conflict,
    IllegalTransition,
    Invalid,
    MessageType,
    Task,
    TaskState,
    Town,
    ids,
)
from tinytown.domain.agent import Agent as AgentRecord
from tinytown.domain.message import parse
from tinytown.services import backlog, dependencies, tasks
from tinytown.services.caller import Caller
from tinytown.town import Town as OpenTown

BOSS = AgentId.supervisor()


def worker(api: Town, name: str = "worker") -> Agent:
    """An agent that the test itself runs."""
    agent = Agent(name, "python")
    agent.state = AgentState.IDLE
    api.channel().set_agent_state(agent)
    return agent


def stored(api: Town, task: Task) -> Task:
    """The task as it is in the town."""
    found = api.channel().get_task(task.id)
    assert found is not None
    return found


def assigned(api: Town, agent: Agent, description: str = "build it") -> Task:
    """A stored task of this agent, as another program would read it."""
    task = Task(description)
    api.agent(agent.id).assign(task)
    return stored(api, task)


def running(api: Town, agent: Agent) -> Task:
    """A task that the agent's program took up."""
    task = assigned(api, agent)
    assert api.channel().try_receive(agent.id) is not None
    return stored(api, task)


def leads(town: OpenTown, agent: Agent | AgentRecord, kind: str, task: Task) -> int:
    """How many messages in that list of the agent lead to the task."""
    return [parse(text).task_id for text in towns.texts(town, kind, agent.id)].count(task.id)


def test_a_new_pending_task_is_in_the_backlog(api: Town, town: OpenTown) -> None:
    """With its tags and parent, and with an event."""
    epic = Task("epic")
    task = Task("build it").with_tags(["api"]).with_parent(epic.id)
    api.channel().set_task(epic)
    api.channel().set_task(task)
    assert town.store.tasks.backlog_ids() == [epic.id, task.id]
    now = stored(api, task)
    assert (now.description, now.tags, now.parent_id, now.state) == ("build it", ["api"], epic.id, TaskState.PENDING)
    assert towns.task_now(town, task.id).id == task.id
    assert [e["task_id"] for e in towns.events(town, "task_created")] == [epic.id, task.id]


def test_a_new_assigned_task_has_one_message(api: Town, town: OpenTown) -> None:
    """By `set_task` as by `assign` of a handle: record, index and one message that leads to it."""
    agent = worker(api)
    by_channel, by_handle = Task("one"), Task("two")
    by_channel.assign(agent.id)
    api.channel().set_task(by_channel)
    assert api.agent("worker").assign(by_handle) == by_handle.id
    for task in (by_channel, by_handle):
        assert leads(town, agent, "inbox", task) == 1
        assert (task.state, task.assigned_to) == (TaskState.ASSIGNED, agent.id)
        assert towns.task_now(town, task.id).assigned_by == BOSS
    api.channel().set_task(by_channel)  # nothing new: no other message
    assert api.agent("worker").inbox_len() == 2


def test_a_backlog_task_can_be_assigned(api: Town, town: OpenTown) -> None:
    """It leaves the backlog when its message is sent."""
    agent, task = worker(api), Task("build it")
    api.channel().set_task(task)
    api.agent("worker").assign(task)
    assert town.store.tasks.backlog_ids() == []
    assert leads(town, agent, "inbox", task) == 1


def test_a_task_is_assigned_once(api: Town, town: OpenTown) -> None:
    """Again to another agent, by a copy that does not know of it, or after its end: refused, nothing is changed."""
    worker(api), worker(api, "other")
    task = Task("build it")
    copy = Task.stored("", task.record)
    copy.base = None
    api.agent("worker").assign(task)
    before = towns.snapshot(town)
    with pytest.raises(Conflict, match="has changed since it was read"):
        api.agent("other").assign(copy)
    assert copy.state is TaskState.PENDING
    assert towns.snapshot(town) == before
    task.complete("done")
    api.channel().set_task(task)
    with pytest.raises(IllegalTransition):
        api.agent("other").assign(task)


def test_wrong_tasks_change_nothing(api: Town, town: OpenTown) -> None:
    """An unknown agent, no description, a state that a new task cannot have."""
    agent = worker(api)
    before = towns.snapshot(town)
    lost, empty, jumped = Task("x"), Task(" "), Task("x")
    lost.assign(ids.new_id())
    with pytest.raises(AgentNotFound):
        api.channel().set_task(lost)
    with pytest.raises(Invalid, match="text is empty"):
        api.channel().set_task(empty)
    jumped.assign(agent.id)
    jumped.start()
    with pytest.raises(IllegalTransition, match="pending cannot become running"):
        api.channel().set_task(jumped)
    jumped.complete("done")
    lost.complete("done")
    with pytest.raises(AgentNotFound):
        api.channel().set_task(lost)
    assert towns.snapshot(town) == before


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda t: t.complete("fine"), TaskState.COMPLETED),
        (lambda t: t.fail("broken"), TaskState.FAILED),
        (lambda t: t.cancel("not wanted"), TaskState.CANCELLED),
    ],
    ids=["complete", "fail", "cancel"],
)
@pytest.mark.parametrize("begin", [None, "pending", "assigned", "running"])
def test_an_end_takes_everything_along(
    api: Town, town: OpenTown, begin: str | None, end: Callable[[Task], None], state: TaskState
) -> None:
    """From each state: out of backlog and mailbox, counted, and whoever assigned it is told once."""
    agent = worker(api)
    task = Task("build it")
    if begin == "pending":
        api.channel().set_task(task)
    elif begin is not None:
        task = (assigned if begin == "assigned" else running)(api, agent)
    end(task)
    api.channel().set_task(task)
    now = stored(api, task)
    assert (now.state, now.result, task.result) == (state, task.record.result, now.result)
    assert town.store.tasks.backlog_ids() == []
    assert [leads(town, agent, kind, task) for kind in ("inbox", "claimed")] == [0, 0]
    counted = api.channel().get_agent_state(agent.id)
    assert counted is not None
    was_given = begin in {"assigned", "running"}
    assert counted.tasks_completed == (was_given and state is TaskState.COMPLETED)
    told = api.channel().try_receive(BOSS)
    assert (told is not None) == was_given
    if told is not None:
        kind = MessageType.TaskDone if state is TaskState.COMPLETED else MessageType.TaskFailed
        assert isinstance(told.msg_type, kind)
    with pytest.raises(IllegalTransition):
        task.complete("again")


def test_received_work_is_the_receivers(api: Town, town: OpenTown) -> None:
    """A received assignment is claimed, its task running: kept if its program dies, and not taken twice."""
    agent = worker(api)
    task = running(api, agent)
    assert task.state is TaskState.RUNNING
    assert leads(town, agent, "claimed", task) == 1
    assert api.channel().try_receive(agent.id) is None
    assert api.agent("worker").inbox_len() == 0


def test_work_can_be_started_without_its_message(api: Town, town: OpenTown) -> None:
    """`start` and `set_task` claim the message, too; then it cannot be received."""
    agent = worker(api)
    task = assigned(api, agent)
    task.start()
    api.channel().set_task(task)
    assert leads(town, agent, "claimed", task) == 1
    assert api.channel().try_receive(agent.id) is None


def test_work_is_given_back_or_on(api: Town, town: OpenTown) -> None:
    """A running task assigned anew has one message again, with its agent or another one, and none is left behind."""
    agent, other = worker(api), worker(api, "other")
    task = running(api, agent)

    def where() -> list[int]:
        return [leads(town, a, kind, task) for a in (agent, other) for kind in ("inbox", "claimed")]

    assert where() == [0, 1, 0, 0]
    task.assign(agent.id)
    api.channel().set_task(task)
    assert where() == [1, 0, 0, 0]
    assert api.channel().try_receive(agent.id) is not None
    assert where() == [0, 1, 0, 0]
    task = stored(api, task)
    task.assign(other.id)
    api.channel().set_task(task)
    assert where() == [0, 0, 1, 0]
    task.assign(agent.id)
    api.channel().set_task(task)
    assert where() == [1, 0, 0, 0]
    assert len(towns.events(town, "message_moved")) == 3


def test_who_starts_it_is_whom_it_is_assigned_to(api: Town) -> None:
    """A task does not change its agent and start in one stored step."""
    agent, other = worker(api), worker(api, "other")
    task = assigned(api, agent)
    task.assign(other.id)
    task.start()
    with pytest.raises(Conflict, match="changes its agent"):
        api.channel().set_task(task)


def test_an_actors_work_is_its_own(api: Town, town: OpenTown) -> None:
    """A task of an agent that the town runs can be moved on while it waits, and ended; never started or taken away."""
    alive, other = towns.register(town, "alive"), worker(api, "other")
    given, _message = towns.give_task(town, alive)
    task = api.channel().get_task(given.id)
    assert task is not None
    task.start()
    with pytest.raises(Conflict, match="'alive' is run by the town"):
        api.channel().set_task(task)
    towns.claim_all(town, alive)
    task = api.channel().get_task(given.id)
    assert task is not None
    task.assign(other.id)
    with pytest.raises(Conflict, match="'alive' is run by the town"):
        api.channel().set_task(task)
    task = stored(api, task)
    task.cancel("not wanted")
    api.channel().set_task(task)
    assert leads(town, alive, "claimed", task) == 1  # its actor acks it
    assert towns.texts(town, "wake", alive.id) == ["1"]


def test_a_waiting_task_moves_from_an_actor(api: Town, town: OpenTown) -> None:
    """As long as it was not claimed."""
    alive, other = towns.register(town, "alive"), worker(api, "other")
    given, _message = towns.give_task(town, alive)
    task = api.channel().get_task(given.id)
    assert task is not None
    task.assign(other.id)
    api.channel().set_task(task)
    assert leads(town, other, "inbox", task) == 1
    assert towns.texts(town, "inbox", alive.id) == []


def test_what_changed_meanwhile_wins(api: Town, town: OpenTown) -> None:
    """A task that changed or went since it was read is left alone."""
    task = Task("build it")
    api.channel().set_task(task)
    mine = stored(api, task)
    tasks.cancel(town, task.id, None, Caller())
    mine.complete("done")
    with pytest.raises(Conflict, match="has changed since it was read") as refused:
        api.channel().set_task(mine)
    assert refused.value.remedy == "Read it again, and change what you then have."
    assert stored(api, task).state is TaskState.CANCELLED
    gone = Task("other")
    api.channel().set_task(gone)
    backlog.remove(town, gone.id)
    gone.complete("done")
    with pytest.raises(Conflict, match="is gone"):
        api.channel().set_task(gone)


def test_an_end_from_outside_clears_the_claim(api: Town, town: OpenTown) -> None:
    """A task that somebody else ended leaves its receiver's hands at the next receive."""
    agent = worker(api)
    task = running(api, agent)
    tasks.complete(town, task.id, "done by a person", Caller())
    assert leads(town, agent, "claimed", task) == 1
    assert api.channel().try_receive(agent.id) is None
    assert leads(town, agent, "claimed", task) == 0


def test_a_message_to_an_ended_task_is_no_work(api: Town, town: OpenTown) -> None:
    """Acked without being handed out; so is a second message to a task that is running."""
    agent = worker(api)
    task = assigned(api, agent)
    tasks.cancel(town, task.id, None, Caller())
    again = assigned(api, agent)
    raw = towns.texts(town, "inbox", agent.id)[-1]
    town.store.call(lambda r: r.rpush(town.store.keys.inbox(agent.id), raw.replace(parse(raw).id, ids.new_id())))
    first = api.channel().try_receive(agent.id)
    assert first is not None
    assert first.msg_type == MessageType.TaskAssign(task_id=again.id)
    assert api.channel().try_receive(agent.id) is None
    assert leads(town, agent, "claimed", again) == 1


def test_one_of_two_ends_it(api: Town, town: OpenTown) -> None:
    """Of several processes that complete a task at once, one does; the others are told."""
    task = running(api, worker(api))

    def work(number: int) -> str:
        task.complete(f"by {number}")
        try:
            Town(towns.same_town(town)).channel().set_task(task)
        except Conflict:
            return "refused"
        return "done"

    assert sorted(towns.in_processes(4, work)) == ["done", "refused", "refused", "refused"]
    assert len(towns.events(town, "task_completed")) == 1


def test_tags_of_a_stored_task(api: Town) -> None:
    """They can be changed without a move."""
    task = Task("build it")
    api.channel().set_task(task)
    api.channel().set_task(task.with_tags(["api"]))
    assert stored(api, task).tags == ["api"]


def test_a_task_that_waits_for_others(api: Town, town: OpenTown) -> None:
    """It cannot be assigned before they are completed; completing the last one by `set_task` sets it free."""
    first, second = Task("first"), Task("second")
    api.channel().set_task(first)
    waiting = replace(second.record, depends_on=[first.id])
    with towns.writing(town) as tx:
        tx.save_task(None, waiting)
        dependencies.wait_for(tx, second.id, dependencies.open_ones(town, [first.id]))
    second = stored(api, second)
    worker(api)
    with pytest.raises(Conflict, match="waits for other tasks") as refused:
        api.agent("worker").assign(second)
    assert refused.value.remedy == f"See why with: tt why {second.id[:8]}"
    assert second.state is TaskState.PENDING
    first.complete("done")
    api.channel().set_task(first)
    assert town.store.tasks.backlog_ids() == [second.id]
    api.agent("worker").assign(stored(api, second))


def test_unknown_ids(api: Town) -> None:
    """There is no such task, no such agent: None; nor a mailbox."""
    assert api.channel().get_task(ids.new_id()) is None
    assert api.channel().get_agent_state(ids.new_id()) is None
    for name in (ids.new_id(), "nobody"):
        with pytest.raises(AgentNotFound):
            api.channel().inbox_len(name)
