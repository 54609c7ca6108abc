"""Commands that need a supervisor: spawn to stop, with real processes."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Tt, first_line
from tests.support.waiting import wait_until
from tinytown import processes

pytestmark = pytest.mark.slow


@pytest.fixture
def living(made: Tt) -> Iterator[Tt]:
    """A town whose agents run `cat` or the demo CLI."""
    yield made
    made("stop", "--all", "--now")


def state_of(tt: Tt, name: str) -> str:
    return str(next(a["state"] for a in tt.ok("list", "--json").json if a["name"] == name))


def task_is_done(tt: Tt) -> bool:
    return bool(tt.ok("task", "list", "--state", "completed", "--json").json)


def test_spawn_to_stop(living: Tt) -> None:
    """The quick start: spawn, assign, done, status, stop --all; each says what the manual says."""
    ran = living.ok("spawn", "backend", "--model", "demo")
    lines = ran.out.splitlines()
    assert lines[0] == "Spawned agent 'backend' using model 'demo'"
    assert re.fullmatch(r"   ID: [0-9a-f-]{36}", lines[1])
    assert lines[2] == "Starting agent loop in background (max 10 rounds)..."
    assert lines[3] == f"   Logs: {living.cwd}/.tt/logs/backend.log"
    assert lines[4] == "   Agent running in background. Check status with 'tt status'"
    living.ok("assign", "backend", "write a note")
    wait_until(lambda: task_is_done(living), 20, "the task to be completed")
    status = living.ok("status", "--deep")
    assert "Supervisor: running (pid " in status.out
    assert "Round 1: " in status.out
    assert status.err == ""
    assert "Round 1" in living.ok("logs", "backend").out
    living.ok("logs", "backend", "--round", "1")
    ran = living.ok("stop", "--all")
    assert ran.out.splitlines() == [
        "Requested graceful stop for 1 agent(s) in town 'my-project'",
        "   Supervisor ended.",
        "   Redis ended; its data stays.",
    ]
    living.fails("status")
    again = living.ok("stop", "--all")
    assert "No supervisor was running." in again.out


def test_the_same_name_twice(living: Tt) -> None:
    """Refused while the first is alive; nothing is changed."""
    living.ok("spawn", "backend", "--cli", "demo")
    before = living.ok("list", "--json").json[0]["id"]
    assert "is alive" in living.fails("spawn", "backend", "--cli", "demo").err
    assert living.ok("list", "--json").json[0]["id"] == before


def test_kill_wait_restart(living: Tt) -> None:
    """Kill asks, wait returns with the state, restart keeps the id; a second restart has the manual's words."""
    living.ok("spawn", "backend", "--cli", "demo", "--role", "api", "--nickname", "bob", "--max-rounds", "3")
    first = living.ok("list", "--json").json[0]
    assert (first["role"], first["nickname"], first["rounds_max"]) == ("api", "bob", 3)
    ran = living.ok("kill", "bob")
    assert ran.out == "Requested stop for agent 'backend'\n   Agent will stop at the start of its next round.\n"
    assert living.ok("wait", "backend", "--timeout", "20").out.startswith("Agent 'backend' has ended (Stopped)")
    assert living.ok("wait", "backend", "--json").json["state"] == "stopped"
    assert "has ended already" in living.ok("kill", "backend").out
    ran = living.ok("restart", "backend", "--rounds", "5")
    assert ran.out == (
        "Restarting agent 'backend'...\n   Rounds: 5\n"
        f"   Log: {living.cwd}/.tt/logs/backend.log\n\nAgent 'backend' restarted\n"
    )
    assert living.ok("list", "--json").json[0]["id"] == first["id"]
    ran = living.fails("restart", "backend")
    assert re.match(
        r"Error: Agent 'backend' is still active \(\w+\)\nUse 'tt kill backend' to stop it first\n", ran.err
    )
    assert living.fails("restart", "nonexistent").err.startswith("Error: Agent 'nonexistent' not found\n")


def test_wait_times_out(living: Tt) -> None:
    """Exit 124, and the agent goes on."""
    living.ok("spawn", "backend", "--cli", "demo")
    assert "did not finish within 0.2 s" in living.fails("wait", "backend", "--timeout", "0.2", code=124).err
    assert state_of(living, "backend") == "idle"


def test_kill_now_ends_the_model(living: Tt) -> None:
    """--now does not wait for the round; its task goes back."""
    living.ok("spawn", "backend", "--cli", "/bin/sh -c 'sleep 600'")
    living.ok("assign", "backend", "hang")
    wait_until(lambda: state_of(living, "backend") == "working", 10, "the round to begin")
    living.ok("kill", "backend", "--now")
    living.ok("wait", "backend", "--timeout", "20")
    (task,) = living.ok("task", "list", "--json").json
    assert task["state"] == "assigned"


