"""Remove worktrees so that nothing is lost: what is not committed is put into a rescue ref of the repository first."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tinytown import clock, git
from tinytown.errors import Conflict
from tinytown.services import worktrees
from tinytown.services.worktrees import Phase, Worktree
from tinytown.town import Town

_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Tinytown"), ("EMAIL", "tinytown@localhost"))
}
_STASHES = ("rebase-merge/autostash", "rebase-apply/autostash")


@dataclass(frozen=True, slots=True)
class Removed:
    """What is left of a worktree.

    `rescue`: the ref with what was not committed; `kept`: the branch is still there; `was_there`: the worktree.
    """

    agent: str
    branch: str
    rescue: str | None
    kept: bool
    was_there: bool = True


def remove(town: Town, reference: str) -> Removed:
    """Remove an agent's worktree, and its branch when the main checkout has all of it; again: finds nothing to do.

    Raises NotFound, Conflict (the agent works; repositories inside it), TimedOut; then nothing is removed.
    """
    name = worktrees.name_of(town, reference)
    tree = worktrees.find(town, name)
    if name not in worktrees.names(town):
        return Removed(name, tree.branch, None, kept=False, was_there=False)
    town.ensure_redis()
    with worktrees.held(tree, wait=False):
        tree = worktrees.find(town, name)
        removing = tree.saved(Phase.REMOVING)  # from here on no round begins in it: each looks here after its journal
        try:
            worktrees.refuse_if_working(town, tree)
            done = discard(town, tree)
        except BaseException:
            if os.path.lexists(tree.path):
                removing.saved(tree.phase)
            raise
    kept = f"; {done.branch} is kept" if done.kept else ""
    rescued = f"; rescued to {done.rescue}" if done.rescue else ""
    worktrees.note(town, tree.agent, "worktree_removed", f"worktree removed{kept}{rescued}")
    return done


def discard(town: Town, tree: Worktree) -> Removed:
    """Rescue what there is, then take the worktree away. For the holder of its lock; repeatable at any point."""
    rescue = None
    gone = tree.folder / "worktree.removed"
    if os.path.lexists(tree.path):
        if not tree.path.is_dir() or tree.path.is_symlink():
            raise Conflict(f"{tree.path} is no folder.", "Move it away.")
        if tree.home != str(town.root):  # the town has moved: else git knows the worktree by its former path
            with worktrees.alone(town):
                git.run(town.root, "worktree", "repair", str(tree.path))
        rescue = _rescue(town, tree)
        _delete(gone)  # of a call that was killed: it was rescued then
        tree.path.rename(gone)
    with worktrees.alone(town):
        # Its entry in the repository: also a locked one, as git leaves it when killed.
        git.run(town.root, "worktree", "remove", "--force", "--force", str(tree.path))
        # git alone would look at the upstream branch, if it has one.
        if git.run(town.root, "merge-base", "--is-ancestor", f"refs/heads/{tree.branch}", "HEAD").code == 0:
            git.run(town.root, "branch", "--delete", "--quiet", tree.branch)
    kept = bool(git.answer(town.root, "rev-parse", "--verify", "--quiet", f"refs/heads/{tree.branch}"))
    _delete(gone)
    tree.saved(None)
    return Removed(tree.agent, tree.branch, rescue, kept)


def _rescue(town: Town, tree: Worktree) -> str | None:
    """Put everything that only this worktree has into one ref; None when there is nothing.

    Its commit holds the files as they are, without ignored ones. Parents: the commit the worktree is on, then what
    was staged and what a rebase had put aside. Works with the repository alone: the worktree's links may be broken.
    """
    common = git.do(town.root, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()
    own = {"GIT_DIR": _entry(common, tree), "GIT_WORK_TREE": str(tree.path)}
    head = (
        tree.answer("rev-parse", "--verify", "--quiet", "HEAD^{commit}", env=own)
        or git.answer(town.root, "rev-parse", "--verify", "--quiet", f"refs/heads/{tree.branch}^{{commit}}")
        or git.do(town.root, "rev-parse", "--verify", "HEAD^{commit}").strip()
    )
    before = git.do(town.root, "rev-parse", f"{head}^{{tree}}").strip()
    with tempfile.TemporaryDirectory(dir=tree.folder) as folder:
        env = own | {"GIT_DIR": common, "GIT_INDEX_FILE": os.path.join(folder, "index")}
        tree.do("read-tree", head, env=env)
        _refuse_repositories(tree, env)
        tree.do("update-index", "--skip-worktree", "-z", "--stdin", env=env, feed=_left_out(tree, own, env))
        tree.do("-c", "core.sparseCheckout=false", "add", "--all", env=env)
        after = tree.do("write-tree", env=env).strip()
    aside = _put_aside(town, tree, own, head, {before, after})
    reach = git.do(town.root, "for-each-ref", "--count=1", f"--contains={head}")
    if aside or (after != before and not _is_half_made(town, tree, before, after)):
        target = _commit(town, after, [head, *aside], f"What was not committed in the worktree of {tree.agent}")
    elif not reach:
        target = head
    else:
        return None
    ref = f"refs/tinytown/rescue/{town.name}/{tree.agent}/{clock.now():%Y%m%dT%H%M%S.%fZ}"
    git.do(town.root, "update-ref", ref, target, "")
    return ref


def _is_half_made(town: Town, tree: Worktree, before: str, after: str) -> bool:
    """Git was killed while it wrote the files of a commit, and nobody added to them."""
    if tree.phase is not Phase.CREATING:
        return False
    return not git.do(town.root, "diff-tree", "-r", "--name-only", "--diff-filter=d", before, after)


def _entry(common: str, tree: Worktree) -> str:
    """The worktree's own folder in the repository, also when the link to it is gone; else one that is not there."""
    for link in Path(common).glob("worktrees/*/gitdir"):
        with contextlib.suppress(OSError):  # another one may be removed at this moment
            meant = Path(link.parent, link.read_text("utf-8", "surrogateescape").rstrip("\n")).parent
            if os.path.realpath(meant) == os.path.realpath(tree.path):
                return str(link.parent)
    return str(tree.folder / "worktree.none")


