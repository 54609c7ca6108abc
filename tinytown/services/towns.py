"""Make a town: settings, folders, git's ignore list, Redis, the registry. Nothing half done.

Whatever kills it in the middle, the next `init` goes on: a mark in `.tt` says that it was not finished, and
the settings of a fresh town are written last.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tinytown import config as settings
from tinytown.config import DEFAULT_CLI, STATE_DIR, TOWN_FILE
from tinytown.errors import ConfigInvalid, Conflict, Forbidden, Unavailable
from tinytown.files import make_private, write_atomic
from tinytown.services import naming, registry
from tinytown.services.template import town_file
from tinytown.town import Town, find_root

if TYPE_CHECKING:
    from tinytown.services.snapshots import Restored  # loads much that only a saved file needs

FOLDERS = ("agents", "logs", "tasks", "runs")
IGNORED = (f"{STATE_DIR}/*", f"!{STATE_DIR}/redis.aof")
FORMER_IGNORES = frozenset({STATE_DIR, f"{STATE_DIR}/", f"/{STATE_DIR}", f"/{STATE_DIR}/"})
# Data that travels with a clone; a town is there only when there is more.
DATA = frozenset({"redis.aof", "appendonlydir"})
UNFINISHED = "init.unfinished"


@dataclass(frozen=True, slots=True)
class Made:
    """What `init` did. `asked_name` is the name before characters were replaced; the warnings are not fatal."""

    town: Town
    asked_name: str
    was_clone: bool
    warning: str | None
    not_loaded: str | None = None
    restored: Restored | None = None


class _Undo:
    """What to take back if a later step of the block fails; the last first."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def add(self, step: Callable[[], object]) -> None:
        self._steps.append(step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is None:
            return
        for step in reversed(self._steps):
            with contextlib.suppress(Exception):
                step()


def init(folder: Path, name: str | None = None, say: Callable[[str], None] | None = None) -> Made:
    """Make the town of this folder; with a saved file its state is restored. `say` hears of what takes long.

    Raises Conflict (there is one, another name), Forbidden, ConfigInvalid and whatever starting Redis raises;
    then nothing is changed.
    """
    root = Path(os.path.abspath(folder))
    try:
        with _Undo() as outer:
            _make_folder(root, outer)
            with _locked(root), _Undo() as undo:
                return _init(root, name, undo, say)
    except OSError as error:
        raise Forbidden(f"Cannot write {error.filename or root}: {error.strerror}.") from error


def _init(root: Path, name: str | None, undo: _Undo, say: Callable[[str], None] | None) -> Made:
    is_clone = (root / TOWN_FILE).exists()
    if is_clone and (home := find_root(str(root))) != root:
        raise Conflict(f"This is an agent's worktree of the town at {home}.", f"Use that town: tt status --town {home}")
    if is_clone and _is_lived_in(root / STATE_DIR) and not Town(root, settings.load(root)).is_only_saved:
        raise Conflict(f"A town is already here: {root / TOWN_FILE}", "Connect to it with: tt start")
    if is_clone:
        config, text, asked = settings.load(root), None, name or ""
        if name is not None and naming.legal(name) != config.name:
            raise Conflict(
                f"{root / TOWN_FILE} names this town '{config.name}', not '{name}'.",
                "Leave --name out, or change the name in that file.",
            )
    else:
        asked = name if name is not None else naming.derive(root)
        text = town_file(naming.legal(asked), _default_cli())
        config = settings.build(tomllib.loads(text), root / TOWN_FILE)
    town = Town(root, config)
    _make_state_dir(town.state_dir, undo)
    _ignore(root / ".gitignore", undo)
    _start_redis(town, undo)
    restored, left = _load_saved(town, say)
    if text is not None:
        undo.add((root / TOWN_FILE).unlink)
        write_atomic(root / TOWN_FILE, text, mode=0o644)
    warning = register(town)
    (town.state_dir / UNFINISHED).unlink(missing_ok=True)
    return Made(town, asked or config.name, is_clone, warning, left, restored)


def _load_saved(town: Town, say: Callable[[str], None] | None) -> tuple[Restored | None, str | None]:
    """Restore what `tt save` left for this machine; a word when the town has state already. Raises as `restore`."""
    if not (town.root / os.path.expanduser(town.config.redis.aof_path)).is_file():
        return None, None
    from tinytown.services import snapshots  # noqa: PLC0415  only a saved file needs it

    if not snapshots.is_full(town):
        with contextlib.suppress(snapshots.NothingSaved):
            return snapshots.restore(town, say=say), None
    elif not snapshots.was_restored(town):
        name = snapshots.file_of(town)
        return None, f"The town has state in Redis already; {name} was not loaded. To load it: tt restore --force"
    return None, None


def _default_cli() -> str:
    return str(settings.load_global().get("default_cli", DEFAULT_CLI))


def _is_lived_in(state_dir: Path) -> bool:
    try:
        found = {entry.name for entry in state_dir.iterdir()}
    except FileNotFoundError:
        return False
    return UNFINISHED not in found and bool(found - DATA)


def _make_folder(root: Path, undo: _Undo) -> None:
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        undo.add(folder.rmdir)
    if not root.is_dir():
        raise Forbidden(f"Not a folder: {root}")


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One init at a time. The folder itself is the lock, so that no file is left."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _make_state_dir(state_dir: Path, undo: _Undo) -> None:
    if not state_dir.exists():
        undo.add(lambda: shutil.rmtree(state_dir, ignore_errors=True))
        state_dir.mkdir(mode=0o700)
    else:
        before = {entry.name for entry in state_dir.iterdir()}
        undo.add(lambda: _remove_all_but(state_dir, before))
    make_private(state_dir)
    (state_dir / UNFINISHED).touch(mode=0o600)
    for name in FOLDERS:
        (state_dir / name).mkdir(mode=0o700, exist_ok=True)


def _remove_all_but(state_dir: Path, kept: set[str]) -> None:
    for entry in state_dir.iterdir():
        if entry.name not in kept:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _ignore(file: Path, undo: _Undo) -> None:
    """Let git ignore `.tt/*` but not the saved state; a line that ignores the whole folder would hide that, too."""
    old = file.read_text("utf-8", "surrogateescape") if file.exists() else None
    lines = [line for line in (old or "").splitlines() if line.strip() not in FORMER_IGNORES]
    new = "\n".join([*lines, *(line for line in IGNORED if line not in lines)]) + "\n"
    if new == old:
        return
    undo.add(file.unlink if old is None else lambda: write_atomic(file, old, mode=0o644))
    write_atomic(file, new, mode=0o644 if old is None else file.stat().st_mode & 0o777)


def _start_redis(town: Town, undo: _Undo) -> None:
    if town.store.connector.is_managed:
        from tinytown.services import servers  # noqa: PLC0415  init alone both starts and ends one

        if not servers.is_listening(town):
            undo.add(lambda: servers.stop(town))
        town.ensure_redis(for_saved_state=True)
    town.store.connector.check(town.store.redis)


def register(town: Town) -> str | None:
    """Into the list of this user's towns; a word when that cannot be written."""
    try:
        registry.add(town.name, town.root)
    except (ConfigInvalid, Forbidden, Unavailable) as error:
        return f"The town works, but it is not in the list of towns: {error}"
    return None
