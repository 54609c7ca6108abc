"""The git worktrees of agents: where each is and how far, and how it compares with the main checkout.

`worktree.json` beside the worktree is written before each step of making and removing it. It is read without git:
a round in a worktree that is ready starts no git. The lock beside it is held by whoever makes or removes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from tinytown import clock, git, processes
from tinytown.domain.event import Event
from tinytown.domain.record import dump
from tinytown.errors import Conflict, Invalid, NotFound, TinytownError
from tinytown.files import FileLock, locked, read_json, write_atomic
from tinytown.services import agents, recovery
from tinytown.town import Town

_NO_ISOLATION = 'set [agent] isolation = "none" in tinytown.toml.'
_PRIVATE = (".tt", ".git")
_NAMED = 5
_WHOLE = ("--binary", "--no-textconv", "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/")


class Phase(StrEnum):
    """How far a worktree is. Nobody has worked in it before it is ready."""

    CREATING = "creating"  # git may be half way
    CREATED = "created"  # `copy` and `setup` may be half way
    READY = "ready"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True)
class Worktree:
    """One agent's worktree, there or not. `prefix` is the town's folder within the repository, `phase` None: none made.

    `home` is where the town was then: git's links between repository and worktree hold that path.
    """

    agent: str
    folder: Path
    branch: str
    phase: Phase | None = None
    prefix: str = ""
    home: str = ""

    @property
    def path(self) -> Path:
        """The worktree itself."""
        return self.folder / "worktree"

    @property
    def workdir(self) -> Path:
        """Where the agent works: the town's folder, in its worktree."""
        return self.path / self.prefix

    @property
    def is_whole(self) -> bool:
        """The folder is there, and git takes it for a worktree."""
        return (self.path / ".git").is_file()

    @property
    def env(self) -> dict[str, str]:
        """For git in the worktree: should its link be gone, git must not find the main checkout above it."""
        return {"GIT_CEILING_DIRECTORIES": str(self.folder)}

    @property
    def lock(self) -> FileLock:
        """Held while it is made or removed."""
        return FileLock(self.folder / "worktree.lock")

    def saved(self, phase: Phase | None) -> Worktree:
        """Write down, durably, how far it is; returns what is now true. Raises OSError."""
        note = self.folder / "worktree.json"
        if phase is None:
            note.unlink(missing_ok=True)
        else:
            fields = {"phase": phase.value, "branch": self.branch, "prefix": self.prefix, "home": self.home}
            write_atomic(note, dump(fields))
        return replace(self, phase=phase)

    def answer(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """`git.answer` in the worktree."""
        return git.answer(self.path, *arguments, within_s=git.WORK_S, env=self.env | (env or {}))

    def do(self, *arguments: str, env: dict[str, str] | None = None, feed: bytes = b"") -> str:
        """`git.do` in the worktree."""
        return git.do(self.path, *arguments, within_s=git.WORK_S, env=self.env | (env or {}), feed=feed)


@dataclass(frozen=True, slots=True)
class Standing:
    """A worktree as git sees it. `head` is the branch it is on (None: on none); the numbers None: cannot be told."""

    tree: Worktree
    head: str | None = None
    ahead: int | None = None
    behind: int | None = None
    dirty: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What `git status` says: the branch (None: detached), and the paths that are not committed."""

    head: str | None
    changed: list[str]
    nested: list[str]


def is_isolated(town: Town) -> bool:
    """Agents of this town work in worktrees."""
    return town.config.agent.isolation == "worktree"


def find(town: Town, name: str) -> Worktree:
    """The worktree of the agent of this name, whether or not it is there."""
    blank = Worktree(name, town.journal(name).folder, f"tt/{town.name}/{name}")
    raw = read_json(blank.folder / "worktree.json")
    if raw is None:
        return blank
    try:
        phase = Phase(raw["phase"])
        return replace(blank, phase=phase, branch=str(raw["branch"]), prefix=str(raw["prefix"]), home=str(raw["home"]))
    except (KeyError, ValueError):
        return blank


def workdir(town: Town, name: str) -> Path | None:
    """Where the agent's model runs; None when its worktree has to be made (ready) first. Starts no git."""
    tree = find(town, name)
    is_ready = tree.phase is Phase.READY and tree.home == str(town.root) and tree.is_whole and tree.workdir.is_dir()
    return tree.workdir if is_ready else None


def check(town: Town, name: str) -> str:
    """Whether an agent of this name can have a worktree; returns the town's folder within the repository.

    Raises Conflict, Invalid, Unavailable (no git).
    """
    done = git.run(town.root, "rev-parse", "--is-inside-work-tree", "--show-prefix")
    if done.code:
        raise Conflict(
            f'[agent] isolation = "worktree" needs a git repository: {done.line}', f"Run git init, or {_NO_ISOLATION}"
        )
    inside, _, prefix = done.out.partition("\n")
    if inside != "true":
        raise Conflict(f"{town.root} is no checkout of its git repository.", f"Use a clone, or {_NO_ISOLATION}")
    if not git.answer(town.root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
        raise Conflict(
            "The git repository has no commit yet, so no branch can begin.", "Make a first one: git add . && git commit"
        )
    branch = f"tt/{town.name}/{name}"
    if git.run(town.root, "check-ref-format", "--branch", branch).code:
        raise Invalid(f"'{branch}' cannot be the name of a git branch.", f"Choose another name, or {_NO_ISOLATION}")
    for pattern in town.config.agent.copy:
        parts = Path(pattern).parts
        if not parts or Path(pattern).is_absolute() or ".." in parts or parts[0] in _PRIVATE:
            raise Invalid(f"[agent] copy: '{pattern}' is no path inside the town.", "Give paths relative to the town.")
    return prefix.removesuffix("\n")


def resolve(town: Town, reference: str) -> Worktree:
    """The worktree of the agent of this name (also of one that is gone), nickname, id or id prefix.

    Raises NotFound, and what `name_of` raises.
    """
    name = name_of(town, reference)
    if name not in names(town):
        raise NotFound(f"Agent '{name}' has no worktree.", "See those that there are with: tt worktree list")
    return find(town, name)


def name_of(town: Town, reference: str) -> str:
    """The name of an agent that is or was. Raises AgentNotFound, Conflict when several match, RedisAway."""
    folder = town.state_dir / "agents"
    is_known = folder.is_dir() and reference in os.listdir(folder)
    return reference if is_known else agents.resolve(town, reference).agent.name


def names(town: Town) -> list[str]:
    """Agents, also former ones, that have a worktree or one that is half made or half removed."""
    folder = town.state_dir / "agents"
    there = sorted(os.listdir(folder)) if folder.is_dir() else []
    return [n for n in there if os.path.lexists(folder / n / "worktree") or (folder / n / "worktree.json").exists()]


@contextlib.contextmanager
def held(tree: Worktree, *, wait: bool) -> Iterator[None]:
    """Alone with the worktree for the block. Raises Conflict when it is not free and `wait` is not set."""
    lock = tree.lock
    if not lock.acquire(wait=wait):
        raise Conflict(f"The worktree of '{tree.agent}' is being made or removed now.", "Try again in a moment.")
    try:
        yield
    finally:
        lock.release()


def alone(town: Town) -> contextlib.AbstractContextManager[None]:
    """The only one of the town that merges, or changes git's list of worktrees; waits for it.

    Git fails when it meets a worktree that another git is about to add; two merges could end each other.
    """
    return locked(town.state_dir / "worktrees.lock")


def refuse_if_working(town: Town, tree: Worktree) -> None:
    """Raise Conflict when a round of the agent is in progress, by the files of its actor on this host."""
    journal = town.journal(tree.agent)
    entry, actor = journal.round(), journal.actor()
    if entry is None:
        return
    if (actor is not None and processes.is_alive(actor.process)) or recovery.leftovers(journal, entry.agent_id):
        raise Conflict(
            f"Agent '{tree.agent}' is working.",
            f"Wait for its round, or end it: tt interrupt {tree.agent}, tt kill {tree.agent} --now",
        )


def status(tree: Worktree) -> Status:
    """What is not committed, file by file, without what git ignores. Raises Conflict."""
    text = tree.do("--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=all", "-z")
    head: str | None = None
    found: list[str] = []
    fields = iter(text.split("\0"))
    for field in fields:
        if field.startswith("# branch.head "):
            head = field.removeprefix("# branch.head ")
        elif field[:2] in {"1 ", "u ", "2 "}:
            found.append(field.split(" ", {"1": 8, "2": 9, "u": 10}[field[0]])[-1])
            if field[0] == "2":
                next(fields)  # the former name
        elif field.startswith("? "):
            found.append(field[2:])
    nested = [path for path in found if path.endswith("/")]
    return Status(None if head == "(detached)" else head, found, nested)


def listing(town: Town) -> list[Standing]:
    """Every worktree, by agent name. One that git cannot read is listed with the reason."""
    return [_standing(town, find(town, name)) for name in names(town)]


def _standing(town: Town, tree: Worktree) -> Standing:
    try:
        seen = status(tree)
        here = git.do(town.root, "rev-parse", "--verify", "HEAD^{commit}").strip()
        counted = tree.do("rev-list", "--left-right", "--count", f"{here}...HEAD").split()
    except (TinytownError, OSError) as error:
        return Standing(tree, error=str(error))
    return Standing(tree, seen.head, ahead=int(counted[1]), behind=int(counted[0]), dirty=len(seen.changed))


def diff(town: Town, reference: str, *, stat: bool = False, whole: bool = False) -> Iterator[bytes]:
    """The lines of all that the agent changed since its branch left the main checkout's, committed or not.

    New files are among them, ignored ones are not. Changes nothing. With `whole` it is a patch that can be applied,
    with the content of binary files and whatever the user's settings say. Raises NotFound, Conflict.
    """
    tree = resolve(town, reference)
    here = git.do(town.root, "rev-parse", "--verify", "HEAD^{commit}").strip()
    base = tree.do("merge-base", here, "HEAD").strip()
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        shutil.copy(tree.path / tree.do("rev-parse", "--git-path", "index").strip(), index)
        env = {"GIT_INDEX_FILE": str(index), "GIT_LITERAL_PATHSPECS": "1"}
        others = tree.do("ls-files", "--others", "--exclude-standard", "-z").split("\0")
        paths = "\0".join(path for path in others if path and not path.endswith("/"))
        if paths:
            add = ("add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul")
            tree.do("-c", "core.sparseCheckout=false", *add, env=env, feed=paths.encode("utf-8", "surrogateescape"))
        how = _WHOLE if whole else ("--stat",) if stat else ()
        yield from git.stream(tree.path, "diff", "--no-ext-diff", "--no-color", *how, base, env=tree.env | env)


def some(paths: list[str]) -> str:
    """The first of these files for a message, each in one line."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(" ".join(path.split()) for path in paths[:_NAMED]) + more


def note(town: Town, name: str, kind: str, text: str) -> None:
    """An event in the town's history; what it tells of is on disk already, with Redis or without."""
    with contextlib.suppress(TinytownError):
        tx = town.store.transaction()
        agent_id = town.store.agents.names().get(name)
        tx.event(Event(kind, f"Agent '{name}': {text}", clock.stamp(), agent_id=agent_id))
        if agent_id is not None:
            tx.activity(agent_id, f"🌿 {text}")
        town.store.commit(tx)
