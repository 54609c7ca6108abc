"""`tt top` on a terminal: one widget that draws the lines of `top_view`, keys, and a thread that reads the town."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input
from textual.worker import Worker, get_current_worker

from tinytown import clock
from tinytown.cli import top_actions, top_pager, top_text
from tinytown.cli.base import EXIT_INTERRUPTED
from tinytown.cli.top_actions import Offer
from tinytown.cli.top_board import Board
from tinytown.cli.top_cells import Line
from tinytown.cli.top_pager import Pager
from tinytown.cli.top_view import WORST_FIRST, Frame, Meter, View, page
from tinytown.errors import TinytownError, Unavailable
from tinytown.services import tasks
from tinytown.services.overview.live import Live
from tinytown.town import Town

READ_EVERY_S = 1.0  # without any event: processor time, memory and ages go on
# The most of a core that it takes, roughly: while things happen, and while nothing does.
SHARE, IDLE_SHARE = 0.12, 0.05
AT_LEAST_S = 0.1
WAIT_S = 0.25
BEAT_S = 0.25
SAID_S = 8.0
ENDED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Seen(Message):
    """The town was read."""

    def __init__(self, town: dict[str, Any]) -> None:
        super().__init__()
        self.town = town


class Away(Message):
    """It could not be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class Told(Message):
    """What came of an action, or the text that it is answered with."""

    def __init__(self, text: str, style: str = "green", pager: Pager | None = None) -> None:
        super().__init__()
        self.text, self.style, self.pager = text, style, pager


@dataclass(frozen=True)
class Said:
    """A line that stays for a while."""

    text: str
    style: str
    until: float