def _left_out(tree: Worktree, own: dict[str, str], env: dict[str, str]) -> bytes:
    """Files that a sparse checkout leaves out, NUL after each: that they are not there is no deletion."""
    rows = tree.answer("ls-files", "-t", "-z", env=own).split("\0")
    absent = {row[2:] for row in rows if row.startswith("S ") and not os.path.lexists(tree.path / row[2:])}
    known = tree.do("ls-files", "-z", env=env).split("\0") if absent else []
    return "".join(f"{path}\0" for path in known if path in absent).encode("utf-8", "surrogateescape")


def _put_aside(town: Town, tree: Worktree, own: dict[str, str], head: str, known: set[str]) -> list[str]:
    """Commits of what was staged (if it is neither of the known trees), and of what a rebase had stashed."""
    staged = tree.answer("write-tree", env=own)
    found = (
        [_commit(town, staged, [head], f"What was staged by {tree.agent}")] if staged and staged not in known else []
    )
    for name in _STASHES:
        path = Path(own["GIT_DIR"], name)
        if path.is_file():
            found.append(path.read_text().strip())
    return found


def _commit(town: Town, tree_id: str, parents: list[str], message: str) -> str:
    options = [word for parent in parents for word in ("-p", parent)]
    return git.do(town.root, "commit-tree", tree_id, *options, "-m", message, env=_IDENTITY).strip()


def _refuse_repositories(tree: Worktree, env: dict[str, str]) -> None:
    """Other repositories inside (clones, submodules) would go with their commits."""
    others = tree.do("ls-files", "--others", "--exclude-standard", "-z", env=env).split("\0")
    found = [path for path in others if path.endswith("/")]
    if (tree.path / ".git").is_dir():
        found.append(".git")
    for row in tree.do("ls-files", "--stage", "-z", env=env).split("\0"):
        fields, _, path = row.partition("\t")
        if fields.startswith("160000 ") and os.path.lexists(tree.path / path / ".git"):
            found.append(path)
    if found:
        raise Conflict(
            f"The worktree of '{tree.agent}' has other git repositories in it: {worktrees.some(found)}",
            f"Push what they hold; then move them away, or run: git -C {tree.path} submodule deinit --all",
        )


def _delete(folder: Path) -> None:
    """Also with folders that cannot be written, as some package managers make them."""
    if not folder.exists():
        return
    folder.chmod(stat.S_IRWXU)
    for name, folders, _files in os.walk(folder):
        for inner in folders:
            path = os.path.join(name, inner)
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                os.chmod(path, mode | stat.S_IRWXU)
    shutil.rmtree(folder)
