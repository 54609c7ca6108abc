"""`tt top`: the same picture once as text, as JSON, and live on a real terminal with keys that act."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.support import town as towns
from tests.support.builders import make_item, make_mission
from tests.support.cli import TT, Tt
from tests.support.missions import item_now, put_mission
from tests.support.tmux import Terminal
from tests.support.waiting import wait_until
from tinytown import clock, processes
from tinytown.domain.agent import Agent
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.services import tasks
from tinytown.services.caller import Caller
from tinytown.store.server import ManagedServer
from tinytown.town import Town, open_town

pytestmark = pytest.mark.slow
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

EVIL = "\x1b[31mred\x1b]0;title\x07 \x9b2J\r\u202egnp.exe"
WIDE = "日本語の題名 👩‍👩‍👧‍👦🇩🇪 e\u0301\u0301\u0301\u0301\u0301\u0301"
DUMP = (
    "import sys; from tinytown.cli import root, run; code = run(root(), sys.argv[1:]); "
    "sys.stderr.write('\\n'.join(sorted(sys.modules))); sys.exit(code)"
)


def handed_in(town: Town, *titles: str) -> list[WorkItem]:
    """A mission of items that wait for a person's verdict, the first with one behind it."""
    run = make_mission()
    at = clock.stamp()
    items = [
        make_item(
            run, n, title=title, status=WorkStatus.BLOCKED, reason="waits for a person", needs_person=True,
            author="somebody", authors=["somebody"], submitted_at=at, updated_at=at, result="done",
        )
        for n, title in enumerate(titles, 1)
    ]  # fmt: skip
    behind = make_item(run, len(titles) + 1, title="Later", depends_on=[items[0].id])
    done = make_item(run, len(titles) + 2, title="Earlier", status=WorkStatus.DONE)
    put_mission(town, run, *items, behind, done)
    return items


def failed_task(town: Town, agent: Agent, text: str) -> str:
    """A task of the agent that has just failed."""
    given = tasks.assign(town, agent.name, text, Caller())
    tasks.fail(town, given.id, "the disk is full", Caller())
    return given.id


def watched(tt: Tt, *args: str, **size: int) -> Terminal:
    """`tt top` on a terminal."""
    command = shlex.join([str(TT), "--town", str(tt.town or tt.cwd), "top", *args])
    return Terminal(command, tt.cwd, **size)


# Once


def test_once(tt: Tt, town: Town) -> None:
    """On a pipe: everything in words, no icon and no colour; what needs a person first, with its command."""
    agent = towns.register(town, "backend")
    towns.register(town, "gone", wanted=False, state=AgentState.ERROR, reason="it crashed too often")
    failed_task(town, agent, "Build the login API")
    handed_in(town, "Review me")
    shown = tt.ok("top", "--once", env={"COLUMNS": "160"}).out
    lines = shown.splitlines()
    assert lines[0].startswith(f"{town.name}  no supervisor: tt supervise --detach")
    assert lines[1].startswith("agents 2 (1 error, 1 idle) | tasks: 1 failed")
    assert lines[2].startswith("NEEDS YOU (")
    assert lines.index(next(line for line in lines if "Review me" in line)) == 3
    assert "1 behind" in lines[3]
    for part in ("tt restart gone", "Build the login API: failed: the disk is full", "given up: it crashed too often"):
        assert part in shown
    rows = [line.split()[:3] for line in lines if line.startswith(("  gone ", "  backend "))]
    assert rows == [["gone", "error", "it"], ["backend", "!", "idle"]]
    mission = next(line for line in lines if " of 3" in line)
    assert "1 done, 0 running, 1 blocked, 1 waiting of 3" in mission
    assert "#" in mission
    assert "task failed: the disk is full" in shown
    assert "\x1b" not in shown
    assert not set("►○✗…·█▓") & set(shown)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_once_fits(tt: Tt, town: Town, width: int) -> None:
    """No line is wider than the terminal, whatever the texts are; nothing of them speaks to it."""
    agent = towns.register(town, "backend", reason=EVIL * 9)
    towns.give_task(town, agent, description=WIDE * 9 + EVIL)
    failed_task(town, agent, EVIL + WIDE * 20)
    for text in (
        tt.ok("top", "--once", env={"COLUMNS": str(width)}).out,
        tt.on_terminal("top", "--once", env={"COLUMNS": str(width), "NO_COLOR": "1"})[1],
    ):
        assert not set("\x1b\x07\x9b\r\u202e\u200d") & set(text)
        from rich.cells import cell_len  # noqa: PLC0415  as the command measures

        assert max(map(cell_len, text.splitlines())) <= width
    assert "\x1b[1m" in tt.on_terminal("top", "--once")[1]


