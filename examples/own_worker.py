"""A worker without a model CLI: this program reads an agent's mail itself and does its tasks in Python."""

from __future__ import annotations

import math

from here import open_town

from tinytown import Agent, AgentId, AgentNotFound, AgentState, Channel, MessageType, Task, TaskId, Town


def calculator(town: Town) -> Agent:
    """The worker: new, or as an earlier run left it."""
    try:
        agent = town.agent("calculator").state() or Agent("calculator", "python")
    except AgentNotFound:
        agent = Agent("calculator", "python")
    agent.state = AgentState.IDLE
    town.channel().set_agent_state(agent)
    return agent


def work(channel: Channel, agent: Agent) -> None:
    """Do what waits in the worker's mailbox."""
    while (message := channel.try_receive(agent.id)) is not None:
        match message.msg_type:
            case MessageType.TaskAssign(task_id=task_id):  # running from here on, until an end is stored
                task = channel.get_task(task_id)
                if task is not None:
                    task.complete(str(math.factorial(int(task.description))))
                    channel.set_task(task)
            case other:
                print(f"Not for a calculator: {other}")


def main() -> None:
    """Run it in a scratch folder."""
    town, _cli = open_town()
    with town:
        channel, agent = town.channel(), calculator(town)
        handle = town.agent("calculator")
        given = {handle.assign(Task(str(number))): number for number in (5, 10, 20)}
        work(channel, agent)
        while given and (message := channel.receive(AgentId.supervisor(), 10)) is not None:
            match message.msg_type:
                case MessageType.TaskDone(task_id=task_id, result=result) if task_id in given:
                    print(f"{given.pop(TaskId(task_id))}! = {result}")
        agent.state = AgentState.STOPPED
        channel.set_agent_state(agent)


if __name__ == "__main__":
    main()
