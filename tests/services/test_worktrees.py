"""Worktrees of agents, with real git: made once, copied into, set up; removed so that nothing is lost."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.repository import commit_all, git, make_repository
from tests.support.town import in_processes, register, same_town
from tinytown import processes
from tinytown.errors import AgentNotFound, Conflict, Invalid, NotFound, TimedOut, Unavailable
from tinytown.git import run
from tinytown.journal import ActorEntry, RoundEntry
from tinytown.services import worktrees
from tinytown.services.worktrees import Phase, Worktree, making, removal
from tinytown.town import Town

pytestmark = pytest.mark.slow


@pytest.fixture
def isolated(town: Town) -> Town:
    """A town in a git repository, whose agents work in worktrees."""
    make_repository(town.root)
    return using(town)


def using(town: Town, root: Path | None = None, **agent: object) -> Town:
    """The same town with these settings of `[agent]`."""
    settings = replace(town.config.agent, isolation="worktree", **agent)  # type: ignore[arg-type]
    return Town(root or town.root, replace(town.config, agent=settings))


def prepare(town: Town, name: str = "ann") -> tuple[Worktree, list[str]]:
    """The worktree, and what was said about it."""
    said: list[str] = []
    return making.prepare(town, name, said.append), said


def refs(town: Town, under: str = "refs/tinytown") -> list[str]:
    return git(town.root, "for-each-ref", "--format=%(refname)", under).split()


def files(town: Town, commit: str) -> list[str]:
    return git(town.root, "ls-tree", "-r", "--name-only", commit).split()


def begin_round(town: Town, name: str = "ann") -> None:
    """As if this process were the agent's actor, in the middle of a round."""
    journal = town.journal(name)
    journal.write_actor(ActorEntry(processes.own(), "an-id", 1))
    journal.write_round(RoundEntry("an-id", 1, 1, "an-id:1:1", ()), sync=False)


# Making


def test_made_once(isolated: Town) -> None:
    """A worktree on a branch of its own, where the main checkout is; a second call does nothing."""
    assert worktrees.workdir(isolated, "ann") is None
    tree, said = prepare(isolated)
    assert said == [f"new branch {tree.branch} in {tree.path}"]
    assert tree.path == isolated.state_dir / "agents" / "ann" / "worktree"
    assert git(tree.path, "symbolic-ref", "--short", "HEAD") == tree.branch == f"tt/{isolated.name}/ann"
    assert git(tree.path, "rev-parse", "HEAD") == git(isolated.root, "rev-parse", "HEAD")
    assert worktrees.workdir(isolated, "ann") == tree.workdir == tree.path
    assert git(isolated.root, "status", "--porcelain") == ""
    assert prepare(isolated)[1] == []


def test_town_in_a_folder_of_the_repository(tmp_path: Path, town: Town) -> None:
    """The agent works in the same folder of its worktree, also when no commit has it yet."""
    make_repository(tmp_path)
    tree, _said = prepare(using(town))
    assert tree.workdir == tree.path / "town"
    assert (tree.path / "shared.txt").exists()
    assert worktrees.workdir(using(town), "ann") == tree.workdir


def test_detached_head(isolated: Town) -> None:
    """The branch begins at the commit, where the main checkout is on no branch."""
    git(isolated.root, "checkout", "--quiet", "--detach")
    tree, _said = prepare(isolated)
    assert git(tree.path, "symbolic-ref", "--short", "HEAD") == tree.branch


def test_refusals(town: Town) -> None:
    """No repository, no checkout, no commit: said with the remedy, and nothing is made."""
    isolated = using(town)
    with pytest.raises(Conflict, match="needs a git repository: not a git repository") as refused:
        worktrees.check(isolated, "ann")
    assert "git init" in str(refused.value.remedy)
    make_repository(town.root, commit=False)
    with pytest.raises(Conflict, match="no commit yet"):
        prepare(isolated)
    git(town.root, "config", "core.bare", "true")
    with pytest.raises(Conflict, match="is no checkout"):
        prepare(isolated)
    assert worktrees.names(town) == []


@pytest.mark.parametrize("name", ["a..b", ".a", "a.lock", "a."])
def test_names_that_git_refuses(isolated: Town, name: str) -> None:
    """An agent whose name cannot be in a branch is refused."""
    with pytest.raises(Invalid, match="cannot be the name of a git branch"):
        worktrees.check(isolated, name)


@pytest.mark.parametrize("name", ["-f", "--force", "HEAD", "-"])
def test_names_that_look_like_options(isolated: Town, name: str) -> None:
    """A hostile name is a name."""
    assert prepare(isolated, name)[0].is_whole


