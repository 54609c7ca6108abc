"""`tt mission ...`, as users call it, against a GitHub of their own."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.builders import make_item, make_mission, make_watch
from tests.support.cli import Tt
from tests.support.github.server import GitHub, Request
from tests.support.missions import item_now, put_mission
from tests.support.town import register, snapshot
from tinytown.domain.watch import WatchStatus
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.town import Town, open_town

pytestmark = pytest.mark.slow


@pytest.fixture
def github() -> Iterator[GitHub]:
    """The three issues of the tutorial."""
    with GitHub() as server:
        server.issue("acme/web", 1, title="Design auth API", body="Design the schema.")
        server.issue("acme/web", 2, title="Implement auth endpoints", body="Depends on #1.")
        server.issue("acme/web", 3, title="Write auth tests", body="After #2.")
        yield server


def connect(tt: Tt, github: GitHub) -> None:
    """The town's repository is `acme/web` there."""
    tt.env |= {"GITHUB_TOKEN": "secret"}
    root = tt.town or tt.cwd
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "remote", "add", "origin", f"{github.web_url}/acme/web.git"], cwd=root, check=True)
    with (root / "tinytown.toml").open("a") as settings:
        settings.write(f'\n[github]\napi_url = "{github.api_url}"\n')


def test_a_mission_from_start_to_end(made: Tt, github: GitHub) -> None:
    """With a supervisor, which the start brings up: started, shown, drawn, noted, stopped, resumed, ended for good."""
    connect(made, github)

    started = made.ok("mission", "start", "--issue", "1", "--issue", "acme/web#2", "-i", "3", "--max-parallel", "3")

    lines = started.out.splitlines()
    mission_id = lines[0].removeprefix("Mission started: ")
    assert lines[1:] == [
        "Objectives: 3 issues",
        "Work items: 3",
        "   Issue #1: Design auth API",
        "   Issue #2: Implement auth endpoints",
        "   Issue #3: Write auth tests",
        "   Max parallel: 3",
        "   Reviewer required: true",
    ]
    assert started.err == f"Check status with: tt mission status --run {mission_id[:8]}\n"
    assert made.ok("supervise", "--status").out

    shown = made.ok("mission", "status", "--work", "--watch")
    for part in ("Mission Status", f"ID: {mission_id}", "Objectives: 3", "   - acme/web#1", "Max parallel: 3",
                 "Reviewer required: true", "Auto-merge: false", "Watch interval: 180s", "Work Items: 3",
                 "waits for acme/web#1", "Watch Items: 0", "Recent Events:"):  # fmt: skip
        assert part in shown.out
    assert shown.err == ""
    drawn = made.ok("mission", "graph").out.splitlines()
    assert [line.split("  ")[0] for line in drawn[:2]] == [
        "1 Issue #1: Design auth API", "└─ 2 Issue #2: Implement auth endpoints",
    ]  # fmt: skip
    assert made.ok("mission", "graph", env={"PYTHONIOENCODING": "ascii"}).out.splitlines()[1].startswith("`- 2 ")
    assert made.ok("mission", "note", "Staging is down").out == f"Noted for mission {mission_id}\n"
    assert "user: Staging is down" in made.ok("mission", "status").out
    ran = made.fails("mission", "start", "-i", "2")
    assert ran.complaint[0] == f"Error: Mission {mission_id[:8]} works on acme/web#2 already."

    assert made.ok("mission", "stop", mission_id[:6]).out.startswith(f"Mission {mission_id} stopped\n")
    assert "State: Stopped" in made.ok("mission", "status", "-r", mission_id[:6]).out
    assert made.ok("mission", "resume", mission_id[:6]).out == f"Mission {mission_id} resumed\n"
    assert made.ok("mission", "stop", mission_id[:6], "--force").out.startswith(f"Mission {mission_id} stopped\n")
    assert made.ok("mission", "list").out == "No missions found\n"
    assert made.ok("mission", "status").err == "1 ended. See them with: tt mission list --all\n"
    assert "(Failed)" in made.ok("mission", "list", "--all").out
    assert "cannot be resumed" in made.fails("mission", "resume", mission_id).err
    kinds = [event["event_type"] for event in made.ok("events", "--mission", mission_id[:6], "-n", "99", "--json").json]
    for kind in ("mission_started", "mission_noted", "mission_stopped", "mission_resumed", "mission_failed"):
        assert kinds.count(kind) == 1


def test_what_is_wrong_leaves_nothing(made: Tt, github: GitHub) -> None:
    """One line and a remedy; no mission, no supervisor."""
    connect(made, github)
    github.issue("acme/web", 4, body="after #5")
    github.issue("acme/web", 5, body="after #4")
    town = open_town(str(made.cwd))
    for args, words in (
        ((), "At least one --issue or --doc is required"),
        (("-i", "99"), "acme/web#99 was not found"),
        (("-i", "4", "-i", "5"), "Work items wait for each other: #4 -> #5 -> #4"),
        (("-i", "x y"), "is no reference to an issue"),
        (("-d", "none.md"), "none.md does not exist"),
        (("-i", "1", "--max-parallel", "0"), "--max-parallel must be 1 to 1000"),
    ):
        assert words in made.fails("mission", "start", *args).complaint[0]
        assert snapshot(town) == {}
    assert not town.supervisor_lock.is_taken()
    town.store.close()


