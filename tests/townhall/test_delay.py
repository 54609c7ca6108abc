"""An answer is sent when it is there."""

from __future__ import annotations

import pytest

from tests.support.townhall import TownHall
from tinytown import clock

pytestmark = pytest.mark.slow


def test_answers_do_not_wait_for_each_other(shared_hall: TownHall) -> None:
    """On a connection that is kept, no answer waits 40 ms for the receipt of its own head (Nagle's algorithm)."""
    http, took = shared_hall.client(), []
    for _ in range(40):
        began = clock.monotonic()
        http.get("/healthz")
        took.append(clock.monotonic() - began)
    assert sorted(took)[20] < 0.035
