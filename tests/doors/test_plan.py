"""`tt plan` and `tt sync`: what they say, and a pipeline that runs in order."""

from __future__ import annotations

import itertools

import pytest

from tests.support import town as towns
from tests.support.cli import Tt
from tests.support.waiting import wait_until
from tinytown.services import plan, tasks
from tinytown.services.caller import Caller
from tinytown.town import Town

pytestmark = pytest.mark.slow

PLAN = """\
[meta]
description = "Sprint 1"  # two weeks

[[tasks]]
id = "auth-api"
description = "Build the auth API"
agent = "backend"
status = "pending"
tags = ["auth"]

[[tasks]]
id = "auth-tests"
description = "Write auth tests"
agent = "tester"
parent = "auth-api"
depends_on = ["auth-api"]
"""


def write(tt: Tt, text: str) -> None:
    ((tt.town or tt.cwd) / "tasks.toml").write_text(text)


def read(tt: Tt) -> str:
    return ((tt.town or tt.cwd) / "tasks.toml").read_text()


def test_a_new_plan(bare: Tt) -> None:
    """--init makes the manual's example, once; nothing of it needs Redis."""
    bare.ok("init", "--name", "my-project")
    bare.ok("stop", "--all")
    ran = bare.fails("plan")
    assert ran.complaint == [f"Error: No tasks.toml found in {bare.cwd}.", "Make one with: tt plan --init"]

    assert bare.ok("plan", "-i").out == "Created ./tasks.toml\n"

    made = read(bare)
    assert made == plan.TEMPLATE
    assert bare.ok("plan").out == (
        "Tasks in plan (./tasks.toml):\n  pending    [unassigned] example-1 - Example task - replace with your own\n"
    )
    assert "exists already" in bare.fails("plan", "--init").err
    assert read(bare) == made
    code, shown = bare.on_terminal("plan")
    assert (code, shown.splitlines()[1]) == (0, "  ⏳ [unassigned] example-1 - Example task - replace with your own")
    write(bare, "")
    assert bare.ok("plan").out.startswith("No tasks in plan (./tasks.toml).")
    assert "Redis is not running" in bare.fails("sync", "pull").err
    assert "Redis is not running" in bare.fails("sync", "--dry-run").err


def test_the_plan_as_people_and_programs_read_it(tt: Tt, town: Town) -> None:
    """With what comes before what; no byte of the file reaches the terminal as it is."""
    write(tt, PLAN.replace("Write auth tests", "Write\\u001b[31m tests"))
    assert tt.ok("plan").out.splitlines()[1:] == [
        "  pending    [backend] auth-api - Build the auth API",
        "  pending    [tester] auth-tests - Write\\x1b[31m tests (after auth-api)",
    ]
    shown = tt.ok("plan", "--json").json
    assert shown["tasks"][1] == {
        "id": "auth-tests", "description": "Write\x1b[31m tests", "agent": "tester", "status": "pending", "tags": [],
        "parent": "auth-api", "depends_on": ["auth-api"],
    }  # fmt: skip
    assert (shown["path"], shown["description"], shown["default_agent"]) == (
        str(town.root / "tasks.toml"), "Sprint 1", None,
    )  # fmt: skip