def test_json(tt: Tt, town: Town) -> None:
    """The whole overview, exact, and safe to print."""
    agent = towns.register(town, "backend")
    failed_task(town, agent, EVIL)
    ran = tt.ok("top", "--json")
    assert "\x1b" not in ran.out
    assert ran.json["agents"][0]["name"] == "backend"
    assert ["task.retry"] in [need["actions"] for need in ran.json["needs"]]
    assert {"town", "at", "supervisor", "counts", "needs", "agents", "tasks", "missions", "events"} <= set(ran.json)


def test_what_it_cannot_do_is_said(tt: Tt, town: Town, tmp_path: Path) -> None:
    """No terminal, a dumb one, no textual: an error with what works instead; --once and --json need none of it."""
    assert "tt top --once" in tt.fails("top").complaint[1]
    assert "needs a terminal" in tt.on_terminal("top", env={"TERM": "dumb"})[1]
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['textual'] = None\n")
    without: dict[str, str | None] = {"PYTHONPATH": str(tmp_path)}
    assert tt.fails("top", env=without).complaint[1] == "Install it: pip install 'tinytown[top]'"
    assert town.name in tt.ok("top", "--once", env=without).out
    assert tt.ok("top", "--json", env=without).json["town"] == town.name
    (town.root / "tinytown.toml").write_text('name = "down"\n')
    assert "Redis is not running" in tt.fails("top", "--once").err


def test_it_loads_what_it_uses(town: Town) -> None:
    """Help loads the command alone; --once no textual."""
    for args in (("top", "--help"), ("--town", str(town.root), "top", "--once")):
        done = subprocess.run([sys.executable, "-c", DUMP, *args], capture_output=True, text=True, check=True)
        assert not set(done.stderr.split()) & {"textual", "pydantic", "fastapi"}


# On a terminal


@needs_tmux
def test_keys_act(tt: Tt, supervised: Town) -> None:
    """Each key does what it says to what is selected, and only keys that do something are shown."""
    agent = towns.register(supervised, "backend")
    other = towns.register(supervised, "writer")
    task_id = failed_task(supervised, agent, "Build the login API")
    good, bad = handed_in(supervised, "A good one", "A bad one")
    with watched(tt, width=120) as screen:
        screen.wait("NEEDS YOU (")

        screen.select("A good one")
        assert "a approve  x reject  t retry" in screen.lines()[-1]
        screen.press("a")
        wait_until(lambda: item_now(supervised, good).reviewer_approved, 5, "the approval")
        screen.wait("Approved acme/web#1.")

        screen.select("A bad one")
        screen.press("x")
        screen.wait("What must change")
        screen.type("errors are swallowed")
        wait_until(lambda: item_now(supervised, bad).rejections == ["errors are swallowed"], 5, "the rejection")

        screen.wait_gone("A bad one: ")
        screen.select("Build the login API")
        assert screen.lines()[-1].startswith("⏎ log  t retry  m message  w why")
        screen.press("t")
        wait_until(lambda: task_id in supervised.store.tasks.ids([TaskState.ASSIGNED]), 5, "the retry")
        screen.wait("runs again (assigned)")

        _agent_keys(screen, supervised, agent)
        screen.select("writer  ")
        screen.press("w")
        screen.wait("Agent 'writer' (idle)")
        screen.press("Escape")
        screen.wait("NEEDS YOU (")
        screen.press("s")
        screen.wait("Stop agent 'writer' after its round?")
        screen.press("n")
        screen.wait("Nothing was done.")
        assert towns.agent_now(supervised, other).state is AgentState.IDLE
        screen.press("q")
        assert screen.ended() == 0


