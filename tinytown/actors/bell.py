"""The doorbell: a connection that always has a BLPOP under way, readable when somebody rang."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from tinytown.backoff import Backoff
from tinytown.errors import TinytownError
from tinytown.store import Store
from tinytown.store.connection import translate

WAIT_S = 10
RETRY_S = 0.02
RETRY_MAX_S = 1.0


class Ring(StrEnum):
    """What a readable bell meant."""

    RUNG = "rung"
    QUIET = "quiet"
    BROKEN = "broken"


class Bell:
    """One agent's doorbell connection. Never retries by itself: the actor asks `reconnect` when `retry_at` is due."""

    def __init__(self, store: Store, agent_id: str) -> None:
        self._store = store
        self._key = store.keys.wake(agent_id)
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
                popped = self._connection.read_response()
                self._listen()
        except (TinytownError, OSError):
            self.close()
            self.broke()
            return Ring.BROKEN
        return Ring.QUIET if popped is None else Ring.RUNG

    def broke(self) -> None:
        """Plan the next attempt."""
        self._retry.failed()

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None

    def _listen(self) -> None:
        self._connection.send_command("BLPOP", self._key, WAIT_S)
