"""Every button of the page, by mouse and by keyboard, on a town with real agents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import PHONE, WIDE, OpenPage
from tests.support.builders import make_item, make_mission
from tests.support.missions import put_mission
from tests.support.running_town import RunningTown, compile_stubborn
from tests.support.townhall import TownHall
from tests.support.waiting import wait_until
from tinytown.domain.work import WorkStatus
from tinytown.services import backlog, messages, steering
from tinytown.services.caller import Caller
from tinytown.services.missions import starting
from tinytown.services.missions.starting import StartRequest
from tinytown.town import Town

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
PLAN = "# Plan\n\n- [ ] The first\n- [ ] The second\n"


@pytest.fixture(scope="module")
def stubborn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripted CLI."""
    return compile_stubborn(tmp_path_factory.mktemp("stubborn"))


@pytest.fixture
def running(tmp_path: Path, stubborn: Path) -> Iterator[RunningTown]:
    """A town with a supervisor."""
    with RunningTown(tmp_path / "town", stubborn, agent={"max_attempts": 1}) as town:
        yield town


@pytest.fixture
def its_hall(running: RunningTown) -> Iterator[TownHall]:
    """Its town hall."""
    with TownHall(running.root) as hall:
        yield hall


def told(page: Page, text: str) -> None:
    """What came of it is said."""
    page.locator(".toast", has_text=text).first.wait_for()


def press(page: Page, action: str, where: str = "#drawer") -> None:
    page.locator(f"{where} [data-action='{action}']").first.click()


def test_an_answer_that_is_lost(running: RunningTown, its_hall: TownHall, open_page: OpenPage) -> None:
    """What was sent and not answered may be sent again by another press: it is done once."""
    running.spawn("ann")
    steering.interrupt(running.town, "ann", Caller())
    page = open_page(its_hall, quiet=False)
    page.locator("tr[data-agent=ann] button").click()
    page.route("**/v1/messages/send", lambda route: (route.fetch(), route.abort()), times=1)
    press(page, "message.send")
    page.fill("#ask-field", "only once")
    page.locator("#ask [type=submit]").click()
    page.locator("#ask", has_text="does not answer").wait_for()
    page.locator("#ask [type=submit]").click()
    told(page, "mailbox of 'ann'")
    assert len(messages.mailbox(running.town, "ann").messages) == 1


def test_buttons_of_an_agent(running: RunningTown, its_hall: TownHall, open_page: OpenPage) -> None:
    """Message, task, interrupt, resume, stop, restart: each does what it says, and says what came of it."""
    running.spawn("ann")
    running.wait_idle("ann")
    page = open_page(its_hall)
    page.locator("tr[data-agent=ann] button").click()
    press(page, "task.assign")
    page.fill("#ask-field", "do it\nstub: await go")
    page.locator("#ask [type=submit]").click()
    told(page, "is given to 'ann'")
    page.locator("tr[data-agent=ann] td.c-state", has_text="working").wait_for()
    press(page, "message.send")
    page.fill("#ask-field", "use the new port")
    page.locator("#ask-choice").check()
    page.locator("#ask [type=submit]").click()
    told(page, "mailbox of 'ann'")
    assert [m.priority.value for m in messages.mailbox(running.town, "ann").messages] == ["urgent"]
    press(page, "agent.interrupt")
    page.locator("#ask [type=submit]").click()
    told(page, "its round goes on to its end")
    running.go()
    page.locator("tr[data-agent=ann] td.c-state", has_text="paused").wait_for()
    press(page, "agent.resume")
    page.locator("#drawer [data-action='agent.interrupt']").wait_for()
    running.wait_idle("ann")
    press(page, "agent.kill")
    assert page.evaluate("document.activeElement.innerText") == "Leave it", "Enter alone stops nothing"
    page.locator("#ask [type=submit]").click()
    told(page, "Agent 'ann' is sto")
    page.locator("tr[data-agent=ann] td.c-state", has_text="stopped").wait_for()
    press(page, "agent.restart")
    told(page, "is started again")
    page.locator("tr[data-agent=ann] td.c-state", has_text="idle").wait_for()


