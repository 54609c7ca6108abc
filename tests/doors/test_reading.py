"""Commands that only read: what they show, on pipes and as JSON."""

from __future__ import annotations

import functools
import re

import pytest

from tests.support import town as towns
from tests.support.builders import make_message, make_task
from tests.support.cli import Tt
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.store.inboxes import bury
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

READING = (
    ("list",),
    ("status",),
    ("inbox", "--all"),
    ("inbox", "--dead"),
    ("task", "list"),
    ("task", "show", "abcd"),
    ("task", "current", "x"),
    ("backlog", "list"),
    ("wait", "x"),
    ("logs", "x"),
)

pytestmark = pytest.mark.slow


def save(town: Town, *tasks: Task) -> None:
    def build(tx: Transaction) -> None:
        for task in tasks:
            tx.save_task(None, task)

    change(town.store, build)


def bury_it(agent_id: str, text: str, tx: Transaction) -> None:
    bury(tx, agent_id, text, "gave up", "2026-01-02T03:04:05Z", 3)


@pytest.mark.parametrize("args", READING, ids=" ".join)
def test_nothing_is_started_when_redis_is_down(made: Tt, args: tuple[str, ...]) -> None:
    """It is said that Redis is not running, with what starts it; nothing is started."""
    made.ok("stop", "--all")
    ran = made.fails(*args)
    assert ran.err.startswith("Error: Redis is not running for town 'my-project' (unix://")
    assert ran.complaint[1] == "Start it with: tt supervise --detach"
    assert not (made.cwd / ".tt" / "redis.sock").exists()


def test_supervise_status_works_without_redis(made: Tt) -> None:
    """It says that neither runs."""
    made.ok("stop", "--all")
    ran = made.ok("supervise", "--status")
    assert "No supervisor is running for town 'my-project'." in ran.out
    assert "Redis: away" in ran.out
    assert made.ok("supervise", "--status", "--json").json == {
        "running": False, "pid": None, "town": "my-project", "redis": "away", "children": [],
    }  # fmt: skip


def test_empty_states(tt: Tt) -> None:
    """Nothing there: a sentence with what to do next, or an empty JSON list."""
    assert tt.ok("list").out == "No agents. Run 'tt spawn <name>' to create one.\n"
    for args in (("list",), ("task", "list"), ("backlog", "list"), ("inbox", "--dead")):
        assert tt.ok(*args, "--json").json == []
    assert "tt assign" in tt.ok("task", "list").out
    assert "tt backlog add" in tt.ok("backlog", "list").out


def test_list(tt: Tt, town: Town) -> None:
    """Name, id, state, role and why it ended, in the order of names."""
    reviewer = towns.register(town, "reviewer", wanted=False, reason="10/10 rounds", role_id="review")
    backend = towns.register(town, "backend", state=AgentState.WORKING)
    assert tt.ok("list").out == (
        "Agents:\n"
        f"  backend ({backend.id}) - Working\n"
        f"  reviewer ({reviewer.id}) - Stopped [role review] - 10/10 rounds\n"
    )


def test_hint_when_nobody_supervises(tt: Tt, town: Town) -> None:
    """Wanted agents without a supervisor are counted in a hint on stderr."""
    towns.register(town, "one")
    towns.register(town, "two")
    towns.register(town, "ended", wanted=False)
    hint = "No supervisor is running: 2 agent(s) wait for it. Start it with: tt supervise\n"
    assert tt.ok("list").err == hint
    assert tt.ok("status").err == hint


def test_status(tt: Tt, town: Town) -> None:
    """Town, root, server, supervisor, each agent's mail by kind with urgent and dead, tasks in one line."""
    agent = towns.register(town, "backend")
    towns.register(town, "idle", wanted=False, reason="stopped on request")
    towns.give_task(town, agent, description="fix it")
    towns.give_mail(town, agent, "query", question="which port?", urgent=True)
    towns.give_mail(town, agent, "informational", summary="CI is green")
    change(town.store, lambda tx: bury(tx, agent.id, "{}", "why", "2026-01-02T03:04:05Z", 3))
    lines = tt.ok("status").out.splitlines()
    assert lines[0] == f"Town: {town.name}"
    assert lines[1] == f"Root: {town.root}"
    assert lines[2].startswith("Redis: unix://")
    assert lines[2].endswith(")")
    assert lines[3] == "Supervisor: not running"
    assert lines[4] == "Agents: 2"
    assert lines[5] == (
        "   backend (Idle) - 3 messages pending (tasks: 1, queries: 1, informational: 1, confirmations: 0), "
        f"1 urgent, 1 dead, id {agent.id[:8]}"
    )
    assert lines[6].startswith("   idle (Stopped) - 0 messages pending, id ")
    assert lines[6].endswith(" - stopped on request")
    assert lines[7] == "Tasks: 1 total (0 pending, 1 in-flight, 0 done)"


