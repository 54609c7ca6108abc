"""Logs: an agent's digest and its rounds, as files. Redis is asked only for a name that is not a file's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tinytown import clock, ids, logs
from tinytown.errors import Invalid, NotFound
from tinytown.town import Town

POLL_S = 0.2
_BLOCK = 65536


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


def tail(path: Path, lines: int) -> tuple[bytes, int]:
    """The last lines of a file, and where it ended. Raises NotFound when there is no file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"There is no log yet: {path}", "Wait for it with: tt logs -f NAME") from error
    try:
        end = start = os.fstat(fd).st_size
        text = b""
        while start > 0 and text.count(b"\n") <= lines:
            size = min(_BLOCK, start)
            start -= size
            text = os.pread(fd, size, start) + text
    finally:
        os.close(fd)
    kept = text.splitlines(keepends=True)[-lines:] if lines else []
    return b"".join(kept), end


def whole(path: Path) -> Iterator[bytes]:
    """A file in blocks."""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def follow(path: Path, position: int) -> Iterator[bytes]:
    """What is appended from `position` on, for good; waits for the file, and goes on with the next after a rotation."""
    fd: int | None = None
    try:
        while True:
            if fd is None:
                fd = _open(path)
            if fd is not None:
                replaced = _was_replaced(path, fd)  # asked first: what was written before it is still read
                size = os.fstat(fd).st_size
                position = 0 if size < position else position  # truncated
                while block := os.pread(fd, _BLOCK, position):
                    position += len(block)
                    yield block
                if replaced:
                    os.close(fd)
                    fd, position = None, 0
                    continue
            clock.sleep(POLL_S)
    finally:
        if fd is not None:
            os.close(fd)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _was_replaced(path: Path, fd: int) -> bool:
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return False  # renamed, and the next one is not there yet
    return not os.path.samestat(now, os.fstat(fd))
