"""Slips of a program: said where they are made, in the caller's words, and never stored; and what a shell shows."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from tinytown import (
    Agent,
    AgentModel,
    AgentNotFound,
    AgentState,
    AgentType,
    Channel,
    ConfigInvalid,
    ConfirmationType,
    Conflict,
    Error,
    IllegalTransition,
    Message,
    MessageType,
    NotInitialized,
    Priority,
    RedisNotInstalled,
    RedisVersionTooOld,
    Task,
    TaskNotFound,
    TaskState,
    Timeout,
    Town,
    Unavailable,
)

OF_VALUES: dict[str, tuple[Callable[[Any], object], str]] = {
    "no text": (lambda _: Task(3), "description of a task must be text, not 3"),  # type: ignore[arg-type]
    "a tag": (lambda _: Task("x").with_tags("backend"), r"must be like \['backend'\]"),
    "tags": (lambda _: Task("x").with_tags([1]), "A tag must be text"),  # type: ignore[list-item]
    "a parent": (lambda wrong: Task("x").with_parent(wrong), "id of a task must be text"),
    "a result": (lambda _: Task("x").complete(None), "result of a task must be text"),  # type: ignore[arg-type]
    "an agent": (lambda _: Agent(None, "cli"), "name must be text"),  # type: ignore[arg-type]
    "a cli": (lambda _: Agent("worker", 3), "model CLI must be text"),  # type: ignore[arg-type]
    "a model": (lambda _: AgentModel("m", None), "command of a model must be text"),  # type: ignore[arg-type]
    "an env": (lambda _: AgentModel("m", "x").with_env("A", 1), "A of a model must be text"),  # type: ignore[arg-type]
    "a sender": (lambda wrong: Message(wrong, "to", MessageType.Ping()), "sender must be text"),
    "an answer": (lambda wrong: Message("a", "b", MessageType.Pong()).with_correlation(wrong), "correlation_id must"),
    "a receipt": (
        lambda _: Message("a", "b", MessageType.Confirmation(ConfirmationType.Thanks)),  # type: ignore[arg-type]
        r"like ConfirmationType\.Thanks\(\)",
    ),
}
OF_TOWNS: dict[str, tuple[Callable[[Town, Any], object], str]] = {
    "town": (lambda _town, _: Town("/somewhere"), r"like Town\.connect\(path\)"),  # type: ignore[arg-type]
    "agent": (lambda town, wrong: town.agent(wrong), "name or id must be text"),
    "spawned": (lambda town, wrong: town.spawn_agent(wrong), "name must be text"),
    "its cli": (lambda town, wrong: town.spawn_agent("worker", wrong), "model CLI must be text"),
    "assigned": (lambda town, _: town.agent("worker").assign("build"), r"like Task\('"),  # type: ignore[arg-type]
    "wait": (lambda town, _: town.agent("worker").wait("1"), "number of seconds"),  # type: ignore[arg-type]
    "call": (lambda town, _: receive(town, town.agent("worker").id), r"a call missing, as in handle\.id\(\)"),
    "time-out": (lambda town, _: receive(town, "worker", timedelta(seconds=1)), "number of seconds, not datetime"),
    "sent": (lambda town, _: town.channel().send(MessageType.Ping()), r"like Message\("),  # type: ignore[arg-type]
    "broadcast": (lambda town, _: town.channel().broadcast("hi"), r"like Message\("),  # type: ignore[arg-type]
    "length": (lambda town, wrong: town.channel().inbox_len(wrong), "id or name must be text"),
    "state": (lambda town, wrong: town.channel().get_agent_state(wrong), "id or name must be text"),
    "task": (lambda town, wrong: town.channel().get_task(wrong), "id must be text"),
    "stored": (lambda town, wrong: town.channel().set_task(wrong), r"like Task\('"),
    "stored agent": (lambda town, wrong: town.channel().set_agent_state(wrong), r"like Agent\('"),
}


T = TypeVar("T")


def travelled(value: T) -> T:
    """As another process gets it."""
    read: T = pickle.loads(pickle.dumps(value))  # noqa: S301  made here
    return read


def receive(town: Town, who: Any, timeout: Any = 0.0) -> object:
    return town.channel().receive(who, timeout)


@pytest.fixture
def worker(api: Town) -> Agent:
    agent = Agent("worker", "my-program")
    api.channel().set_agent_state(agent)
    return agent


@pytest.mark.parametrize("slip", OF_VALUES)
def test_wrong_values(slip: str) -> None:
    """Refused when the object is made."""
    call, said = OF_VALUES[slip]
    with pytest.raises(TypeError, match=said):
        call(object())


@pytest.mark.parametrize("slip", OF_TOWNS)
@pytest.mark.usefixtures("worker")
def test_wrong_calls(api: Town, slip: str) -> None:
    """Refused, and nothing is stored or sent."""
    call, said = OF_TOWNS[slip]
    with pytest.raises(TypeError, match=said):
        call(api, object())
    assert api.channel().inbox_len("worker") == 0


def test_words_for_members() -> None:
    """The values of enums do for their members; other words are refused."""
    agent = Agent("worker", "cli", "worker")  # type: ignore[arg-type]
    agent.state = "idle"  # type: ignore[assignment]
    assert (agent.agent_type, agent.state) == (AgentType.WORKER, AgentState.IDLE)
    message = Message("a", "b", MessageType.Ping(), priority="urgent")  # type: ignore[arg-type]
    assert message.priority is Priority.URGENT
    with pytest.raises(ValueError, match="'soon' is not a valid Priority"):
        message.with_priority("soon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'busy' is not a valid AgentState"):
        agent.state = "busy"  # type: ignore[assignment]


def test_the_same_is_equal(api: Town, worker: Agent) -> None:
    """Tasks and agents with equal values, handles on one agent; they can be in sets."""
    channel, task = api.channel(), Task("build")
    channel.set_task(task)
    read = channel.get_task(task.id)
    assert read is not None
    assert (read, {read, task}) == (task, {task})
    read.cancel()
    assert (read.state, read == task, read == task.id) == (TaskState.CANCELLED, False, False)
    assert channel.get_agent_state(worker.id) == worker
    assert len({worker, *api.list_agents()}) == 1
    assert {api.agent("worker"), api.agent(worker.id)} == {api.agent("WORKER")}
    assert (api.agent("worker") == worker.id, worker == worker.id) == (False, False)


def test_names_and_beginnings_of_ids(api: Town, worker: Agent) -> None:
    """What finds an agent or a task anywhere finds it here."""
    channel, task = api.channel(), Task("build")
    api.agent("worker").assign(task)
    assert channel.inbox_len("worker") == channel.inbox_len(worker.id) == 1
    assert channel.get_agent_state("worker") == worker
    assert channel.get_task(task.id[:8]) == task
    assert (channel.get_agent_state("nobody"), channel.get_task("nothing")) == (None, None)


def test_what_a_shell_shows(api: Town, worker: Agent) -> None:
    """Each object says what it is, in one short line."""
    assert repr(api) == f"<Town {api.config().name} {api.root()}>"
    assert repr(api.channel()) == f"<Channel {api.config().name}>"
    assert repr(api.agent("worker")) == f"<AgentHandle {worker.id[:8]}>"


@pytest.mark.parametrize("value", [Task("x"), Agent("a", "b"), Message("a", "b", MessageType.Ping())], ids=type)
def test_values_travel(value: object) -> None:
    """They can be copied and pickled."""
    assert travelled(value) == copy.deepcopy(value) == value


@pytest.mark.parametrize(
    "error",
    [
        AgentNotFound("ann"), TaskNotFound("x"), NotInitialized("."), RedisVersionTooOld("6.2", "b"),
        RedisNotInstalled("b"), Conflict("a", "b"), IllegalTransition("a"), Timeout("a"), ConfigInvalid("a", "b"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_travel(error: Error) -> None:
    """Out of a process of a pool they come as they were."""
    read = travelled(error)
    assert (type(read), str(read), read.remedy) == (type(error), str(error), error.remedy)


def test_too_many_threads(api: Town) -> None:
    """A town belongs to one thread: who shares it is told so, and nobody gets another's answer."""
    said: list[str] = []
    start = threading.Barrier(16)

    def ask(channel: Channel, task: Task) -> None:
        start.wait()
        for _ in range(50):
            try:
                assert channel.get_task(task.id) == task
            except Unavailable as error:
                said.append(str(error))

    tasks = [Task(f"{number}") for number in range(16)]
    for task in tasks:
        api.channel().set_task(task)
    threads = [threading.Thread(target=ask, args=(api.channel(), task)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(said) == {"Too many threads use one town at once."}