class Top(App[int]):
    """See the module. Exit codes: 0, 130 after Ctrl-C, 128 + number after a signal."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; color: ansi_default; overflow: hidden; }
    Board { height: 1fr; background: ansi_default; color: ansi_default; }
    Input, Input:focus { display: none; height: 1; border: none; padding: 0;
                         background: ansi_default; color: ansi_default; }
    Input.asked { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "leave", "Quit", show=False, priority=True),
        Binding("ctrl+q", "leave", "Quit", show=False, priority=True),
    ]

    def __init__(self, town: Town) -> None:
        super().__init__(ansi_color=True)
        self.town = town
        self.meter = Meter()
        self.view: View | None = None
        self.pager: Pager | None = None
        self.asking: Offer | None = None  # whose text is being typed; of the filter, an offer of no verb
        self.confirming: Offer | None = None
        self.said: Said | None = None
        self.away: str | None = None
        self.ended_by = 0
        self.board = Board(self.draw)

    def compose(self) -> ComposeResult:
        """The lines, and where something is typed."""
        yield self.board
        yield Input(select_on_focus=False)

    def on_mount(self) -> None:
        """Begin to read."""
        for number in ENDED_BY:
            signal.signal(number, self._end)
        self.board.focus()
        self.run_worker(self._watch, thread=True)
        self.set_interval(BEAT_S, self._beat)

    def action_leave(self) -> None:
        """Ctrl-C."""
        self.exit(EXIT_INTERRUPTED)

    def _end(self, number: int, _frame: object) -> None:
        self.ended_by = number
        _end_with_terminal()

    def _beat(self) -> None:
        _end_with_terminal()
        if self.ended_by:
            self.exit(EXIT_INTERRUPTED if self.ended_by == signal.SIGINT else 128 + self.ended_by)
        if self.said is not None and self.said.until < clock.monotonic():
            self.said = None
            self.draw()
        if self.pager is not None and self.pager.look(self.board.size.width):
            self.draw()

    # Reading

    def _watch(self) -> None:
        """In a thread: read the town when something happened, about once a second, never most of the time."""
        worker, live, used = get_current_worker(), Live(self.town), 0.0
        while not worker.is_cancelled:
            began, before = clock.monotonic(), used
            try:
                seen = live.read()
                self.post_message(Seen(seen))
                if not seen["supervisor"]["running"]:
                    live = Live(self.town)  # nobody notes the end of a process: all is read anew each time
                used = _processor_time()
                self._pause(worker, seen["last_event"], began, used - before if before else 0.0)
            except Unavailable as error:
                self.post_message(Away(f"{error}" + (f" {error.remedy}" if error.remedy else "")))
                live = Live(self.town)
                clock.sleep(WAIT_S)

    def _pause(self, worker: Worker[Any], last_event: str, began: float, cost_s: float) -> None:
        earliest = began + max(AT_LEAST_S, cost_s / SHARE)
        latest = began + max(READ_EVERY_S, cost_s / IDLE_SHARE)
        while not worker.is_cancelled and (left := earliest - clock.monotonic()) > 0:
            clock.sleep(min(left, WAIT_S))
        while not worker.is_cancelled and (left := latest - clock.monotonic()) > 0:
            if self.town.store.events.after(last_event, min(left, WAIT_S)):
                return

    @on(Seen)
    def _seen(self, message: Seen) -> None:
        cpu = self.meter.take(message.town)
        self.away = None
        self.view = View(message.town, cpu) if self.view is None else self.view.shows(message.town, cpu)
        if self.view.selected is None:
            self.view = self.view.moved(1)
        self.draw()

    @on(Away)
    def _went_away(self, message: Away) -> None:
        self.away = self.away or message.text
        self.draw()

    @on(Told)
    def _told(self, message: Told) -> None:
        self.pager = message.pager or self.pager
        self.say(message.text, message.style)

    def say(self, text: str, style: str = "") -> None:
        """Show a line for a while."""
        self.said = Said(text, style, clock.monotonic() + SAID_S) if text else None
        self.draw()

    # Drawing

    def draw(self) -> None:
        """The lines as they are now."""
        width, height = self.board.size
        if width < 1 or height < 1:
            return
        self.board.show(*self._lines(width, height))

    def _lines(self, width: int, height: int) -> tuple[list[Line], int | None]:
        """The lines, and which of them is selected."""
        foot = top_text.foot(*self._hints(), width)
        if self.pager is not None:
            return [*self.pager.draw(width, height - 1), foot][:height], None
        top = [top_text.away(self.away, self.view, width)] if self.away else []
        bottom = [top_text.status(self._status(), width), foot][: max(0, height - 3)]
        if self.view is None:
            return [*top, [("Looking at the town ...", "dim")]][:height], None
        room = max(1, height - len(top) - len(bottom))
        drawn = page(self.view, Frame(width, room))
        self.view = self.view.looking(scroll=drawn.scroll)
        chosen = next((n for n, key in enumerate(drawn.keys) if key and key == self.view.selected), None)
        lines = [*top, *drawn.lines, *([[]] * (room - len(drawn.lines))), *bottom]
        return lines[:height], None if chosen is None else chosen + len(top)

    def _status(self) -> tuple[str, str]:
        if self.confirming is not None:
            return self.confirming.confirms or "", "yellow"
        if self.asking is not None:
            return f"{self.asking.asks}  (Enter: do it, Esc: do not)", "yellow"
        if self.said is not None:
            return self.said.text, self.said.style
        chosen = self.view.chosen if self.view is not None else None
        return (top_text.detail(*chosen), "dim") if chosen else ("", "")

    def _hints(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        if self.pager is not None:
            return top_text.pager_hints(len(self.pager.sources) > 1), []
        if self.confirming is not None:
            return [("y:", "yes"), ("any other key:", "no")], []
        if self.asking is not None:
            return [], []
        return (top_text.hints(self.view.chosen), top_text.always(self.view)) if self.view else ([], [("q", "quit")])

    # Keys

    @on(events.Key)
    def _pressed(self, event: events.Key) -> None:
        if self.asking is not None:
            if event.key == "escape":
                self._close_input()
            return
        event.stop()
        if self.confirming is not None:
            self._confirmed(event.character in {"y", "Y"})
        elif self.pager is not None:
            self._in_pager(self.pager, event)
        elif self.view is not None or event.key == "q":
            self._in_town(event)

    def _confirmed(self, sure: bool) -> None:  # noqa: FBT001  one of two answers
        offer, self.confirming = self.confirming, None
        if offer is not None and sure:
            self._do(offer)
        else:
            self.say("Nothing was done.")

    def _in_pager(self, pager: Pager, event: events.Key) -> None:
        room = max(1, self.board.size.height - 2)
        steps = {"up": -1, "down": 1, "k": -1, "j": 1, "pageup": -room, "pagedown": room, "space": room}
        steps |= {"home": -(10**9), "end": 10**9}
        if event.key in {"escape", "q", "enter"}:
            self.pager = None
        elif event.key == "tab":
            pager.next()
        elif event.key in steps:
            pager.scroll(steps[event.key], room)
        self.draw()

    def _in_town(self, event: events.Key) -> None:
        view = self.view
        steps = {"up": -1, "down": 1, "k": -1, "j": 1, "pageup": -10, "pagedown": 10}
        steps |= {"home": -(10**9), "end": 10**9}
        if event.key == "q":
            self.exit(0)
        elif view is None:
            return
        elif event.key in steps:
            self.view, self.said = view.moved(steps[event.key]), None
        elif event.key == "tab":
            table = "tasks" if view.table == "agents" else "agents"
            self.view = replace(view, table=table, order=WORST_FIRST, selected=None, scroll=0).moved(1)
        elif event.key == "escape" and view.pattern:
            self.view = replace(view, pattern="")
        elif event.character == "?":
            self.pager = top_pager.of_text("Help", top_pager.HELP)
        elif event.character == "/":
            self._ask(Offer("/", "filter", "", "", asks="Show only what contains"), view.pattern)
        else:
            self._act(view, event)
        self.draw()

    def _act(self, view: View, event: events.Key) -> None:
        """Sort, or do something to what is selected."""
        key, chosen = event.character or "", view.chosen
        offer = next((one for one in top_actions.offers(*chosen) if one.key == key), None) if chosen else None
        if offer is not None and offer.asks:
            self._ask(offer)
        elif offer is not None and offer.confirms:
            self.confirming = offer
        elif offer is not None:
            self._do(offer)
        elif key == "W" or key in top_text.letters(view.table):
            self.view = replace(view, order=view.order.pressed("" if key == "W" else key), scroll=0)
        elif chosen is not None and event.key == "enter":
            self._in_thread(lambda town: self._open(town, *chosen))
        elif chosen is not None and key == "w" and (about := top_text.subject(*chosen)):
            self._in_thread(lambda town: Told("", pager=top_pager.of_text("Why", top_actions.explain(town, about))))

    def _open(self, town: Town, kind: str, row: dict[str, Any]) -> Told:
        if kind == "mission":
            return Told("", pager=top_pager.of_text(f"Mission {row['id'][:8]}", top_text.items(row)))
        task_id = row["id"] if kind == "task" else row.get("task_id") if kind == "need" else None
        if task_id:
            return Told("", pager=top_pager.of_task(town, tasks.find(town, task_id)[1]))
        name = row["name"] if kind == "agent" else row.get("agent")
        return Told("", pager=top_pager.of_agent(town, name)) if name else Told("There is no log of it.", "yellow")

    # Doing

    def _do(self, offer: Offer, text: str = "") -> None:
        self.say(f"{offer.word} ...", "dim")
        self._in_thread(lambda town: Told(top_actions.do(town, offer, text)))

    def _in_thread(self, work: Callable[[Town], Told]) -> None:
        """Ask the town on a connection of its own: none of it may keep the screen waiting."""

        def answer() -> None:
            town = Town(self.town.root, self.town.config)
            try:
                self.post_message(work(town))
            except TinytownError as error:
                remedy = f"  {error.remedy}" if error.remedy else ""
                self.post_message(Told(f"Error: {error}{remedy}", "red"))
            finally:
                town.store.close()

        self.run_worker(answer, thread=True)

    def _ask(self, offer: Offer, text: str = "") -> None:
        self.asking = offer
        field = self.query_one(Input)
        field.value = text
        field.add_class("asked")
        field.focus()

    def _close_input(self) -> None:
        self.asking = None
        field = self.query_one(Input)
        field.remove_class("asked")
        field.value = ""
        self.board.focus()

    @on(Input.Submitted)
    def _typed(self, message: Input.Submitted) -> None:
        offer, text = self.asking, message.value.strip()
        self._close_input()
        if offer is None or self.view is None:
            return
        if not offer.verb:
            self.view = replace(self.view, pattern=text, scroll=0).moved(0)
        elif text and offer.confirms:
            self.confirming = offer.aimed(text)
            self.draw()
        elif text:
            self._do(offer, text)
        else:
            self.say("Nothing was done.")


def _end_with_terminal() -> None:
    """When it was closed there is nothing to put back; textual's thread reads its end again and again meanwhile."""
    if not os.isatty(0):
        os._exit(128 + signal.SIGHUP)


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(town: Town) -> int:
    """Look at the town until somebody has seen enough; the exit code."""
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # textual would believe them, whatever becomes of the window
    top = Top(town)
    top.run(mouse=False)
    return top.return_value if top.return_value is not None else top.return_code or 0
