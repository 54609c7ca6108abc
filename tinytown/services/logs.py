"""Logs: an agent's digest and its rounds, as files. Redis is asked only for a name that is not a file's."""

from __future__ import annotations

import codecs
import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from tinytown import clock, ids, logs
from tinytown.domain.task import Task
from tinytown.errors import Invalid, NotFound
from tinytown.town import Town

POLL_S = 0.2
_BLOCK = 65536
_DIGITS_MOST = 20  # of a place in a file


def name_of(town: Town, reference: str) -> str:
    """The agent's name; one that has logs is taken at its word. Raises AgentNotFound, Conflict, RedisAway."""
    try:
        ids.check_name(reference)
    except Invalid:
        pass
    else:
        if digest(town, reference).exists() or logs.round_numbers(town.logs_dir, reference):
            return reference
    from tinytown.services import agents, servers  # noqa: PLC0415  not for a name that is a file's

    servers.require(town)
    return agents.resolve(town, reference).agent.name


def digest(town: Town, name: str) -> Path:
    """The agent's own log: a line per thing that happened."""
    return town.logs_dir / f"{name}.log"


def round_path(town: Town, name: str, number: int) -> Path:
    """What the model printed in this round. Raises NotFound, which names the rounds there are."""
    path = logs.round_log(town.logs_dir, name, number)
    if not path.exists():
        numbers = logs.round_numbers(town.logs_dir, name)
        known = f"Rounds with a log: {numbers[0]} to {numbers[-1]}" if numbers else "It has had no round yet."
        raise NotFound(f"Agent '{name}' has no log of round {number}.", known)
    return path


def round_of_task(town: Town, task: Task) -> tuple[str, int]:
    """Agent and number of the round that works on the task, or worked on it last. Raises NotFound."""
    owner, _, rest = (task.ended_by or "").partition(":")
    number = rest.rpartition(":")[2]
    row = town.store.agents.row(owner if number else task.assigned_to or "")
    if row is not None and number.isdecimal():
        return row.agent.name, int(number)
    entry = town.journal(row.agent.name).last_round() if row is not None else None
    if row is None or entry is None or entry.agent_id != row.agent.id or entry.task_id != task.id:
        short = ids.short(task.id)
        raise NotFound(f"No round has worked on task {short}.", f"See why with: tt why {short}")
    return row.agent.name, entry.number


def tail(path: Path, lines: int, most: int | None = None) -> bytes:
    """The last lines of a file, of no more than its last `most` bytes. Raises NotFound when there is none."""
    fd = _open(path)
    if fd is None:
        raise NotFound(f"There is no log yet: {path}")
    try:
        return _tail(fd, lines, os.fstat(fd).st_size, most)
    finally:
        os.close(fd)


def whole(path: Path) -> Iterator[bytes]:
    """A file in blocks."""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def lines_of(blocks: Iterable[bytes]) -> Iterator[str]:
    """The lines in these blocks, each as soon as it is whole, the last one also without its end."""
    rest = b""
    for block in blocks:
        *whole_lines, rest = (rest + block).split(b"\n")
        for line in whole_lines:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def follow(path: Path, lines: int) -> Iterator[bytes]:
    """The last lines, then what is appended, for good; waits for the file, and goes on with the next after a rotation.

    Everything that is written is given once: the old file is read to its end before the next one is begun.
    """
    with contextlib.closing(_Following(path)) as file:
        if file.size is not None:
            file.position = file.size
            yield file.lines_before(lines)
        while True:
            if block := file.block():
                yield block
            else:
                clock.sleep(POLL_S)


class Follower:
    """What is appended to a log, as text, for one who must not wait. Starts `tail` bytes before its end, at a line.

    `place` is what `read` gave with a text: it goes on there, as long as the file is the same.
    """

    def __init__(self, path: Path, tail: int, place: str | None = None) -> None:
        self._file = _Following(path)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        size, mark = self._file.size or 0, f"{self._file.inode}-"
        offset = (place or "").removeprefix(mark)
        is_known = (place or "").startswith(mark) and offset.isdecimal() and len(offset) <= _DIGITS_MOST
        if is_known and int(offset) <= size:
            self._file.position = int(offset)
        else:
            self._file.position = self._file.line_after(max(0, size - tail))

    def read(self) -> tuple[str, str]:
        """The next text, at most 64 KB, empty when there is nothing (yet); and the place behind it."""
        text = self._decoder.decode(self._file.block())
        behind = len(self._decoder.getstate()[0])  # bytes of a character that is not whole yet
        return text, f"{self._file.inode}-{self._file.position - behind}"

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


class _Following:
    """A file that grows, and the next one of its name after a rotation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = _open(path)
        self.position = 0

    @property
    def size(self) -> int | None:
        """Bytes; None while there is no file."""
        return os.fstat(self._fd).st_size if self._fd is not None else None

    @property
    def inode(self) -> int:
        """Which file it is; 0 while there is none."""
        return os.fstat(self._fd).st_ino if self._fd is not None else 0

    def block(self) -> bytes:
        """What is behind `position`, which moves on; nothing when nothing is there (yet)."""
        if self._fd is None:
            self._fd, self.position = _open(self._path), 0
        if self._fd is None:
            return b""
        replaced = _was_replaced(self._path, self._fd)  # asked first: what was written before it is still read
        self.position = 0 if os.fstat(self._fd).st_size < self.position else self.position  # truncated
        found = os.pread(self._fd, _BLOCK, self.position)
        self.position += len(found)
        if not found and replaced:
            self.close()
            return self.block()
        return found

    def lines_before(self, lines: int) -> bytes:
        """The last lines before `position`."""
        return _tail(self._fd, lines, self.position) if self._fd is not None else b""

    def line_after(self, offset: int) -> int:
        """Where the next line begins: at most 64 KB on, and not before the end of the file."""
        if self._fd is None or offset == 0:
            return 0
        found = os.pread(self._fd, _BLOCK, offset - 1).find(b"\n")
        return offset + found if found >= 0 else offset

    def close(self) -> None:
        """Let the file go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _tail(fd: int, lines: int, end: int, most: int | None = None) -> bytes:
    least = max(0, end - most) if most is not None else 0
    start, blocks, ends = end, [], 0
    while start > least and ends <= lines:
        size = min(_BLOCK, start - least)
        start -= size
        blocks.append(os.pread(fd, size, start))
        ends += blocks[-1].count(b"\n")
    return b"".join(b"".join(reversed(blocks)).splitlines(keepends=True)[-lines:]) if lines else b""


def _open(path: Path) -> int | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # somebody may have put a pipe there
    except FileNotFoundError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def _was_replaced(path: Path, fd: int) -> bool:
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return False  # renamed, and the next one is not there yet
    return not os.path.samestat(now, os.fstat(fd))