def test_buttons_of_tasks(running: RunningTown, its_hall: TownHall, open_page: OpenPage) -> None:
    """Retry of what failed, cancel of what runs, a task of the backlog for an agent; errors say what helps."""
    running.spawn("ann")
    running.wait_idle("ann")
    failed = running.assign("ann", "first fail no space left")
    page = open_page(its_hall, quiet=False)
    page.locator(".need", has_text="no space left").wait_for()
    page.locator(".need [data-action='task.retry']").click()
    told(page, "again")
    running.wait_done(failed)
    page.locator(".need", has_text="no space left").wait_for(state="detached")
    long = running.assign("ann", "say at work on it", "await never")
    page.locator(f"[data-column=running] .card[data-task='{long.id}']").click()
    page.locator(".log", has_text="at work on it").wait_for()
    press(page, "task.cancel")
    page.fill("#ask-field", "no longer wanted")
    page.locator("#ask [type=submit]").click()
    told(page, "cancelled")
    running.wait(lambda: running.task(long).state == "cancelled", "its end")
    page.locator("#drawer [data-action='task.retry']").wait_for()
    backlog.add(running.town, "from the backlog", [], Caller())
    page.locator("[data-column=waiting] .card", has_text="from the backlog").click()
    press(page, "backlog.claim")
    page.fill("#ask-field", "nobody")
    page.keyboard.press("Control+Enter")
    page.locator("#ask .outcome", has_text="not found").wait_for()
    page.locator("#ask .outcome code", has_text="tt ").wait_for()
    page.fill("#ask-field", "ann")
    page.keyboard.press("Enter")
    told(page, "is given to 'ann'")


def test_buttons_of_a_mission(running: RunningTown, its_hall: TownHall, open_page: OpenPage) -> None:
    """Approve, reject with a reason, cancel, note, stop and resume; an item's drawer opens from the graph."""
    (running.root / "plan.md").write_text(PLAN)
    running.spawn("ann")
    running.wait_idle("ann")
    done = starting.start(running.town, StartRequest((), (str(running.root / "plan.md"),)), Caller())
    page = open_page(its_hall, quiet=False)

    def items() -> list[WorkStatus]:
        found = running.town.store.missions.file(done.run.id)
        assert found is not None
        return [item.status for item in found.items.values()]

    page.locator(".box", has_text="The first").wait_for()
    press(page, "mission.note", ".mission")
    page.fill("#ask-field", "mind the gap")
    page.locator("#ask [type=submit]").click()
    told(page, "in the log of mission")
    page.locator(".box", has_text="blocked").or_(page.locator(".box.bad")).first.wait_for(timeout=30_000)
    page.locator(".box", has_text="The first").click()
    page.locator("#drawer [data-action='mission.reject']").wait_for(timeout=30_000)
    press(page, "mission.reject")
    page.locator("#ask [type=submit]").click()
    assert page.locator("#ask[open]").count(), "a reason is asked for"
    page.fill("#ask-field", "it has no tests")
    page.locator("#ask [type=submit]").click()
    told(page, "goes back to its author")
    page.locator("#drawer [data-action='mission.approve']").wait_for(timeout=30_000)
    press(page, "mission.approve")
    page.locator("#ask [type=submit]").click()
    told(page, "is approved")
    wait_until(lambda: WorkStatus.DONE in items(), 20)
    page.keyboard.press("Escape")
    press(page, "mission.stop", ".mission")
    page.locator("#ask [type=submit]").click()
    told(page, "is stopped")
    press(page, "mission.resume", ".mission")
    told(page, "goes on")
    page.locator(".box", has_text="The second").click()
    press(page, "mission.cancel")
    page.locator("#ask [type=submit]").click()
    told(page, "cancelled")
    wait_until(lambda: WorkStatus.CANCELLED in items(), 20)