@pytest.mark.parametrize("pattern", ["../secret", "a/../../b", "/etc/passwd", "", ".tt/redis.conf", ".git/config"])
def test_copies_from_outside_are_refused(isolated: Town, pattern: str) -> None:
    """`copy` names files inside the town, and none of the town's or git's own."""
    with pytest.raises(Invalid, match="is no path inside the town"):
        worktrees.check(using(isolated, copy=(pattern,)), "ann")


def test_no_git(isolated: Town, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Said, with the remedy."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="git was not found"):
        worktrees.check(isolated, "ann")


def test_git_that_hangs(isolated: Town, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ended after its time, with what it started; what it is not waited for does not hold us."""
    fake = tmp_path / "git"
    fake.write_text("#!/bin/sh\nsleep 60 & sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(TimedOut, match="git status did not end within"):
        run(isolated.root, "status", within_s=0.2)


def test_repository_of_the_environment(isolated: Town, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Started by a hook of another repository: that one is not touched."""
    other = tmp_path / "other"
    other.mkdir()
    make_repository(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    tree, _said = prepare(isolated)
    assert git(other, "branch", "--list", tree.branch) == ""
    assert tree.branch in git(isolated.root, "branch", "--list", tree.branch)


def test_branch_of_a_former_agent(isolated: Town) -> None:
    """Its work goes on; a branch without any begins where the main checkout is now."""
    tree, _said = prepare(isolated)
    (tree.path / "work").touch()
    work = commit_all(tree.path, "work")
    assert removal.remove(isolated, "ann").kept
    (isolated.root / "more").touch()
    more = commit_all(isolated.root, "more")
    tree, said = prepare(isolated)
    assert "goes on with branch" in said[0]
    assert git(tree.path, "rev-parse", "HEAD") == work
    git(isolated.root, "branch", f"tt/{isolated.name}/bob", "HEAD~1")
    assert git(prepare(isolated, "bob")[0].path, "rev-parse", "HEAD") == more


def test_branch_in_use_elsewhere(isolated: Town, tmp_path: Path) -> None:
    """A branch that is checked out somewhere else is left there."""
    git(isolated.root, "worktree", "add", "--quiet", "-b", f"tt/{isolated.name}/ann", str(tmp_path / "mine"))
    with pytest.raises(Conflict, match="already checked out"):
        prepare(isolated)
    git(isolated.root, "worktree", "remove", str(tmp_path / "mine"))
    assert prepare(isolated)[0].is_whole


def test_in_the_way(isolated: Town) -> None:
    """A folder that nobody knows of is not touched."""
    path = isolated.state_dir / "agents" / "ann" / "worktree"
    path.mkdir(parents=True)
    (path / "mine").touch()
    with pytest.raises(Conflict, match="is in the way"):
        prepare(isolated)
    assert (path / "mine").exists()


def test_killed_while_git_made_it(isolated: Town) -> None:
    """Half-written files of a commit are thrown away; git's lock on the entry does not hold anybody up."""
    tree, _said = prepare(isolated)
    tree.saved(Phase.CREATING)
    (tree.path / "shared.txt").unlink()
    git(isolated.root, "worktree", "lock", "--reason", "initializing", str(tree.path))
    tree, said = prepare(isolated)
    assert (said[0].split()[0], refs(isolated)) == ("new", [])
    assert (tree.path / "shared.txt").read_text() == "first\n"


def test_killed_while_git_made_it_and_somebody_wrote_there(isolated: Town) -> None:
    """What was added to a half-made worktree is rescued first."""
    tree, _said = prepare(isolated)
    tree.saved(Phase.CREATING)
    (tree.path / "mine").write_text("precious")
    _tree, said = prepare(isolated)
    (ref,) = refs(isolated)
    assert ref in said[0]
    assert git(isolated.root, "show", f"{ref}:mine") == "precious"


def test_folder_deleted_by_hand(isolated: Town) -> None:
    """It is made anew, with or without our notes beside it."""
    for gone in ("worktree", "."):
        tree, _said = prepare(isolated)
        shutil.rmtree(tree.folder / gone)
        assert worktrees.workdir(isolated, "ann") is None
    assert prepare(isolated)[0].is_whole


def test_town_that_moved(isolated: Town, tmp_path: Path) -> None:
    """Git's links follow, and what the agent did is there."""
    tree, _said = prepare(isolated)
    (tree.path / "mine").touch()
    moved = using(isolated, isolated.root.rename(tmp_path / "elsewhere"))
    assert worktrees.workdir(moved, "ann") is None
    assert prepare(moved)[1] == []
    assert git(worktrees.find(moved, "ann").path, "status", "--porcelain") == "?? mine"


def test_many_at_once(isolated: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four agents, each asked for twice: four worktrees, each made once; git, which cannot, adds one at a time."""
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\nPATH=${PATH#*:}\ncase "$*" in *"worktree add"*) ;; *) exec git "$@";; esac\n'
        f'cd {tmp_path}; mkdir adding || touch overlap; sleep 0.05; git "$@"; code=$?; rmdir adding; exit $code\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")

    def work(number: int) -> list[str]:
        return prepare(using(same_town(isolated)), f"agent-{number // 2}")[1]

    said = in_processes(8, work)
    assert sorted(map(len, said)) == [0] * 4 + [1] * 4
    assert len(git(isolated.root, "worktree", "list").splitlines()) == 5
    assert not (tmp_path / "overlap").exists()


# Copying and setting up


def test_copy(isolated: Town) -> None:
    """Files and patterns, with their modes, once; what matches nothing is said, what git would commit too."""
    (isolated.root / ".env").write_text("SECRET=1")
    (isolated.root / ".env").chmod(0o600)
    (isolated.root / "conf" / "deep").mkdir(parents=True)
    (isolated.root / "conf" / "deep" / "a.local").write_text("a")
    town = using(isolated, copy=(".env", "conf/**/*.local", "none.txt"))
    tree, said = prepare(town)
    assert (tree.path / ".env").read_text() == "SECRET=1"
    assert (tree.path / ".env").stat().st_mode & 0o777 == 0o600
    assert (tree.path / "conf/deep/a.local").read_text() == "a"
    assert said[1:4] == [
        "copy: .env: 1 file(s)",
        "copy: conf/**/*.local: 1 file(s)",
        "copy: none.txt: 0 file(s)",
    ]
    assert said[4] == "copy: 1 file(s) are not ignored by git, so the agent may commit them: conf/deep/a.local"
    (tree.path / ".env").write_text("changed by the agent")
    assert prepare(town)[1] == []
    assert (tree.path / ".env").read_text() == "changed by the agent"


def test_copy_leaves_out_what_is_private(isolated: Town) -> None:
    """A pattern for everything finds nothing of the town's state, of git's, or behind links."""
    (isolated.root / "link").symlink_to("/etc")
    (isolated.root / "one.local").touch()
    tree, said = prepare(using(isolated, copy=("**/*",)))
    assert not (tree.path / ".tt").exists()
    assert not (tree.path / "link").exists()
    assert (tree.path / "one.local").exists()
    assert "copy: link is a link or behind one: left out" in said


@pytest.mark.parametrize(
    ("name", "why"), [("link", "is a link"), ("way/passwd", "is a link"), ("folder", "is no file")]
)
def test_copy_refuses_links_and_folders(isolated: Town, name: str, why: str) -> None:
    """A file that was named must be one, inside the town."""
    (isolated.root / "link").symlink_to("/etc/passwd")
    (isolated.root / "way").symlink_to("/etc")
    (isolated.root / "folder").mkdir()
    with pytest.raises(Conflict, match=why):
        prepare(using(isolated, copy=(name,)))
    assert worktrees.workdir(isolated, "ann") is None


def test_copy_never_writes_outside(isolated: Town, tmp_path: Path) -> None:
    """A link in the agent's branch, where the main checkout has a folder, is no way out."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (isolated.root / "conf").symlink_to(outside)
    commit_all(isolated.root, "a link")
    (isolated.root / "conf").unlink()
    (isolated.root / "conf").mkdir()
    (isolated.root / "conf" / "a").touch()
    with pytest.raises(Conflict, match="a link on the way"):
        prepare(using(isolated, copy=("conf/a",)))
    assert list(outside.iterdir()) == []


def test_setup(isolated: Town) -> None:
    """Runs once, in the worktree, with nothing on its stdin; after a failure again, with the files copied again."""
    (isolated.root / ".env").write_text("1")
    with pytest.raises(Conflict, match="setup failed: exit code 3"):
        prepare(using(isolated, copy=(".env",), setup="cat; pwd >> build.log; rm .env; exit 3"))
    assert worktrees.find(isolated, "ann").phase is Phase.CREATED
    assert worktrees.workdir(isolated, "ann") is None
    corrected = using(isolated, copy=(".env",), setup="cat .env && pwd >> build.log")
    tree, _said = prepare(corrected)
    assert prepare(corrected)[1] == []
    assert (tree.path / "build.log").read_text() == f"{tree.path}\n" * 2
    assert worktrees.workdir(isolated, "ann") == tree.path


def test_setup_killed(isolated: Town) -> None:
    """The signal is named."""
    with pytest.raises(Conflict, match="signal 9"):
        prepare(using(isolated, setup="kill -9 $$"))


# Removing


def test_nothing_to_rescue(isolated: Town) -> None:
    """A clean worktree whose commits are merged leaves nothing: no ref, no branch, no entry, no folder."""
    tree, _said = prepare(isolated)
    done = removal.remove(isolated, "ann")
    assert (done.rescue, done.kept, done.was_there) == (None, False, True)
    assert refs(isolated, "refs/heads") == ["refs/heads/main"]
    assert len(git(isolated.root, "worktree", "list").splitlines()) == 1
    assert [path.name for path in tree.folder.iterdir()] == ["worktree.lock"]


def test_rescue(isolated: Town) -> None:
    """Changed, deleted, new and staged: all of it can be had again; ignored files are gone; commits stay reachable."""
    tree, _said = prepare(isolated)
    (tree.path / "kept.txt").write_text("1")
    (tree.path / "gone.txt").touch()
    work = commit_all(tree.path, "work")
    (tree.path / "shared.txt").write_text("staged")
    git(tree.path, "add", "shared.txt")
    (tree.path / "shared.txt").write_text("changed")
    (tree.path / "gone.txt").unlink()
    (tree.path / "new").mkdir()
    (tree.path / "new" / "ü -x\n").write_text("new")
    (tree.path / "build").mkdir()
    (tree.path / "build" / "big").touch()
    done = removal.remove(isolated, "ann")
    assert done.kept
    assert done.rescue == refs(isolated)[0]
    assert done.rescue.startswith(f"refs/tinytown/rescue/{isolated.name}/ann/")
    assert not tree.path.exists()
    git(isolated.root, "branch", "-D", done.branch)
    git(isolated.root, "switch", "--quiet", "-c", "again", done.rescue)
    assert (isolated.root / "shared.txt").read_text() == "changed"
    assert (isolated.root / "new" / "ü -x\n").read_text() == "new"
    assert not (isolated.root / "gone.txt").exists()
    assert not (isolated.root / "build").exists()
    assert git(isolated.root, "rev-parse", "HEAD^1") == work
    assert git(isolated.root, "show", "HEAD^2:shared.txt") == "staged"


def test_rescue_of_commits_on_no_branch(isolated: Town) -> None:
    """A worktree that was left detached: its commit gets the ref."""
    tree, _said = prepare(isolated)
    git(tree.path, "checkout", "--quiet", "--detach")
    (tree.path / "work").touch()
    work = commit_all(tree.path, "work")
    done = removal.remove(isolated, "ann")
    assert done.rescue is not None
    assert git(isolated.root, "rev-parse", done.rescue) == work


def test_rescue_in_the_middle_of_a_conflict(isolated: Town) -> None:
    """Files with conflict marks are kept as they are, and so is what a rebase had put aside."""
    tree, _said = prepare(isolated)
    for where in (isolated.root, tree.path):
        (where / "shared.txt").write_text(f"{where}\n")
        commit_all(where, "mine")
    (tree.path / "second.txt").touch()
    commit_all(tree.path, "second")
    (tree.path / "second.txt").write_text("put aside")
    git(tree.path, "rebase", "--autostash", "main", code=1)
    done = removal.remove(isolated, "ann")
    assert "<<<<<<<" in git(isolated.root, "show", f"{done.rescue}:shared.txt")
    assert git(isolated.root, "show", f"{done.rescue}^2:second.txt") == "put aside"


def test_rescue_without_links(isolated: Town) -> None:
    """A worktree that is cut off from its repository is rescued all the same; the main checkout is not touched."""
    tree, _said = prepare(isolated)
    (tree.path / "mine").touch()
    (tree.path / ".git").unlink()
    assert worktrees.workdir(isolated, "ann") is None
    (seen,) = worktrees.listing(isolated)
    assert seen.error is not None
    done = removal.remove(isolated, "ann")
    assert done.rescue is not None
    assert files(isolated, done.rescue) == [".gitignore", "mine", "shared.txt", "tinytown.toml"]
    assert git(isolated.root, "status", "--porcelain") == ""


def test_removal_that_was_killed(isolated: Town) -> None:
    """The next one finishes: nothing is rescued twice, nothing is left."""
    tree, _said = prepare(isolated)
    (tree.path / "mine").touch()
    (tree.folder / "worktree.removed").mkdir()
    (tree.folder / "worktree.removed" / "old").touch()
    (tree.folder / "worktree.removed").chmod(0o500)
    tree.saved(Phase.REMOVING)
    assert removal.remove(isolated, "ann").rescue is not None
    tree.saved(Phase.REMOVING)  # killed later: only the note is left
    assert worktrees.names(isolated) == ["ann"]
    assert removal.remove(isolated, "ann").rescue is None
    assert worktrees.names(isolated) == []
    assert not removal.remove(isolated, "ann").was_there
    assert [path.name for path in tree.folder.iterdir()] == ["worktree.lock"]


def test_work_comes_while_it_is_being_removed(isolated: Town) -> None:
    """The agent's next round finishes what a killed removal left, and gets a fresh worktree."""
    tree, _said = prepare(isolated)
    (tree.path / "mine").touch()
    tree.saved(Phase.REMOVING)
    tree, said = prepare(isolated)
    assert refs(isolated)[0] in said[0]
    assert not (tree.path / "mine").exists()


def test_not_while_it_works(isolated: Town) -> None:
    """A worktree with a round in progress is not removed, and stays ready."""
    tree, _said = prepare(isolated)
    begin_round(isolated)
    with pytest.raises(Conflict, match="Agent 'ann' is working"):
        removal.remove(isolated, "ann")
    assert worktrees.workdir(isolated, "ann") == tree.path


def test_not_while_somebody_is_at_it(isolated: Town) -> None:
    """One at a time."""
    tree, _said = prepare(isolated)
    with worktrees.held(tree, wait=False), pytest.raises(Conflict, match="being made or removed"):
        removal.remove(isolated, "ann")


@pytest.mark.parametrize("how", ["clone", "submodule"])
def test_other_repositories_inside(isolated: Town, tmp_path: Path, how: str) -> None:
    """Refused, by name: their commits would be lost. Afterwards everything is as it was."""
    other = tmp_path / "other"
    other.mkdir()
    make_repository(other)
    tree, _said = prepare(isolated)
    verb = ("clone", "--quiet") if how == "clone" else ("-c", "protocol.file.allow=always", "submodule", "add")
    git(tree.path, *verb, str(other), "inner")
    if how == "submodule":
        commit_all(tree.path, "with a submodule")
    with pytest.raises(Conflict, match="other git repositories in it: inner"):
        removal.remove(isolated, "ann")
    assert worktrees.workdir(isolated, "ann") == tree.path
    assert refs(isolated) == []


def test_link_instead_of_a_worktree(isolated: Town, tmp_path: Path) -> None:
    """What a link points to is not touched."""
    tree = worktrees.find(isolated, "ann")
    tree.folder.mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    tree.path.symlink_to(tmp_path / "mine")
    with pytest.raises(Conflict, match="is no folder"):
        removal.remove(isolated, "ann")
    assert (tmp_path / "mine").is_dir()


# Naming and listing


def test_by_any_name(isolated: Town) -> None:
    """Name, nickname, id; agents that are gone by their name alone; no path is a name."""
    agent = register(isolated, "ann", nickname="boss")
    tree, _said = prepare(isolated)
    prepare(isolated, "gone")
    assert {worktrees.resolve(isolated, r).agent for r in ("ann", "boss", agent.id, agent.id[:8])} == {"ann"}
    assert worktrees.resolve(isolated, "gone").agent == "gone"
    for reference in ("../agents/ann", "nobody", str(tree.folder)):
        with pytest.raises(AgentNotFound):
            worktrees.resolve(isolated, reference)
    register(isolated, "bob")
    with pytest.raises(NotFound, match="Agent 'bob' has no worktree"):
        worktrees.resolve(isolated, "bob")


def test_listing(isolated: Town) -> None:
    """Ahead, behind, uncommitted files whatever their names and states, and the branch it is on."""
    tree, _said = prepare(isolated)
    (tree.path / "old").touch()
    commit_all(tree.path, "work")
    for name in ("one", "two"):
        (isolated.root / name).touch()
        commit_all(isolated.root, name)
    git(tree.path, "mv", "old", "new name")
    (tree.path / "ü\n? x").touch()
    (tree.path / "shared.txt").unlink()
    (seen,) = worktrees.listing(isolated)
    assert (seen.head, seen.ahead, seen.behind, seen.dirty, seen.error) == (tree.branch, 1, 2, 3, None)
    assert sorted(worktrees.status(tree).changed) == ["new name", "shared.txt", "ü\n? x"]
    git(tree.path, "checkout", "--quiet", "--detach")
    assert worktrees.listing(isolated)[0].head is None
