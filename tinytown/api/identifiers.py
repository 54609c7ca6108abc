"""Ids: text with a name. A plain `str` is taken wherever an id is wanted; what is none is refused in so many words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from tinytown import clock, ids

T = TypeVar("T")


class AgentId(str):
    """An agent's id, or that of the supervisor's (the conductor's) mailbox."""

    __slots__ = ()

    @classmethod
    def supervisor(cls) -> AgentId:
        """The mailbox of whoever coordinates the town: the well-known id."""
        return cls(ids.SUPERVISOR_ID)


class TaskId(str):
    """A task's id."""

    __slots__ = ()


class MessageId(str):
    """A message's id."""

    __slots__ = ()


def text(what: str, value: object) -> str:
    """The value, which must be text: records and messages with anything else in them would be a trap for readers.

    Raises TypeError.
    """
    if isinstance(value, str):
        return value
    hint = "; is a call missing, as in handle.id()?" if callable(value) else ""
    raise TypeError(f"{what} must be text, not {value!r}{hint}")


def given(what: str, value: object, kind: type[T], example: str) -> T:
    """The value, which must be of this type. Raises TypeError, with what would have been right."""
    if isinstance(value, kind):
        return value
    raise TypeError(f"{what} must be like {example}, not {value!r}")


def seconds(value: object) -> float:
    """A time-out. Raises TypeError."""
    if isinstance(value, (int, float)):
        return value
    raise TypeError(f"A time-out is a number of seconds, not {value!r}")


def moment(text: str) -> datetime:
    """A record's time, UTC; the beginning of 1970 when it was written by hand and is none."""
    try:
        return clock.parse(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)


def moment_or_none(text: str | None) -> datetime | None:
    """As `moment`, of a time that may not be there."""
    return None if text is None else moment(text)
