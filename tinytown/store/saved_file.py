"""The saved file: a plain append-only file, as Redis reads and git stores it.

Commands in Redis' own protocol, one element of a key in each, in a fixed order: two saves of the same state are the
same bytes, and a changed record is a changed line. A first and a last line, which Redis takes for annotations,
name the town and prove that nothing is missing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tinytown.errors import Invalid

VERSION = "1"
# What recreates a key. A file comes from a repository: nothing else of it ever reaches a server.
VERBS = frozenset({"SET", "RPUSH", "HSET", "HMSET", "SADD", "ZADD", "XADD", "XSETID", "PEXPIREAT"})
_HEAD, _END = b"#TINYTOWN ", b"#END "
_LINE_LIMIT = 1024
_ARGUMENTS_LIMIT = 100_000
_SELECT = ("SELECT", "0")

Command = tuple[str, ...]  # verb, key, arguments


class Damaged(Invalid):
    """The file is not what a save wrote, as a whole."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} cannot be restored: {why}.", "Bring back a good one, or move it away.")
        self.why = why


@dataclass(frozen=True, slots=True)
class Written:
    """How much, and the digest that the last line holds."""

    commands: int
    size: int
    digest: str


def encode(command: Command) -> bytes:
    """The command in Redis' protocol; text that is no UTF-8 is the bytes it came from."""
    parts = [f"*{len(command)}\r\n".encode()]
    for word in command:
        data = word.encode("utf-8", "surrogateescape")
        parts += (f"${len(data)}\r\n".encode(), data, b"\r\n")
    return b"".join(parts)


def write(path: Path, town: str, commands: Iterable[Command]) -> Written:
    """Write and fsync a new file. Raises OSError; what is there then lacks its end, so it will not be restored."""
    digest, count, size = hashlib.sha256(), 0, 0
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as stream:
        stream.write(_HEAD + f"{VERSION} {town}\r\n".encode())
        for command in _with_select(commands):
            data = encode(command)
            stream.write(data)
            digest.update(data)
            count += 1
            size += len(data)
        stream.write(_END + f"{count} {digest.hexdigest()}\r\n".encode())
        stream.flush()
        os.fsync(stream.fileno())
    return Written(count, size, digest.hexdigest())


def digest_of(commands: Iterable[Command]) -> str:
    """The digest that a file with these commands has."""
    digest = hashlib.sha256()
    for command in _with_select(commands):
        digest.update(encode(command))
    return digest.hexdigest()


def replace(new: Path, path: Path) -> None:
    """Put the new file in the old one's place, in one step that survives a power loss. Raises OSError."""
    os.rename(new, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path) -> Iterator[Command]:
    """The commands that recreate keys. Raises Damaged, at the latest at the end, and OSError.

    Line ends that git changed do no harm. A file without our first line (Redis wrote it, somebody's script) has no
    end to prove; commands that do anything but recreate a key are refused in every file.
    """
    with path.open("rb") as stream:
        yield from _Reader(path, stream).commands()


class _Reader:
    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self.stream = stream
        self.size = os.fstat(stream.fileno()).st_size
        self.digest = hashlib.sha256()
        self.count = 0

    def commands(self) -> Iterator[Command]:
        is_ours = is_whole = False
        while line := self.stream.readline(_LINE_LIMIT):
            if is_whole:
                raise self.damaged("something follows its end")
            if line.startswith(b"#"):
                is_ours = is_ours or self._is_head(line)
                is_whole = self._is_end(line)
                continue
            command = self._command(line)
            self.digest.update(encode(command))
            self.count += 1
            if command[0] in VERBS and len(command) > 2:
                yield command
            elif command != _SELECT:
                raise self.damaged(f"it holds a command that no save writes: {command[0][:40]!r}")
        if (is_ours or not self.count) and not is_whole:
            raise self.damaged("its end is missing")

    def damaged(self, why: str) -> Damaged:
        return Damaged(self.path, why)

    def _is_head(self, line: bytes) -> bool:
        if not line.startswith(_HEAD):
            return False
        version = line[len(_HEAD) :].split()[:1]
        if version != [VERSION.encode()]:
            raise self.damaged("a newer version of Tinytown wrote it")
        return True

    def _is_end(self, line: bytes) -> bool:
        if not line.startswith(_END):
            return False
        if line[len(_END) :].split() != [str(self.count).encode(), self.digest.hexdigest().encode()]:
            raise self.damaged("its content was changed")
        return True

    def _command(self, line: bytes) -> Command:
        count = self._number(line, b"*")
        if not 1 <= count <= _ARGUMENTS_LIMIT:
            raise self.damaged("it is no append-only file")
        words = [self._word() for _ in range(count)]
        return (words[0].upper(), *words[1:])

    def _word(self) -> str:
        length = self._number(self.stream.readline(_LINE_LIMIT), b"$")
        if not 0 <= length <= self.size - self.stream.tell():
            raise self.damaged("it is cut off")
        data = self.stream.read(length)
        if self.stream.readline(2).strip(b"\r") != b"\n":
            raise self.damaged("it is cut off, or its content was changed")
        return data.decode("utf-8", "surrogateescape")

    def _number(self, line: bytes, mark: bytes) -> int:
        text = line[1:].rstrip(b"\r\n")
        if not line.endswith(b"\n"):
            raise self.damaged("it is cut off" if line[:1] in {mark, b""} else "it is no append-only file")
        if line[:1] != mark or not text.isdigit():
            raise self.damaged("it is no append-only file")
        return int(text)


def _with_select(commands: Iterable[Command]) -> Iterator[Command]:
    yield _SELECT
    yield from commands
