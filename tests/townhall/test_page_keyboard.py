"""Every action of the page by keyboard alone: each ends in what the town's records say then."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.support import keyboard
from tests.support.browser import OpenPage
from tests.support.builders import make_item, make_mission
from tests.support.keyboard import Hands
from tests.support.missions import item_now, put_mission
from tests.support.running_town import RunningTown, compile_stubborn
from tests.support.town import register
from tests.support.townhall import TownHall
from tests.support.waiting import wait_until
from tinytown import clock
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.services import agents, backlog, messages, steering, tasks
from tinytown.services.caller import Caller
from tinytown.town import Town

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

T = TypeVar("T")
ME = Caller()
TABLE = "import('/page/actions.js').then(module => Object.keys(module.ACTIONS))"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningTown]:
    """A town with a supervisor."""
    with RunningTown(tmp_path / "town", compile_stubborn(tmp_path), agent={"max_attempts": 1}) as town:
        yield town


@pytest.fixture
def its_hall(running: RunningTown) -> Iterator[TownHall]:
    """Its town hall."""
    with TownHall(running.root) as hall:
        yield hall


def walk(town: T, page: Page, cases: dict[str, Callable[[T, Hands], None]]) -> None:
    """Each action from a page on which nothing is open; a failure names it."""
    hands = Hands(page)
    for action, case in cases.items():
        began = clock.monotonic()
        try:
            case(town, hands)
        except BaseException as error:
            error.add_note(f"The action: {action}")
            raise
        hands.press("Escape", "Escape")
        hands.unfilter()
        assert page.locator("#drawer").is_hidden()
        print(f"{action}: {clock.monotonic() - began:.2f} s")  # noqa: T201


def at_agent(hands: Hands, name: str) -> str:
    """Open an agent's drawer from the table; where the focus was."""
    row = f"tr[data-agent={name}] .open"
    hands.page.locator(row).wait_for()
    hands.press("a")
    hands.press("Home")
    hands.go(row, "ArrowDown")
    hands.press("Enter")
    hands.come_to("#drawer-title")
    return row


def at_task(hands: Hands, task: Task) -> str:
    """Open a task's drawer from the board; where the focus was."""
    card = f".card[data-task='{task.id}']"
    hands.find(task.id, card)
    hands.press("Space")
    hands.come_to("#drawer-title")
    return card


def at_item(hands: Hands, item: WorkItem) -> str:
    """Open an item's drawer from the graph of its mission; where the focus was."""
    box = f".box[data-item='{item.id}']"
    hands.page.locator(box).wait_for()
    hands.press("m")
    hands.go(f"{mission_of(item)} .box")
    hands.go(box, "ArrowRight")
    hands.press("Enter")
    hands.come_to("#drawer-title")
    return box


def mission_of(item: WorkItem) -> str:
    return f".mission[aria-labelledby='mission-{item.mission_id}']"


def planned(town: Town, *, stopped: bool = True, **fields: Any) -> WorkItem:
    """The second of a mission's three items, with these fields; nothing works on it."""
    at = clock.stamp()
    mission = make_mission(stopped_at=at if stopped else None)
    first = make_item(mission, 1, title="The schema", status=WorkStatus.DONE, updated_at=at)
    item = make_item(mission, 2, title="The service", updated_at=at, **fields)
    put_mission(town, mission, first, item, make_item(mission, 3, title="The rest", depends_on=[item.id]))
    return item


HANDED_IN: dict[str, Any] = {
    "status": WorkStatus.BLOCKED, "reason": "waits for a person", "needs_person": True, "author": "somebody",
    "authors": ["somebody"], "submitted_at": clock.stamp(), "result": "done",
}  # fmt: skip


def message(town: Town, hands: Hands) -> None:
    row = at_agent(hands, "ann")
    hands.do("message.send", text="use the new port", tick=True)
    box = wait_until(lambda: [m for m in messages.mailbox(town, "ann").messages if "new port" in m.text])
    assert [one.priority.value for one in box] == ["urgent"]
    hands.come_to("#drawer [data-action='message.send']")
    hands.leave(row)


def assign(town: Town, hands: Hands) -> None:
    row = at_agent(hands, "ann")
    hands.do("task.assign", text="write it down", key="Space")
    wait_until(lambda: [t for t in assigned(town) if t.description == "write it down"])
    hands.leave(row)


def assigned(town: Town) -> list[Task]:
    store = town.store.tasks
    return store.many(store.newest([TaskState.ASSIGNED], 50))


def interrupt(town: RunningTown, hands: Hands) -> None:
    town.spawn("ida")
    town.wait_idle("ida")
    row = at_agent(hands, "ida")
    hands.do("agent.interrupt")
    town.wait(lambda: town.agent("ida").state is AgentState.PAUSED, "the pause")
    hands.come_to("#drawer .buttons button")  # its button is another one now
    hands.leave(row)


