"""What is known for a while: bounded in number and in time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

from tinytown import clock

V = TypeVar("V")


class Remembered(Generic[V]):
    """Values by secret text, of which only a digest is kept. The oldest give way to new ones."""

    def __init__(self, most: int, gone: Callable[[V], None] = lambda _value: None) -> None:
        """`gone` is told each value that is remembered no more."""
        self._most = most
        self._gone = gone
        self._rows: dict[bytes, tuple[float, V]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, secret: str) -> V | None:
        """The value, while it is remembered."""
        row = self._rows.get(_digest(secret))
        if row is None:
            return None
        if row[0] <= clock.monotonic():
            self.forget(secret)
            return None
        return row[1]

    def put(self, secret: str, value: V, seconds: float) -> None:
        """Remember it that long from now on, as the newest."""
        self.forget(secret)
        while len(self._rows) >= self._most:
            self._drop(next(iter(self._rows)))
        self._rows[_digest(secret)] = (clock.monotonic() + seconds, value)

    def thin(self, belongs: Callable[[V], bool], most: int) -> None:
        """Of the values that belong to somebody, keep the newest `most`."""
        theirs = [key for key, (_until, value) in self._rows.items() if belongs(value)]
        for key in theirs[: max(0, len(theirs) - most)]:
            self._drop(key)

    def forget(self, secret: str) -> bool:
        """Remember it no more; False when it was not remembered."""
        return self._drop(_digest(secret))

    def _drop(self, key: bytes) -> bool:
        row = self._rows.pop(key, None)
        if row is not None:
            self._gone(row[1])
        return row is not None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
