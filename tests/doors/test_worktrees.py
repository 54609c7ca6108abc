"""`tt worktree ...`, and what `tt spawn` and the settings say of worktrees."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import town as towns
from tests.support.cli import Tt
from tests.support.repository import commit_all, git, make_repository
from tests.support.waiting import wait_until
from tinytown.town import Town

pytestmark = pytest.mark.slow


@pytest.fixture
def tree(tt: Tt, town: Town) -> Path:
    """The worktree of the agent `backend`, in a town whose agents are isolated, with one change."""
    isolate(town.root)
    make_repository(town.root)
    towns.register(town, "backend", nickname="bob")
    tt.ok("worktree", "prepare", "backend")
    path = town.state_dir / "agents" / "backend" / "worktree"
    (path / "shared.txt").write_text("changed\n")
    return path


def isolate(root: Path, more: str = "") -> None:
    """As a user sets it."""
    path = root / "tinytown.toml"
    path.write_text(path.read_text() + f'\n[agent]\nisolation = "worktree"\n{more}\n')


def test_list(tt: Tt, town: Town, tree: Path) -> None:
    """One line each; --json has the documented shape."""
    branch = f"tt/{town.name}/backend"
    assert tt.ok("worktree", "list").out == (
        f"Worktrees (1):\n  backend  {branch}  0 ahead, 0 behind, 1 uncommitted  {tree}\n"
    )
    assert tt.ok("worktree", "list", "--json").json == [
        {
            "agent": "backend", "branch": branch, "path": str(tree), "phase": "ready", "head": branch, "ahead": 0,
            "behind": 0, "dirty": 1, "error": None,
        }
    ]  # fmt: skip
    git(tree, "checkout", "--quiet", "--detach")
    assert "1 uncommitted, on no branch" in tt.ok("worktree", "list").out
    (tree / ".git").unlink()
    assert "not a git repository" in tt.ok("worktree", "list").out
    (row,) = tt.ok("worktree", "list", "--json").json
    assert (row["dirty"], "not a git repository" in row["error"]) == (None, True)


def test_in_a_worktree_the_town_is_the_agents(tt: Tt, town: Town, tree: Path) -> None:
    """Git brings the town's file along; who stands there, or names the folder, means the town all the same."""
    assert (tree / "tinytown.toml").is_file()
    (tree / "inner").mkdir()
    for where in (tree, tree / "inner"):
        assert Tt(where).ok("status", "--json").json["root"] == str(town.root)
    assert tt.ok("--town", str(tree), "status", "--json").json["root"] == str(town.root)
    Tt(tree).ok("send", "backend", "hello")
    assert town.store.inboxes.lengths([town.store.agents.names()["backend"]])[0].inbox == 1
    assert Tt(tree).fails("init").complaint == [
        f"Error: This is an agent's worktree of the town at {town.root}.",
        f"Use that town: tt status --town {town.root}",
    ]
    assert not (tree / ".tt").exists()
    (tree / "inner" / "tinytown.toml").write_text('name = "inner"\n')
    assert Tt(tree / "inner").ok("config", "--json").json["town"] == "inner"


def test_list_of_none(tt: Tt, town: Town) -> None:
    """It says how to come to one."""
    assert 'isolation = "worktree"' in tt.ok("worktree", "list").out
    isolate(town.root)
    assert tt.ok("worktree", "list").out == "No worktrees. They are made when an agent first works.\n"
    assert tt.ok("worktree", "list", "--json").json == []


def test_list_needs_no_redis(bare: Tt) -> None:
    """Worktrees are on disk: a town that is down can be looked at, and is not started."""
    (bare.cwd / "tinytown.toml").write_text('name = "down"\n')
    make_repository(bare.cwd)
    bare.ok("worktree", "prepare", "gone")
    assert "gone  tt/down/gone  0 ahead" in bare.ok("worktree", "list").out
    assert bare.ok("worktree", "diff", "gone").out == ""
    assert not (bare.cwd / ".tt" / "redis.sock").exists()


def test_diff(tt: Tt, tree: Path) -> None:
    """The patch, or --stat; on a terminal in colour, and harmless."""
    assert "-first\n+changed\n" in tt.ok("worktree", "diff", "bob").out
    assert "1 file changed" in tt.ok("worktree", "diff", "backend", "--stat").out
    (tree / "shared.txt").write_text("\x1b]0;title\x07\n")
    code, shown = tt.on_terminal("worktree", "diff", "backend")
    assert code == 0
    assert "\x1b[32m+\\x1b]0;title\\x07\x1b[0m" in shown
    assert "\x1b[31m-first\x1b[0m" in shown


def test_merge(tt: Tt, town: Town, tree: Path) -> None:
    """Uncommitted work needs --commit; then it says what came; a second time there is nothing."""
    refused = tt.fails("worktree", "merge", "backend")
    assert refused.err == (
        "Error: The worktree of 'backend' has 1 uncommitted file(s).\n"
        'Commit them with: tt worktree merge backend --commit "message"\n'
    )
    ran = tt.ok("worktree", "merge", "backend", "--commit", "work")
    commit = git(town.root, "rev-parse", "HEAD")
    assert ran.out == f"Merged 1 commit(s) of 'tt/{town.name}/backend' into 'main'\n   Commit: {commit}\n"
    assert tt.ok("worktree", "merge", "backend").out == (
        f"Nothing to merge: 'main' has all of 'tt/{town.name}/backend'.\n"
    )


