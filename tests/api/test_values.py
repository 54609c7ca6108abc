"""Tasks, agents, messages and CLIs as local objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.builders import MINIMAL
from tinytown import (
    Agent,
    AgentId,
    AgentModel,
    AgentState,
    AgentType,
    ConfirmationType,
    IllegalTransition,
    Message,
    MessageBody,
    MessageType,
    Priority,
    Task,
    TaskState,
    ids,
)
from tinytown.api.message import BODIES, CONFIRMATIONS
from tinytown.domain import message as stored
from tinytown.domain import states
from tinytown.domain.record import dump

SAMPLES: list[MessageBody] = [
    MessageType.Task(description="build it"),
    MessageType.Query(question="which port?"),
    MessageType.Informational(summary="the port is 80"),
    MessageType.Confirmation(ack_type=ConfirmationType.Received()),
    MessageType.Confirmation(ack_type=ConfirmationType.Approved(reason="well done")),
    MessageType.Confirmation(ack_type=ConfirmationType.Rejected(reason="too slow")),
    MessageType.TaskAssign(task_id="t"),
    MessageType.TaskDone(task_id="t", result="done"),
    MessageType.TaskFailed(task_id="t", error="broken"),
    MessageType.StatusRequest(),
    MessageType.StatusResponse(state="idle"),
    MessageType.StatusResponse(state="working", current_task="t"),
    MessageType.Ping(),
    MessageType.Pong(),
    MessageType.Shutdown(),
    MessageType.Custom(kind="pr_ready", payload='{"files": []}'),
]
ACTIONABLE = {"Task", "Query", "TaskAssign", "StatusRequest", "Ping", "Shutdown", "Custom"}


def test_a_task_lives_by_the_rules() -> None:
    """Each move sets what belongs to it; one that the table does not know is refused and changes nothing."""
    task = Task("build it").with_tags(["api", "api", "p0"]).with_parent("epic")
    assert (task.state, task.tags, task.parent_id, task.assigned_to) == (TaskState.PENDING, ["api", "p0"], "epic", None)
    assert datetime.now(UTC) - task.created_at < timedelta(seconds=5)
    with pytest.raises(IllegalTransition, match="pending cannot become running"):
        task.start()
    task.assign("worker")
    assert (task.state, task.assigned_to, task.completed_at) == (TaskState.ASSIGNED, "worker", None)
    task.start()
    assert task.state is TaskState.RUNNING
    assert task.started_at is not None
    task.complete("all green")
    assert (task.state, task.result) == (TaskState.COMPLETED, "all green")
    assert task.completed_at is not None
    moves: list[Callable[[], None]] = [lambda: task.fail("no"), task.start, task.cancel, lambda: task.assign("other")]
    for move in moves:
        with pytest.raises(IllegalTransition):
            move()
    assert (task.state, task.result, task.assigned_to) == (TaskState.COMPLETED, "all green", "worker")


def test_other_ends_of_a_task() -> None:
    """A failed task keeps its error as result, a cancelled one its reason; `Task.new` is the constructor."""
    failed, cancelled = Task.new("a"), Task.new("b")
    failed.fail("no room")
    cancelled.cancel()
    assert (failed.state, failed.result) == (TaskState.FAILED, "no room")
    assert (cancelled.state, cancelled.result) == (TaskState.CANCELLED, "Cancelled")
    assert failed.id != cancelled.id
    assert repr(failed) == f"<Task {failed.id[:8]} failed: 'a'>"


def test_states_are_the_towns() -> None:
    """Names and answers of the public enums equal the domain's; members of both compare equal."""
    assert {s.name: s.value for s in TaskState} == {s.name: s.value for s in states.TaskState}
    assert {s.name: s.value for s in AgentState} == {s.name: s.value for s in states.AgentState}
    assert [s for s in TaskState if s.is_terminal()] == [TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED]
    assert [s for s in AgentState if s.is_terminal()] == [AgentState.COLD, AgentState.STOPPED, AgentState.ERROR]
    assert [s for s in AgentState if s.can_accept_work()] == [AgentState.IDLE]
    for state in states.AgentState:
        by_state: dict[str, AgentState] = {state: AgentState(state)}
        assert by_state[AgentState(state)] == state.value


