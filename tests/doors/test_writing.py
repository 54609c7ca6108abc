"""Commands that change the town: what they say is what is stored."""

from __future__ import annotations

import re

import pytest

from tests.support import town as towns
from tests.support.cli import Tt
from tinytown.domain.message import parse
from tinytown.domain.states import TaskState
from tinytown.town import Town

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def id_in(text: str) -> str:
    found = re.search(UUID, text)
    assert found is not None
    return found[0]


def test_assign(tt: Tt, town: Town) -> None:
    """The task is stored as it was typed, and one message leads to it."""
    agent = towns.register(town, "worker-1")
    text = 'Create POST /users:\n- "email" $(rm -rf /) `x`\n- 🏘️'
    ran = tt.ok("assign", "worker-1", text, "--tags", "api, db")
    task_id = id_in(ran.out)
    assert ran.out == f"Assigned task {task_id} to agent 'worker-1'\n"
    task = towns.task_now(town, task_id)
    assert (task.description, task.state, task.tags) == (text, TaskState.ASSIGNED, ["api", "db"])
    (raw,) = towns.texts(town, "inbox", agent.id)
    assert parse(raw).task_id == task_id


@pytest.mark.parametrize(
    ("verb", "option", "state"),
    [
        ("complete", "--result", TaskState.COMPLETED),
        ("fail", "--reason", TaskState.FAILED),
        ("cancel", "--reason", TaskState.CANCELLED),
    ],
)
@pytest.mark.slow
def test_end_a_task(tt: Tt, town: Town, verb: str, option: str, state: TaskState) -> None:
    """It says what is stored; a second end is refused with what happened first."""
    task, _ = towns.give_task(town, towns.register(town), description="Fix authentication bug")
    ran = tt.ok("task", verb, task.id, option, "- my words")
    assert ran.out == (
        f"Task {task.id} marked as {state.value}\n   Description: Fix authentication bug\n   Result: - my words\n"
    )
    assert towns.task_now(town, task).state is state
    assert "- my words" in tt.fails("task", "complete", task.id).err


@pytest.mark.slow
def test_retry_a_task(tt: Tt, town: Town) -> None:
    """A failed task goes to its agent again, or to the one that is named."""
    agent = towns.register(town, "backend")
    other = towns.register(town, "other")
    task, _ = towns.give_task(town, agent)
    tt.ok("task", "fail", task.id)
    assert "assigned to 'backend'" in tt.ok("task", "retry", task.id).out
    assert towns.task_now(town, task).assigned_to == agent.id
    tt.ok("task", "cancel", task.id)
    assert "assigned to 'other'" in tt.ok("task", "retry", task.id, "--to", "other").out
    assert towns.task_now(town, task).assigned_to == other.id


@pytest.mark.parametrize(
    ("flags", "kind", "said"),
    [
        ((), "task", "Sent task message to 'backend'"),
        (("--query",), "query", "Sent query message to 'backend'"),
        (("--info",), "informational", "Sent info message to 'backend'"),
        (("--ack",), "confirmation", "Sent ack message to 'backend'"),
        (("--urgent",), "task", "Sent URGENT task message to 'backend'"),
        (("--urgent", "--query"), "query", "Sent URGENT query message to 'backend'"),
    ],
)
def test_send(tt: Tt, town: Town, flags: tuple[str, ...], kind: str, said: str) -> None:
    """Each kind arrives as what it is, urgent mail in its own list."""
    agent = towns.register(town, "backend")
    assert tt.ok("send", "backend", *flags, "The spec is ready").out == said + "\n"
    (raw,) = towns.texts(town, "urgent" if "--urgent" in flags else "inbox", agent.id)
    message = parse(raw)
    assert message.type == kind
    assert "The spec is ready" in message.text


@pytest.mark.slow
def test_send_as_an_agent(tt: Tt, town: Town) -> None:
    """--from names the sender; the conductor's mailbox is a recipient."""
    agent = towns.register(town, "backend")
    tt.ok("send", "conductor", "--info", "done", "--from", "backend")
    (message,) = tt.ok("inbox", "conductor", "--json").json["messages"]
    assert message["from"] == agent.id
    assert "Conductor's mailbox: 1 message(s)" in tt.ok("status").out


@pytest.mark.slow
def test_backlog(tt: Tt, town: Town) -> None:
    """Add, claim, assign-all, remove: each says what it did with which task."""
    agent = towns.register(town, "backend")
    ids = [id_in(tt.ok("backlog", "add", f"work {n}").out) for n in range(4)]
    assert tt.ok("backlog", "claim", ids[0][:8], "backend").out == f"Claimed task {ids[0]} for agent 'backend'\n"
    assert ids[1] in tt.ok("backlog", "remove", ids[1]).out
    assert tt.ok("backlog", "assign-all", "backend").out == "Assigned 2 backlog task(s) to agent 'backend'\n"
    assert tt.ok("backlog", "list", "--json").json == []
    assert [parse(raw).task_id for raw in towns.texts(town, "inbox", agent.id)] == [ids[0], ids[2], ids[3]]
    tt.fails("backlog", "claim", ids[0], "backend")
    tt.fails("task", "show", ids[1])
