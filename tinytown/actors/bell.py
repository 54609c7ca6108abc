"""The doorbell: a connection that always has a BLPOP under way, readable when somebody rang."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Any

from tinytown import clock
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
        self._delay_s = RETRY_S
        self.retry_at = 0.0

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
        self._delay_s = RETRY_S
        return True

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
        """Plan the next attempt: capped exponential back-off with full jitter."""
        self.retry_at = clock.monotonic() + self._delay_s * (0.5 + random.random() / 2)  # noqa: S311  no secret
        self._delay_s = min(self._delay_s * 2, RETRY_MAX_S)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None

    def _listen(self) -> None:
        self._connection.send_command("BLPOP", self._key, WAIT_S)
