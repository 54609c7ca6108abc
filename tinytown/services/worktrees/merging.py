"""Merge an agent's branch into the branch of the main checkout, or change nothing."""

from __future__ import annotations

from dataclasses import dataclass

from tinytown import git
from tinytown.errors import Conflict, Invalid
from tinytown.services import worktrees
from tinytown.services.worktrees import Worktree
from tinytown.town import Town


@dataclass(frozen=True, slots=True)
class Merged:
    """What `merge` did: so many commits came (0: there were none), by the merge commit `commit`."""

    agent: str
    branch: str
    into: str
    commits: int
    commit: str


def merge(town: Town, reference: str, message: str | None = None) -> Merged:
    """Merge, always with a merge commit; with `message`, what the agent left uncommitted is committed first.

    Raises NotFound, Invalid, and Conflict: the agent works, it left changes and there is no `message`, git cannot
    merge. Then the main checkout is as it was.
    """
    if message is not None and not message.strip():
        raise Invalid("The message of a commit must not be empty.")
    tree = worktrees.resolve(town, reference)
    town.ensure_redis()
    with worktrees.alone(town):
        into = _branch_to_merge_into(town)
        worktrees.refuse_if_working(town, tree)
        _commit(tree, message)
        tip = git.do(town.root, "rev-parse", "--verify", f"refs/heads/{tree.branch}^{{commit}}").strip()
        commits = int(git.do(town.root, "rev-list", "--count", f"HEAD..{tip}"))
        if commits:
            _merge(town, tree, tip, into)
        done = Merged(tree.agent, tree.branch, into, commits, git.do(town.root, "rev-parse", "HEAD").strip())
    if commits:
        worktrees.note(town, tree.agent, "worktree_merged", f"{commits} commit(s) of {tree.branch} merged into {into}")
    return done


def _branch_to_merge_into(town: Town) -> str:
    into = git.answer(town.root, "symbolic-ref", "--short", "--quiet", "HEAD")
    if not into:
        raise Conflict(f"The main checkout {town.root} is on no branch.", "Switch to one first: git switch <branch>")
    if git.answer(town.root, "rev-parse", "--verify", "--quiet", "MERGE_HEAD"):
        raise Conflict(
            f"A merge is under way in the main checkout {town.root}.", "End it: git merge --continue, or --abort"
        )
    return into


def _commit(tree: Worktree, message: str | None) -> None:
    seen = worktrees.status(tree)
    if seen.head != tree.branch:
        raise Conflict(
            f"The worktree of '{tree.agent}' is on {seen.head or 'no branch'}, not on {tree.branch}.",
            f"Look there: git -C {tree.path} status",
        )
    if not seen.changed:
        return
    if message is None:
        raise Conflict(
            f"The worktree of '{tree.agent}' has {len(seen.changed)} uncommitted file(s).",
            f'Commit them with: tt worktree merge {tree.agent} --commit "message"',
        )
    if seen.nested:
        raise Conflict(
            f"The worktree of '{tree.agent}' has other git repositories in it: {worktrees.some(seen.nested)}",
            "Move them away first.",
        )
    tree.do("add", "--all")
    tree.do("commit", "--quiet", f"--message={message}")


def _merge(town: Town, tree: Worktree, tip: str, into: str) -> None:
    how = ("--no-ff", "--commit", "--no-edit", "--quiet", f"--message=Merge branch '{tree.branch}' into {into}")
    try:
        done = git.run(town.root, "-c", "merge.autoStash=false", "merge", *how, tip, within_s=git.WORK_S)
        if done.code == 0:
            return
        names = git.do(town.root, "diff", "--name-only", "--diff-filter=U", "-z").split("\0")[:-1]
    except BaseException:
        _abort(town, tip)
        raise
    _abort(town, tip)
    if not names:
        raise git.failed(done, "merge")
    raise Conflict(
        f"Merging {tree.branch} into {into} conflicts in: {worktrees.some(names)}",
        f"Nothing was changed. Have the agent merge {into} into its branch, or merge by hand: git merge {tree.branch}",
    )


def _abort(town: Town, tip: str) -> None:
    """Take back our merge, if it is ours: what somebody else began meanwhile is theirs."""
    if git.answer(town.root, "rev-parse", "--verify", "--quiet", "MERGE_HEAD") == tip:
        git.do(town.root, "merge", "--abort")
