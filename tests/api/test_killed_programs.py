"""Programs that work for an agent, killed in the middle."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

import pytest

from tests.support import town as towns
from tests.support.waiting import wait_until
from tinytown import Agent, AgentState, Channel, MessageType, Task, TaskState, Town, processes
from tinytown.town import Town as OpenTown

TASKS = 60
KILLS = 6


def work(channel: Channel, agent_id: str) -> None:
    """Do what waits."""
    while (message := channel.try_receive(agent_id)) is not None:
        assert isinstance(message.msg_type, MessageType.TaskAssign)
        task = channel.get_task(message.msg_type.task_id)
        assert task is not None
        task.complete("done")
        channel.set_task(task)


def in_child(town: OpenTown, agent_id: str) -> NoReturn:
    """The worker's program; it never returns into the test's."""
    processes.die_with_parent(os.getppid())
    try:
        work(Town(towns.same_town(town)).channel(), agent_id)
    finally:
        os._exit(0)


@pytest.mark.fault
def test_nothing_is_lost_or_done_twice(api: Town, town: OpenTown) -> None:
    """Whenever its program is killed, a task is done, waits, or is held: then it can be given back; none ends twice."""
    channel, agent = api.channel(), Agent("worker", "python")
    agent.state = AgentState.IDLE
    channel.set_agent_state(agent)
    tasks = [Task(f"task {number}") for number in range(TASKS)]
    for task in tasks:
        api.agent("worker").assign(task)
    for kill in range(1, KILLS + 1):
        pid = os.fork()
        if pid == 0:
            in_child(town, agent.id)
        done = kill * TASKS // (KILLS + 2)
        wait_until(lambda done=done: len(town.store.tasks.ids([TaskState.COMPLETED])) >= done, what="work")  # type: ignore[misc,list-item]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for task_id in town.store.tasks.ids([TaskState.RUNNING]):  # type: ignore[list-item]
        held = channel.get_task(task_id)
        assert held is not None
        held.assign(agent.id)
        channel.set_task(held)
    work(channel, agent.id)
    ends = [event["task_id"] for event in towns.events(town, "task_completed")]
    assert sorted(ends) == sorted(task.id for task in tasks)
