"""Merging an agent's branch, and what it shows as its changes, with real git."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.repository import commit_all, git, make_repository
from tests.support.town import events, in_processes, register, same_town
from tinytown import processes
from tinytown.errors import Conflict, Invalid
from tinytown.journal import ActorEntry, RoundEntry
from tinytown.services import worktrees
from tinytown.services.worktrees import Worktree, making, merging
from tinytown.town import Town

pytestmark = pytest.mark.slow


@pytest.fixture
def isolated(town: Town) -> Town:
    """A town in a git repository, whose agents work in worktrees."""
    make_repository(town.root)
    return Town(town.root, replace(town.config, agent=replace(town.config.agent, isolation="worktree")))


def with_work(town: Town, name: str = "ann", text: str = "by ann\n", file: str = "work.txt") -> Worktree:
    """A worktree with one commit."""
    tree = making.prepare(town, name, lambda _line: None)
    (tree.path / file).write_text(text)
    commit_all(tree.path, f"work of {name}")
    return tree


def merge_fails(town: Town, why: str, message: str | None = None) -> str:
    """The merge is refused, and the main checkout is as it was; returns the remedy."""
    before = (git(town.root, "rev-parse", "HEAD"), git(town.root, "status", "--porcelain", "--untracked-files=all"))
    with pytest.raises(Conflict, match=why) as refused:
        merging.merge(town, "ann", message)
    assert before == (
        git(town.root, "rev-parse", "HEAD"),
        git(town.root, "status", "--porcelain", "--untracked-files=all"),
    )
    return str(refused.value.remedy)


def changes(town: Town, *, stat: bool = False) -> str:
    return b"".join(worktrees.diff(town, "ann", stat=stat)).decode()


# Merging


def test_merge(isolated: Town) -> None:
    """A merge commit, also where git could go forward; a second merge finds nothing to do; the history has it once."""
    register(isolated, "ann")
    tree = with_work(isolated)
    done = merging.merge(isolated, "ann")
    assert (done.into, done.commits, done.branch) == ("main", 1, tree.branch)
    assert done.commit == git(isolated.root, "rev-parse", "HEAD")
    assert git(isolated.root, "rev-list", "--merges", "--count", "HEAD") == "1"
    assert (isolated.root / "work.txt").read_text() == "by ann\n"
    assert merging.merge(isolated, "ann").commits == 0
    (event,) = events(isolated, "worktree_merged")
    assert f"1 commit(s) of {tree.branch} merged into main" in event["message"]


def test_uncommitted(isolated: Town) -> None:
    """Refused without --commit; with it, all of it is committed first; a message must say something."""
    tree = with_work(isolated)
    (tree.path / "new.txt").touch()
    (tree.path / "shared.txt").write_text("changed\n")
    assert '--commit "message"' in merge_fails(isolated, "has 2 uncommitted")
    with pytest.raises(Invalid, match="must not be empty"):
        merging.merge(isolated, "ann", " ")
    assert merging.merge(isolated, "ann", "-x is my message").commits == 2
    assert git(tree.path, "log", "-1", "--format=%s") == "-x is my message"
    assert (isolated.root / "new.txt").exists()


def test_conflict(isolated: Town) -> None:
    """The files are named, and nothing is changed, other people's uncommitted work neither."""
    with_work(isolated, file="shared.txt")
    (isolated.root / "shared.txt").write_text("by the user\n")
    commit_all(isolated.root, "mine")
    (isolated.root / ".gitignore").write_text(".tt/*\n")
    (isolated.root / "untracked").touch()
    remedy = merge_fails(isolated, "conflicts in: shared.txt")
    assert "Nothing was changed" in remedy
    assert (isolated.root / ".gitignore").read_text() == ".tt/*\n"


def test_changes_in_the_way(isolated: Town) -> None:
    """Uncommitted work in the main checkout that a merge would write over stays, and git says so."""
    with_work(isolated, file="shared.txt")
    (isolated.root / "shared.txt").write_text("by the user\n")
    merge_fails(isolated, "git merge failed: .*shared.txt")
    git(isolated.root, "config", "merge.autoStash", "true")
    merge_fails(isolated, "git merge failed: .*shared.txt")
    assert (isolated.root / "shared.txt").read_text() == "by the user\n"


def test_hook_refuses(isolated: Town) -> None:
    """What a hook refuses is taken back, and its words are shown."""
    with_work(isolated)
    hook = isolated.root / ".git" / "hooks" / "commit-msg"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no ticket >&2\nexit 1\n")
    hook.chmod(0o755)
    merge_fails(isolated, "git merge failed: .*no ticket")


def test_a_merge_of_somebody_else(isolated: Town) -> None:
    """A merge that the user has under way is theirs: it stays as it is."""
    with_work(isolated)
    git(isolated.root, "switch", "--quiet", "-c", "side")
    (isolated.root / "shared.txt").write_text("side\n")
    commit_all(isolated.root, "side")
    git(isolated.root, "switch", "--quiet", "main")
    (isolated.root / "shared.txt").write_text("main\n")
    commit_all(isolated.root, "main")
    git(isolated.root, "merge", "side", code=1)
    merge_fails(isolated, "A merge is under way")
    assert git(isolated.root, "rev-parse", "MERGE_HEAD") == git(isolated.root, "rev-parse", "side")


