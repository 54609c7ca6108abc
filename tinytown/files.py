"""Small files that survive a crash: written beside, fsynced, renamed; and locks that die with their holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinytown.domain.record import load_storable
from tinytown.errors import Forbidden
from tinytown.processes import identity

_BESIDE = re.compile(r".+\.(\d+)\.tmp")


def write_atomic(path: Path, text: str, *, sync: bool = True, mode: int = 0o600) -> None:
    """Replace the file in one step. With `sync` the new content survives a power loss.

    Raises OSError (disk full); the old content then stays.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    data = memoryview(text.encode("utf-8", "surrogateescape"))
    fd = create(beside, mode)
    try:
        while data:
            data = data[os.write(fd, data) :]
        if sync:
            os.fdatasync(fd)
    except OSError:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    os.close(fd)
    os.rename(beside, path)
    if sync:
        sync_folder(path.parent)  # else the name may be the old one's after a power loss


def make_private(folder: Path, *, parents: bool = False) -> None:
    """Make the folder (with `parents` what is missing above it) for this user alone; one that is there is closed.

    Raises Forbidden when it belongs to somebody else, OSError.
    """
    if parents and not folder.parent.exists():
        make_private(folder.parent, parents=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise Forbidden(f"{folder} belongs to another user (uid {found.st_uid}).", "Work as that user, or remove it.")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def create(path: Path, mode: int = 0o600) -> int:
    """The descriptor of a new file: never one that somebody put there, never where a link leads.

    What is in the way (left by a killed process of this pid) is removed. Raises OSError.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, mode)


def make_durable(folder: Path) -> None:
    """Make the folder and what is missing above it, each private, with names that survive a power loss."""
    if not folder.is_dir():
        make_durable(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """The names in it survive a power loss. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def half_written(folder: Path) -> list[Path]:
    """The files beside those that they were to replace, whose writers have been killed; by name."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            beside = _BESIDE.fullmatch(entry.name)
            if beside is not None and identity(int(beside[1])) is None:
                found.append(Path(entry.path))
    return sorted(found)


def remove_half_written(folder: Path) -> None:
    """Remove them. Never fails."""
    for path in half_written(folder):
        with contextlib.suppress(OSError):
            path.unlink()


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None when there is no file or no object in it."""
    try:
        value = load_storable(path.read_text("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


class FileLock:
    """An exclusive lock on a file: the kernel frees it when the holder dies. Not passed to forked children."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """By this object."""
        return self._fd is not None

    def acquire(self, *, wait: bool = False) -> bool:
        """Take it; False when somebody else has it (never with `wait`). Raises Forbidden."""
        if self._fd is not None:
            return True
        try:
            fd = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Forbidden(f"Cannot write {self.path}: {error.strerror}.") from error
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK))
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        """Give it back; in a forked child this closes the copy (which would keep the lock alive)."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def is_taken(self) -> bool:
        """Somebody holds it now. Starts nothing, creates nothing."""
        if self._fd is not None:
            return True
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK))
        finally:
            os.close(fd)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


# struct flock: type, whence, start, length (0 = all), pid. Locks of the open file description: unlike POSIX
# locks they survive a close of another descriptor, unlike flock(2) they can be asked for without being taken.
_FLOCK = "hhlli4x"


def _flock(kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock for the block, waiting for it."""
    lock = FileLock(path)
    lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()
