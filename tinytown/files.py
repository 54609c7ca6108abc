"""Small files that survive a crash: written beside, fsynced, renamed; and locks that die with their holder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinytown.errors import Forbidden


def write_atomic(path: Path, text: str, *, sync: bool = True, mode: int = 0o600) -> None:
    """Replace the file in one step. With `sync` the new content survives a power loss.

    Raises OSError (disk full); the old content then stays.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    data = memoryview(text.encode("utf-8", "surrogateescape"))
    fd = os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, mode)
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
        _sync_folder(path.parent)  # else the name may be the old one's after a power loss


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None when there is no file or no object in it."""
    try:
        value = json.loads(path.read_text("utf-8", "surrogateescape"))
    except (OSError, ValueError, RecursionError):
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
            fd = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
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
