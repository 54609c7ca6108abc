"""Mail as stored: inbox, urgent, claimed, dead letters, attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinytown.domain.message import Message, Priority, Unreadable, parse
from tinytown.domain.record import dump, load
from tinytown.store.transaction import Transaction

if TYPE_CHECKING:
    from tinytown.store import Store


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message given up on. `text` is the stored message as it was; `raw` the list element itself."""

    text: str
    reason: str
    at: str
    attempts: int
    raw: str

    @property
    def message(self) -> Message | None:
        """The message, if the text is one."""
        try:
            return parse(self.text)
        except Unreadable:
            return None


@dataclass(frozen=True, slots=True)
class Lengths:
    """How much mail one agent has."""

    inbox: int
    urgent: int
    claimed: int
    dead: int


class Inboxes:
    """Read mail."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.keys

    def peek(self, agent_id: str, limit: int | None = None) -> tuple[list[str], list[str]]:
        """Stored texts of urgent and inbox, next first, at most `limit` of each."""
        last = -1 if limit is None else limit - 1
        urgent, inbox = self._store.read(
            ("LRANGE", self._keys.urgent(agent_id), 0, last),
            ("LRANGE", self._keys.inbox(agent_id), 0, last),
        )
        return urgent, inbox

    def lengths(self, agent_ids: list[str]) -> list[Lengths]:
        """Of each of these agents, in order, in one round trip."""
        keys = self._keys
        kinds = (keys.inbox, keys.urgent, keys.claimed, keys.dead)
        answers = self._store.read(*(("LLEN", kind(i)) for i in agent_ids for kind in kinds))
        return [Lengths(*answers[n : n + 4]) for n in range(0, len(answers), 4)]

    def dead(self, agent_id: str) -> list[DeadLetter]:
        """The agent's dead letters, oldest first."""
        raws = self._store.call(lambda r: r.lrange(self._keys.dead(agent_id), 0, -1))
        return [read_dead_letter(raw) for raw in raws]


def read_dead_letter(raw: str) -> DeadLetter:
    """Read a list element of `dead`; anything unreadable is shown as it is."""
    try:
        stored: dict[str, Any] = load(raw)
        text, reason, at = (str(stored[name]) for name in ("message", "reason", "at"))
        return DeadLetter(text, reason, at, int(stored["attempts"]), raw)
    except (ValueError, KeyError, TypeError, OverflowError):
        return DeadLetter(raw, "unreadable dead letter", "", 0, raw)


def bury(tx: Transaction, agent_id: str, text: str, reason: str, at: str, attempts: int) -> None:
    """Append a message to the agent's dead letters."""
    entry = dump({"message": text, "reason": reason, "at": at, "attempts": attempts})
    tx.do("RPUSH", tx.keys.dead(agent_id), entry)


def put_back(tx: Transaction, agent_id: str, messages: list[Message]) -> None:
    """Return claimed messages to the head they came from, in their order. Does not ring."""
    for message in reversed(messages):
        urgent = message.priority is Priority.URGENT
        home = tx.keys.urgent(agent_id) if urgent else tx.keys.inbox(agent_id)
        tx.do("LPUSH", home, message.raw)
