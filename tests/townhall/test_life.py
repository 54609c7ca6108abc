"""The program itself: it starts, says where it listens, answers, and leaves."""

from __future__ import annotations

import signal

import httpx2
import pytest

from tests.support.townhall import TownHall

pytestmark = pytest.mark.slow


def test_it_says_where_it_listens_and_leaves_with_0(hall: TownHall) -> None:
    """One line on stderr, nothing on stdout; TERM ends it at once, with code 0."""
    assert hall.client().get("/healthz").json()["status"] == "ok"
    assert hall.stop() == 0
    assert hall.said == f"Town hall of '{hall.root.name}' at {hall.url}\n" or hall.url in hall.said
    assert hall.out.read_text() == ""


def test_interrupt_at_the_terminal_ends_it_quietly(hall: TownHall) -> None:
    """Ctrl-C is a way to leave, not an error with a trace."""
    hall.process.send_signal(signal.SIGINT)
    assert hall.process.wait(10) in (0, 130)
    assert "Traceback" not in hall.said


def test_a_module_shares_one(shared_http: httpx2.Client) -> None:
    """The shared town hall answers."""
    assert shared_http.get("/v1/agents").json() == {"agents": [], "count": 0}