def test_a_merge_of_somebody_else_that_comes_between(
    isolated: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that begins after we looked is not ended by us when ours is refused for it."""
    with_work(isolated)
    theirs = git(with_work(isolated, "bob", file="bob.txt").path, "rev-parse", "HEAD")
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    begun = f"echo {theirs} > {isolated.root}/.git/MERGE_HEAD; exit 1"
    fake.write_text(f'#!/bin/sh\ncase "$*" in *--no-ff*) {begun};; esac\nPATH=${{PATH#*:}}\nexec git "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(Conflict, match="git merge failed"):
        merging.merge(isolated, "ann")
    assert git(isolated.root, "rev-parse", "MERGE_HEAD") == theirs


def test_main_checkout_on_no_branch(isolated: Town) -> None:
    """Commits would be on no branch: refused."""
    with_work(isolated)
    git(isolated.root, "checkout", "--quiet", "--detach")
    assert "git switch" in merge_fails(isolated, "is on no branch")


def test_agent_on_another_branch(isolated: Town) -> None:
    """What is merged is what is looked at: an agent that left its branch is refused."""
    tree = with_work(isolated)
    git(tree.path, "switch", "--quiet", "-c", "elsewhere")
    merge_fails(isolated, "is on elsewhere, not on tt/")


def test_not_while_it_works(isolated: Town) -> None:
    """Half of a round's work is not merged; between rounds it is."""
    with_work(isolated)
    journal = isolated.journal("ann")
    journal.write_actor(ActorEntry(processes.own(), "an-id", 1))
    journal.write_round(RoundEntry("an-id", 1, 1, "an-id:1:1", ()), sync=False)
    assert "tt interrupt ann" in merge_fails(isolated, "Agent 'ann' is working")
    journal.close_round()
    assert merging.merge(isolated, "ann").commits == 1


def test_repository_inside(isolated: Town) -> None:
    """A clone that the agent left is not committed as an empty entry."""
    tree = with_work(isolated)
    git(tree.path, "clone", "--quiet", str(isolated.root), "inner")
    merge_fails(isolated, "other git repositories in it: inner/", "all of it")


def test_many_at_once(isolated: Town) -> None:
    """Six merges at one time: each comes in, none ends another's."""
    names = [f"agent-{n}" for n in range(6)]
    for name in names:
        with_work(isolated, name, name, f"{name}.txt")
    in_processes(6, lambda n: merging.merge(same_town(isolated), names[n]).commits)
    assert sorted(path.name for path in isolated.root.glob("agent-*.txt")) == [f"{name}.txt" for name in names]
    assert git(isolated.root, "status", "--porcelain") == ""


# Differences


def test_diff(isolated: Town) -> None:
    """Committed, changed, new and deleted; nothing that the main branch got since; the agent's index is untouched."""
    tree = with_work(isolated)
    (isolated.root / "mine.txt").touch()
    commit_all(isolated.root, "mine")
    (tree.path / "shared.txt").unlink()
    (tree.path / ".gitignore").write_text("changed\n")
    (tree.path / ":new *.txt").write_text("new\n")
    index = Path(git(tree.path, "rev-parse", "--git-path", "index")).read_bytes()
    text = changes(isolated)
    for part in ("+by ann", "deleted file", "+changed", "b/:new *.txt", "+new"):
        assert part in text
    assert "mine.txt" not in text
    assert "4 files changed" in changes(isolated, stat=True)
    assert Path(git(tree.path, "rev-parse", "--git-path", "index")).read_bytes() == index
    assert git(tree.path, "diff", "--cached", "--name-only") == ""


def test_diff_can_be_applied(isolated: Town) -> None:
    """What is printed is a patch, whatever the user's settings of diff are."""
    tree = with_work(isolated, text="ü\x1b[31m\r\n\xff")
    git(isolated.root, "config", "color.ui", "always")
    git(isolated.root, "config", "diff.external", "false")
    git(isolated.root, "config", "diff.noprefix", "true")
    git(isolated.root, "config", "diff.shout.textconv", "tr a-z A-Z <")
    (tree.path / ".gitattributes").write_text("work.txt diff=shout\n")
    (tree.path / "binary").write_bytes(b"\0\1")
    patch = isolated.state_dir / "patch"
    patch.write_bytes(b"".join(worktrees.diff(isolated, "ann", whole=True)))
    git(isolated.root, "apply", str(patch))
    for name in ("work.txt", "binary"):
        assert (isolated.root / name).read_bytes() == (tree.path / name).read_bytes()


def test_diff_without_changes(isolated: Town) -> None:
    """Nothing is printed, and a reader who leaves early is no error."""
    making.prepare(isolated, "ann", lambda _line: None)
    assert changes(isolated) == ""
    with_work(isolated, text="x\n" * 100_000)
    lines = worktrees.diff(isolated, "ann")
    next(lines)
    lines.close()  # type: ignore[attr-defined]


def test_diff_without_links(isolated: Town) -> None:
    """A worktree that is cut off is said to be, and the main checkout's changes are not shown for its own."""
    tree = with_work(isolated)
    (tree.path / ".git").unlink()
    with pytest.raises(Conflict, match="not a git repository"):
        changes(isolated)