def test_an_agent_of_a_programs_own() -> None:
    """A worker has an id of its own, the supervisor the well-known one; state and task can be set, the rest not."""
    worker = Agent("worker-1", "claude", AgentType.WORKER)
    assert (worker.name, worker.cli, worker.agent_type, worker.state) == (
        "worker-1", "claude", AgentType.WORKER, AgentState.STARTING,
    )  # fmt: skip
    assert (worker.current_task, worker.last_heartbeat, worker.tasks_completed) == (None, None, 0)
    worker.state, worker.current_task = AgentState.WORKING, Task("x").id
    assert worker.state is AgentState.WORKING
    assert worker.current_task
    with pytest.raises(AttributeError):
        worker.name = "other"  # type: ignore[misc]
    boss = Agent.supervisor("coordinator")
    assert boss.id == AgentId.supervisor() == ids.SUPERVISOR_ID
    assert boss.agent_type is AgentType.SUPERVISOR
    assert repr(worker) == f"<Agent worker-1 {worker.id[:8]} working>"


def test_a_model_is_made_step_by_step() -> None:
    """Each step returns a copy."""
    first = AgentModel("my-model", "my-command --flag")
    second = first.with_workdir("/srv").with_env("A", "1").with_env("B", "2")
    assert (first.workdir, dict(first.env)) == (None, {})
    assert (second.workdir, dict(second.env)) == ("/srv", {"A": "1", "B": "2"})


def test_message_types_are_the_towns() -> None:
    """Each stored type has a variant with its payload as fields, and each confirmation."""
    assert BODIES.keys() == stored.TYPES.keys()
    assert CONFIRMATIONS.keys() == set(stored.ACK_TYPES)
    for name, (_sort, required, optional) in stored.TYPES.items():
        assert {f.name for f in dataclasses.fields(BODIES[name])} == required.keys() | optional.keys()
    assert {type(sample).__name__ for sample in SAMPLES} == {variant.__name__ for variant in BODIES.values()}


@pytest.mark.parametrize("body", SAMPLES, ids=repr)
def test_a_message_is_what_it_was(body: MessageBody) -> None:
    """Stored and read again it is equal, with priority and correlation."""
    message = Message("from", "to", body, priority=Priority.HIGH).with_correlation("other")
    text = message.to_record().to_json()
    assert Message.from_record(stored.parse(text)) == message
    assert message.is_actionable() is (type(body).__name__ in ACTIONABLE)
    assert message.is_informational_or_confirmation() is not message.is_actionable()


@pytest.mark.parametrize("kind", MINIMAL)
def test_a_message_by_hand_is_read(kind: str) -> None:
    """What somebody typed into redis-cli, with the least there may be."""
    read = Message.from_record(stored.parse(dump({"type": kind} | MINIMAL[kind])))
    assert type(read.msg_type) is BODIES[kind]
    assert read.sender == AgentId.supervisor()
    assert read.created_at.year == 1970


def test_options_of_a_message() -> None:
    """`with_...` returns another message with the same id; the first one stays as it was."""
    first = Message("from", "to", MessageType.Shutdown())
    urgent = first.with_priority(Priority.URGENT)
    assert (first.priority, urgent.priority, urgent.id) == (Priority.NORMAL, Priority.URGENT, first.id)
    assert first.correlation_id is None


@pytest.mark.parametrize("body", [MessageType.Ping, MessageBody(), "ping"], ids=["class", "base", "text"])
def test_a_body_is_an_instance_of_a_variant(body: object) -> None:
    """A class instead of an instance is the likely slip; the error shows the right form."""
    with pytest.raises(TypeError, match=r"an instance like MessageType\.Ping\(\)"):
        Message("from", "to", body)  # type: ignore[arg-type]