def test_merge_with_a_conflict(tt: Tt, town: Town, tree: Path) -> None:
    """One line that names the files, one that says how to go on."""
    (town.root / "shared.txt").write_text("mine\n")
    commit_all(town.root, "mine")
    ran = tt.fails("worktree", "merge", "backend", "--commit", "work")
    assert f"Merging tt/{town.name}/backend into main conflicts in: shared.txt" in ran.err
    assert "Nothing was changed." in ran.err


def test_remove(tt: Tt, town: Town, tree: Path) -> None:
    """It says where the rest is and how to get it back, which works; again, it finds nothing to do."""
    lines = tt.ok("worktree", "remove", "backend").out.splitlines()
    assert lines[0] == "Removed the worktree of 'backend'"
    rescue = re.fullmatch(r"   What was only there is kept as (refs/tinytown/rescue/\S+)", lines[1])
    assert rescue is not None
    command = f"git switch -c backend-rescued {rescue[1]}"
    assert lines[2] == f"   To get it back: {command}"
    git(town.root, *command.split()[1:])
    assert (town.root / "shared.txt").read_text() == "changed\n"
    assert tt.ok("worktree", "remove", "backend").out == "Agent 'backend' has no worktree.\n"
    tt.fails("worktree", "diff", "backend")
    assert "Agent not found: nobody" in tt.fails("worktree", "remove", "nobody").err


def test_remove_keeps_what_is_not_merged(tt: Tt, town: Town, tree: Path) -> None:
    """The branch stays, and it says so."""
    commit_all(tree, "work")
    assert tt.ok("worktree", "remove", "backend").out == (
        f"Removed the worktree of 'backend'\n   Branch tt/{town.name}/backend is kept: not all of it is merged.\n"
    )


def test_prepare_is_not_for_people(tt: Tt) -> None:
    """No list shows what an actor runs."""
    assert "prepare" not in tt.ok("worktree", "--help").out


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('isolation = "docker"', "'agent.isolation' must be one of none, worktree, not 'docker'"),
        ('copy = ".env"', "'agent.copy' must be a list, not '.env'"),
        ("copy = [1]", "'agent.copy' must be text, not 1"),
        ("setup = true", "'agent.setup' must be text, not True"),
    ],
)
def test_bad_settings(tt: Tt, town: Town, setting: str, said: str) -> None:
    """One line that names the file and the key."""
    path = town.root / "tinytown.toml"
    path.write_text(path.read_text() + f"\n[agent]\n{setting}\n")
    assert said in tt.fails("worktree", "list").err


def test_spawn_outside_git(tt: Tt, town: Town) -> None:
    """Refused with the remedy; nothing is registered."""
    isolate(town.root)
    ran = tt.fails("spawn", "backend", "--cli", "demo")
    assert ran.complaint[0].startswith('Error: [agent] isolation = "worktree" needs a git repository: ')
    assert 'isolation = "none"' in ran.complaint[1]
    agent = towns.register(town, "old", wanted=False, cli="demo")
    assert "needs a git repository" in tt.fails("restart", "old").err
    assert towns.agent_now(town, agent) == agent
    assert set(town.store.agents.names()) == {"old"}


@pytest.mark.slow
def test_spawn_to_merge(made: Tt) -> None:
    """The quick start with worktrees: an agent works apart, its work is merged, its worktree goes."""
    isolate(made.cwd, 'copy = [".env"]\nsetup = "cat .env > set-up.log"')
    (made.cwd / ".env").write_text("SECRET=1\n")
    make_repository(made.cwd)
    where = made.cwd / ".tt" / "agents" / "backend" / "worktree"
    spawned = made.ok("spawn", "backend", "--cli", "demo")
    assert f"   Worktree: {where} (branch tt/my-project/backend)\n" in spawned.out
    made.ok("assign", "backend", "write hello.txt: hello")
    wait_until(lambda: made.ok("task", "list", "--state", "completed", "--json").json, 20, "the task")
    assert not (made.cwd / "hello.txt").exists()
    assert (where / "set-up.log").read_text() == "SECRET=1\n"
    log = made.ok("logs", "backend").out
    assert "setup: cat .env > set-up.log" in log
    wait_until(lambda: made.ok("list", "--json").json[0]["state"] == "idle", 20, "an idle agent")
    made.ok("worktree", "merge", "backend", "--commit", "hello")
    assert (made.cwd / "hello.txt").read_text() == "hello\n"
    assert made.ok("worktree", "remove", "backend").out == "Removed the worktree of 'backend'\n"
    types = [event["event_type"] for event in made.ok("events", "--json").json if "worktree" in event["event_type"]]
    assert types == ["worktree_created", "worktree_merged", "worktree_removed"]