def test_status_tasks(tt: Tt, town: Town) -> None:
    """By state and by agent; a failed one with its reason."""
    agent = towns.register(town, "backend", wanted=False)
    save(
        town,
        make_task(TaskState.FAILED, assigned_to=agent.id, result="no disk space", description="copy"),
        make_task(TaskState.RUNNING, assigned_to=agent.id, description="build"),
        make_task(description="wait"),
    )
    out = tt.ok("status", "--tasks").out
    assert "   Failed:     1\n" in out
    assert "   backend (1 active, 1 done):\n" in out
    assert " copy - no disk space\n" in out
    assert "   (unassigned) (1 tasks):\n" in out


def test_status_deep(tt: Tt, town: Town) -> None:
    """Rounds, uptime and the last activities, newest first."""
    agent = towns.register(town, "backend")
    change(town.store, lambda tx: tx.activity(agent.id, "Round 1: fine"))
    change(town.store, lambda tx: tx.activity(agent.id, "Round 2: fine"))
    out = tt.ok("status", "--deep").out
    assert re.search(r" - 0 pending, 0 rounds, uptime \d+s, id ", out)
    assert out.index("└─ Round 2: fine") < out.index("└─ Round 1: fine")


def test_status_json(tt: Tt, town: Town) -> None:
    """The documented shape."""
    agent = towns.register(town, "backend", role_id="api")
    towns.give_task(town, agent)
    shown = tt.ok("status", "--json", "--deep", "--tasks").json
    assert set(shown) == {
        "town",
        "root",
        "redis",
        "supervisor",
        "agents",
        "tasks",
        "conductor",
        "missions",
        "all_tasks",
    }
    assert set(shown["redis"]) == {"url", "server", "version", "managed"}
    assert shown["supervisor"] == {"running": False, "pid": None}
    states = {state.value: int(state is TaskState.ASSIGNED) for state in TaskState}
    assert shown["tasks"] == {"total": 1, "backlog": 0} | states
    (one,) = shown["agents"]
    assert one["name"] == "backend"
    assert one["role"] == "api"
    assert one["state"] == "idle"
    assert one["wanted"] is True
    assert one["pending"]["tasks"] == one["pending"]["total"] == 1
    assert shown["all_tasks"][0]["agent"] == "backend"
    (listed,) = tt.ok("list", "--json").json
    assert listed == {name: value for name, value in one.items() if name != "activity"}


def test_task_list(tt: Tt, town: Town) -> None:
    """The state as a word, the short id, the description on one line, the agent; filters by state and agent."""
    backend = towns.register(town, "backend")
    other = towns.register(town, "other")
    mine, _ = towns.give_task(town, backend, description="Fix\nthe bug", created_at="2026-01-01T00:00:00Z")
    theirs, _ = towns.give_task(town, other, description="Test it", created_at="2026-01-02T00:00:00Z")
    assert tt.ok("task", "list").out == (
        f"Tasks (2):\n   assigned   {mine.id[:8]} - Fix the bug [backend]\n"
        f"   assigned   {theirs.id[:8]} - Test it [other]\n"
    )
    assert [t["id"] for t in tt.ok("task", "list", "--agent", "other", "--json").json] == [theirs.id]
    assert tt.ok("task", "list", "--state", "running").out.startswith("No running tasks.")


def test_task_show(tt: Tt, town: Town) -> None:
    """Every field, the result in full, over as many lines as it has."""
    agent = towns.register(town, "backend-1")
    result = "first line\n" + "x" * 5000
    task = make_task(
        TaskState.COMPLETED, assigned_to=agent.id, assigned_by=agent.id, result=result, tags=["backend", "auth"],
        completed_at="2026-03-09T12:05:00Z", description="Fix authentication bug",
    )  # fmt: skip
    save(town, task)
    out = tt.ok("task", "show", task.id[:6]).out
    assert out.startswith(f"Task: {task.id}\n   Description: Fix authentication bug\n   State: Completed\n")
    assert "   Assigned to: backend-1\n" in out
    assert "   Ended: 2026-03-09T12:05:00Z\n" in out
    assert "   Tags: backend, auth\n" in out
    assert "   Result: first line\n      " + "x" * 5000 + "\n" in out
    assert tt.ok("task", "show", task.id, "--json").json["result"] == result


