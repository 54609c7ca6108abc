"""`Town`: one project's settings, paths and store, opened once and passed to every service."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tinytown import config as settings
from tinytown.config import STATE_DIR, TOWN_FILE, Config
from tinytown.errors import Conflict, Forbidden, NotInitialized
from tinytown.files import FileLock, read_json
from tinytown.journal import Journal
from tinytown.processes import Identity, is_alive
from tinytown.sockets import SocketPath
from tinytown.store import Store
from tinytown.store.transaction import Stale, Transaction

COMMIT_TRIES = 50
PATIENT_S = 2.0
HURRIED_S = 0.5
T = TypeVar("T")


@dataclass(frozen=True)
class Town:
    """A town on this host. Opening one reads two small files and touches nothing else."""

    root: Path
    config: Config
    is_hurried: bool = False  # its store has short time-outs and no retries, for a caller that must not wait
    budget_s: float | None = None  # how long one call of its store may take, with all retries; None: 9.5 s

    @property
    def name(self) -> str:
        """The Redis namespace."""
        return self.config.name

    @property
    def state_dir(self) -> Path:
        """`.tt`: everything that git must not hold."""
        return self.root / STATE_DIR

    @property
    def logs_dir(self) -> Path:
        """Agent logs and round logs."""
        return self.state_dir / "logs"

    @property
    def runs_dir(self) -> Path:
        """Prompt files of running rounds."""
        return self.state_dir / "runs"

    @functools.cached_property
    def host(self) -> str:
        """This machine's name in wishes and leases.

        A server of the town's own is reached from one machine only, whatever that is called tomorrow.
        """
        return "localhost" if self.store.connector.is_managed else socket.gethostname()

    @functools.cached_property
    def store(self) -> Store:
        """The town's state, with a connection of its own. Must not be carried over a fork."""
        timeout_s, retries = (HURRIED_S, 0) if self.is_hurried else (PATIENT_S, None)
        return Store(
            self.name, self.config.redis, self.state_dir, timeout_s=timeout_s, retries=retries, budget_s=self.budget_s,
            events_kept=self.config.retention.events,
        )  # fmt: skip

    def journal(self, agent_name: str) -> Journal:
        """The agent's two files."""
        return Journal(self.state_dir / "agents" / agent_name)

    @property
    def supervisor_lock(self) -> FileLock:
        """Held by the one supervisor of this town on this host."""
        return FileLock(self.state_dir / "supervisor.lock")

    @functools.cached_property
    def doorbell(self) -> SocketPath:
        """Where the supervisor listens for wishes."""
        return SocketPath(self.state_dir / "supervisor.sock")

    def own_pids(self) -> set[int]:
        """The supervisor and the town's Redis server, as far as they live and are known by their files."""
        files = (self.state_dir / "supervisor.json", self.store.connector.folder / "redis.json")
        found = [Identity.from_dict(read_json(path)) for path in files]
        return {process.pid for process in found if process is not None and is_alive(process)}

    @property
    def is_only_saved(self) -> bool:
        """There is a saved state, as in a clone, and the town's own server has never run here."""
        if self.config.redis.use_central or not self.store.connector.is_managed:
            return False
        has_run = any((self.state_dir / name).exists() for name in ("redis.conf", "appendonlydir"))
        return not has_run and (self.root / os.path.expanduser(self.config.redis.aof_path)).is_file()

    def require_loaded(self) -> None:
        """Raise Conflict when a saved state waits to be loaded: an empty town must not begin over it."""
        if self.is_only_saved:
            raise Conflict(f"The saved state of town '{self.name}' is not loaded yet.", "Load it with: tt init")

    def ensure_redis(self, *, for_saved_state: bool = False) -> bool:
        """Start the town's own server if it has one and it is down; True when it was started.

        Raises Conflict when a saved state waits to be loaded, unless it is started `for_saved_state`.
        """
        if not self.store.connector.is_managed:
            return False
        if not for_saved_state:
            self.require_loaded()
        from tinytown.store.server import ManagedServer  # noqa: PLC0415  only writers may start it

        return ManagedServer(self.config.redis, self.state_dir).ensure()

    def ring_supervisor(self) -> bool:
        """Tell the supervisor that a wish changed. False when nobody listens."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
            bell.setblocking(False)
            bell.sendto(b"look", self.doorbell.address)
            return True
        return False


def find_root(given: str | None = None, start: Path | None = None) -> Path:
    """The town's folder: the one given, else $TINYTOWN_TOWN, else upward from `start` (the working directory).

    Raises NotInitialized, Forbidden when the search ends at a town of somebody else: its settings say what is run.
    """
    asked = given or os.environ.get("TINYTOWN_TOWN")
    if asked:
        root = Path(os.path.expanduser(asked)).absolute()
        if os.path.isfile(root / TOWN_FILE):  # false for what is no path at all
            return _home(root)
        raise NotInitialized(given or str(root))
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / TOWN_FILE).is_file():
            check_owner(folder)
            return _home(folder)
    raise NotInitialized(".")


def check_owner(root: Path) -> None:
    """Raise Forbidden for a town that is neither ours nor root's: we may only have stumbled upon it.

    Who names a town (--town, $TINYTOWN_TOWN) says that it may be run, and is not asked this.
    """
    for path in (root, root / TOWN_FILE, root / STATE_DIR):
        with contextlib.suppress(FileNotFoundError):
            owner = path.stat().st_uid
            if owner not in {os.geteuid(), 0}:
                raise Forbidden(
                    f"The town at {root} belongs to another user (uid {owner}), and its settings say what is run.",
                    f"If you trust them: tt --town {shlex.quote(str(root))} ...",
                )


def _home(root: Path) -> Path:
    """Git brings a town's file into each worktree; there it means the town of the agent whose worktree that is."""
    real = root.resolve()
    for tree in (real, *real.parents):
        if not tree.match(f"{STATE_DIR}/agents/*/worktree"):
            continue
        note, home = read_json(tree.parent / "worktree.json"), tree.parents[3]
        if note and real == tree / str(note.get("prefix")) and (home / TOWN_FILE).is_file():
            return home
    return root


def open_town(given: str | None = None) -> Town:
    """Open the town that `given`, the environment or the working directory names.

    Raises NotInitialized, ConfigInvalid. Starts nothing.
    """
    root = find_root(given)
    return Town(root, settings.load(root))


def change(store: Store, build: Callable[[Transaction], T]) -> T:
    """Read, decide and commit; again from the start when somebody else was quicker.

    `build(tx)` reads what it needs, fills the transaction and returns the result. Raises Conflict when the
    state never stands still, and whatever `build` raises.
    """
    for _ in range(COMMIT_TRIES):
        tx = store.transaction()
        result = build(tx)
        try:
            store.commit(tx)
        except Stale:
            continue
        return result
    raise Conflict("The town's state changed too often to apply this.", "Try again.")
