"""The table of keys."""

from __future__ import annotations

import pytest

from tinytown.store.keys import PREFIX, TABLE, Keys

KEYS = Keys("demo")
WITH_ID = ["agent", "stats", "inbox", "urgent", "claimed", "dead", "attempts", "sent", "wake", "stop", "pause", "lease",
           "hold", "activity", "task", "tasks", "dependents", "snapshot"]  # fmt: skip
WITHOUT = ["agents", "wanted", "backlog", "releases", "events", "broadcast"]


@pytest.mark.parametrize("kind", WITH_ID)
def test_a_key_with_an_id(kind: str) -> None:
    """tt:<town>:<kind>:<id>, as people type it into redis-cli."""
    assert getattr(KEYS, kind)("x-1") == f"tt:demo:{kind}:x-1"


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_key_of_the_town(kind: str) -> None:
    """tt:<town>:<kind>."""
    assert getattr(KEYS, kind) == f"tt:demo:{kind}"


def test_the_table_holds_every_key_and_no_other() -> None:
    """Each key that can be formatted has its row; only the missions' row has formatters of its own."""
    assert set(TABLE) == {*WITH_ID, *WITHOUT, "mission"}
    assert all(row.holds and row.type for row in TABLE.values())


def test_two_towns_share_no_key() -> None:
    """Towns whose names begin alike have nothing in common, not even under a pattern that ends in a colon."""
    assert not Keys("demo-2").agent("x").startswith(f"{PREFIX}demo:")
    assert KEYS.agents != KEYS.agent("")
