"""What stands behind subscriptions: one reader of events while anybody watches, none afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.client.subscriptions import ResourceUpdated

from tests.support.town import register
from tests.support.waiting import wait_until
from tinytown.services import tasks
from tinytown.services.caller import Caller
from tinytown.town import Town
from tinytown.townhall import auth
from tinytown.townhall.hall import Hall
from tinytown.townhall.mcp.server import Door

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed")]
AGENTS = "tinytown://agents"
Told = list[str]


@contextlib.asynccontextmanager
async def opened(town: Town) -> AsyncIterator[tuple[Hall, Door]]:
    hall = Hall(town)
    visitor = auth.at_the_terminal(town)
    door = Door(hall, Caller(), lambda _ctx: visitor, 10.0)
    yield hall, door
    door.close()


@contextlib.asynccontextmanager
async def watching(door: Door, mode: str, *uris: str) -> AsyncIterator[Told]:
    """A client of its own that is told of these, in the way of its protocol."""
    told: Told = []

    async def hear(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            told.append(message.params.uri)

    async with Client(door.server(), mode=mode, message_handler=hear) as client:
        if mode == "legacy":
            for uri in uris:
                await client.session.subscribe_resource(uri)
            yield told
            return
        async with client.listen(resource_subscriptions=uris) as heard:
            collecting = asyncio.create_task(_collect(heard, told))
            yield told
        await collecting


async def _collect(heard: Any, told: Told) -> None:
    async for event in heard:
        assert isinstance(event, ResourceUpdated)
        told.append(event.uri)


async def until(condition: Callable[[], Any], what: str) -> None:
    await asyncio.to_thread(wait_until, condition, 10.0, what)


def run(town: Town, test: Callable[[Hall, Door], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with opened(town) as (hall, door):
            await test(hall, door)

    asyncio.run(whole())


def assign(town: Town) -> None:
    tasks.assign(town, "backend", "news", Caller())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_one_reader_for_all_and_none_without_watchers(town: Town, mode: str) -> None:
    """However many watch; a connection that has gone watches nothing, whether it said so or not."""
    register(town, "backend")

    async def test(hall: Hall, door: Door) -> None:
        for _ in range(2):
            async with watching(door, mode, AGENTS) as one, watching(door, mode, AGENTS, "tinytown://backlog") as other:
                assert hall.hub.count == 1
                await asyncio.to_thread(assign, town)
                await until(lambda one=one, other=other: AGENTS in one and AGENTS in other, "news for both")  # type: ignore[misc]
            await until(lambda: hall.hub.count == 0, "the reader's end")

    run(town, test)


def test_the_first_change_after_subscribing_is_not_missed(town: Town) -> None:
    """Also of a watcher that comes while the reader of the one before is about to end."""
    register(town, "backend")

    async def test(_hall: Hall, door: Door) -> None:
        for _ in range(10):
            async with watching(door, "auto", AGENTS) as told:
                assign(town)
                await until(lambda told=told: told, "news")  # type: ignore[misc]

    run(town, test)


def test_a_reader_that_is_cut_off_begins_anew(town: Town) -> None:
    """What was missed may be anything: all that is watched is told, and what happens then."""
    register(town, "backend")

    async def test(hall: Hall, door: Door) -> None:
        async with watching(door, "auto", AGENTS, "tinytown://missions") as told:
            (reader,) = hall.hub._readers  # noqa: SLF001
            reader.cut.set()
            await until(lambda: {AGENTS, "tinytown://missions"} <= set(told), "news of all")
            told.clear()
            await asyncio.to_thread(assign, town)
            await until(lambda: AGENTS in told, "news")
            assert "tinytown://missions" not in told

    run(town, test)


def test_much_that_happens_is_told_seldom(town: Town) -> None:
    """Hundreds of events are a few notices: who hears one looks anew."""
    register(town, "backend")

    async def test(_hall: Hall, door: Door) -> None:
        async with watching(door, "legacy", AGENTS, "tinytown://town/current") as told:
            for _ in range(300):
                await asyncio.to_thread(assign, town)
            await until(lambda: told, "news")
            assert len(told) < 150

    run(town, test)
