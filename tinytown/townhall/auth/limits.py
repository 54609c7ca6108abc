"""How many requests a minute: from an address, of a principal; and how many wrong keys."""

from __future__ import annotations

import functools
import ipaddress
import math

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from tinytown import clock
from tinytown.config_townhall import RateLimit

FAILURES_PER_MINUTE = 30  # from one address; keys that were right before are not held up by them
KEYS_MOST = 10_000  # addresses and principals that are counted at the same time


class Limits:
    """Counts in memory, in a window that moves. Used in one thread."""

    def __init__(self, settings: RateLimit) -> None:
        self._storage = MemoryStorage()
        self._window = MovingWindowRateLimiter(self._storage)
        self._items: dict[str, RateLimitItem] = {}
        for kind, most in (
            ("read", settings.read_per_minute), ("write", settings.write_per_minute), ("failure", FAILURES_PER_MINUTE)
        ):  # fmt: skip
            if most:  # 0: no limit
                self._items[kind] = RateLimitItemPerMinute(most)

    def __len__(self) -> int:
        return len(self._storage.events)

    def take(self, kind: str, who: str) -> int:
        """Count a request ("read", "write", "failure"); 0, or in how many whole seconds there is room again."""
        item = self._items.get(kind)
        if item is None:
            return 0
        self._make_room()
        return 0 if self._window.hit(item, kind, who) else self._wait(item, kind, who)

    def wait(self, kind: str, who: str) -> int:
        """As `take`, and nothing is counted."""
        item = self._items.get(kind)
        return 0 if item is None or self._window.test(item, kind, who) else self._wait(item, kind, who)

    def _wait(self, item: RateLimitItem, kind: str, who: str) -> int:
        return max(1, math.ceil(self._window.get_window_stats(item, kind, who).reset_time - clock.wall()))

    def _make_room(self) -> None:
        """The library forgets what it counted, but never whom."""
        if len(self) < KEYS_MOST:
            return
        counted = {key: events for key, events in list(self._storage.events.items()) if events}
        self._storage = MemoryStorage()  # a thread of the library's tidies up the old one, and must not be met there
        self._window = MovingWindowRateLimiter(self._storage)
        if len(counted) < KEYS_MOST:
            self._storage.events.update(counted)


@functools.lru_cache(1024)
def counted_as(address: str) -> str:
    """Whom an address stands for: in IPv6 everybody has many."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return address
