"""`tt interrupt`, `tt resume`, `tt close`, `tt wait`: what they say, and that it is so."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest

from tests.support import town as towns
from tests.support.cli import Tt
from tests.support.waiting import wait_until
from tinytown.domain.agent import BY_PROGRAM
from tinytown.domain.states import AgentState
from tinytown.town import Town, open_town

pytestmark = pytest.mark.slow

NOBODY = "No supervisor is running: 1 agent(s) wait for it. Start it with: tt supervise\n"


@pytest.fixture
def living(made: Tt) -> Iterator[Tt]:
    """A town with an agent whose model sleeps."""
    made.ok("spawn", "backend", "--cli", "/bin/sh -c 'sleep 600'")
    yield made
    made("stop", "--all", "--now")


def state_of(tt: Tt, name: str = "backend") -> str:
    return str(next(a["state"] for a in tt.ok("list", "--json").json if a["name"] == name))


def somebody_waits(tt: Tt) -> bool:
    """Whether a command is blocked in reading the town's events."""
    with contextlib.closing(open_town(str(tt.cwd)).store) as store:
        return any(client["cmd"] == "xread" and "b" in client["flags"] for client in store.redis.client_list())


@pytest.mark.slow
def test_interrupt_resume_close(living: Tt) -> None:
    """The life of a pause, and the end, in the manual's words."""
    ran = living.ok("interrupt", "backend")
    assert ran.out == ("Interrupted agent 'backend'\n   Agent is now paused. Use 'tt resume backend' to continue.\n")
    assert state_of(living) == "paused"
    assert living.ok("interrupt", "backend").out.startswith("Agent 'backend' was interrupted already.\n   Agent is now")
    assert "Use 'tt resume backend'" in living.fails("restart", "backend").err
    living.ok("assign", "backend", "sleep")
    assert living.ok("resume", "backend").out == "Resumed agent 'backend'\n"
    wait_until(lambda: state_of(living) == "working", 10, "the round to begin")
    assert "is Working, not Paused — cannot resume" in living.fails("resume", "backend").err
    ran = living.ok("interrupt", "backend")
    assert ran.out.endswith("   Agent will pause after its round. Use 'tt resume backend' to continue.\n")
    assert "[to be paused]" in living.ok("list").out
    assert living.ok("interrupt", "backend", "--now").out.endswith(
        "   Agent is now paused. Use 'tt resume backend' to continue.\n"
    )
    ran = living.ok("close", "backend")
    assert ran.out == "Closing agent 'backend' (draining current work, then stopping)\n"
    wait_until(lambda: living.ok("list", "--json").json[0]["pending"]["claimed"] == 1, 10, "the round")
    shown = living.ok("list", "--json").json[0]
    assert (shown["state"], shown["pausing"], shown["closed_at"] is not None) == ("draining", False, True)
    assert living.ok("close", "backend").out == "Agent 'backend' is closing already (Draining).\n"
    assert "It is closing" in living.fails("spawn", "backend", "--cli", "demo").err
    with living.running("wait", "backend") as waiter, living.running("wait", "backend", "--timeout", "60") as other:
        living.ok("kill", "backend", "--now")
        for process in (waiter, other):
            assert process.wait(20) == 0
            assert process.stdout is not None
            assert process.stdout.read() == "Agent 'backend' has ended (Stopped): stopped on request\n"


