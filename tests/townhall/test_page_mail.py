"""The mail of people on the page: it is read there, and what was on the screen is taken out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import PHONE, WIDE, OpenPage
from tests.support.town import register, texts
from tests.support.townhall import TownHall
from tests.support.waiting import wait_until
from tinytown import ids
from tinytown.services import messages
from tinytown.services.caller import Caller
from tinytown.town import Town

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
BOX = ids.SUPERVISOR_ID


def put(town: Town, text: str, kind: str = "info", sender: str | None = None) -> str:
    return messages.send(town, "conductor", text, Caller(), kind=kind, sender=sender).id


def left(town: Town) -> list[str]:
    """What the mailbox holds."""
    return [message.text for message in messages.mailbox(town, "conductor").messages]


def letters(page: Page) -> Locator:
    return page.locator("#drawer .mail li")


def opened(page: Page, count: int) -> None:
    """The mailbox, with so many letters on the screen."""
    page.locator("#mail").click()
    wait_until(lambda: letters(page).count() == count)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_what_was_on_the_screen_is_taken_out(
    town: Town, hall: TownHall, open_page: OpenPage, viewport: dict[str, int]
) -> None:
    """With what is no message; mail that comes while the question is open stays, and is shown."""
    put(town, "one")
    put(town, "two")
    town.store.redis.rpush(town.store.keys.inbox(BOX), "not a message")
    page = open_page(hall, viewport=viewport)
    opened(page, 3)
    page.locator("#drawer .mail", has_text="not a message").wait_for()
    page.locator("#drawer [data-action='message.acknowledge']").click()
    page.locator("#ask-title", has_text="3 messages").wait_for()
    put(town, "three")
    wait_until(lambda: letters(page).count() == 4)
    page.locator("#ask [type=submit]").click()
    page.locator(".toast", has_text="3 messages taken out. 1 message is left.").wait_for()
    wait_until(lambda: letters(page).count() == 1)
    page.locator("#drawer .mail", has_text="three").wait_for()
    assert left(town) == ["three"]
    page.locator("#drawer [data-action='message.acknowledge']").click()
    page.locator("#ask-title", has_text="this message").wait_for()
    page.locator("#ask [type=submit]").click()
    page.wait_for_selector("#mail", state="hidden")
    page.wait_for_selector("#drawer [data-action='message.acknowledge']", state="detached")
    assert texts(town, "inbox", BOX) == []
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "board"


def test_what_cannot_be_shown_cannot_be_taken_out(town: Town, hall: TownHall, open_page: OpenPage) -> None:
    """The newer mailbox does not reach the page: that is said, and there is no button."""
    put(town, "one")
    page = open_page(hall, quiet=False)
    opened(page, 1)
    page.route("**/v1/agents/conductor/inbox", lambda route: route.abort())
    put(town, "two")
    page.locator("#mail", has_text="2 messages").wait_for()
    page.locator("#drawer .bad").wait_for()
    page.wait_for_selector("#drawer [data-action='message.acknowledge']", state="detached")
    assert left(town) == ["one", "two"]


def test_somebody_was_quicker(town: Town, hall: TownHall, open_page: OpenPage) -> None:
    """Said as it is; the same number of others in its place is shown, and stays."""
    put(town, "one")
    page = open_page(hall)
    opened(page, 1)
    page.locator("#drawer [data-action='message.acknowledge']").click()
    messages.acknowledge(town, messages.mailbox(town, "conductor"))
    put(town, "two")
    page.locator("#drawer .mail", has_text="two").wait_for()
    page.locator("#ask [type=submit]").click()
    page.locator(".toast", has_text="0 messages taken out").wait_for()
    assert left(town) == ["two"]


def test_more_than_a_screen(town: Town, hall: TownHall, open_page: OpenPage) -> None:
    """What is not shown is said, stays, and follows."""
    for n in range(103):
        put(town, f"letter {n}")
    page = open_page(hall)
    opened(page, 100)
    page.locator("#drawer", has_text="3 more").wait_for()
    page.locator("#drawer [data-action='message.acknowledge']").click()
    page.locator("#ask [type=submit]").click()
    page.locator(".toast", has_text="100 messages taken out. 3 messages are left.").wait_for()
    wait_until(lambda: letters(page).count() == 3)
    assert left(town) == ["letter 100", "letter 101", "letter 102"]


def test_who_wrote_it_and_when(town: Town, hall: TownHall, open_page: OpenPage) -> None:
    """An agent's question can be answered where it is read; a message of nobody's has no such button."""
    register(town, "ann")
    register(town, "bob")
    put(town, "by the way")
    put(town, "which port?", "query", "ann")
    put(town, "which host?", "query", "bob")
    page = open_page(hall)
    opened(page, 3)
    first, *questions = letters(page).all()
    assert re.fullmatch(r"informational, \d\d:\d\d:\d\d", first.locator(".reason").inner_text())
    assert re.fullmatch(r"query from bob, \d\d:\d\d:\d\d", questions[1].locator(".reason").inner_text())
    assert first.get_by_role("button").count() == 0
    questions[1].get_by_role("button", name="Answer").click()
    page.locator("#ask-title", has_text="'bob'").wait_for()
    page.locator("#ask textarea").fill("ours")
    page.keyboard.press("Control+Enter")
    page.locator(".toast", has_text="'bob'").wait_for()
    assert [message.text for message in messages.mailbox(town, "bob").messages] == ["ours"]


def test_a_question_is_read_before_it_is_taken_out(town: Town, hall: TownHall, open_page: OpenPage) -> None:
    """Where the page shows the beginning of the first question only, its button leads to all of the mail."""
    register(town, "ann")
    put(town, "which port? " + "x" * 400 + " the end", "query", "ann")
    put(town, "and which host?", "query", "ann")
    page = open_page(hall)
    asked = page.locator(".need", has_text="which port?")
    asked.get_by_text("Read", exact=True).click()
    page.locator("#drawer .mail", has_text="the end").wait_for()
    page.locator("#drawer .mail", has_text="and which host?").wait_for()
    assert page.locator(".need [data-action='message.acknowledge']").count() == 0
    page.locator("#drawer [data-action='message.acknowledge']").click()
    page.locator("#ask [type=submit]").click()
    asked.wait_for(state="detached")
    assert left(town) == []
