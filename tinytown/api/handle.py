"""A handle on one agent."""

from __future__ import annotations

from tinytown import clock, ids
from tinytown.api.agent import Agent, AgentState
from tinytown.api.channel import Channel
from tinytown.api.identifiers import AgentId, MessageId, TaskId, given, seconds, text
from tinytown.api.message import Message, MessageBody
from tinytown.api.task import Task
from tinytown.services import agents, caller, idle, records
from tinytown.town import Town as OpenTown


class AgentHandle:
    """What `Town.spawn_agent` and `Town.agent` return. It holds an id, no state: that is asked for each time.

    Two handles on one agent are equal. All methods raise RedisError when Redis is away.
    """

    def __init__(self, town: OpenTown, agent_id: str) -> None:
        self._town = town
        self._id = AgentId(agent_id)

    def id(self) -> AgentId:
        """The agent's id."""
        return self._id

    def assign(self, task: Task) -> TaskId:
        """Give the agent a task, new or out of the backlog: record, index, message and bell in one step.

        `task` is assigned from then on. Raises IllegalTransition or Conflict (it is somebody's already, or has ended),
        AgentNotFound, Invalid (no description); then nothing was changed.
        """
        who = caller.from_environment()
        assigned = given("What is assigned", task, Task, "Task('Build the API')").record.assigned(
            self._id, who.id, clock.stamp()
        )
        task.base, task.record = records.set_task(self._town, assigned, task.base, who)
        return task.id

    def send(self, msg_type: MessageBody) -> MessageId:
        """Send the agent a message, like `MessageType.StatusRequest()`; answers come to `AgentId.supervisor()`.

        (In a program that an agent's model runs: to that agent.) Raises AgentNotFound, and what `Channel.send` does.
        """
        message = Message(caller.from_environment().id, self._id, msg_type)
        Channel(self._town).send(message)
        return message.id

    def inbox_len(self) -> int:
        """How many messages wait for the agent, urgent ones included. Raises AgentNotFound."""
        return Channel(self._town).inbox_len(self._id)

    def state(self) -> Agent | None:
        """The agent's record as it is now; None when it was removed."""
        return Channel(self._town).get_agent_state(self._id)

    def wait(self, timeout: float | None = None) -> AgentState:
        """Wait until the agent has done all its work and is idle, or has ended; returns its state then.

        At most `timeout` seconds (None: for good), without polling. An agent that was asked to stop is waited for
        until it has. (`tt wait` is another thing: it waits for the agent's end.) Raises Timeout, AgentNotFound.
        """
        limit = None if timeout is None else seconds(timeout)
        return AgentState(idle.wait_until_idle(self._town, self._id, limit).value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AgentHandle):
            return NotImplemented
        return (self._id, self._town.root) == (other._id, other._town.root)

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"<AgentHandle {ids.short(self._id)}>"


def find(town: OpenTown, reference: str) -> AgentHandle:
    """By name, nickname, id or prefix of an id."""
    return AgentHandle(town, agents.resolve(town, text("An agent's name or id", reference)).agent.id)
