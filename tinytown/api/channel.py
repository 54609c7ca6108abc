"""The channel: a town's mail and records, one by one."""

from __future__ import annotations

from tinytown.api.agent import Agent
from tinytown.api.identifiers import given, seconds, text
from tinytown.api.message import Message
from tinytown.api.task import Task
from tinytown.errors import AgentNotFound, TaskNotFound
from tinytown.services import agents, caller, post, reception, records, tasks
from tinytown.town import Town as OpenTown

_AGENT = "An agent's id or name"


class Channel:
    """What `Town.channel` returns.

    Each method is one step in Redis: done whole or not at all, and safe against everybody else in the town. An
    agent is given by its id; its name does as well. All raise RedisError when Redis is away, and TypeError for what
    is no id, no message and so on.
    """

    def __init__(self, town: OpenTown) -> None:
        self._town = town

    def send(self, message: Message) -> None:
        """Put a message into its recipient's mailbox: urgent and high ones at the head.

        The same message a second time (within an hour) changes nothing. A TaskAssign takes its task out of the
        backlog in the same step; `set_task` and `AgentHandle.assign` send theirs themselves. Raises AgentNotFound
        (recipient or sender), TaskNotFound, Conflict (the task is not in the backlog), Invalid.
        """
        post.post(self._town, _sent(message).to_record(), caller.from_environment())

    def receive(self, agent_id: str, timeout: float) -> Message | None:
        """Take the next message; waits for one up to `timeout` seconds, without polling. None: none came.

        For mailboxes that no actor reads: `AgentId.supervisor()` and agents that a program runs itself; Conflict for
        others. The message is acked at once: should the answer get lost with the connection, so is the message (its
        event remains). Not so a TaskAssign: its task is running from here on, and its message stays claimed until
        `set_task` stores an end; a program that dies before leaves both to the agent's next start (`tt restart`), or
        to whoever gives the task to an agent again. Raises AgentNotFound, Conflict, Invalid.
        """
        found = reception.receive(self._town, text(_AGENT, agent_id), seconds(timeout))
        return None if found is None else Message.from_record(found)

    def try_receive(self, agent_id: str) -> Message | None:
        """As `receive`, without waiting."""
        return self.receive(agent_id, 0.0)

    def inbox_len(self, agent_id: str) -> int:
        """How many messages wait, urgent ones included; not those that a round in progress holds.

        Raises AgentNotFound, Conflict (several match).
        """
        box_id, _name = agents.mailbox_of(self._town, text(_AGENT, agent_id))
        (lengths,) = self._town.store.inboxes.lengths([box_id])
        return lengths.inbox + lengths.urgent

    def broadcast(self, message: Message) -> int:
        """Send a copy to every agent that has not ended, but for the sender; returns to how many.

        `message.to` is ignored. Each copy has an id of its own, and the broadcast's as correlation. Observers that
        subscribed to the town's broadcast channel in Redis get the message, too. Raises AgentNotFound (sender),
        Invalid (a TaskAssign).
        """
        return post.broadcast(self._town, _sent(message).to_record())

    def get_agent_state(self, agent_id: str) -> Agent | None:
        """The agent's record; None when there is none. Raises Conflict (several match)."""
        try:
            return Agent.stored(agents.resolve(self._town, text(_AGENT, agent_id)))
        except AgentNotFound:
            return None

    def set_agent_state(self, agent: Agent) -> None:
        """Store the record of an agent that a program runs itself; a new one joins the town under its name.

        Raises Conflict when the town runs the agent (its actor alone writes its record), when the record changed
        since this object was read or stored, when the name is taken; Invalid for an illegal name.
        """
        record = given("What is stored", agent, Agent, "Agent('worker', 'my-program')").record
        agent.base = records.set_agent(self._town, record, agent.base)

    def get_task(self, task_id: str) -> Task | None:
        """The task of this id or beginning of an id; None when there is none. Raises Conflict (several match)."""
        try:
            return Task.stored(*tasks.find(self._town, text("A task's id", task_id)))
        except TaskNotFound:
            return None

    def set_task(self, task: Task) -> None:
        """Bring the stored task where this one is, by one allowed step, with everything that belongs to it.

        A new task that is pending goes to the backlog. Assigned: its message goes to the agent, in place of any that
        went to another. Running: for agents that a program runs itself; the message is claimed. Completed, failed or
        cancelled: whoever assigned it is told, and a run of it ends. Raises IllegalTransition, AgentNotFound, Invalid
        (no description), Conflict (the stored task changed since this object was read or stored; an actor is at it).
        """
        record = given("What is stored", task, Task, "Task('Build the API')").record
        task.base, task.record = records.set_task(self._town, record, task.base, caller.from_environment())

    def __repr__(self) -> str:
        return f"<Channel {self._town.name}>"


def _sent(message: Message) -> Message:
    return given("What is sent", message, Message, "Message(sender, to, MessageType.Ping())")
