"""Messages, mailboxes, dead letters."""

from __future__ import annotations

from typing import Literal

from tinytown.services import agents, messages, previews, shapes
from tinytown.services.messages import Mailbox
from tinytown.town import Town
from tinytown.townhall import models
from tinytown.townhall.verbs.inputs import AgentRef, Limit, Text, Word
from tinytown.townhall.verbs.registry import DELETE, GET, POST, Visit, verb

Kind = Literal["task", "query", "info", "ack"]


@verb("message.send", POST, "/v1/messages/send", "send", status=201)
def send(
    visit: Visit, to: AgentRef, message: Text, kind: Kind = "task", urgent: bool = False,
    sender: AgentRef | None = None,
) -> models.Sent:  # fmt: skip
    """Send an agent, or the conductor, a message. `sender`: the agent it is from."""
    sent = messages.send(visit.town, to, message, visit.caller, kind=kind, urgent=urgent, sender=sender)
    name = agents.mailbox_of(visit.town, sent.to)[1]
    return models.Sent(message_id=sent.id, to_agent=name, urgent=urgent)


@verb("agent.inbox", GET, "/v1/agents/{agent}/inbox", "inbox")
def inbox(visit: Visit, agent: AgentRef, limit: Limit = 100) -> models.Inbox:
    """A mailbox: an agent's, or with `conductor` that of people. Looking takes nothing out."""
    box = messages.mailbox(visit.town, agent)
    shape = shapes.mailbox(box, previews.texts(visit.town, box.messages[:limit]) | _unseen(box, limit))
    shape["messages"] = shape["messages"][:limit]
    return models.Inbox(**shape, total=len(box.messages))


@verb("message.acknowledge", POST, "/v1/messages/acknowledge", "inbox", is_destructive=True)
def acknowledge(visit: Visit) -> models.Acknowledged:
    """Take all mail out of the conductor's mailbox, and answer what it said."""
    box = messages.mailbox(visit.town, "conductor")
    texts = previews.texts(visit.town, box.messages)
    shape = shapes.mailbox(box, texts)["messages"]
    return models.Acknowledged(acknowledged=messages.acknowledge(visit.town, box), messages=shape)


@verb("message.list_dead", GET, "/v1/messages/dead", "inbox")
def list_dead(visit: Visit, agent: AgentRef | None = None, limit: Limit = 100) -> models.DeadLetters:
    """Dead letters: messages that were given up, and why."""
    found = messages.dead_letters(visit.town, agent)
    some = [models.DeadLetter(**shapes.dead_letter(name, messages.letter_id(one), one)) for name, one in found[:limit]]
    return models.DeadLetters(dead_letters=some, count=len(some), total=len(found))


@verb("message.retry_dead", POST, "/v1/messages/dead/{letter_id}/retry", "inbox")
def retry_dead(visit: Visit, letter_id: Word, agent: AgentRef | None = None) -> models.Sent:
    """Put a dead letter back, with fresh attempts."""
    back = messages.retry_dead(visit.town, letter_id, agent)
    return models.Sent(message_id=back.id, to_agent=_name(visit.town, back.to), urgent=back.priority == "urgent")


@verb("message.drop_dead", DELETE, "/v1/messages/dead/{letter_id}", "inbox", is_destructive=True)
def drop_dead(visit: Visit, letter_id: Word, agent: AgentRef | None = None) -> models.Dropped:
    """Delete a dead letter for good."""
    return models.Dropped(dropped=True, id=messages.letter_id(messages.drop_dead(visit.town, letter_id, agent)))


def _unseen(box: Mailbox, limit: int) -> dict[str, str]:
    return {message.id: "" for message in box.messages[limit:]}


def _name(town: Town, reference: str) -> str:
    return agents.mailbox_of(town, reference)[1]
