"""Make an agent's worktree ready: made by git, local files copied, the user's setup run once.

What an actor runs, as a program of its own, before the first model in a worktree. Killed at any moment, the next
call goes on: a half-made worktree is made anew, `copy` and `setup` are repeated until they have come to their end.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tinytown import git
from tinytown.errors import Conflict
from tinytown.services import worktrees
from tinytown.services.worktrees import Phase, Worktree, removal
from tinytown.town import Town

Say = Callable[[str], None]


def prepare(town: Town, name: str, say: Say) -> Worktree:
    """Bring the worktree to where the agent can work in it; nothing to do when it is there already.

    `say` gets a line for each step. Raises Conflict, Invalid, Unavailable, TimedOut, OSError.
    """
    prefix = worktrees.check(town, name)
    worktrees.find(town, name).folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with worktrees.held(worktrees.find(town, name), wait=True):
        tree = worktrees.find(town, name)
        if tree.phase in {Phase.CREATED, Phase.READY} and tree.is_whole:
            tree = _at_home(town, tree)
        else:
            tree = _make(town, tree, prefix, say)
        tree.workdir.mkdir(parents=True, exist_ok=True)
        if tree.phase is Phase.CREATED:
            _copy(town, tree, say)
            _set_up(town, tree, say)
            tree = tree.saved(Phase.READY)
    return tree


def _at_home(town: Town, tree: Worktree) -> Worktree:
    """The town's folder may have moved: tell git."""
    if tree.home != str(town.root):
        with worktrees.alone(town):
            git.do(town.root, "worktree", "repair", str(tree.path))
        tree = replace(tree, home=str(town.root)).saved(tree.phase)
    return tree


def _make(town: Town, tree: Worktree, prefix: str, say: Say) -> Worktree:
    if tree.phase is None and os.path.lexists(tree.path):
        raise Conflict(f"{tree.path} is in the way.", f"Move it away, or run: tt worktree remove {tree.agent}")
    removed = removal.discard(town, tree)
    if removed.rescue is not None:
        say(f"what was in the former worktree is kept as {removed.rescue}")
    fresh = Worktree(tree.agent, tree.folder, f"tt/{town.name}/{tree.agent}", None, prefix, str(town.root))
    tree = fresh.saved(Phase.CREATING)
    # A branch with work of a former agent goes on; one without any begins where the main checkout is now.
    tip = git.answer(town.root, "rev-parse", "--verify", "--quiet", f"refs/heads/{tree.branch}^{{commit}}")
    is_used = bool(tip) and git.run(town.root, "merge-base", "--is-ancestor", tip, "HEAD").code != 0
    where = [str(tree.path), tree.branch] if is_used else ["--no-track", "-B", tree.branch, str(tree.path), "HEAD"]
    with worktrees.alone(town):
        git.do(town.root, "worktree", "add", *where, within_s=git.WORK_S)
    tree = tree.saved(Phase.CREATED)
    text = f"{'goes on with' if is_used else 'new'} branch {tree.branch} in {tree.path}"
    say(text)
    worktrees.note(town, tree.agent, "worktree_created", text)
    return tree


def _copy(town: Town, tree: Worktree, say: Say) -> None:
    """`[agent] copy`: files of the main checkout, under the same names."""
    before = set(worktrees.status(tree).changed)
    for pattern in town.config.agent.copy:
        count = 0
        for name in _matches(town.root, pattern, say):
            _copy_file(town.root, tree, name)
            count += 1
        say(f"copy: {pattern}: {count} file(s)")
    if town.config.agent.copy and (seen := sorted(set(worktrees.status(tree).changed) - before)):
        text = f"{len(seen)} file(s) are not ignored by git, so the agent may commit them: {worktrees.some(seen)}"
        say(f"copy: {text}")


def _matches(root: Path, pattern: str, say: Say) -> Iterator[str]:
    """The regular files of a pattern; what is a link or behind one is refused, or skipped if a pattern found it."""
    import glob  # noqa: PLC0415  few worktrees copy anything

    is_exact = not glob.has_magic(pattern)
    real = os.path.realpath(root)
    found = [pattern] if is_exact else sorted(glob.glob(pattern, root_dir=root, recursive=True, include_hidden=True))
    for name in map(os.path.normpath, found):
        if name.split(os.sep)[0] in {".tt", ".git"} or not os.path.lexists(root / name):
            continue
        if os.path.realpath(root / name) != os.path.join(real, name):
            if is_exact:
                raise Conflict(f"[agent] copy: '{name}' is a link or behind one.", "Name the file itself.")
            say(f"copy: {name} is a link or behind one: left out")
        elif stat.S_ISREG(os.lstat(root / name).st_mode):
            yield name
        elif is_exact:
            raise Conflict(f"[agent] copy: '{name}' is no file.", f"For all files of a folder write '{name}/**'.")


def _copy_file(root: Path, tree: Worktree, name: str) -> None:
    target = tree.workdir / name
    straight = os.path.normpath(os.path.join(os.path.realpath(tree.path), tree.prefix, os.path.dirname(name)))
    if os.path.realpath(target.parent) != straight:
        raise Conflict(f"[agent] copy: the branch has a link on the way to '{name}'.", "Take it out of 'copy'.")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.tt-copy")
    beside.unlink(missing_ok=True)
    shutil.copy2(root / name, beside)
    beside.rename(target)


def _set_up(town: Town, tree: Worktree, say: Say) -> None:
    """`[agent] setup`, by the shell, in the worktree; whoever runs us bounds its time and ends what it leaves."""
    command = town.config.agent.setup.strip()
    if not command:
        return
    import subprocess  # noqa: PLC0415  costs 10 ms

    say(f"setup: {command}")
    code = subprocess.run(
        ["/bin/sh", "-c", command], cwd=tree.workdir, stdin=subprocess.DEVNULL, check=False
    ).returncode
    if code:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        raise Conflict(f"[agent] setup failed: {how}")
