"""Connections that always have a blocking command under way: readable when it was answered.

`Bell` is an agent's doorbell, `News` the town's history as it grows. Neither retries by itself: the actor asks
`reconnect` when `retry_at` is due.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from tinytown.backoff import Backoff
from tinytown.errors import TinytownError
from tinytown.store import Store
from tinytown.store.connection import translate
from tinytown.store.events import decode_reply

WAIT_S = 10
RETRY_S = 0.02
RETRY_MAX_S = 1.0
NEWS_AT_ONCE = 1000


class Ring(StrEnum):
    """What a readable connection meant."""

    RUNG = "rung"
    QUIET = "quiet"
    BROKEN = "broken"


class Waiting:
    """A connection with one blocking command under way; see the module."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._connection: Any = None
        self._retry = Backoff(RETRY_S, RETRY_MAX_S)

    @property
    def fd(self) -> int | None:
        """The socket to select on; None while there is no connection."""
        return None if self._connection is None else int(self._connection.fileno())

    def reconnect(self) -> bool:
        """Connect and listen; False when that failed (`retry_at` then says when to try again)."""
        self.close()
        connection = self._store.connector.bell()
        try:
            with translate(self._store.connector):
                connection.connect()
                self._connection = connection
                self._listen()
        except (TinytownError, OSError):
            self.close()
            self.broke()
            return False
        return True

    @property
    def retry_at(self) -> float:
        """When to try to reconnect (monotonic)."""
        return self._retry.retry_at

    def is_well(self) -> None:
        """A whole pass went well, writes included: the next outage begins with short pauses again."""
        self._retry.worked()

    def answer(self) -> Ring:
        """Read what made the descriptor readable, and listen again."""
        try:
            with translate(self._store.connector):
                if not self._connection.has_reply():  # TLS: readable, but no whole record yet
                    return Ring.QUIET
                reply = self._connection.read_response()
                if reply is not None:
                    self._take(reply)
                self._listen()
        except (TinytownError, OSError):
            self.close()
            self.broke()
            return Ring.BROKEN
        return Ring.QUIET if reply is None else Ring.RUNG

    def broke(self) -> None:
        """Plan the next attempt."""
        self._retry.failed()

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None

    def _listen(self) -> None:
        self._connection.send_command(*self._command)

    @property
    def _command(self) -> tuple[str | int, ...]:
        """What waits for an answer, for up to `WAIT_S`."""
        raise NotImplementedError

    def _take(self, reply: Any) -> None:
        """Something came."""


class Bell(Waiting):
    """One agent's doorbell."""

    def __init__(self, store: Store, agent_id: str) -> None:
        super().__init__(store)
        self._key = store.keys.wake(agent_id)

    @property
    def _command(self) -> tuple[str | int, ...]:
        return ("BLPOP", self._key, WAIT_S)


class News(Waiting):
    """The town's events that are newer than `last_id`, which is to be set before each connection."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.last_id = ""
        self._events: list[tuple[str, dict[str, Any]]] = []

    def drain(self) -> list[dict[str, Any]]:
        """What came since the last call, oldest first."""
        events, self._events = self._events, []
        return [event for _id, event in events]

    @property
    def _command(self) -> tuple[str | int, ...]:
        block, key = WAIT_S * 1000, self._store.keys.events
        return ("XREAD", "COUNT", NEWS_AT_ONCE, "BLOCK", block, "STREAMS", key, self.last_id)

    def _take(self, reply: Any) -> None:
        came = decode_reply(reply)
        if came:
            self._events += came
            self.last_id = came[-1][0]
