"""The town's history as stored: one bounded stream."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tinytown.domain.record import load

if TYPE_CHECKING:
    import redis

    from tinytown.store import Store

NEVER = "0-0"  # before the first event
_PAGE = 1000


class Events:
    """Read the stream."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def newest(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """The last `count` events as (stream id, event object), oldest first."""
        answer = self._store.call(lambda r: r.xrevrange(self._store.keys.events, count=count))
        return [(entry_id, _decode(fields)) for entry_id, fields in reversed(answer)]

    def last_id(self) -> str:
        """The id of the newest event; "0-0" when there is none."""
        answer = self._store.call(lambda r: r.xrevrange(self._store.keys.events, count=1))
        return str(answer[0][0]) if answer else NEVER

    def span(self) -> tuple[str, str]:
        """The ids of the oldest and the newest event; twice "0-0" when there is none."""
        key = self._store.keys.events
        oldest, newest = self._store.read(
            ("XRANGE", key, "-", "+", "COUNT", 1), ("XREVRANGE", key, "+", "-", "COUNT", 1)
        )
        return (str(oldest[0][0]), str(newest[0][0])) if oldest and newest else (NEVER, NEVER)

    def backwards(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All events, newest first, read by the page."""
        before = "+"
        while True:
            page = self._store.call(functools.partial(_page, self._store.keys.events, before))
            yield from ((entry_id, _decode(fields)) for entry_id, fields in page)
            if len(page) < _PAGE:
                return
            before = f"({page[-1][0]}"

    def after(self, last_id: str, wait_s: float = 0.0) -> list[tuple[str, dict[str, Any]]]:
        """Events newer than `last_id`, oldest first; waits for one up to `wait_s` (at most 1 s) without polling."""
        block = max(1, int(min(wait_s, 1.0) * 1000)) if wait_s > 0 else None
        key = self._store.keys.events
        answer = self._store.call(lambda r: r.xread({key: last_id}, count=1000, block=block))
        entries = answer[0][1] if answer else []
        return [(entry_id, _decode(fields)) for entry_id, fields in entries]


def decode_reply(reply: Any) -> list[tuple[str, dict[str, Any]]]:
    """Events in the server's own answer to an XREAD of one stream (fields as a flat list), oldest first."""
    entries = reply[0][1] if reply else []
    return [(entry_id, _decode(dict(zip(*[iter(fields)] * 2, strict=True)))) for entry_id, fields in entries]


def _page(key: str, before: str, client: redis.Redis) -> Any:
    return client.xrevrange(key, max=before, count=_PAGE)


def _decode(fields: dict[str, str]) -> dict[str, Any]:
    try:
        event = load(fields.get("data", "{}"))
    except ValueError:
        event = {}
    return event if isinstance(event, dict) else {}