def test_task_current(tt: Tt, town: Town) -> None:
    """The agent's one open task; none: what to do; in a model's environment the agent is known."""
    agent = towns.register(town, "backend")
    assert "has no current task" in tt.ok("task", "current", "backend").out
    assert tt.ok("task", "current", "backend", "--json").json == {"agent": "backend", "task": None}
    task, _ = towns.give_task(town, agent)
    assert tt.ok("task", "current", "backend").out.startswith(f"Task: {task.id}\n")
    inside = {"TINYTOWN_AGENT_ID": agent.id, "TINYTOWN_RUN": f"{agent.id}:1:1"}
    assert tt.ok("task", "current", env=inside).out.startswith(f"Task: {task.id}\n")
    assert "Missing argument" in tt.fails("task", "current", code=2).err


def test_inbox(tt: Tt, town: Town) -> None:
    """Counts by kind, then every message: what a task says instead of its id, urgent ones first and marked."""
    agent = towns.register(town, "backend")
    towns.give_task(town, agent, description="Fix the login")
    towns.give_mail(town, agent, "query", question="Which port?", urgent=True)
    assert tt.ok("inbox", "backend").out == (
        "Inbox for 'backend': 2 messages\n"
        "   [T] 1 tasks requiring action\n"
        "   [Q] 1 queries awaiting response\n"
        "   [I] 0 informational\n"
        "   [C] 0 confirmations\n"
        "   - URGENT Which port?\n"
        "   - Fix the login\n"
    )
    shown = tt.ok("inbox", "backend", "--json").json
    assert [m["text"] for m in shown["messages"]] == ["Which port?", "Fix the login"]
    assert shown["actionable"] == 2


def test_inbox_of_all(tt: Tt, town: Town) -> None:
    """As the manual shows it, with the sum of what starts a run."""
    agent = towns.register(town, "backend", state=AgentState.WORKING)
    towns.give_task(town, agent, description="Fix the login")
    towns.give_mail(town, agent, "informational", summary="CI is green")
    towns.register(town, "reviewer")
    out = tt.ok("inbox", "--all").out
    assert out.startswith("Pending Messages by Agent:\n\n  backend (Working):\n    [T] 1 tasks requiring action\n")
    assert "\n  reviewer (Idle):\n" in out
    assert out.endswith("\nTotal: 1 actionable message(s)\n")
    assert [box["name"] for box in tt.ok("inbox", "-a", "--json").json] == ["backend", "reviewer", "conductor"]


def test_dead_letters(tt: Tt, town: Town) -> None:
    """Id, agent, reason, age and attempts; --retry puts one back, --drop deletes one."""
    agent = towns.register(town, "backend")
    for question in ("one?", "two?"):
        text = make_message("query", to=agent.id, question=question).to_json()
        change(town.store, functools.partial(bury_it, agent.id, text))
    first, second = tt.ok("inbox", "--dead", "--json").json
    assert (first["agent"], first["reason"], first["attempts"], first["message"]["type"]) == (
        "backend", "gave up", 3, "query",
    )  # fmt: skip
    out = tt.ok("inbox", "backend", "--dead").out
    assert "[backend] one?" in out
    assert "3 attempt(s): gave up" in out
    assert "dead letter(s)" in tt.ok("status").err
    tt.ok("inbox", "--dead", "--retry", first["id"])
    assert len(towns.texts(town, "inbox", agent.id)) == 1
    tt.ok("inbox", "--drop", second["id"][:8])
    assert tt.ok("inbox", "--dead").out == "No dead letters.\n"
    tt.fails("inbox", "--dead", "--drop", second["id"])


def test_backlog_list(tt: Tt) -> None:
    """Whole ids, as they are typed again; one line each; tags."""
    tt.ok("backlog", "add", "Document\ntoken refresh", "--tags", "docs, api")
    (task,) = tt.ok("backlog", "list", "--json").json
    assert task["tags"] == ["docs", "api"]
    assert tt.ok("backlog", "list").out == f"Backlog (1):\n   {task['id']} - Document token refresh [docs, api]\n"
