"""How many requests a minute."""

from __future__ import annotations

import pytest

from tinytown.config_townhall import RateLimit
from tinytown.townhall.auth import limits
from tinytown.townhall.auth.limits import Limits, counted_as


def test_each_is_counted_for_themselves() -> None:
    """So many a minute of each kind, for each; then in how many seconds there is room again."""
    counted = Limits(RateLimit(read_per_minute=3, write_per_minute=1))
    assert [counted.take("read", "ann") for _ in range(3)] == [0, 0, 0]
    assert 1 <= counted.take("read", "ann") <= 60
    assert counted.take("read", "bob") == 0
    assert counted.take("write", "ann") == 0
    assert 1 <= counted.take("write", "ann") <= 60


def test_asking_counts_nothing() -> None:
    """`wait` says whether there is room and takes none of it."""
    counted = Limits(RateLimit(read_per_minute=1))
    assert [counted.wait("read", "ann") for _ in range(3)] == [0, 0, 0]
    assert counted.take("read", "ann") == 0
    assert counted.wait("read", "ann") > 0


def test_without_limits() -> None:
    """0 is no limit; wrong keys are counted all the same."""
    counted = Limits(RateLimit(read_per_minute=0, write_per_minute=0))
    assert not any(counted.take("read", "ann") for _ in range(1000))
    assert any(counted.take("failure", "ann") for _ in range(limits.FAILURES_PER_MINUTE + 1))


def test_many_who_come_once() -> None:
    """How many are counted at the same time is bounded."""
    counted = Limits(RateLimit())
    for number in range(limits.KEYS_MOST + 10):
        counted.take("read", f"a{number}")
    assert len(counted) <= limits.KEYS_MOST


@pytest.mark.parametrize(
    ("address", "counted"),
    [("127.0.0.1", "127.0.0.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("2001:db8:1:2::9", "2001:db8:1:2::"),
     ("::ffff:10.0.0.1", "::ffff:10.0.0.1"), ("unknown", "unknown")],
)  # fmt: skip
def test_whom_an_address_stands_for(address: str, counted: str) -> None:
    """In IPv6 a customer has a network of 64 bits: it counts as one."""
    assert counted_as(address) == counted
