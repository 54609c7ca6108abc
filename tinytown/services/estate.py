"""What an agent that has ended leaves behind: its mail, and the tasks that this mail leads to."""

from __future__ import annotations

from dataclasses import dataclass

from tinytown import clock
from tinytown.domain.event import Event
from tinytown.domain.message import Message
from tinytown.domain.task import Task
from tinytown.services import mail, recovery
from tinytown.store.agents import AgentRow
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town


@dataclass(frozen=True, slots=True)
class Held:
    """One message: the list it lies in, its text, what it says (None: unreadable), and the task it assigns."""

    home: str
    text: str
    message: Message | None
    task_raw: str | None = None
    task: Task | None = None

    def leads(self, agent_id: str) -> bool:
        """It leads the agent to an open task of its own."""
        return self.task is not None and not self.task.state.is_terminal and self.task.assigned_to == agent_id

    def is_spent(self, agent_id: str) -> bool:
        """It assigns a task that has ended, has moved or is gone: nothing would come of it."""
        return self.message is not None and self.message.task_id is not None and not self.leads(agent_id)

    @property
    def is_new_work(self) -> bool:
        """Work in words, without a task record."""
        return self.message is not None and self.message.type == "task"


def has_ended(row: AgentRow) -> bool:
    """No process stands behind it, and nobody wants one."""
    return row.agent.state.is_terminal and row.wish is None


def ended(town: Town) -> list[AgentRow]:
    """The agents that have ended, in the order of names."""
    return [row for row in town.store.agents.all() if has_ended(row)]


def expect_ended(town: Town, tx: Transaction, agent_id: str, *, in_any_state: bool = False) -> AgentRow | None:
    """The agent, which stays ended until the transaction is applied; None when it is active or gone.

    `in_any_state`: nobody wants it, whatever state a deleted wish has left it in; its process is known to be gone.
    """
    row = town.store.agents.row(agent_id)
    if row is None or row.wish is not None or not (in_any_state or has_ended(row)):
        return None
    tx.expect(tx.keys.agent(agent_id), row.raw, "agent")
    tx.expect_field(tx.keys.wanted, agent_id, row.wish_raw, "wish")
    return row


def read(town: Town, agent_id: str) -> list[Held]:
    """The agent's mail: what it had claimed (a round that is over), urgent mail, the inbox; next first."""
    keys = town.store.keys
    homes = (keys.claimed(agent_id), keys.urgent(agent_id), keys.inbox(agent_id))
    answers = town.store.read(*(("LRANGE", home, 0, -1) for home in homes))
    if answers[0] and (row := town.store.agents.row(agent_id)) is not None:
        recovery.require_round_over(town, row.agent)
    listed = [(home, text, mail.read(text)) for home, texts in zip(homes, answers, strict=True) for text in texts]
    task_ids = list(dict.fromkeys(m.task_id for _home, _text, m in listed if m is not None and m.task_id))
    raws = dict(zip(task_ids, town.store.tasks.raws(task_ids), strict=True))
    found = []
    for home, text, message in listed:
        task_id = (message.task_id if message is not None else None) or ""
        raw = raws.get(task_id)
        found.append(Held(home, text, message, raw, read_task(raw, task_id)))
    return found


def take(tx: Transaction, agent_id: str, held: Held) -> None:
    """Out of its list, with its count of attempts; what becomes of it is the caller's to write."""
    tx.expect_member(held.home, held.text, "mail")
    tx.do("LREM", held.home, 1, held.text)
    if held.message is not None:
        tx.do("HDEL", tx.keys.attempts(agent_id), held.message.id)


def drop_spent(tx: Transaction, agent_id: str, held: Held) -> None:
    """Acknowledge a message that leads nowhere."""
    assert held.message is not None
    if held.message.task_id:
        tx.expect(tx.keys.task(held.message.task_id), held.task_raw, "task")
    take(tx, agent_id, held)
    state = held.task.state if held.task is not None and held.task.state.is_terminal else None
    why = f"is {state}" if state else "is gone" if held.task is None else "has moved"
    tx.event(mail.message_event("message_acked", f"without a run: its task {why}", held.message, agent_id))


def unassign(tx: Transaction, agent_id: str, raw: str, task: Task, message_id: str | None) -> Task:
    """Out of the agent's hands; the caller puts it into the backlog. `message_id`: what led to it, and is taken."""
    parked = task.parked(clock.stamp())
    tx.save_task(raw, parked, task)
    tx.event(
        Event(
            "message_moved" if message_id else "task_requeued", "its task went to the backlog", clock.stamp(),
            agent_id=agent_id, task_id=task.id, message_id=message_id,
            old_state=task.state.value, new_state=parked.state.value,
        )
    )  # fmt: skip
    return parked
