"""Ids: text with a name. A plain `str` is taken wherever an id is wanted."""

from __future__ import annotations

from datetime import UTC, datetime

from tinytown import clock, ids


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


def moment(text: str) -> datetime:
    """A record's time, UTC; the beginning of 1970 when it was written by hand and is none."""
    try:
        return clock.parse(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)


def moment_or_none(text: str | None) -> datetime | None:
    """As `moment`, of a time that may not be there."""
    return None if text is None else moment(text)