def test_push_and_pull(tt: Tt, town: Town) -> None:
    """The manual's lines, with the counts; what waits says for what."""
    agents = [towns.register(town, name) for name in ("backend", "tester")]
    write(tt, PLAN)
    assert tt.ok("sync", "push", "--dry-run").out == "Would push 2 tasks from tasks.toml to Redis\n   2 new\n"
    assert tt.ok("task", "list", "--json").json == []
    assert tt.ok("sync", "push").out == "Pushed 2 tasks from tasks.toml to Redis\n   2 new\n"
    assert tt.ok("sync").out == "Pushed 2 tasks from tasks.toml to Redis\n   2 unchanged\n"
    api, tests = (task["id"] for task in tt.ok("task", "list", "--json").json)
    shown = tt.ok("task", "show", tests).out
    assert "Waits for: auth-api (assigned)" in shown
    assert "Then goes to: tester" in shown
    assert tt.ok("task", "show", tests, "--json").json["waits_for"] == [api]
    refused = tt.fails("backlog", "claim", tests, "tester")
    assert refused.complaint == [
        f"Error: Task {tests} waits for auth-api (assigned).", f"See why with: tt why {tests[:8]}",
    ]  # fmt: skip
    towns.claim_all(town, agents[0])
    write(tt, PLAN.replace("Build the", "Build an"))
    ran = tt.ok("sync")
    assert ran.out.splitlines()[1] == "   1 unchanged, 1 running"
    assert "Task 'auth-api' is running: it was left as it is." in ran.err
    tasks.complete(town, api, "done", Caller())

    assert tt.ok("sync", "pull").out == "Pulled 2 tasks from Redis to tasks.toml\n   2 changed, 0 added\n"

    assert (
        read(tt) == PLAN.replace("Build the", "Build an").replace('"pending"', '"completed"') + 'status = "assigned"\n'
    )
    assert "Waits for" not in tt.ok("task", "show", tests).out
    ran = tt.ok("sync", "push", "--reset")
    assert ran.out.splitlines()[1] == "   1 unchanged, 1 finished"
    assert "set their status to pending" in ran.err
    write(tt, PLAN)
    assert tt.ok("sync", "push", "--reset").out.splitlines()[1] == "   1 changed, 1 restarted"


def test_what_is_refused(tt: Tt, town: Town) -> None:
    """One line, at most one remedy, nothing changed."""
    write(tt, PLAN)
    ran = tt.fails("sync", "push")
    assert ran.complaint == [
        "Error: The plan names agents that do not exist: backend, tester.", "tt spawn backend; tt spawn tester",
    ]  # fmt: skip
    write(tt, PLAN + "[[tasks]]\n")
    assert tt.fails("sync", "push").complaint == ["Error: tasks.toml:17: a task needs an id."]
    write(tt, "[[tasks]\n")
    assert "tasks.toml: not valid TOML" in tt.fails("plan").err
    tt.fails("sync", "sideways", code=2)
    tt.fails("sync", "pull", "--reset", code=2)
    tt.fails("sync", "pull", "--dry-run", code=2)
    assert tt.ok("task", "list", "--json").json == []


def test_a_layout_that_cannot_be_kept(tt: Tt, town: Town) -> None:
    """It is said when comments are lost."""
    write(tt, 'tasks = [{id = "a", description = "x"}]  # mine\n')
    tt.ok("sync", "push")
    tasks.complete(town, tt.ok("task", "list", "--json").json[0]["id"], None, Caller())
    assert "comments and layout could not be kept" in tt.ok("sync", "pull").err
    assert tt.ok("plan", "--json").json["tasks"][0]["status"] == "completed"


@pytest.mark.slow
def test_a_pipeline(made: Tt) -> None:
    """Three agents, each waits for the one before it; the file tells what happened; a push runs nothing again."""
    names = ["design", "build", "review"]
    for name in names:
        made.ok("spawn", f"{name}er", "--model", "demo")
    blocks = [
        f'[[tasks]]\nid = "{name}"\ndescription = "Do the {name}"\nagent = "{name}er"\n'
        + (f'depends_on = ["{names[n - 1]}"]  # in this order\n' if n else "")
        for n, name in enumerate(names)
    ]
    write(made, "\n".join(blocks))

    made.ok("sync", "push")
    wait_until(lambda: len(made.ok("task", "list", "--state", "completed", "--json").json) == 3, 30, "the last task")
    made.ok("sync", "pull")

    done = made.ok("task", "list", "--json").json
    assert [task["agent"] for task in done] == ["designer", "builder", "reviewer"]
    for before, after in itertools.pairwise(done):
        assert before["completed_at"] <= after["started_at"]
    assert read(made).count('status = "completed"') == 3
    assert read(made).count("# in this order") == 2
    assert made.ok("sync", "push").out.splitlines()[1] == "   3 finished"
