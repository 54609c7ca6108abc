"""The table of keys."""

from __future__ import annotations

import pytest

from tinytown.store.keys import MISSION_PARTS, PREFIX, TABLE, Keys, row_of

KEYS = Keys("demo")
WITH_ID = ["agent", "stats", "inbox", "urgent", "claimed", "dead", "attempts", "sent", "wake", "stop", "pause", "lease",
           "hold", "activity", "task", "tasks", "dependents", "snapshot", "mission", "answer"]  # fmt: skip
WITHOUT = ["agents", "wanted", "backlog", "releases", "events", "broadcast", "answers"]


@pytest.mark.parametrize("kind", WITH_ID)
def test_a_key_with_an_id(kind: str) -> None:
    """tt:<town>:<kind>:<id>, as people type it into redis-cli."""
    assert getattr(KEYS, kind)("x-1") == f"tt:demo:{kind}:x-1"


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_key_of_the_town(kind: str) -> None:
    """tt:<town>:<kind>."""
    assert getattr(KEYS, kind) == f"tt:demo:{kind}"


@pytest.mark.parametrize("part", ["work", "watch", "events", "notes"])
def test_a_key_of_a_mission(part: str) -> None:
    """tt:<town>:mission:<id>, and its parts below it; each is found by its row."""
    assert getattr(KEYS, f"mission_{part}")("x-1") == f"tt:demo:mission:x-1:{part}"
    assert row_of(f"mission:x-1:{part}") is TABLE[f"mission:{part}"]
    assert f"tt:demo:mission:x-1:{part}" in KEYS.of_mission("x-1")


@pytest.mark.parametrize("name", ["active", "all"])
def test_a_key_of_all_missions(name: str) -> None:
    """tt:<town>:mission:active and :all."""
    assert getattr(KEYS, f"missions_{name}") == f"tt:demo:mission:{name}"
    assert row_of(f"mission:{name}") is TABLE[f"mission:{name}"]


def test_the_table_holds_every_key_and_no_other() -> None:
    """Each key that can be formatted has its row, and what nobody formats has none."""
    parts = [f"mission:{part}" for part in (*MISSION_PARTS, "active", "all")]
    assert set(TABLE) == {*WITH_ID, *WITHOUT, *parts}
    assert all(row.holds and row.type for row in TABLE.values())
    assert row_of("mission:x-1:other") is row_of("other:x") is None
    assert row_of("agent:x-1") is TABLE["agent"]
    assert row_of("mission:x-1") is TABLE["mission"]


def test_two_towns_share_no_key() -> None:
    """Towns whose names begin alike have nothing in common, not even under a pattern that ends in a colon."""
    assert not Keys("demo-2").agent("x").startswith(f"{PREFIX}demo:")
    assert KEYS.agents != KEYS.agent("")
