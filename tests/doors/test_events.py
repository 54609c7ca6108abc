"""`tt events` and `tt history`: what they show, follow, filter and refuse."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from tests.support import town as towns
from tests.support.cli import Tt
from tinytown import ids
from tinytown.services import tasks
from tinytown.services.caller import Caller
from tinytown.town import Town

pytestmark = pytest.mark.slow

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(\w+)\] (.+?) — .+")


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_events_in_order(tt: Tt, town: Town) -> None:
    """The newest last: time, type, agent and task by name and short id, words."""
    agent = towns.register(town)
    task = tasks.assign(town, agent.name, "Build it", Caller(), [])

    shown = [LINE.fullmatch(line) for line in tt.ok("events").out.splitlines()]

    kinds = [found[1] for found in shown if found]
    assert kinds == ["task_assigned", "message_sent"]
    assert all(found and found[2] == f"backend {task.id[:8]}" for found in shown)


def test_no_events(tt: Tt) -> None:
    """It is said, and what makes some."""
    assert tt.ok("events").out == "No events found. Events are emitted on state transitions.\n"
    assert tt.ok("history").out == "No events recorded yet.\n"
    assert tt.ok("events", "--json").json == []


def test_filters_and_count(tt: Tt, town: Town) -> None:
    """By agent, task and type, the count after the filter."""
    one, two = towns.register(town, "one"), towns.register(town, "two")
    first = tasks.assign(town, one.name, "a", Caller(), [])
    tasks.assign(town, two.name, "b", Caller(), [])
    tasks.complete(town, first.id, "done", Caller())

    def types(*args: str) -> list[str]:
        return [event["event_type"] for event in tt.ok("events", "--json", *args).json]

    assert types("--agent", "two") == ["task_assigned", "message_sent"]
    assert types("--task", first.id[:8], "-n", "1") == ["task_completed"]
    assert types("--type", "task_assigned, task_completed") == ["task_assigned", "task_assigned", "task_completed"]
    assert types("--agent", "one", "--type", "task_completed") == ["task_completed"]
    assert types("--count", "0") == []


def test_json_is_the_stored_event(tt: Tt, town: Town) -> None:
    """With its id in the stream; fields without a value are left out."""
    agent = towns.register(town)
    task = tasks.assign(town, agent.name, "a", Caller(), [])
    event = tt.ok("events", "--json", "--type", "task_assigned").json[0]
    assert re.fullmatch(r"\d+-\d+", event.pop("id"))
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event_type": "task_assigned", "agent_id": agent.id, "task_id": task.id, "old_state": "pending",
        "new_state": "assigned", "message": "assigned to 'backend'",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("events", "--agent", "nobody"), "Error: Agent not found: nobody"),
        (("events", "--task", "0123456789ab"), "Error: Task not found: 0123456789ab"),
        (("events", "--mission", "0123456789ab"), "Error: Mission not found: 0123456789ab"),
        (("history", "nobody"), "Error: No agent and no task: nobody"),
        (("history", "--agent", "nobody"), "Error: Agent not found: nobody"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_unknown_references(tt: Tt, args: tuple[str, ...], complaint: str) -> None:
    """One line, exit 1."""
    assert tt.fails(*args).complaint[0] == complaint


def test_history_takes_one_reference(tt: Tt) -> None:
    """Twice is a usage error."""
    assert "not both" in tt("history", "x", "--agent", "y").err
    assert tt("history", "x", "--agent", "y").code == 2


def test_history_reads_like_a_diary(tt: Tt, town: Town) -> None:
    """Days, times, who, what, from which state to which; for an agent, a task, the town."""
    agent = towns.register(town)
    task = tasks.assign(town, agent.name, "a", Caller(), [])
    tasks.fail(town, task.id, "the API is gone", Caller())

    page = tt.ok("history", task.id[:8]).out.splitlines()

    assert page[0] == "Recent History (3 events):"
    assert re.fullmatch(r"  \d{4}-\d\d-\d\d", page[1])
    assert re.fullmatch(r"    \d\d:\d\d:\d\d backend: task failed · the API is gone · assigned -> failed", page[-1])
    assert tt.ok("history", "-n", "1").out.splitlines()[0] == "Recent History (1 event):"
    assert [e["task_id"] for e in tt.ok("history", "backend", "--json", "--limit", "1").json] == [task.id]


def test_hostile_words_stay_words(tt: Tt, town: Town) -> None:
    """What an agent's task says cannot speak to the terminal."""
    agent = towns.register(town)
    task = tasks.assign(town, agent.name, "a", Caller(), [])
    tasks.fail(town, task.id, "\x1b]0;owned\x07 \u202eevil", Caller())
    for command in ("events", "history"):
        code, shown = tt.on_terminal(command)
        assert code == 0
        assert "\x1b]" not in shown
        assert "\u202e" not in shown


def test_following(tt: Tt, town: Town) -> None:
    """What is new comes at once, each event once, only those asked for; Ctrl-C ends it."""
    agent = towns.register(town)
    other = towns.register(town, "other")
    tasks.assign(town, agent.name, "old", Caller(), [])
    with tt.running("events", "-f", "--json", "--agent", "backend", "--type", "task_assigned") as follower:
        assert json.loads(line_of(follower))["event_type"] == "task_assigned"
        tasks.assign(town, other.name, "of another", Caller(), [])
        fresh = [tasks.assign(town, agent.name, f"new {n}", Caller(), []) for n in range(3)]
        seen = [json.loads(line_of(follower))["task_id"] for _ in fresh]
        follower.send_signal(signal.SIGINT)
        rest, complaint = follower.communicate(timeout=10)
    assert seen == [task.id for task in fresh]
    assert (rest, complaint, follower.returncode) == ("", "", 130)


def test_following_goes_on_after_redis_was_away(made: Tt) -> None:
    """It says so once, and shows what comes when the server is back."""
    with made.running("events", "-f") as follower:
        made.ok("backlog", "add", "first")
        assert "[task_created]" in line_of(follower)
        made.ok("stop", "--all")
        assert follower.stderr is not None
        assert follower.stderr.readline() == "Redis is away; waiting for it.\n"
        made.ok("backlog", "add", "second")
        again = line_of(follower)
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=10)
    assert "[task_created]" in again
    listed = [task["id"] for task in made.ok("backlog", "list", "--json").json]
    assert ids.short(listed[1]) in again


def test_nothing_is_started_when_redis_is_down(made: Tt) -> None:
    """Neither reads nor follows from a server that is not there."""
    made.ok("stop", "--all")
    for args in (("events",), ("events", "-f"), ("history",)):
        assert made.fails(*args).complaint[0].startswith("Error: Redis is not running for town 'my-project'")
