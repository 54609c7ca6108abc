"""The program itself: it starts, says where it listens, answers, and leaves."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.support.town import register
from tests.support.townhall import TownHall
from tests.support.waiting import wait_until
from tinytown.errors import Unavailable
from tinytown.files import write_atomic
from tinytown.town import Town
from tinytown.townhall.hall import Hall

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


def test_who_waits_is_told_that_it_leaves(town: Town, hall: TownHall) -> None:
    """A request that waits for an agent gets its answer, and holds up nobody."""
    register(town, "backend")
    http = hall.client()

    def blocked() -> int:
        return sum(one["cmd"] == "xread" and "b" in one["flags"] for one in town.store.redis.client_list())

    before = blocked()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(http.get, "/v1/agents/backend/wait?timeout_s=20")
        wait_until(lambda: blocked() > before, 10, "the request to wait")
        assert hall.stop() == 0
        assert (waiting.result().status_code, waiting.result().json()["detail"]) == (503, "The town hall is leaving.")
    assert "Traceback" not in hall.said


def test_a_module_shares_one(shared_http: httpx2.Client) -> None:
    """The shared town hall answers."""
    assert shared_http.get("/v1/agents").json() == {"agents": [], "count": 0}


def test_a_disk_that_is_full_is_no_riddle(town: Town, small_disk: Path) -> None:
    """What a verb could not write is told in the town's words, over HTTP and over MCP alike."""

    async def ask() -> None:
        hall = Hall(town)
        try:
            await hall.run(lambda _town: write_atomic(small_disk / "server.json", "x" * 100_000))
        finally:
            hall.close()

    with pytest.raises(Unavailable, match="No space left on device"):
        asyncio.run(ask())
