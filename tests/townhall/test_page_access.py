"""The page for everybody: axe finds nothing, in dark and light, on a wide screen and a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import PHONE, WIDE, OpenPage
from tests.support.builders import make_item, make_mission
from tests.support.missions import put_mission
from tests.support.town import register
from tests.support.townhall import TownHall
from tinytown.services import tasks
from tinytown.services.caller import Caller
from tinytown.town import Town

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def clean(page: Page, where: str) -> None:
    """Axe has nothing to say about what is shown now."""
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # noqa: PLC0415  only with a browser

    page.evaluate("Promise.all(document.getAnimations().map(animation => animation.finished))")
    found = Axe().run(page).response["violations"]
    lines = [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in found]
    assert not lines, f"{where}:\n" + "\n".join(lines)


@pytest.fixture
def varied(town: Town) -> None:
    """A town with something in each part."""
    for name in ("ann", "bob", "eve"):
        register(town, name, wanted=name != "eve", role_id="writer")
        for number in range(4):
            given = tasks.assign(town, name, f"Write chapter {number}", Caller())
            if number == 0:
                tasks.fail(town, given.id, "no paper", Caller())
            if number == 1:
                tasks.complete(town, given.id, "written", Caller())
    mission = make_mission(stopped_at="2026-01-02T03:04:05Z", blocked_reason="stopped", remedy="tt mission resume")
    first = make_item(mission, 1, title="The schema")
    asks: dict[str, Any] = {"needs_person": True, "reason": "no verdict", "remedy": "tt mission approve 2"}
    put_mission(town, mission, first, make_item(mission, 2, title="The service", depends_on=[first.id], **asks))


@pytest.mark.usefixtures("varied")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing(hall: TownHall, open_page: OpenPage, scheme: str, viewport: dict[str, int]) -> None:
    """The page, a task's drawer, a question, the keys, what came of something; no part is wider than the screen."""
    page = open_page(hall, color_scheme=scheme, viewport=viewport)
    page.locator(".box").nth(1).wait_for()
    clean(page, "the page")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.locator("[data-column=needs_you] .card", has_text="no paper").first.click()
    page.locator("#drawer pre").first.wait_for()
    clean(page, "a task")
    page.locator("#drawer [data-action='task.retry']").click()
    page.locator(".toast").first.wait_for()
    clean(page, "an outcome")
    page.keyboard.press("Escape")
    page.locator("tr[data-agent=ann] button").click()
    page.locator("#drawer [data-action='agent.kill']").click()
    page.wait_for_selector("#ask[open]")
    clean(page, "a question")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    clean(page, "the keys")


def test_what_needs_a_person_is_read_out(town: Town, hall: TownHall, open_page: OpenPage) -> None:
    """A live region says what is new, once, and that it is over; the title counts."""
    register(town, "ann")
    page = open_page(hall)
    given = tasks.assign(town, "ann", "Write it", Caller())
    tasks.fail(town, given.id, "no paper", Caller())
    page.locator("#needs-said", has_text="Write it, failed: no paper").wait_for(state="attached")
    assert page.title().startswith("(2) ")  # and the supervisor that does not run
    assert page.locator("#needs-said").get_attribute("aria-live") == "polite"


def test_a_phone_sorts_by_a_list_and_leaves_a_drawer_by_a_tap(town: Town, hall: TownHall, open_page: OpenPage) -> None:
    """A list sorts the table, which has no titles; what is behind a drawer is out of reach, a tap there closes it."""
    for name in ("zoe", "eve"):
        register(town, name, wanted=name == "zoe")
    page = open_page(hall, viewport=PHONE, has_touch=True)
    names = page.locator("tbody .open")
    names.nth(1).wait_for()
    assert names.all_inner_texts() == ["zoe", "eve"]
    assert not page.locator("thead").is_visible()
    page.get_by_label("Sort by").select_option("Agent")
    assert names.all_inner_texts() == ["eve", "zoe"]
    names.first.tap()
    page.locator("#drawer-title").wait_for()
    assert page.evaluate("document.querySelector('main').inert")
    page.touchscreen.tap(195, 20)
    page.wait_for_selector("#drawer", state="hidden")
    assert not page.evaluate("document.querySelector('main').inert")
