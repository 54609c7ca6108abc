"""Messages and dead letters."""

from __future__ import annotations

from typing import Any

from tinytown.townhall.models.shape import Shape


class Message(Shape):
    """A message; `text` is what it says."""

    id: str
    type: str
    to: str
    priority: str
    task_id: str | None
    created_at: str | None
    correlation_id: str | None
    text: str


class Broken(Shape):
    """A text that is no message; its id is made of it."""

    id: str
    text: str


class Inbox(Shape):
    """A mailbox, next message first. `claimed` is in the round that runs now; `unreadable` counts what is broken."""

    id: str
    name: str
    state: str | None
    actionable: int
    claimed: int
    dead: int
    unreadable: int
    messages: list[Message]
    broken: list[Broken]
    total: int


class Sent(Shape):
    """A message that lies in a mailbox."""

    message_id: str
    to_agent: str
    urgent: bool


class Acknowledged(Shape):
    """How many this call took out of the conductor's mailbox, and which; `left` are still, or newly, in it."""

    acknowledged: int
    message_ids: list[str]
    left: int


class DeadLetter(Shape):
    """A message that was given up."""

    id: str
    agent: str
    reason: str
    at: str
    attempts: int
    message: dict[str, Any] | None
    text: str


class DeadLetters(Shape):
    """Dead letters; `total` counts those that are not shown, too."""

    dead_letters: list[DeadLetter]
    count: int
    total: int


class Dropped(Shape):
    """A dead letter that is no more."""

    dropped: bool
    id: str
