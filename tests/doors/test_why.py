"""`tt why`: lines for people, an object for programs."""

from __future__ import annotations

import pytest

from tests.support import town as towns
from tests.support.cli import Tt
from tinytown.town import Town

pytestmark = pytest.mark.slow


def test_an_agent(tt: Tt, town: Town) -> None:
    """A line for each reason, the strongest first, and the command that helps."""
    agent = towns.register(town, "backend")
    towns.give_mail(town, agent)
    assert tt.ok("why", "backend").out == (
        "Agent 'backend': no supervisor is running\n   Remedy: tt supervise --detach\n"
        "Agent 'backend': 1 message left for its next rounds\n   Remedy: tt inbox backend\n"
    )


def test_a_task(tt: Tt, town: Town) -> None:
    """By its short id; what others wrote cannot speak to the terminal."""
    task, _message = towns.give_task(town, towns.register(town))
    tt.ok("task", "cancel", task.id, "--reason", "no\x1b[31m\nneed")
    ran = tt.ok("why", task.id[:8])
    assert ran.out.startswith(f"Task {task.id[:8]}: it was cancelled at ")
    assert ran.out.endswith(f" by a person: no\\x1b[31m need\n   Remedy: tt task retry {task.id[:8]}\n")


def test_for_programs(tt: Tt, town: Town) -> None:
    """The documented shape."""
    agent = towns.register(town, "backend", wanted=False)
    shown = tt.ok("why", "backend", "--json").json
    assert {name: shown[name] for name in ("kind", "id", "name", "state")} == {
        "kind": "agent", "id": agent.id, "name": "backend", "state": "stopped",
    }  # fmt: skip
    (reason,) = shown["reasons"]
    assert set(reason) == {"code", "text", "remedy", "until"}
    assert (reason["code"], reason["remedy"], reason["until"]) == ("stopped", "tt restart backend", None)


def test_nobody(tt: Tt) -> None:
    """An unknown reference is an error; so is none."""
    assert tt.fails("why", "nobody").err == (
        "Error: No agent and no task: nobody\nSee them with: tt list, tt task list\n"
    )
    tt.fails("why", code=2)


def test_redis_is_down(made: Tt) -> None:
    """It says what is down and how to start it, and starts nothing."""
    made.ok("stop", "--all")
    for _ in range(2):
        assert made.fails("why", "backend").err.splitlines()[1] == "Start it with: tt supervise --detach"