def test_a_dry_run_changes_nothing(bare: Tt, github: GitHub) -> None:
    """The graph and who would get what; also where Redis does not run, which stays so."""
    bare.ok("init", "--name", "demo")
    connect(bare, github)
    (bare.cwd / "plan.md").write_text("# Plan\n\n- [ ] Write the docs\n")
    bare.ok("stop", "--all", "--now")

    ran = bare.ok("mission", "start", "-i", "1", "-i", "2", "-d", "plan.md", "--dry-run")

    assert ran.out.splitlines() == [
        "Mission (dry run, nothing was changed)",
        "Objectives: 2 issues, 1 document",
        "Work items: 3",
        "1 Issue #1: Design auth API  pending",
        "└─ 2 Issue #2: Implement auth endpoints  pending",
        "3 plan.md#write-the-docs: Write the docs  pending",
    ]
    assert "Redis does not run" in ran.err
    assert "Redis is not running" in bare.fails("mission", "status").err
    (first, *_rest) = bare.ok("mission", "start", "-i", "1", "--dry-run", "--json").json["work_items"]
    assert (first["source_ref"], first["assignment"]) == ("acme/web#1", None)


def test_a_slow_github_is_talked_about(tt: Tt, supervised: Town, github: GitHub) -> None:
    """What is fetched, once it takes longer than a second; on stderr."""
    connect(tt, github)
    never = threading.Event()

    def slow(request: Request) -> None:
        if request.path.endswith("/issues/1"):
            never.wait(1.2)

    github.before = slow
    ran = tt.ok("mission", "start", "-i", "1", "-i", "2", "--json")
    assert "Fetching acme/web#2 (2 of 2)..." in ran.err
    assert ran.json["work"]["total"] == 2


def of_a_mission(town: Town, **fields: Any) -> WorkItem:
    run = make_mission()
    item = make_item(run, **{"status": WorkStatus.BLOCKED, "author": "a", "result": "done"} | fields)
    watch = make_watch(item, text="1 of 2 checks failed: \x1b[31mbuild", state="failing", status=WatchStatus.SNOOZED)
    put_mission(town, run, item, watches=[watch])
    return item


def test_verdicts_and_items(tt: Tt, town: Town) -> None:
    """approve, reject, retry, cancel: by the item's source, number or id; an agent's own work is not its to approve."""
    item = of_a_mission(town)
    assert tt.ok("mission", "reject", "#1", "--reason", "No tests").out == (
        f"Rejected: acme/web#1: Part 1 ({item.id[:8]})\n"
    )
    assert item_now(town, item).rejections == ["No tests"]
    assert tt("mission", "reject", "#1").code == 2
    assert tt.ok("mission", "approve", "1").out.startswith("Approved: acme/web#1")
    assert "approved already by user" in tt.fails("mission", "approve", item.id).err
    assert tt.ok("mission", "cancel", item.id[:8], "--reason", "no time").out.startswith("Cancelled: acme/web#1")
    assert tt.ok("mission", "retry", "acme/web#1", "--run", item.mission_id[:8]).out.startswith("Retrying: ")
    agent = register(town, "backend")
    own = of_a_mission(town, author=agent.id, number=2, source_ref="acme/web#2")
    as_agent = {"TINYTOWN_AGENT_ID": agent.id, "TINYTOWN_RUN": f"{agent.id}:1:1"}
    assert "nobody reviews their own" in tt.fails("mission", "approve", "#2", env=as_agent).err
    assert not item_now(town, own).reviewer_approved


def test_several_missions(tt: Tt, town: Town) -> None:
    """A line or two each; --work shows all of them in full; --json is a list, of one mission an object."""
    items = [of_a_mission(town), of_a_mission(town)]
    out = tt.ok("mission", "status").out
    assert out.startswith("Active Missions: 2\n")
    assert all(item.mission_id[:8] in out for item in items)
    assert tt.ok("mission", "status", "--work").out.count("Mission Status") == 2
    assert tt.ok("mission", "graph").out.count("1 Issue #1: Part 1  blocked") == 2
    assert {one["id"] for one in tt.ok("mission", "status", "--json").json} == {i.mission_id for i in items}
    one = tt.ok("mission", "status", "--run", items[0].mission_id, "--work", "--watch", "--json").json
    assert (one["work_items"][0]["id"], one["watch_items"][0]["state"]) == (items[0].id, "failing")
    assert "2 missions at work" in tt.fails("mission", "note", "text").err
    assert "Several missions are at work" in tt.fails("mission", "approve", "1").err


def test_on_a_terminal(tt: Tt, town: Town) -> None:
    """Icons beside the words, as wide as the terminal, and nothing that steers it."""
    item = of_a_mission(town, title="Evil \x1b[2J title " + "x" * 300)
    code, shown = tt.on_terminal("mission", "status", "--watch", env={"NO_COLOR": "1"})
    assert code == 0
    for part in ("🎯 Mission Status", "🚀 Running", "📦 Work Items: 1", "🚧 blocked", "😴 snoozed", "CI check: 1 of 2"):
        assert part in shown
    assert "No supervisor runs" in shown
    code, drawn = tt.on_terminal("mission", "graph", env={"NO_COLOR": "1", "COLUMNS": "60"})
    assert drawn.startswith("🚧 1 Issue #1: Evil")
    assert max(map(len, drawn.splitlines())) <= 60
    assert "\x1b" not in shown + drawn
    assert item.id[:8] in shown


def test_nothing_there(tt: Tt) -> None:
    """Says how to begin."""
    assert tt.ok("mission", "status").out == "No active missions\n   Start one with: tt mission start --issue <N>\n"
    assert tt.ok("mission", "list", "--all").out == "No missions found\n"
    assert tt.ok("mission", "list", "--json").json == []
    for words in (("status", "--run", "abcd"), ("stop", "abcd"), ("resume", "abcd"), ("note", "abcd", "x")):
        assert tt.fails("mission", *words).complaint == [
            "Error: Mission abcd not found", "See the missions with: tt mission list --all",
        ]  # fmt: skip
    assert "Work item not found" in tt.fails("mission", "approve", "#1").err
    assert json.loads(tt.ok("mission", "graph", "--json").out) == []
