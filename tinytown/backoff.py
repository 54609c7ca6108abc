"""Pauses between tries: doubling up to a cap, with jitter, so that many who wait for one thing do not come at once."""

from __future__ import annotations

import random

from tinytown import clock


class Backoff:
    """One row of tries. Seconds; `retry_at` is monotonic."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._pause_s = first_s
        self.retry_at = 0.0

    def failed(self) -> None:
        """Plan the next try."""
        self.retry_at = clock.monotonic() + self._pause_s * (0.5 + random.random() / 2)  # noqa: S311  no secret
        self._pause_s = min(self._pause_s * 2, self._most_s)

    def worked(self) -> None:
        """The next row begins with short pauses again."""
        self._pause_s = self._first_s
        self.retry_at = 0.0