def resume(town: RunningTown, hands: Hands) -> None:
    town.spawn("rex")
    steering.interrupt(town.town, "rex", ME)
    row = at_agent(hands, "rex")
    hands.do("agent.resume")
    town.wait_idle("rex")
    hands.come_to("#drawer .buttons button")
    hands.leave(row)


def stop(town: RunningTown, hands: Hands) -> None:
    town.spawn("kit")
    row = at_agent(hands, "kit")
    hands.do("agent.kill", tick=True)
    town.wait(lambda: town.agent("kit").state is AgentState.STOPPED, "its end")
    hands.come_to("#drawer .buttons button")
    hands.leave(row)


def restart(town: RunningTown, hands: Hands) -> None:
    town.spawn("rob")
    agents.kill(town.town, "rob", now=True)
    town.wait(lambda: town.agent("rob").state is AgentState.STOPPED, "its end")
    row = at_agent(hands, "rob")
    hands.do("agent.restart")
    town.wait_idle("rob")
    hands.leave(row)


def failed(town: Town, why: str) -> Task:
    given = tasks.assign(town, "ann", f"a task with {why}", ME)
    tasks.fail(town, given.id, why, ME)
    return given


def state_of(town: Town, task: Task) -> TaskState:
    found = town.store.tasks.get(task.id)
    assert found is not None
    return found[1].state


def retry_task(town: Town, hands: Hands) -> None:
    given = failed(town, "no space left")
    need = f".need[data-need*='{given.id}']"
    hands.page.locator(need).wait_for()
    hands.press("n")
    hands.do("task.retry", need)
    wait_until(lambda: state_of(town, given) is TaskState.ASSIGNED)
    hands.page.locator(need).wait_for(state="detached")
    hands.come_to("#needs button, #needs")  # what it was at is gone


def cancel_task(town: Town, hands: Hands) -> None:
    added = backlog.add(town, "not now", [], ME)
    card = at_task(hands, added)
    hands.do("task.cancel", text="no longer wanted")
    wait_until(lambda: state_of(town, added) is TaskState.CANCELLED)
    hands.leave(card)


def claim(town: Town, hands: Hands) -> None:
    added = backlog.add(town, "for somebody", [], ME)
    card = at_task(hands, added)
    hands.do("backlog.claim", text="ann")
    wait_until(lambda: state_of(town, added) is TaskState.ASSIGNED)
    hands.leave(card)


def approve(town: Town, hands: Hands, item: WorkItem) -> None:
    box = at_item(hands, item)
    hands.do("mission.approve", text="well done")
    wait_until(lambda: item_now(town, item).reviewer_approved)
    hands.leave(box)


def reject(town: Town, hands: Hands, item: WorkItem) -> None:
    box = at_item(hands, item)
    hands.do("mission.reject", text="it has no tests")
    wait_until(lambda: item_now(town, item).rejections == ["it has no tests"])
    hands.leave(box)


def retry_item(town: Town, hands: Hands, item: WorkItem) -> None:
    box = at_item(hands, item)
    hands.do("mission.retry")
    wait_until(lambda: item_now(town, item).status is WorkStatus.PENDING)
    hands.leave(box)


def cancel_item(town: Town, hands: Hands, item: WorkItem) -> None:
    box = at_item(hands, item)
    hands.do("mission.cancel", text="not needed")
    wait_until(lambda: item_now(town, item).status is WorkStatus.CANCELLED)
    hands.leave(box)


def note(town: Town, hands: Hands, item: WorkItem) -> None:
    hands.press("m")
    hands.do("mission.note", mission_of(item), text="mind the gap")
    wait_until(lambda: [n for n in town.store.missions.notes(item.mission_id, 9) if "mind the gap" in str(n)])
    hands.come_to(f"{mission_of(item)} [data-action='mission.note']")


def stop_mission(town: Town, hands: Hands, item: WorkItem) -> None:
    hands.press("m")
    hands.do("mission.stop", mission_of(item))
    wait_until(lambda: stopped_at(town, item))
    hands.come_to(f"{mission_of(item)} [data-action='mission.resume']")  # in its place


def resume_mission(town: Town, hands: Hands, item: WorkItem) -> None:
    hands.press("m")
    hands.do("mission.resume", mission_of(item))
    wait_until(lambda: not stopped_at(town, item))
    hands.come_to(f"{mission_of(item)} [data-action='mission.stop']")


def stopped_at(town: Town, item: WorkItem) -> str | None:
    found = town.store.missions.get(item.mission_id)
    assert found is not None
    return found[1].stopped_at