def test_stop_leaves_the_supervisor(living: Tt) -> None:
    """Without --all the agents end, supervisor and Redis stay."""
    for name in ("one", "two", "three"):
        living.ok("spawn", name, "--cli", "demo")
    ran = living.ok("stop")
    assert ran.out.splitlines()[:2] == [
        "Requested graceful stop for 3 agent(s) in town 'my-project'",
        "   Agents will stop at the start of their next round.",
    ]
    for name in ("one", "two", "three"):
        living.ok("wait", name, "--timeout", "20")
    assert living.ok("supervise", "--status", "--json").json["running"] is True


def test_supervise_detach_and_status(living: Tt) -> None:
    """--detach says pid and log, once more that it runs already; in the foreground that is an error."""
    ran = living.ok("supervise", "--detach")
    found = re.search(r"started \(pid (\d+)\)", ran.out)
    assert found is not None
    assert f"{living.cwd}/.tt/supervisor.log" in ran.out
    assert f"already running (pid {found[1]})" in living.ok("supervise", "--detach").out
    assert f"already running (pid {found[1]})" in living.fails("supervise").err
    living.ok("spawn", "backend", "--cli", "demo")
    status = living.ok("supervise", "--status", "--json").json
    assert status["running"] is True
    assert status["pid"] == int(found[1])
    (child,) = status["children"]
    assert {"name", "phase", "pid", "beat_age_s", "restarts"} <= set(child)
    text = living.ok("supervise", "--status").out
    assert f"   Pid: {found[1]}\n" in text
    assert "backend  running  pid " in text


def test_supervise_in_the_foreground(living: Tt) -> None:
    """It runs until TERM and ends with 0."""
    with living.running("supervise") as process:
        wait_until(lambda: living.ok("supervise", "--status", "--json").json["running"], 10, "the supervisor")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_an_agent_in_the_foreground(living: Tt) -> None:
    """It runs in the terminal, does its task, is shown as such, and ends when it is asked."""
    with living.running("spawn", "local", "--cli", "demo", "--foreground") as process:
        assert first_line(process) == "Spawned agent 'local' using model 'demo'"
        wait_until(lambda: state_of(living, "local") == "idle", 10, "the agent to be idle")
        assert "in a terminal" in living.ok("list").out
        living.ok("assign", "local", "write a note")
        wait_until(lambda: task_is_done(living), 20, "the task to be completed")
        living.ok("kill", "local")
        assert process.wait(20) == 0
        assert process.stdout is not None
        shown = process.stdout.read()
        assert shown.count("wrote a note") == 1, "the model's words are shown once"
    assert state_of(living, "local") == "stopped"
    assert living.ok("supervise", "--status", "--json").json["running"] is False


def test_start_holds_the_connection(living: Tt) -> None:
    """It starts Redis when it is down, and ends with Ctrl-C; Redis stays."""
    living.ok("stop", "--all")
    with living.running("start") as process:
        assert first_line(process) == "Town connection open"
        living.ok("list")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    living.ok("list")


def test_start_notices_that_redis_is_gone(living: Tt) -> None:
    """It ends with an error then, without having polled."""
    with living.running("start") as process:
        assert first_line(process) == "Town connection open"
        living.ok("stop", "--all")
        assert process.wait(10) == 1


def test_a_stale_socket_and_pid_file(living: Tt) -> None:
    """What a killed Redis left behind is no server; the next command that needs one starts it."""
    pid = int((Path(living.cwd) / ".tt" / "redis.pid").read_text())
    server = processes.identity(pid)
    assert server is not None
    processes.send(server, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(server), 5, "the end of Redis")
    assert "Redis is not running" in living.fails("list").err
    living.ok("backlog", "add", "x")
    assert len(living.ok("backlog", "list", "--json").json) == 1


def test_spawns_at_once_share_a_supervisor(living: Tt) -> None:
    """Three spawns side by side start exactly one supervisor, and all three agents are up."""
    with (
        living.running("spawn", "one", "--cli", "demo") as one,
        living.running("spawn", "two", "--cli", "demo") as two,
        living.running("spawn", "three", "--cli", "demo") as three,
    ):
        assert [p.wait(30) for p in (one, two, three)] == [0, 0, 0]
    assert len(living.ok("supervise", "--status", "--json").json["children"]) == 3
