"""A big, busy town in a real browser: no task of the browser takes over 100 ms."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import OBSERVE, PHONE, WIDE, OpenPage, no_long_task
from tests.support.builders import make_agent, make_item, make_mission, make_task, make_wish
from tests.support.missions import put_mission
from tests.support.redis_server import TestRedis
from tests.support.town import same_town
from tests.support.townhall import TownHall, make_town
from tinytown import clock, ids
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.domain.work import WorkItem
from tinytown.services import tasks
from tinytown.services.caller import Caller
from tinytown.store.agents import save_agent, save_wish
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

AGENTS, TASKS, ITEMS = 200, 5000, 120
CHANGES, PER_S = 300, 50
MOST_MS = 100
STEP = 250


@pytest.fixture(scope="module")
def big_town(redis_server: TestRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """200 agents, 5,000 open tasks, a mission of 120 items; nothing runs."""
    town = make_town(redis_server, tmp_path_factory.mktemp("big") / "town", 5)
    found = [make_agent(f"agent-{n:03d}", state=AgentState.IDLE, epoch=1, host=town.host) for n in range(AGENTS)]

    def crew(tx: Transaction) -> None:
        for agent in found:
            tx.do("HSET", tx.keys.agents, agent.name, agent.id)
            save_agent(tx, None, agent)
            save_wish(tx, agent.id, None, make_wish(agent.name, host=town.host, since=clock.wall()))

    change(town.store, crew)
    made = [
        make_task(
            TaskState.ASSIGNED, description=f"Task {n}: a piece of work with a title as people write them",
            assigned_to=found[n % AGENTS].id, assigned_by=ids.SUPERVISOR_ID,
        )
        for n in range(TASKS)
    ]  # fmt: skip
    for start in range(0, TASKS, STEP):
        change(town.store, lambda tx, start=start: [tx.save_task(None, t) for t in made[start : start + STEP]])  # type: ignore[misc]
    mission = make_mission(stopped_at=clock.stamp())
    items: list[WorkItem] = []
    for n in range(ITEMS):
        items.append(make_item(mission, n, title=f"Item {n}", depends_on=[items[(n - 1) // 2].id] if n else []))
    put_mission(town, mission, *items)
    yield town
    town.store.redis.flushdb()
    town.store.close()


@pytest.fixture(scope="module")
def big_hall(big_town: Town) -> Iterator[TownHall]:
    """Its town hall."""
    with TownHall(big_town.root) as hall:
        yield hall


class Busy(threading.Thread):
    """Fails and retries tasks at a steady pace, on a connection of its own."""

    def __init__(self, town: Town, some: list[Task]) -> None:
        super().__init__(daemon=True)
        self._town, self._some = same_town(town), some
        self._beat = threading.Event()  # never set: a wait on it is the pace
        self.done = 0

    def run(self) -> None:
        """CHANGES of them, PER_S each second, or as fast as the machine can."""
        began = clock.monotonic()
        while self.done < CHANGES:
            task = self._some[self.done // 2 % len(self._some)]
            (tasks.retry if self.done % 2 else self._fail)(self._town, task.id, Caller())
            self.done += 1
            self._beat.wait(max(0.0, began + self.done / PER_S - clock.monotonic()))
        self._town.store.close()

    @staticmethod
    def _fail(town: Town, task_id: str, who: Caller) -> Task:
        return tasks.fail(town, task_id, "no space left", who)


def drive(page: Page, busy: Busy) -> None:
    """What a person does meanwhile: scroll a column, open and close a drawer, filter."""
    column = page.locator("[data-column=waiting] .scroll")
    place = 0
    while busy.is_alive():
        place += 900
        column.evaluate("(node, top) => { node.scrollTop = top }", place)
        page.keyboard.press("t")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_selector("#drawer:not([hidden])")
        page.keyboard.press("Escape")
        busy.join(0.5)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_no_task_of_the_browser_is_long(
    big_town: Town, big_hall: TownHall, tracing: Browser, open_page: OpenPage, viewport: dict[str, int]
) -> None:
    """From the first drawing to the 300th change nothing holds the page up, and what happened is what is shown."""
    with no_long_task(tracing, big_hall, MOST_MS):
        page = open_page(big_hall, script=OBSERVE, viewport=viewport)
        use(page, big_town)


def use(page: Page, town: Town) -> None:
    """Load, 300 changes, and a look at the outcome."""
    some = town.store.tasks.many(town.store.tasks.newest([TaskState.ASSIGNED], 75))
    page.locator("[data-column=waiting] .count", has_text=str(TASKS)).wait_for()
    assert page.locator("#agents-table").get_attribute("aria-rowcount") == str(AGENTS + 1)
    assert page.locator("#agents-body tr").count() < 50, "rows far from the view are not there"
    assert page.locator(".card").count() < 80, "nor are cards"
    page.locator(".box").nth(ITEMS - 1).wait_for()
    busy = Busy(town, some)
    busy.start()
    drive(page, busy)
    assert busy.done == CHANGES
    page.locator("[data-column=waiting] .count", has_text=str(TASKS)).wait_for()