def dead_letter(town: RunningTown, name: str) -> str:
    """What is selected of its need."""
    town.spawn(name)
    messages.send(town.town, name, "what now?\nstub: fail no idea", ME, kind="query")
    letters = town.wait(lambda: messages.dead_letters(town.town, name), "the dead letter")
    return f".need[data-need*='{letters[0][1].message.id}']"


def put_back(town: RunningTown, hands: Hands) -> None:
    need = dead_letter(town, "dan")
    steering.interrupt(town.town, "dan", ME)
    hands.page.locator(need).wait_for()
    hands.press("n")
    hands.do("message.retry_dead", need)
    wait_until(lambda: not messages.dead_letters(town.town, "dan"))
    assert ["what now?" in m.text for m in messages.mailbox(town.town, "dan").messages] == [True]
    hands.page.locator(need).wait_for(state="detached")
    hands.come_to("#needs button, #needs")


def drop(town: RunningTown, hands: Hands) -> None:
    need = dead_letter(town, "dot")
    hands.page.locator(need).wait_for()
    hands.press("n")
    hands.do("message.drop_dead", need)
    wait_until(lambda: not messages.dead_letters(town.town, "dot"))
    assert not messages.mailbox(town.town, "dot").messages
    hands.page.locator(need).wait_for(state="detached")
    hands.come_to("#needs button, #needs")


def take_mail(town: Town, hands: Hands) -> None:
    messages.send(town, "conductor", "which port?", ME, kind="query", sender="ann")
    hands.page.locator("#mail").wait_for()
    hands.press("/")
    hands.go("#mail", "Shift+Tab")
    hands.press("Enter")
    hands.come_to("#drawer-title")
    hands.page.locator("#drawer .mail", has_text="which port?").wait_for()
    hands.do("message.acknowledge")
    wait_until(lambda: not [m for m in messages.mailbox(town, "conductor").messages if "which port?" in m.text])
    hands.page.locator("#drawer .mail", has_text="which port?").wait_for(state="detached")
    hands.press("Escape")
    hands.come_to("#mail, #board, .card")


# Of agents that run, and of those that do not need to.
LIVELY: dict[str, Callable[[RunningTown, Hands], None]] = {
    "agent.interrupt": interrupt,
    "agent.resume": resume,
    "agent.kill": stop,
    "agent.restart": restart,
    "message.retry_dead": put_back,
    "message.drop_dead": drop,
}
STILL: dict[str, Callable[[Town, Hands], None]] = {
    "message.send": message,
    "task.assign": assign,
    "task.retry": retry_task,
    "task.cancel": cancel_task,
    "backlog.claim": claim,
    "message.acknowledge": take_mail,
}

# Of an item of a mission, which is as it says.
PLANNED: dict[str, tuple[Callable[[Town, Hands, WorkItem], None], dict[str, Any]]] = {
    "mission.approve": (approve, HANDED_IN),
    "mission.reject": (reject, HANDED_IN),
    "mission.retry": (retry_item, {"status": WorkStatus.CANCELLED}),
    "mission.cancel": (cancel_item, {}),
    "mission.note": (note, {}),
    "mission.stop": (stop_mission, {"stopped": False}),
    "mission.resume": (resume_mission, {}),
}


def test_actions_on_agents_that_run(running: RunningTown, its_hall: TownHall, open_page: OpenPage) -> None:
    """From the page's beginning to what the town says of it; the focus is to be seen at each step, and comes back."""
    walk(running, open_page(its_hall), LIVELY)


def test_all_other_actions(supervised: Town, hall: TownHall, open_page: OpenPage) -> None:
    """The same; and the page's own table names no action that is driven by neither test."""
    town = supervised
    register(town, "ann")
    missions = {action: at(planned(town, **fields), case) for action, (case, fields) in PLANNED.items()}
    page = open_page(hall)
    assert set(page.evaluate(TABLE)) == LIVELY.keys() | STILL.keys() | PLANNED.keys()
    walk(town, page, STILL | missions)


def at(item: WorkItem, case: Callable[[Town, Hands, WorkItem], None]) -> Callable[[Town, Hands], None]:
    return lambda town, hands: case(town, hands, item)


def test_nothing_here_has_a_mouse() -> None:
    """Neither these tests nor their hands point, set the focus, or fill in by script."""
    banned = re.compile(r"\.(?:click|tap|check|uncheck|fill|hover|dispatch_event|select_option|focus)\(|\bmouse\.")
    for path in (Path(keyboard.__file__), Path(__file__), Path(__file__).with_name("test_page_keyboard_focus.py")):
        assert not banned.search(path.read_text()), path