def test_buttons_of_mail(running: RunningTown, its_hall: TownHall, open_page: OpenPage) -> None:
    """A dead letter is put back or deleted; a question is answered, read and taken out."""
    running.spawn("ann", "bob")
    running.wait_idle("ann", "bob")
    for name in ("ann", "bob"):
        messages.send(running.town, name, "what now?\nstub: fail no idea", Caller(), kind="query")
    messages.send(running.town, "conductor", "which port?", Caller(), kind="query", sender="ann")
    page = open_page(its_hall)
    page.locator(".need", has_text="given up by bob").wait_for()
    page.locator(".need", has_text="given up by ann").locator("[data-action='message.retry_dead']").click()
    told(page, "mailbox of 'ann' again")
    page.locator(".need", has_text="given up by bob").locator("[data-action='message.drop_dead']").click()
    page.locator("#ask [type=submit]").click()
    told(page, "deleted")
    page.locator(".need", has_text="given up by bob").wait_for(state="detached")
    asked = page.locator(".need", has_text="which port?")
    asked.get_by_text("Answer").click()
    page.fill("#ask-field", "the port is 80")
    page.keyboard.press("Control+Enter")
    told(page, "mailbox of 'ann'")
    page.locator("#mail").click()
    page.locator("#drawer .mail", has_text="which port?").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "mail"
    asked.get_by_text("Read", exact=True).click()
    press(page, "message.acknowledge")
    page.locator("#ask [type=submit]").click()
    told(page, "taken out")
    asked.wait_for(state="detached")
    page.wait_for_selector("#mail", state="hidden")


def test_a_cancelled_item_is_tried_again(town: Town, hall: TownHall, open_page: OpenPage) -> None:
    """By its drawer, which opens from the graph."""
    mission = make_mission()
    put_mission(town, mission, make_item(mission, 1, title="The schema", status=WorkStatus.CANCELLED))
    page = open_page(hall)
    page.locator(".box", has_text="The schema").click()
    press(page, "mission.retry")
    told(page, "goes on")
    page.locator(".box", has_text="pending").wait_for()


def tab_to(page: Page, selector: str, most: int = 60) -> None:
    """Press Tab until this has the focus."""
    for _ in range(most):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {selector}")


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_by_keyboard_alone(
    running: RunningTown, its_hall: TownHall, open_page: OpenPage, viewport: dict[str, int]
) -> None:
    """From the help to a cancelled task and a stopped agent without a mouse; Escape closes, the focus goes back."""
    running.spawn("ann", "bob")
    running.wait_idle("ann", "bob")
    first = running.assign("ann", "await never")
    for _ in range(2):
        running.assign("ann", "await never")
    page = open_page(its_hall, viewport=viewport)
    page.locator("[data-column=waiting] .card").nth(1).wait_for()
    cancel_a_task(page, first.id)
    stop_an_agent(page)
    keys = page.keyboard
    keys.press("/")
    keys.type("bob")
    wait_until(lambda: page.locator("tbody .open").all_inner_texts() == ["bob"])
    keys.press("Escape")
    keys.press("e")
    assert page.evaluate("document.activeElement.id") == "feed"


def cancel_a_task(page: Page, task_id: str) -> None:
    """From the help over the board to the drawer and its question, and back."""
    keys = page.keyboard
    keys.press("?")
    page.wait_for_selector("#help[open]")
    keys.press("Escape")
    page.wait_for_selector("#help", state="hidden")
    keys.press("t")
    assert page.evaluate("document.activeElement.dataset.task") == task_id
    keys.press("ArrowRight")
    keys.press("End")
    keys.press("ArrowUp")
    keys.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.task") == task_id
    keys.press("Enter")
    page.wait_for_selector("#drawer:not([hidden])")
    keys.press("Escape")
    page.wait_for_selector("#drawer", state="hidden")
    assert page.evaluate("document.activeElement.dataset.task") == task_id
    keys.press("Enter")
    tab_to(page, "#drawer [data-action='task.cancel']")
    keys.press("Enter")
    page.wait_for_selector("#ask[open]")
    keys.type("not wanted")
    keys.press("Control+Enter")
    told(page, "cancelled")
    keys.press("Escape")
    page.wait_for_selector("#drawer", state="hidden")


def stop_an_agent(page: Page) -> None:
    """By the table."""
    keys = page.keyboard
    keys.press("a")
    keys.press("Home")
    names = page.locator("tbody .open").all_inner_texts()
    keys.press("ArrowDown")
    assert page.evaluate("document.activeElement.innerText") == names[1]
    keys.press("Enter")
    tab_to(page, "#drawer [data-action='agent.kill']")
    keys.press("Enter")
    page.wait_for_selector("#ask[open]")
    tab_to(page, "#ask [type=submit]")
    keys.press("Enter")
    told(page, f"Agent '{names[1]}' is sto")
    keys.press("Escape")
