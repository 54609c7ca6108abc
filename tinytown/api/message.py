"""Messages: an envelope, and a body that is one of the variants of `MessageType`.

Made as `Message(sender, to, MessageType.Query(question="Which port?"))`, read with `match message.msg_type` and
patterns like `case MessageType.Confirmation(ack_type=ConfirmationType.Rejected(reason=why))`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from tinytown import clock, ids
from tinytown.api.identifiers import AgentId, MessageId, moment, text
from tinytown.domain.message import Message as MessageRecord
from tinytown.domain.message import Priority, Sort

__all__ = ["ConfirmationType", "Message", "MessageBody", "MessageType", "Priority"]


class MessageBody:
    """What a message says: an instance of one of the variants of `MessageType`."""


class Confirmed:
    """What a confirmation says: an instance of one of the variants of `ConfirmationType`."""

    reason: str


class ConfirmationType:
    """The kinds of confirmation. A reason is required for a rejection only."""

    @dataclass(frozen=True, slots=True)
    class Received(Confirmed):
        """The message was received."""

        reason: str = ""

    @dataclass(frozen=True, slots=True)
    class Acknowledged(Confirmed):
        """The message was acknowledged."""

        reason: str = ""

    @dataclass(frozen=True, slots=True)
    class Thanks(Confirmed):
        """Thanks."""

        reason: str = ""

    @dataclass(frozen=True, slots=True)
    class Approved(Confirmed):
        """Approved."""

        reason: str = ""

    @dataclass(frozen=True, slots=True)
    class Rejected(Confirmed):
        """Rejected, and why."""

        reason: str


class MessageType:
    """The kinds of message. What an agent does with each: `tt send --help` and the README."""

    @dataclass(frozen=True, slots=True)
    class Task(MessageBody):
        """Work that is no task of the town: it has no record and no result."""

        description: str

    @dataclass(frozen=True, slots=True)
    class Query(MessageBody):
        """A question that wants an answer."""

        question: str

    @dataclass(frozen=True, slots=True)
    class Informational(MessageBody):
        """Something to know; starts no run by itself."""

        summary: str

    @dataclass(frozen=True, slots=True)
    class Confirmation(MessageBody):
        """A receipt; starts no run by itself."""

        ack_type: Confirmed

    @dataclass(frozen=True, slots=True)
    class TaskAssign(MessageBody):
        """The message that leads an agent to its task."""

        task_id: str

    @dataclass(frozen=True, slots=True)
    class TaskDone(MessageBody):
        """Goes to whoever assigned the task."""

        task_id: str
        result: str

    @dataclass(frozen=True, slots=True)
    class TaskFailed(MessageBody):
        """Goes to whoever assigned the task."""

        task_id: str
        error: str

    @dataclass(frozen=True, slots=True)
    class StatusRequest(MessageBody):
        """Answered by the agent's actor, without a run, with a StatusResponse."""

    @dataclass(frozen=True, slots=True)
    class StatusResponse(MessageBody):
        """What an agent does now."""

        state: str
        current_task: str | None = None

    @dataclass(frozen=True, slots=True)
    class Ping(MessageBody):
        """Answered by the agent's actor, without a run, with a Pong."""

    @dataclass(frozen=True, slots=True)
    class Pong(MessageBody):
        """The answer to a Ping."""

    @dataclass(frozen=True, slots=True)
    class Shutdown(MessageBody):
        """Stop, after the round in progress."""

    @dataclass(frozen=True, slots=True)
    class Custom(MessageBody):
        """Of an application's own; a payload with structure travels as JSON text."""

        kind: str
        payload: str


def _name(variant: type) -> str:
    """As stored: TaskAssign is task_assign."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", variant.__name__).lower()


BODIES: dict[str, type[Any]] = {_name(v): v for v in vars(MessageType).values() if isinstance(v, type)}
CONFIRMATIONS: dict[str, type[Any]] = {_name(v): v for v in vars(ConfirmationType).values() if isinstance(v, type)}


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Ids are whole; an agent's name will do as `to` and `sender` of a message to be sent.

    Immutable: `with_priority` and `with_correlation` return a new one with the same id.
    """

    sender: str
    to: str
    msg_type: MessageBody
    priority: Priority = field(default=Priority.NORMAL, kw_only=True)
    correlation_id: str | None = field(default=None, kw_only=True)
    id: MessageId = field(default_factory=lambda: MessageId(ids.new_id()), kw_only=True)
    created_at: datetime = field(default_factory=clock.now, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        if type(self.msg_type) not in BODIES.values():
            raise TypeError(f"msg_type must be an instance like MessageType.Ping(), not {self.msg_type!r}")
        ack = getattr(self.msg_type, "ack_type", None)
        if ack is not None and type(ack) not in CONFIRMATIONS.values():
            raise TypeError(f"ack_type must be an instance like ConfirmationType.Thanks(), not {ack!r}")
        for what, value in (("sender", self.sender), ("to", self.to), ("correlation_id", self.correlation_id or "")):
            text(what, value)
        object.__setattr__(self, "priority", Priority(self.priority))

    def with_priority(self, priority: Priority) -> Message:
        """The same message, to be read earlier or later. Urgent ones are read before all others."""
        return replace(self, priority=priority)

    def with_correlation(self, message_id: str) -> Message:
        """The same message, as an answer to that one."""
        return replace(self, correlation_id=message_id)

    def is_actionable(self) -> bool:
        """It wants something done; the others are context, and start no run by themselves."""
        return not self.is_informational_or_confirmation()

    def is_informational_or_confirmation(self) -> bool:
        """It is context only."""
        return self.to_record().sort in {Sort.INFORMATION, Sort.CONFIRMATION}

    def to_record(self) -> MessageRecord:
        """The stored form."""
        payload = {f.name: getattr(self.msg_type, f.name) for f in fields(self.msg_type)}  # type: ignore[arg-type]
        if isinstance(self.msg_type, MessageType.Confirmation):
            ack = self.msg_type.ack_type
            payload["ack_type"] = {"type": _name(type(ack))} | ({"reason": ack.reason} if ack.reason else {})
        return MessageRecord(
            self.id, self.sender, self.to, _name(type(self.msg_type)), payload, self.priority,
            clock.stamp(self.created_at), self.correlation_id,
        )  # fmt: skip

    @classmethod
    def from_record(cls, record: MessageRecord) -> Message:
        """Read the stored form."""
        variant = BODIES[record.type]
        payload = {f.name: record.payload.get(f.name) for f in fields(variant)}
        if record.type == "confirmation":
            ack = record.payload["ack_type"]
            payload["ack_type"] = CONFIRMATIONS[ack["type"]](str(ack.get("reason") or ""))
        return cls(
            AgentId(record.sender),
            AgentId(record.to),
            variant(**payload),
            priority=record.priority,
            correlation_id=record.correlation_id,
            id=MessageId(record.id),
            created_at=moment(record.created_at),
        )
