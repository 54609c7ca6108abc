"""Worktrees that agents and people left in odd states: removed or made anew, nothing of theirs is lost."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.support.repository import commit_all, git, make_repository
from tinytown.errors import Conflict, TimedOut
from tinytown.git import answer
from tinytown.services.worktrees import Worktree, making, merging, removal
from tinytown.town import Town

pytestmark = pytest.mark.slow


@pytest.fixture
def isolated(town: Town) -> Town:
    """A town in a git repository, whose agents work in worktrees."""
    make_repository(town.root)
    return Town(town.root, replace(town.config, agent=replace(town.config.agent, isolation="worktree")))


def prepare(town: Town) -> Worktree:
    return making.prepare(town, "ann", lambda _line: None)


def changed_by(town: Town, ref: str | None) -> list[str]:
    """What the rescue did to the files of its first parent."""
    assert ref is not None
    return git(town.root, "diff", "--name-status", f"{ref}^1", ref).splitlines()


def test_sparse_checkout(isolated: Town) -> None:
    """What it leaves out was not deleted by anybody; what is there in spite of it is kept."""
    for name in ("a", "b", "c"):
        (isolated.root / name).mkdir()
        (isolated.root / name / "file").write_text("1")
    commit_all(isolated.root, "more")
    tree = prepare(isolated)
    git(tree.path, "sparse-checkout", "set", "a")
    assert removal.remove(isolated, "ann").rescue is None
    tree = prepare(isolated)
    git(tree.path, "sparse-checkout", "set", "a")
    (tree.path / "a" / "file").unlink()
    (tree.path / "b").mkdir()
    for name in ("file", "new"):
        (tree.path / "b" / name).write_text("2")
    done = removal.remove(isolated, "ann")
    assert changed_by(isolated, done.rescue) == ["D\ta/file", "M\tb/file", "A\tb/new"]


def test_hidden_from_git(isolated: Town) -> None:
    """Changes that somebody told git not to look at."""
    for name in ("a", "b"):
        (isolated.root / name).write_text("1")
    commit_all(isolated.root, "more")
    tree = prepare(isolated)
    git(tree.path, "update-index", "--skip-worktree", "a")
    git(tree.path, "update-index", "--assume-unchanged", "b")
    for name in ("a", "b"):
        (tree.path / name).write_text("mine")
    assert changed_by(isolated, removal.remove(isolated, "ann").rescue) == ["M\ta", "M\tb"]


def test_commits_and_index_without_links(isolated: Town) -> None:
    """Cut off from its repository and on no branch: its commits, what was staged and put aside are found there."""
    tree = prepare(isolated)
    git(tree.path, "checkout", "--quiet", "--detach")
    (tree.path / "work").touch()
    work = commit_all(tree.path, "work")
    (tree.path / "work").write_text("staged")
    git(tree.path, "add", "work")
    (tree.path / "work").write_text("changed")
    (tree.path / ".git").unlink()
    done = removal.remove(isolated, "ann")
    assert git(isolated.root, "rev-parse", f"{done.rescue}^1") == work
    assert git(isolated.root, "show", f"{done.rescue}^2:work") == "staged"
    assert git(isolated.root, "show", f"{done.rescue}:work") == "changed"


def test_a_repository_instead_of_the_link(isolated: Town) -> None:
    """Somebody began a repository of its own there: its commits are nowhere else."""
    tree = prepare(isolated)
    (tree.path / ".git").unlink()
    make_repository(tree.path)
    with pytest.raises(Conflict, match=r"other git repositories in it: \.git"):
        removal.remove(isolated, "ann")
    assert (tree.path / ".git" / "HEAD").exists()
    shutil.rmtree(tree.path / ".git")
    assert removal.remove(isolated, "ann").was_there


def test_town_that_moved(isolated: Town, tmp_path: Path) -> None:
    """It is removed all the same, with its entry in the repository."""
    tree = prepare(isolated)
    git(tree.path, "checkout", "--quiet", "--detach")
    (tree.path / "work").touch()
    work = commit_all(tree.path, "work")
    moved = Town(isolated.root.rename(tmp_path / "elsewhere"), isolated.config)
    done = removal.remove(moved, "ann")
    assert (git(moved.root, "rev-parse", done.rescue or ""), done.kept) == (work, False)
    assert len(git(moved.root, "worktree", "list").splitlines()) == 1
    moved.store.close()


def test_branch_that_follows_another(isolated: Town) -> None:
    """It is merged when the main checkout has it, whatever its upstream branch has."""
    tree = prepare(isolated)
    (tree.path / "work").touch()
    work = commit_all(tree.path, "work")
    git(tree.path, "branch", "other")
    git(tree.path, "branch", "--quiet", "--set-upstream-to", "other")
    assert removal.remove(isolated, "ann").kept
    assert git(isolated.root, "rev-parse", tree.branch) == work


def test_git_that_is_slow_to_answer(isolated: Town, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No answer is not the answer that there is nothing: the branch of a former agent is not begun anew."""
    tree = prepare(isolated)
    (tree.path / "work").touch()
    work = commit_all(tree.path, "work")
    assert removal.remove(isolated, "ann").kept
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"""#!/bin/sh
case "$*" in *"--quiet refs/heads/tt"*) echo >> {tmp_path}/asked; exec sleep 60;; esac
PATH=${{PATH#*:}} exec git "$@"
""")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("tinytown.git.answer", partial(answer, within_s=0.5))
    with pytest.raises(TimedOut, match="git rev-parse did not end"):
        prepare(isolated)
    assert (tmp_path / "asked").exists()
    assert git(isolated.root, "rev-parse", tree.branch) == work


def test_merge_whatever_the_settings_are(isolated: Town) -> None:
    """Options that the user set for merges into this branch do not leave it half done."""
    tree = prepare(isolated)
    (tree.path / "work").touch()
    work = commit_all(tree.path, "work")
    git(isolated.root, "config", "branch.main.mergeOptions", "--no-commit --ff-only")
    assert merging.merge(isolated, "ann").commits == 1
    assert git(isolated.root, "rev-parse", "HEAD^2") == work
    assert git(isolated.root, "status", "--porcelain") == ""
