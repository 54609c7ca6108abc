"""Messages, mailboxes, dead letters."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from tinytown.ids import SUPERVISOR_ID
from tinytown.services import agents, messages, previews, shapes
from tinytown.town import Town
from tinytown.townhall import models
from tinytown.townhall.verbs.inputs import TEXT_MOST, AgentRef, Limit, Text, Word
from tinytown.townhall.verbs.registry import DELETE, GET, POST, Visit, verb

IDS_MOST = 1000

Kind = Literal["task", "query", "info", "ack"]
MessageId = Annotated[str, Field(max_length=TEXT_MOST)]  # who writes into Redis by hand makes the id, too
Read = Annotated[
    list[MessageId],
    Field(min_length=1, max_length=IDS_MOST, description="Whole ids out of agent.inbox, also those of `broken`."),
]


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
    some = replace(box, messages=box.messages[:limit], broken=box.broken[:limit])
    counts = {"actionable": box.actionable, "unreadable": box.unreadable, "total": len(box.messages)}
    return models.Inbox(**shapes.mailbox(some, previews.texts(visit.town, some.messages)) | counts)


@verb("message.acknowledge", POST, "/v1/messages/acknowledge", "inbox", is_destructive=True, is_idempotent=True)
def acknowledge(visit: Visit, message_ids: Read) -> models.Acknowledged:
    """Take these messages out of the conductor's mailbox; what came since they were read stays. It may be repeated."""
    taken = messages.acknowledge_read(visit.town, message_ids)
    left = visit.town.store.inboxes.lengths([SUPERVISOR_ID])[0]
    return models.Acknowledged(acknowledged=len(taken), message_ids=taken, left=left.inbox + left.urgent)


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


def _name(town: Town, reference: str) -> str:
    return agents.mailbox_of(town, reference)[1]
