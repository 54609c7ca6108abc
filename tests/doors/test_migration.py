"""`tt migrate`: what it shows, asks and says."""

from __future__ import annotations

import json
import signal

import pytest

from tests.support import invariants
from tests.support.cli import Tt
from tests.support.waiting import wait_until
from tinytown import ids
from tinytown.domain.states import TaskState
from tinytown.town import Town

pytestmark = pytest.mark.slow

AT = "2026-01-02T03:04:05.123456789Z"


def old_agent(town: Town, name: str = "backend") -> str:
    agent_id = ids.new_id()
    record = {"id": agent_id, "name": name, "state": "idle", "cli": "claude", "created_at": AT}
    town.store.redis.set(f"tt:agent:{agent_id}", json.dumps(record))
    return agent_id


def old_tasks(town: Town, count: int = 1) -> list[str]:
    made = [ids.new_id() for _ in range(count)]
    records = {
        f"tt:task:{i}": json.dumps(
            {"id": i, "description": "x", "state": "pending", "created_at": AT, "updated_at": AT}
        )
        for i in made
    }
    town.store.redis.mset(records)
    town.store.redis.rpush("tt:backlog", *made)
    return made


def test_dry_run(tt: Tt, town: Town) -> None:
    """The lines of the manual; nothing is changed."""
    agent_id = old_agent(town)
    (task_id,) = old_tasks(town)
    ran = tt.ok("migrate", "--dry-run")
    name = town.name
    assert ran.out == (
        "• Migration Preview (dry run)\n"
        f"   Town: {name}\n"
        "\n   Keys to migrate:\n"
        f"   tt:agent:{agent_id} → tt:{name}:agent:{agent_id}\n"
        f"   tt:backlog → tt:{name}:backlog\n"
        f"   tt:task:{task_id} → tt:{name}:task:{task_id}\n"
        "\n   Total: 3 key(s) would be migrated\n"
        "\n   Run 'tt migrate' (without --dry-run) to perform migration.\n"
    )
    assert ran.err == ""
    assert sorted(town.store.redis.scan_iter("tt:*")) == [f"tt:agent:{agent_id}", "tt:backlog", f"tt:task:{task_id}"]


def test_a_long_preview_is_cut(tt: Tt, town: Town) -> None:
    """Thousands of keys are counted, not listed."""
    old_tasks(town, 300)
    ran = tt.ok("migrate", "--dry-run")
    assert len(ran.out.splitlines()) < 220
    assert "   ... and 101 more\n" in ran.out
    assert "Total: 301 key(s)" in ran.out


def test_force(tt: Tt, town: Town) -> None:
    """It says what was done; the second time, that there is nothing to do."""
    old_agent(town)
    old_tasks(town)
    ran = tt.ok("migrate", "--force")
    assert ran.out == (
        "Migration complete\n"
        "   Agents migrated:   1\n"
        "   Tasks migrated:    1\n"
        "   Messages migrated: 0\n"
        "   Backlog:           1\n"
        "   All migrated agents are stopped. Start one with: tt restart <name>\n"
    )
    assert ran.err == ""
    invariants.check(town, settled=True)
    again = tt.ok("migrate", "--force")
    assert again.out == f"No migration needed: the keys of town '{town.name}' are in the current format.\n"
    assert [agent["name"] for agent in tt.ok("list", "--json").json] == ["backend"]
    assert len(tt.ok("backlog", "list").out.splitlines()) == 2


def test_nobody_can_be_asked(tt: Tt, town: Town) -> None:
    """Without a terminal and without --force nothing is done."""
    old_agent(town)
    ran = tt.fails("migrate")
    assert ran.complaint == [
        f"Error: 1 key(s) would be migrated into town '{town.name}', and nobody can be asked.",
        "Look first with: tt migrate --dry-run; then run: tt migrate --force",
    ]
    assert town.store.agents.names() == {}


@pytest.mark.parametrize(("typed", "migrated"), [("y\n", True), ("n\n", False), ("\n", False), ("\x04", False)])
def test_a_person_is_asked(tt: Tt, town: Town, typed: str, *, migrated: bool) -> None:
    """Only a yes counts; the question says that old keys belong to whoever comes first."""
    old_agent(town)
    code, shown = tt.on_terminal("migrate", typed=typed)
    assert code == 0
    assert "belong to whoever migrates first" in shown
    assert "Continue? [y/N]" in shown
    assert ("✅ Migration complete" in shown) == migrated
    assert ("Nothing was changed." in shown) != migrated
    assert bool(town.store.agents.names()) == migrated


def test_what_is_left_and_what_changed_is_said(tt: Tt, town: Town) -> None:
    """On stderr, so that the result stays readable; also when nothing can be migrated."""
    first, second = old_agent(town, "same"), old_agent(town, "same")
    bad = ids.new_id()
    town.store.redis.set(f"tt:task:{bad}", "\x1b[31mno JSON")
    ran = tt.ok("migrate", "--force")
    left = f"Left as it is: tt:task:{bad}: no record that can be read"
    assert ran.complaint[0] == left
    assert any(f"'same-{i[:8]}'" in ran.complaint[1] for i in (first, second))
    again = tt.ok("migrate", "--dry-run")
    assert again.complaint == [left]
    assert again.out.startswith("No migration needed")


def test_help_says_whose_keys_they_are(tt: Tt) -> None:
    """On a shared Redis the first town takes all."""
    text = " ".join(tt.ok("migrate", "--help").out.split())
    assert "Keys without a town belong to whoever migrates first" in text


def test_a_town_that_is_down(bare: Tt) -> None:
    """A preview starts nothing; a migration may."""
    bare.ok("init", "--name", "down")
    bare.ok("stop", "--all")
    assert "Redis is not running" in bare.fails("migrate", "--dry-run").err
    assert bare.ok("migrate").out.startswith("No migration needed")


@pytest.mark.slow
@pytest.mark.fault
def test_a_killed_migration(tt: Tt, town: Town) -> None:
    """What was migrated stays so, the rest is as it was, and the next run finishes it."""
    tasks = old_tasks(town, 2000)
    with tt.running("migrate", "--force") as command:
        wait_until(lambda: town.store.tasks.counts()[TaskState.PENDING] > 50, 20, "some tasks")
        command.send_signal(signal.SIGKILL)
        command.wait(10)
    done = town.store.tasks.counts()[TaskState.PENDING]
    assert done < len(tasks)
    invariants.check(town, settled=True)
    assert town.store.redis.llen("tt:backlog") == len(tasks) - done
    tt.ok("migrate", "--force")
    assert town.store.tasks.backlog_ids() == tasks
    assert not town.store.redis.exists("tt:backlog")
    invariants.check(town, settled=True)
