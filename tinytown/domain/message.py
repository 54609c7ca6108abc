"""The message: an envelope and a typed body, one JSON object in a list in Redis.

The stored text is what travels: a move never re-encodes it. `parse` also takes what people push by hand
with redis-cli, where everything but `type` and its payload may be missing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tinytown.domain.record import dump, load_storable
from tinytown.ids import SUPERVISOR_ID


class Priority(StrEnum):
    """Where in the inbox a message goes: high and urgent at the head, normal and low at the tail."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Sort(StrEnum):
    """What an agent does with a kind of message."""

    TASK = "task"  # starts a run; at most one of these in a round
    QUERY = "query"  # starts a run
    INFORMATION = "information"  # taken along by the next run
    CONFIRMATION = "confirmation"  # taken along, as a summary
    CONTROL = "control"  # answered by the actor itself, no run


# type -> its sort, its required payload and its optional payload (name -> type).
TYPES: dict[str, tuple[Sort, dict[str, type], dict[str, type]]] = {
    "task": (Sort.TASK, {"description": str}, {}),
    "task_assign": (Sort.TASK, {"task_id": str}, {}),
    "query": (Sort.QUERY, {"question": str}, {}),
    "custom": (Sort.QUERY, {"kind": str, "payload": str}, {}),
    "informational": (Sort.INFORMATION, {"summary": str}, {}),
    "task_done": (Sort.INFORMATION, {"task_id": str, "result": str}, {}),
    "task_failed": (Sort.INFORMATION, {"task_id": str, "error": str}, {}),
    "status_response": (Sort.INFORMATION, {"state": str}, {"current_task": str}),
    "pong": (Sort.INFORMATION, {}, {}),
    "confirmation": (Sort.CONFIRMATION, {"ack_type": dict}, {}),
    "status_request": (Sort.CONTROL, {}, {}),
    "ping": (Sort.CONTROL, {}, {}),
    "shutdown": (Sort.CONTROL, {}, {}),
}
ACK_TYPES = ("received", "acknowledged", "thanks", "approved", "rejected")
_ENVELOPE = ("id", "from", "to", "type", "priority", "created_at", "correlation_id")
_BY_HAND = "hand-"  # an id made of the text


class Unreadable(ValueError):
    """A list element that is no message; its text goes to the dead letters with this reason."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `raw` is the stored text (empty for a message that was never stored)."""

    id: str
    sender: str
    to: str
    type: str
    payload: dict[str, Any]
    priority: Priority = Priority.NORMAL
    created_at: str = ""
    correlation_id: str | None = None
    raw: str = field(default="", repr=False, compare=False)

    @property
    def sort(self) -> Sort:
        """What an agent does with it."""
        return TYPES[self.type][0]

    @property
    def is_actionable(self) -> bool:
        """It starts a run by itself."""
        return self.sort in {Sort.TASK, Sort.QUERY}

    @property
    def task_id(self) -> str | None:
        """The task that this assigns, if it does."""
        return self.payload["task_id"] if self.type == "task_assign" else None

    @property
    def is_by_hand(self) -> bool:
        """It was pushed without an id: the same text may be another message."""
        return self.id.startswith(_BY_HAND)

    @property
    def text(self) -> str:
        """What it says, in full."""
        if self.type == "confirmation":
            ack = self.payload["ack_type"]
            reason = ack.get("reason")
            return f"{ack.get('type', '?')}: {reason}" if reason else str(ack.get("type", "?"))
        if self.type == "custom":
            return f"{self.payload['kind']}: {self.payload['payload']}"
        return " ".join(str(value) for value in self.payload.values() if value is not None) or self.type

    def to_json(self) -> str:
        """The text to store."""
        return dump(
            {
                "id": self.id,
                "from": self.sender,
                "to": self.to,
                "type": self.type,
                **self.payload,
                "priority": self.priority.value,
                "created_at": self.created_at,
                "correlation_id": self.correlation_id,
            },
        )


def parse(raw: str) -> Message:
    """Read a list element. Raises Unreadable with the reason.

    A message without an id gets one made from its text, so that its attempts can be counted.
    """
    try:
        stored = load_storable(raw)
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from error
    if not isinstance(stored, dict):
        raise Unreadable("not a JSON object")
    kind = stored.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        raise Unreadable(f"unknown message type {kind!r:.80}")
    payload = _payload(kind, stored)
    try:
        priority = Priority(stored.get("priority") or "normal")
    except ValueError as error:
        raise Unreadable(f"unknown priority {stored['priority']!r:.80}") from error
    return Message(
        id=_text(stored, "id") or _BY_HAND + hashlib.sha256(raw.encode(errors="surrogateescape")).hexdigest()[:32],
        sender=_text(stored, "from") or SUPERVISOR_ID,
        to=_text(stored, "to") or "",
        type=kind,
        payload=payload,
        priority=priority,
        created_at=_text(stored, "created_at") or "",
        correlation_id=_text(stored, "correlation_id"),
        raw=raw,
    )


def confirmation_of(text: str) -> dict[str, str]:
    """The ack_type for words: `rejected: why`, `received...`, `approved...`, `thank...`, else acknowledged."""
    lowered = text.strip().lower()
    if lowered.startswith("rejected"):
        reason = text.strip()[len("rejected") :].lstrip(": ").strip()
        return {"type": "rejected", "reason": reason or "No reason provided"}
    for word, kind in (("received", "received"), ("approved", "approved"), ("thank", "thanks")):
        if lowered.startswith(word):
            return {"type": kind, "reason": text}
    return {"type": "acknowledged", "reason": text}


def _payload(kind: str, stored: dict[str, Any]) -> dict[str, Any]:
    _sort, required, optional = TYPES[kind]
    payload: dict[str, Any] = {}
    for name, expected in required.items():
        value = stored.get(name)
        if not isinstance(value, expected):
            raise Unreadable(f"a {kind} message needs {name!r} as {expected.__name__}")
        payload[name] = value
    for name, expected in optional.items():
        value = stored.get(name)
        if value is not None and not isinstance(value, expected):
            raise Unreadable(f"{name!r} of a {kind} message is no {expected.__name__}")
        payload[name] = value
    if kind == "confirmation" and payload["ack_type"].get("type") not in ACK_TYPES:
        raise Unreadable("unknown ack_type")
    return payload | {n: v for n, v in stored.items() if n not in _ENVELOPE and n not in payload}


def _text(stored: dict[str, Any], name: str) -> str | None:
    value = stored.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unreadable(f"{name!r} is no text")
    return value