@pytest.mark.slow
def test_wait_for_a_task(living: Tt) -> None:
    """Exit 0 for one that is completed, 1 with the reason for any other end, 124 and 130 for no end."""
    living.ok("assign", "backend", "sleep")
    (task,) = living.ok("task", "list", "--json").json
    short = task["id"][:8]
    ran = living.fails("wait", short, "--timeout", "0.2", code=124)
    assert f"Task {short} did not end within 0.2 s (" in ran.err
    with living.running("wait", task["id"]) as waiter:
        wait_until(lambda: state_of(living) == "working" and somebody_waits(living), 10, "the round, and the wait")
        waiter.send_signal(signal.SIGINT)
        assert waiter.wait(10) == 130
        assert waiter.stderr is not None
        assert waiter.stderr.read() == ""
    with living.running("wait", short, "--json") as waiter, living.running("wait", short) as other:
        living.ok("task", "cancel", short, "--reason", "not needed")
        assert (waiter.wait(20), other.wait(20)) == (1, 1)
    ran = living.fails("wait", short)
    assert ran.err == f"Error: Task {task['id']} was cancelled: not needed\nTo run it again: tt task retry {short}\n"
    ran = living("wait", short, "--json")
    assert (ran.code, ran.json) == (
        1,
        {"kind": "task", "id": task["id"], "name": "sleep", "state": "cancelled", "reason": "not needed"},
    )
    living.ok("task", "retry", short)
    living.ok("task", "complete", short, "--result", "well done")
    assert living.ok("wait", short).out == f"Task {task['id']} is completed: well done\n"


def test_without_a_supervisor(tt: Tt, town: Town) -> None:
    """The wish is recorded, and it says that nobody obeys it yet."""
    towns.register(town, "backend")
    ran = tt.ok("interrupt", "backend")
    assert ran.out == "Interrupted agent 'backend'\n   It is paused as soon as somebody runs it.\n"
    assert ran.err == NOBODY
    ran = tt.ok("resume", "backend")
    assert ran.out == "Resumed agent 'backend'\n   It goes on as soon as somebody runs it.\n"
    assert ran.err == NOBODY
    ran = tt.ok("close", "backend")
    assert ran.out.splitlines()[1] == (
        "   It works off its mail as soon as somebody runs it. To stop it as it is: tt kill backend"
    )
    assert ran.err == NOBODY
    assert "[closing]" in tt.ok("list").out
    ran = tt("wait", "backend", "--timeout", "0.1")
    assert (ran.code, ran.err.splitlines()[0] + "\n") == (124, NOBODY)


def test_what_cannot_be(tt: Tt, town: Town) -> None:
    """Ended, unknown, the conductor: one line, and one that helps."""
    towns.register(town, "old", wanted=False, state=AgentState.ERROR)
    for verb, text in (
        ("interrupt", "Agent 'old' is in terminal state Error and cannot be interrupted"),
        ("resume", "Agent 'old' is Error, not Paused — cannot resume"),
        ("close", "Agent 'old' is already in terminal state Error"),
    ):
        assert tt.fails(verb, "old").err == f"Error: {text}\nStart it again with: tt restart old\n"
        assert tt.fails(verb, "conductor").err.startswith("Error: Agent not found: conductor\n")
        tt.fails(verb, code=2)
    assert tt.fails("wait", "nobody").err.startswith("Error: No agent and no task: nobody\n")
    tt.fails("wait", "old", "--timeout", "-1", code=2)
    assert tt.fails("wait", "old", "--timeout", "nan").err == "Error: --timeout must be 0 or more.\n"


def test_what_a_program_runs(tt: Tt, town: Town) -> None:
    """Nothing of the town's can be stopped; and it has not ended."""
    towns.register(town, "prog", wanted=False, state=AgentState.IDLE, spawn_mode=BY_PROGRAM)
    assert tt.ok("kill", "prog").out == "Nothing runs agent 'prog' (Idle); nothing to stop.\n"
    text = "Error: Nothing runs agent 'prog' (Idle).\n"
    assert tt.fails("interrupt", "prog").err == f"{text}Let the town run it with: tt restart prog\n"
    assert tt.fails("wait", "prog", "--timeout", "0.1", code=124).err.endswith("(idle).\n")


def test_a_task_that_has_failed(tt: Tt, town: Town) -> None:
    """Waiting for it says so, in words that fit."""
    task, _message = towns.give_task(town, towns.register(town, "backend"))
    tt.ok("task", "fail", task.id, "--reason", "no API")
    assert tt.fails("wait", task.id).err.startswith(f"Error: Task {task.id} has failed: no API\n")
