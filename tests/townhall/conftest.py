"""Town halls to ask: one for each test, and one that all tests of a module share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.browser import browser, open_page, tracing
from tests.support.disk import small_disk
from tests.support.redis_server import TestRedis
from tests.support.town import supervised
from tests.support.townhall import TownHall, make_town
from tinytown.town import Town

__all__ = ["browser", "open_page", "small_disk", "supervised", "tracing"]
OWN, SHARED = 2, 3  # databases: of the town of a test, of a module's town
OpenHall = Callable[..., TownHall]


@pytest.fixture
def town(redis_server: TestRedis, tmp_path: Path) -> Iterator[Town]:
    """A town that no other test uses; no supervisor runs for it."""
    made = make_town(redis_server, tmp_path / "town", OWN)
    yield made
    made.store.redis.flushdb()
    made.store.close()


@pytest.fixture
def open_hall(redis_server: TestRedis, tmp_path: Path) -> Iterator[OpenHall]:
    """`open_hall(*args, env=None, **tables)`: a town hall of a new town with these tables in its tinytown.toml."""
    opened: list[tuple[TownHall, Town]] = []

    def open_it(*args: str, env: dict[str, str] | None = None, command: str = "rest", **tables: Any) -> TownHall:
        town = make_town(redis_server, tmp_path / f"town-{len(opened)}", OWN, **tables)
        opened.append((TownHall(town.root, *args, command=command, env=env), town))
        return opened[-1][0].start()

    yield open_it
    for hall, town in opened:
        hall.close()
        town.store.redis.flushdb()
        town.store.close()


@pytest.fixture
def hall(town: Town) -> Iterator[TownHall]:
    """The town hall of `town`. Whatever became of it in the test, it is gone afterwards."""
    opened = TownHall(town.root)
    try:
        yield opened.start()
    finally:
        opened.close()


@pytest.fixture
def http(hall: TownHall) -> httpx2.Client:
    """A client of `hall`."""
    return hall.client()


@pytest.fixture(scope="module")
def shared_town(redis_server: TestRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A town that the tests of a module share: they keep to agents and tasks of their own."""
    made = make_town(redis_server, tmp_path_factory.mktemp("shared") / "town", SHARED)
    yield made
    made.store.redis.flushdb()
    made.store.close()


@pytest.fixture(scope="module")
def shared_hall(shared_town: Town) -> Iterator[TownHall]:
    """The town hall of `shared_town`; it leaves with code 0 when the module is through."""
    with TownHall(shared_town.root) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_http(shared_hall: TownHall) -> httpx2.Client:
    """A client of `shared_hall`."""
    return shared_hall.client()
