"""Every control of the page within reach of keys; and the focus: always seen, never stolen, back where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import argon2
import pytest
from argon2.profiles import CHEAPEST

from tests.support.browser import PHONE, WIDE, OpenPage
from tests.support.builders import make_item, make_mission
from tests.support.keyboard import CONTROLS, MISSED, TRACK, Hands
from tests.support.missions import put_mission
from tests.support.town import register
from tests.support.townhall import TownHall
from tests.support.waiting import wait_until
from tests.townhall.conftest import OpenHall
from tinytown import clock
from tinytown.domain.task import Task
from tinytown.services import agents, messages, tasks
from tinytown.services.caller import Caller
from tinytown.services.missions import control
from tinytown.town import Town

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ME = Caller()
KEY = "a-key-for-the-page"
NAMES = "[...document.querySelectorAll('tbody .open')].map(node => node.innerText)"
HOLD = "() => { window.held = document.activeElement; }"
IS_HELD = "() => window.held === document.activeElement"
ARROWS = (
    "t",
    "ArrowRight",
    "ArrowDown",
    "ArrowLeft",
    "a",
    "ArrowDown",
    "ArrowDown",
    "ArrowUp",
    "m",
    "ArrowRight",
    "Home",
)


@pytest.fixture
def varied(town: Town) -> Iterator[Town]:
    """A town with something in each part. Its supervisor's place is taken: nobody runs it."""
    lock = town.supervisor_lock
    assert lock.acquire()
    for name in ("ann", "bob", "eve"):
        register(town, name, wanted=name != "eve", role_id="writer")
    for number in range(3):
        given = tasks.assign(town, "ann", f"Write chapter {number}", ME)
        if number == 0:
            tasks.fail(town, given.id, "no paper", ME)
        (town.logs_dir / "ann.log").write_text("".join(f"12:00:00 line {n}\n" for n in range(400)))
    messages.send(town, "conductor", "which port?", ME, kind="query", sender="ann")
    mission = make_mission(stopped_at=clock.stamp())
    first = make_item(mission, 1, title="The schema")
    put_mission(town, mission, first, make_item(mission, 2, title="The service", depends_on=[first.id]))
    yield town
    lock.release()


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_control_can_be_reached(
    varied: Town, hall: TownHall, open_page: OpenPage, viewport: dict[str, int]
) -> None:
    """Tab and arrows lead to all that can be used: on the page, in each drawer; and out of it again."""
    page = open_page(hall, viewport=viewport)
    page.locator(".box").nth(1).wait_for()
    hands = Hands(page)
    page.evaluate(TRACK)
    around(hands)
    for key in ARROWS:
        hands.press(key)
        assert hands.is_at("*"), "the focus is somewhere"
    assert page.evaluate(MISSED, CONTROLS) == []
    hands.press("a", "Home")
    hands.go("tr[data-agent=ann] .open", "ArrowDown")
    hands.press("Enter")
    page.locator("#drawer .log", has_text="line 399").wait_for()
    around(hands)
    hands.press("Escape")
    hands.come_to("tr[data-agent=ann] .open")
    assert page.evaluate(MISSED, CONTROLS) == []
    sort(hands, viewport is PHONE)


def around(hands: Hands) -> None:
    """Tab from the beginning through everything and to the beginning again, and one step back: nothing holds it."""
    hands.press("Tab")
    first = hands.where
    for _ in range(120):
        hands.press("Tab")
        hands.is_at("*")
        if hands.where == first:
            hands.press("Shift+Tab")
            assert hands.where != first
            return
    raise AssertionError(f"Tab never comes back to {first}")


def sort(hands: Hands, is_phone: bool) -> None:  # noqa: FBT001  of two sorts
    """By the titles of the table; on a phone, where there are none, by a list."""
    assert hands.page.evaluate(NAMES)[-1] == "eve"
    if is_phone:
        hands.go("#agents-by", "Shift+Tab")
        hands.press("Home")
    else:
        hands.go("thead .c-name button", "Shift+Tab")
        hands.press("Space")
    wait_until(lambda: hands.page.evaluate(NAMES) == ["ann", "bob", "eve"])
    assert hands.is_at("#agents-by, thead .c-name button")
    if is_phone:
        hands.press("End")
        hands.page.locator("table[data-by=memory]").wait_for()


def test_keys_of_what_is_no_action(varied: Town, hall: TownHall, open_page: OpenPage) -> None:
    """Help, filter, log, texts, links between drawers, copying, what stays to be read: each opens, works and closes."""
    page = open_page(hall, quiet=False)
    hands = Hands(page)
    page.locator(".box").first.wait_for()
    hands.press("Tab", "Enter")
    hands.come_to("#needs")  # the link that skips
    hands.press("n", "?")
    page.wait_for_selector("#help[open]")
    assert hands.is_at("#help button")
    hands.press("Escape")
    page.wait_for_selector("#help", state="hidden")
    hands.come_to("#needs button")
    hands.find("bob", "tr[data-agent=bob] .open")
    hands.press("/", "Escape")
    page.locator("tr[data-agent=ann]").wait_for()
    hands.come_to("tr[data-agent=bob] .open")
    read_a_log(hands)
    page.route("**/v1/tasks/*/retry", lambda route: route.abort())
    hands.press("n")
    hands.go(".need [data-action='task.retry']")
    hands.press("Enter")
    page.locator(".toast.bad", has_text="does not answer").wait_for()
    assert hands.is_at(".need [data-action='task.retry']"), "a message takes no focus"
    hands.go(".toast button:not(.copy)", "Shift+Tab")
    hands.press("Enter")
    page.locator(".toast").wait_for(state="detached")
    assert hands.is_at("*"), "and leaves it somewhere"
    hands.go(".need [data-action='task.retry']")
    hands.press("Enter")
    page.locator(".toast.bad").wait_for()
    hands.press("Escape")
    page.locator(".toast").wait_for(state="detached")


