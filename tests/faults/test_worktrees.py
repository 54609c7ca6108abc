"""Agents in worktrees, in a supervised town: apart from each other, whatever dies while a worktree is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import NewTown
from tests.support.repository import git, make_repository
from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.domain.states import AgentState
from tinytown.errors import Conflict
from tinytown.ids import SUPERVISOR_ID
from tinytown.services import agents, worktrees
from tinytown.services.worktrees import Phase, merging, removal

pytestmark = pytest.mark.fault


def isolated(new_town: NewTown, **agent: Any) -> RunningTown:
    """A running town in a git repository."""
    town = new_town(agent={"isolation": "worktree", "retry_delay_s": 0.05} | agent)
    make_repository(town.root)
    return town


def tree_of(town: RunningTown, name: str) -> Path:
    return worktrees.find(town.town, name).path


def noted(town: RunningTown, name: str) -> str:
    """What a `stub: run` or a setup wrote into the control folder, once it is there."""
    path = town.control / name
    return str(town.wait(lambda: path.exists() and path.read_text(), f"the file {name}"))


def set_up(town: RunningTown, command: str) -> None:
    """Correct `setup` in the town's file, as a user would."""
    path = town.root / "tinytown.toml"
    lines = [f"setup = {command!r}" if line.startswith("setup") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")


def test_two_agents_on_one_file(new_town: NewTown) -> None:
    """They edit the same file at the same time, each in its own worktree; what they commit can be merged."""
    town = isolated(new_town)
    town.spawn("ann", "bob")
    given = [
        town.assign(name, f"run echo {name} > {name}.txt; echo {name} > shared.txt", f"run touch {town.control}/{name}",
                    "await go", "run git commit -qam work", "run git rev-parse --show-toplevel > top.log")
        for name in ("ann", "bob")
    ]  # fmt: skip
    for name in ("ann", "bob"):
        town.wait((town.control / name).exists, f"{name} at work")
        with pytest.raises(Conflict, match="is working"):
            removal.remove(town.town, name)
        with pytest.raises(Conflict, match="is working"):
            merging.merge(town.town, name)
    town.go()
    town.wait_done(*given)
    town.wait_idle("ann", "bob")
    for name in ("ann", "bob"):
        assert (tree_of(town, name) / "shared.txt").read_text() == f"{name}\n"
        assert (tree_of(town, name) / "top.log").read_text() == f"{tree_of(town, name)}\n"
    assert (town.root / "shared.txt").read_text() == "first\n"
    assert git(town.root, "status", "--porcelain") == ""
    assert merging.merge(town.town, "ann", "and the rest").commits == 2
    with pytest.raises(Conflict, match=r"conflicts in: shared\.txt"):
        merging.merge(town.town, "bob", "and the rest")


def test_what_the_model_sees(new_town: NewTown) -> None:
    """It runs in the worktree, is told of its branch, and its `tt` and git mean the right town and checkout."""
    town = isolated(new_town, setup="env > setup.log")
    town.spawn("ann")
    script = "pwd; tt task current; git branch --show-current; rm .git; git rev-parse --show-toplevel; true"
    task = town.task_done("ann", f"run ({script}) > {town.control}/seen 2>&1")
    path, current, *_more, branch, lost = noted(town, "seen").splitlines()
    assert path == str(tree_of(town, "ann"))
    assert task.id in current
    assert branch == f"tt/{town.town.name}/ann"
    assert "not a git repository" in lost
    assert f"TINYTOWN_TOWN={town.root}\n" in (tree_of(town, "ann") / "setup.log").read_text()


@pytest.fixture
def calls_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each git that a town starts."""
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "git"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nPATH=${{PATH#*:}}\nexec git "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path / "calls"


def test_without_isolation_no_git_runs(new_town: NewTown, calls_of_git: Path) -> None:
    """An agent in the main checkout costs what it always did."""
    town = new_town()
    make_repository(town.root)
    calls_of_git.unlink()
    town.spawn("ann")
    town.task_done("ann", f"run pwd > {town.control}/seen")
    assert noted(town, "seen") == f"{town.root}\n"
    assert not calls_of_git.exists()


def test_a_worktree_that_is_ready_costs_no_git(new_town: NewTown, calls_of_git: Path) -> None:
    """The first round makes it, the second finds it by its note."""
    town = isolated(new_town)
    town.spawn("ann")
    town.task_done("ann")
    before = calls_of_git.read_text()
    assert "worktree add" in before
    town.task_done("ann")
    assert calls_of_git.read_text() == before


def test_removed_between_rounds(new_town: NewTown) -> None:
    """An idle agent's worktree may go; its next round gets a fresh one, and what it left can be had again."""
    town = isolated(new_town)
    town.spawn("ann")
    town.task_done("ann", "run echo mine > mine.txt")
    town.wait_idle("ann")
    done = removal.remove(town.town, "ann")
    assert git(town.root, "show", f"{done.rescue}:mine.txt") == "mine"
    town.task_done("ann", f"run ls > {town.control}/seen")
    assert "mine.txt" not in noted(town, "seen")
    town.spawn("bob")
    town.task_done("bob")


_WAIT = """
cd "$TINYTOWN_TOWN/control"
echo $$ >> begun
[ -e go ] || { setsid sleep 60 & }
while [ ! -e go ]; do sleep 0.01; done
"""


@pytest.mark.parametrize("moment", [Phase.CREATING, Phase.CREATED])
def test_actor_killed_while_its_worktree_is_made(new_town: NewTown, moment: Phase) -> None:
    """Nothing of the half-made one lives on; the successor makes it, and the task is run once."""
    town = isolated(new_town, setup=_WAIT if moment is Phase.CREATED else "")
    if moment is Phase.CREATING:
        hook = town.root / ".git" / "hooks" / "post-checkout"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh{_WAIT}")
        hook.chmod(0o755)
    town.spawn("ann")
    task = town.assign("ann")
    noted(town, "begun")
    assert worktrees.find(town.town, "ann").phase is moment
    first = town.models("ann")
    town.kill(town.actor("ann"))
    town.wait(lambda: not any(map(processes.is_alive, first)), "the end of what made the worktree")
    town.go()
    town.wait_done(task)
    assert len(town.runs(task)) == 1
    assert git(town.root, "for-each-ref", "refs/tinytown") == ""
    assert len(git(town.root, "worktree", "list").splitlines()) == 2


def test_setup_that_fails(new_town: NewTown) -> None:
    """No round is run or charged; the agent says why, a human is asked once, and it goes on when that is corrected."""
    town = isolated(new_town, setup="echo no node here; exit 3")
    town.spawn("ann")
    task = town.assign("ann")
    ann = town.wait(lambda: (now := town.agent("ann")).reason and now, "the reason")
    assert (ann.state, town.task(task).state) == (AgentState.IDLE, "assigned")
    assert ann.reason == "unprepared: [agent] setup failed: exit code 3 (no node here)"
    assert "no node here" in town.events("agent_unprepared")[0]["message"]
    assert "no node here" in (town.town.logs_dir / "ann.log").read_text()
    town.wait(lambda: len(town.events("agent_unprepared")) == 2, "the second try")
    set_up(town, "true")
    town.wait_done(task)
    row = town.town.store.agents.row(ann.id)
    assert row is not None
    assert (row.stats["rounds"], len(town.runs(task)), town.agent("ann").reason) == (1, 1, None)
    questions = town.town.store.call(lambda r: r.lrange(town.town.store.keys.inbox(SUPERVISOR_ID), 0, -1))
    assert len([text for text in questions if "needs you" in text]) == 1


def test_setup_without_end(new_town: NewTown) -> None:
    """It has the time of a round, and its whole tree is ended."""
    town = isolated(new_town, setup="setsid sleep 60 & sleep 60", round_timeout_s=0.5)
    town.spawn("ann")
    task = town.assign("ann")
    ann = town.wait(lambda: (now := town.agent("ann")).reason and now, "the reason")
    assert "no end after 0.5 s" in ann.reason
    assert town.models("ann") == []
    assert town.runs(task) == []


def test_setup_that_leaves_a_daemon(new_town: NewTown) -> None:
    """What it started does not outlive it."""
    town = isolated(new_town, setup="setsid sleep 60 & true")
    town.spawn("ann")
    town.task_done("ann")
    town.wait_idle("ann")
    assert town.models("ann") == []


def test_stopped_while_its_worktree_is_made(new_town: NewTown) -> None:
    """The setup ends with its agent; the work waits, uncharged, and the next life does it."""
    town = isolated(new_town, setup="sleep 60")
    town.spawn("ann")
    task = town.assign("ann")
    town.wait(lambda: worktrees.find(town.town, "ann").phase is Phase.CREATED, "the setup")
    agents.kill(town.town, "ann", now=True)
    town.wait(lambda: town.agent("ann").state is AgentState.STOPPED, "its end")
    assert town.runs(task) == []
    set_up(town, "true")
    agents.restart(town.town, "ann")
    town.wait_done(task)


def test_refused_outside_git(new_town: NewTown) -> None:
    """A spawn and a restart are refused where no worktree can be, and change nothing."""
    town = new_town(agent={"isolation": "worktree"})
    with pytest.raises(Conflict, match="needs a git repository"):
        town.spawn("ann")
    assert town.town.store.agents.names() == {}
