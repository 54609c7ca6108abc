"""What an agent may do now, by what is known of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.builders import make_wish
from tinytown.domain.standing import Block, Standing, is_late

EARLY, LATE = "2026-01-02T03:04:05.000006Z", "2026-01-02T03:04:05.000007Z"


@pytest.mark.parametrize(
    ("wish", "facts", "block"),
    [
        ({}, {}, None),
        ({}, {"held_s": 0.5}, Block.HELD),
        ({}, {"all_rounds": 9}, None),
        ({}, {"all_rounds": 10, "held_s": 1.0}, Block.SPENT),
        ({"rounds_from": 5}, {"all_rounds": 14}, None),
        ({"rounds_from": 5}, {"all_rounds": 15}, Block.SPENT),
        ({"pause": True}, {"all_rounds": 10}, Block.PAUSED),
        ({}, {"pause_flag": True}, Block.PAUSED),
        ({"pause": True, "stop": "graceful"}, {}, Block.STOPPING),
        ({"pause": True}, {"stop_flag": True}, Block.STOPPING),
        ({"closed_at": EARLY}, {}, None),
    ],
)
def test_the_strongest_block_counts(wish: dict[str, Any], facts: dict[str, Any], block: Block | None) -> None:
    """Stop before pause, pause before rounds, rounds before the CLI's hold; a flag set by hand is a wish."""
    assert Standing(wish=make_wish(**wish), **facts).block is block


@pytest.mark.parametrize(
    ("wish", "flag", "stop"),
    [(None, False, None), (None, True, "graceful"), ("now", True, "now"), ("graceful", False, "graceful")],
)
def test_how_it_is_to_stop(wish: str | None, flag: bool, stop: str | None) -> None:  # noqa: FBT001  a table
    """A flag set by hand is graceful, and takes nothing back."""
    assert Standing(wish=make_wish(stop=wish), stop_flag=flag).stop == stop


@pytest.mark.parametrize(
    ("created_at", "closed_at", "late"),
    [
        (LATE, None, False),
        (EARLY, LATE, False),
        (EARLY, EARLY, False),
        (LATE, EARLY, True),
        ("2026-01-02T04:04:06+01:00", EARLY, True),
        ("2026-01-02T04:04:05+01:00", EARLY, False),
        ("", EARLY, False),
        ("yesterday", EARLY, False),
        (LATE, "by hand", False),
    ],
)
def test_mail_after_the_close_is_late(created_at: str, closed_at: str | None, late: bool) -> None:  # noqa: FBT001  a table
    """By its time, however that is written; mail without one is worked off."""
    assert is_late(created_at, closed_at) is late