def _agent_keys(screen: Terminal, town: Town, agent: Agent) -> None:
    """Message, interrupt, resume, stop."""

    def is_pausing() -> bool:
        row = town.store.agents.row(agent.id)
        return row is not None and row.wish is not None and row.wish.pause

    screen.select("backend  ")
    screen.press("m")
    screen.wait("Message to backend")
    screen.type("look at 日本 'this'")
    wait_until(lambda: any("look at" in text for text in towns.texts(town, "inbox", agent.id)), 5, "the message")
    screen.wait("Sent to 'backend'")
    screen.press("i")
    wait_until(is_pausing, 5, "the wish to pause")
    screen.wait("r resume")
    assert "i interrupt" not in screen.text
    screen.press("r")
    wait_until(lambda: not is_pausing(), 5, "the end of the pause")
    screen.wait("i interrupt")
    screen.press("s")
    screen.wait("y: yes")
    screen.press("y")
    wait_until(lambda: (row := town.store.agents.row(agent.id)) and row.wish and row.wish.stop, 5, "the wish to stop")
    screen.wait("stopping")


@needs_tmux
def test_keys_that_cancel(tt: Tt, supervised: Town) -> None:
    """A task, an item of a mission and one that waits for a person, each after a question; a note in its log."""
    towns.register(supervised, "backend")
    unwanted = tasks.assign(supervised, "backend", "Build the old API", Caller())
    stuck, behind = handed_in(supervised, "A stuck one", "Another")
    with watched(tt, width=120) as screen:
        screen.select("A stuck one")
        screen.press("c")
        screen.wait("Take acme/web#1 out of its mission? A run of it ends.")
        screen.press("n")
        screen.wait("Nothing was done.")
        assert item_now(supervised, stuck).status is WorkStatus.BLOCKED
        screen.press("c")
        screen.wait("y: yes")
        screen.press("y")
        screen.wait("acme/web#1 is taken out of its mission.")
        assert item_now(supervised, stuck).status is WorkStatus.CANCELLED

        screen.select(stuck.mission_id[:8])
        assert "n note  c cancel an item" in screen.lines()[-1]
        screen.press("n")
        screen.wait("Note for those who work on mission")
        screen.type("mind the gap")
        screen.wait("The note is in the log of mission")
        assert supervised.store.missions.notes(stuck.mission_id, 1)[0]["text"] == "mind the gap"
        screen.press("c")
        screen.wait("Which item is to be cancelled (its number)")
        screen.type("2")
        screen.wait("Take item 2 out of mission")
        screen.press("y")
        screen.wait("acme/web#2 is taken out of its mission.")
        assert item_now(supervised, behind).status is WorkStatus.CANCELLED

        screen.press("Tab")
        screen.select("Build the old API")
        screen.press("c")
        screen.wait("Cancel task")
        screen.press("y")
        screen.wait("is cancelled.")
        assert towns.task_now(supervised, unwanted).state is TaskState.CANCELLED


@needs_tmux
def test_the_picture(tt: Tt, supervised: Town) -> None:
    """It follows the town within a second, sorts, filters, switches, shows a log as it grows, and fits any window."""
    backend = towns.register(supervised, "backend", state=AgentState.WORKING)
    towns.register(supervised, "writer", state=AgentState.PAUSED)
    (supervised.logs_dir / "writer.log").write_text("".join(f"12:00:00 line {n} {EVIL}\n" for n in range(200)))
    with watched(tt) as screen:
        screen.wait("1 paused")
        _in_a_second(screen, supervised, backend)

        def order() -> list[str]:
            return [line.split()[0] for line in screen.lines() if line.startswith(("  backend ", "  writer "))][:2]

        assert order() == ["backend", "writer"]  # nobody runs either, and more mail is worse
        screen.press("A")
        screen.wait("Agent▼")
        assert order() == ["backend", "writer"]  # by name
        screen.press("A")
        wait_until(lambda: order() == ["writer", "backend"], 5, "the same the other way round")
        screen.press("W")
        wait_until(lambda: order() == ["backend", "writer"], 5, "the worst first")
        screen.wait_gone("Agent▲")

        screen.press("/")
        screen.wait("Show only what contains")
        screen.type("writ")
        wait_until(lambda: order() == ["writer"], 5, "the writer alone")
        screen.wait("only 'writ'")

        screen.select("writer  ")
        screen.press("Enter")
        screen.wait("Log of writer")
        screen.wait("line 199")
        with (supervised.logs_dir / "writer.log").open("a") as log:
            log.write("12:00:01 and this is new\n")
        screen.wait("and this is new")
        screen.press("PageUp")
        screen.wait_gone("and this is new")
        screen.press("q")
        screen.press("Escape")
        wait_until(lambda: len(order()) == 2, 5, "everybody")
        _any_window(screen)
        screen.press("Tab")
        screen.wait("attEmpts")
        screen.wait("second thing")
        screen.wait("the 日本語の\\x1b[31mred")
        assert screen.lines()[0].startswith(supervised.name)
        screen.press("?")
        screen.wait("The capital letter in a title")
        screen.press("q", "q")
        assert screen.ended() == 0