def read_a_log(hands: Hands) -> None:
    """From a task to its agent's log: up in it nothing pulls to its end, until it is followed again."""
    page = hands.page
    hands.find("chapter 0", ".card")
    hands.press("Enter")
    page.locator("#drawer pre").first.wait_for()
    hands.go("#drawer summary")
    hands.press("Space")
    page.locator("#drawer details:not([open])").first.wait_for()
    hands.go("#drawer .facts .link", "Shift+Tab")
    hands.press("Enter")
    page.locator("#drawer .log", has_text="line 399").wait_for()
    hands.go("#drawer .log")
    hands.press("PageUp")
    assert not page.locator("#log-follow").is_checked()
    hands.go("#log-follow", "Shift+Tab")
    hands.press("Space")
    assert page.locator("#log-follow").is_checked()
    hands.press("Escape")
    hands.come_to(".card")
    hands.unfilter()


def test_what_changes_steals_no_focus(varied: Town, hall: TownHall, open_page: OpenPage) -> None:
    """The very element stays that somebody is at: a card that moves, a row, a box, a link, a text that is written."""
    page = open_page(hall)
    hands = Hands(page)
    page.locator(".box").first.wait_for()
    one, other = (named(varied, f"Write chapter {n}") for n in (1, 2))
    hands.find("chapter 1", ".card")
    hands.press("/", "Escape")
    hands.come_to(".card")
    unmoved(page, lambda: tasks.complete(varied, one.id, "written", ME), f"[data-column=done] [data-task='{one.id}']")
    hands.press("a")
    hands.go("tr[data-agent=ann] .open", "ArrowUp")
    unmoved(page, lambda: agents.kill(varied, "ann"), "tr[data-agent=ann] .c-state:has-text('stopping')")
    hands.press("n")
    hands.go(".need [data-action='message.send']")
    unmoved(page, lambda: tasks.fail(varied, other.id, "no ink", ME), ".need:has-text('no ink')")
    hands.find("chapter 2", ".card")
    hands.press("Enter")
    hands.go("#drawer .facts .link")
    unmoved(page, lambda: tasks.retry(varied, other.id, ME), "#drawer [data-action='task.cancel']")
    hands.go("#drawer [data-action='task.cancel']", "Shift+Tab")
    hands.press("Enter")
    hands.come_to("#ask-field")
    hands.type("half a")
    unmoved(page, lambda: tasks.fail(varied, other.id, "no pen", ME), "#drawer :text('no pen')")
    hands.type(" word")
    assert page.locator("#ask-field").input_value() == "half a word"
    hands.press("Escape")
    page.wait_for_selector("#ask", state="hidden")
    hands.come_to("#drawer [data-action='task.retry']")  # in the place of the button that it came from
    hands.press("Escape")
    hands.unfilter()
    hands.press("m")
    hands.come_to(".box")
    mission_id = (page.locator(".mission h3").get_attribute("id") or "").removeprefix("mission-")
    unmoved(page, lambda: control.resume(varied, mission_id, ME), "[data-action='mission.stop']")


def named(town: Town, text: str) -> Task:
    return next(task for task in tasks.listing(town) if task.description == text)


def unmoved(page: Page, change: Callable[[], object], shown: str) -> None:
    """The change is drawn, and the focus is where it was."""
    page.evaluate(HOLD)
    change()
    page.locator(shown).first.wait_for()
    assert page.evaluate(IS_HELD), f"the focus went to {Hands(page).where}"


def test_in_and_out(open_hall: OpenHall, open_page: OpenPage) -> None:
    """A key is typed, Escape does not leave half of a page, and signing out ends the session and shows nothing more."""
    digest = argon2.PasswordHasher.from_parameters(CHEAPEST).hash(KEY)
    hall = open_hall(townhall={"auth": {"mode": "api_key", "api_key_hash": digest}})
    page = open_page(hall, live=False, quiet=False, viewport=PHONE)
    hands = Hands(page)
    page.wait_for_selector("#signin[open]")
    hands.press("Escape", "Escape", "Escape")
    hands.come_to("#signin-key")
    hands.type("wrong")
    hands.press("Enter")
    page.wait_for_selector("#signin .outcome .bad")
    assert hands.is_at("#signin-key")
    hands.press("Control+A")
    hands.type(KEY)
    hands.go("#signin [type=submit]")
    hands.press("Enter")
    page.locator("#signout").wait_for()
    status = "() => fetch('/page/state').then(answer => answer.status)"
    assert page.evaluate(status) == 200
    hands.go("#signout")
    hands.press("Enter")
    page.wait_for_selector("#signin[open]")
    assert page.evaluate(status) == 401
    assert "Nothing waits" not in page.locator("body").inner_text()