def _in_a_second(screen: Terminal, town: Town, agent: Agent) -> None:
    """Of three changes the quickest to be seen counts: others use this machine, too."""
    took = []
    for count, name in enumerate(("first", "second", WIDE[:4] + EVIL), 1):
        began = clock.monotonic()
        tasks.assign(town, agent.name, f"the {name} thing", Caller())
        wait_until(lambda count=count: f"{count} assigned" in screen.text, 5, "the task")  # type: ignore[misc]
        took.append(clock.monotonic() - began)
    assert min(took) < 1.0, took


def _any_window(screen: Terminal) -> None:
    for width, height in ((20, 5), (3, 2), (1, 1), (200, 50)):
        screen.resize(width, height)
        wait_until(lambda width=width: len(screen.lines()[0]) <= width, 5, "smaller lines")  # type: ignore[misc]
    screen.wait("last output")
    screen.resize(80, 24)
    screen.wait_gone("last output")
    wait_until(lambda: screen.lines()[-1].endswith("q quit"), 5, "the keys in the last line")


@pytest.mark.parametrize(("shell", "code"), [("exec {}", 129), ("trap '' HUP; {}; exit $?", 129)], ids=["told", "not"])
def test_it_ends_with_its_terminal(tt: Tt, town: Town, shell: str, code: int) -> None:
    """The window is closed: it ends at once, also where nobody sends it SIGHUP, and does not read the end for ever."""
    towns.register(town, "backend")
    command = shlex.join([str(TT), "--town", str(town.root), "top"])
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (30, 100))
    with subprocess.Popen(
        ["setsid", "--ctty", "sh", "-c", shell.format(command)], stdin=inner, stdout=inner, stderr=inner,
        env=os.environ | {"TERM": "xterm-256color"},
    ) as process:  # fmt: skip
        os.close(inner)
        shown = b""
        while b"backend" not in shown.partition(b"\x1b[?1049h")[2]:
            shown += os.read(outer, 65536)
        os.close(outer)
        try:
            assert process.wait(10) == code
        finally:
            processes.kill_all(processes.descendants(process.pid))


@needs_tmux
def test_the_town_falls_and_rises(made: Tt) -> None:
    """Supervisor and Redis may go: it says so, and goes on when they are back. Signals leave the terminal as it was."""
    town = open_town(str(made.cwd))
    server = ManagedServer(town.config.redis, town.state_dir)
    made.ok("spawn", "backend", "--cli", "demo")
    made.ok("kill", "backend", "--now")
    made.ok("wait", "backend", "--timeout", "20")
    with watched(made) as screen:
        screen.wait("supervisor running")
        screen.wait("stopped")
        screen.press("R")
        wait_until(lambda: made.ok("list", "--json").json[0]["state"] == "idle", 15, "the restart")
        screen.wait("Restarted agent 'backend'.")
        made.ok("assign", "backend", "write notes.txt: hello")
        screen.wait("task completed")
        made.ok("stop", "--all")
        screen.wait("Redis is away")
        server.ensure()
        screen.wait_gone("Redis is away")
        screen.wait("no supervisor: tt supervise --detach")
        os.kill(screen.program, signal.SIGTERM)
        assert screen.ended() == 128 + signal.SIGTERM
    with watched(made) as screen:
        screen.wait("no supervisor")
        found = server.identity()
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)
        screen.wait("Redis is away")
        screen.press("C-c")
        assert screen.ended() == 130
    town.store.close()
