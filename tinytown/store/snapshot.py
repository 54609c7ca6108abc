"""A town as commands: copied at one point in time, read in a fixed order, put in another state's place at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tinytown.errors import Conflict, Unavailable
from tinytown.store.keys import SNAPSHOT_TTL_S, row_of, split
from tinytown.store.saved_file import Command

if TYPE_CHECKING:
    from tinytown.store import Store

# Kinds that say what happens now, on these machines: no part of a saved state.
PASSING = ("lease", "wake", "sent", "hold", "snapshot", "wanted", "stop", "pause", "answer", "answers")
# Of those, what a restore leaves alone: it is not about the state that goes.
STAYING = ("lease", "sent", "hold", "snapshot", "answer", "answers")
# What a town without agents, tasks and mail may have.
LIGHT = ("events", "wake", "stop", "pause")
_LUA = Path(__file__).parent / "lua"
_KEYS_AT_ONCE = 200
_ELEMENTS_AT_ONCE = 1000
_COMMANDS_AT_ONCE = 500
_BYTES_AT_ONCE = 1_000_000
T = TypeVar("T")
Reader = Callable[[str, str], tuple[Any, ...]]

# Redis type -> the command that reads elements of `key` from `start` on.
_READERS: dict[str, Reader] = {
    "string": lambda key, _start: ("GET", key),
    "hash": lambda key, _start: ("HGETALL", key),
    "set": lambda key, _start: ("SMEMBERS", key),
    "list": lambda key, start: ("LRANGE", key, start or "0", str(int(start or 0) + _ELEMENTS_AT_ONCE - 1)),
    "zset": lambda key, start: (
        "ZRANGE", key, start or "0", str(int(start or 0) + _ELEMENTS_AT_ONCE - 1), "WITHSCORES",
    ),
    "stream": lambda key, start: ("XRANGE", key, f"({start}" if start else "-", "+", "COUNT", str(_ELEMENTS_AT_ONCE)),
}  # fmt: skip


def copy(store: Store, token: str) -> int:
    """Copy the town's state beside it, as it is at one moment; how many keys. Copies expire if nobody drops them."""
    script = (_LUA / "snapshot_copy.lua").read_text("utf-8")
    argv: list[str | int] = [store.keys.prefix, copies(store, token), SNAPSHOT_TTL_S, *PASSING]
    return int(store.call(lambda r: r.eval(script, 0, *argv)))


def copies(store: Store, token: str) -> str:
    """The prefix of the copies with this token."""
    return f"{store.keys.snapshot(token)}:"


def drop(store: Store, token: str) -> None:
    """Delete the copies with this token."""
    for names in _pages(names_under(store, copies(store, token)), _KEYS_AT_ONCE):
        store.read(*(("UNLINK", name) for name in names))


def towns(store: Store) -> list[str]:
    """The names of the towns on this server."""
    found = (split(name) for name in names_under(store, ""))
    return sorted({parts[0] for parts in found if parts is not None})


def names_under(store: Store, prefix: str) -> list[str]:
    """All keys whose names begin so, sorted."""
    return sorted(set(store.call(lambda r: list(r.scan_iter(match=f"{prefix}*", count=1000)))))


def strange(store: Store) -> str | None:
    """A key of the town that has another type than the table says, as text for people; None when there is none."""
    prefix = store.keys.prefix
    for names in _pages(names_under(store, prefix), _KEYS_AT_ONCE):
        for name, kind in zip(names, store.read(*(("TYPE", name) for name in names)), strict=True):
            row = row_of(name[len(prefix) :])
            if kind not in _READERS or (row is not None and row.type in _READERS and row.type != kind):
                return f"{name} is a {kind}"
    return None


def commands(store: Store, prefix: str, home: str, tick: Callable[[int], None] | None = None) -> Iterator[Command]:
    """What recreates every key under `prefix` as one under `home`; kinds that say what happens now are left out.

    Reads by the page; `tick` hears how many keys are done. The keys must not change meanwhile.
    """
    done = 0
    wanted = (n for n in names_under(store, prefix) if n[len(prefix) :].partition(":")[0] not in PASSING)
    for names in _pages(wanted, _KEYS_AT_ONCE):
        kinds = store.read(*(("TYPE", name) for name in names))
        there = [(name, kind) for name, kind in zip(names, kinds, strict=True) if kind != "none"]
        for name, kind in there:
            if kind not in _READERS:
                raise Conflict(f"{name} is a {kind}, which cannot be saved.", f"Delete it: redis-cli DEL {name}")
        firsts = store.read(*(_READERS[kind](name, "") for name, kind in there))
        for (name, kind), first in zip(there, firsts, strict=True):
            yield from _rebuild(store, name, home + name[len(prefix) :], kind, first)
        done += len(names)
        if tick is not None:
            tick(done)


def fill(store: Store, made: Iterable[Command], *, tick: Callable[[int], None] | None = None) -> int:
    """Run these commands, which make new keys that expire after a while; how many keys. The client must not retry."""
    last, done = "", 0
    for batch in _batches(made):
        operations: list[Command] = []
        for command in batch:
            operations.append(command)
            if command[1] != last:
                last, done = command[1], done + 1
                operations.append(("EXPIRE", last, str(SNAPSHOT_TTL_S)))
        _at_once(store, operations)
        if tick is not None:
            tick(done)
    return done


def swap(store: Store, token: str, count: int, event: str, *, force: bool) -> None:
    """Put the `count` copies in the place of the town's state, with the event, in one step.

    Another `count` than there are copies refuses it: then Redis did not keep what it was given.
    Raises Conflict (an agent is wanted; without `force`: the town is not empty), Unavailable. Nothing is done then.
    """
    script = (_LUA / "snapshot_swap.lua").read_text("utf-8")
    head: list[str | int] = [store.keys.prefix, copies(store, token), count, int(force), event, len(STAYING)]
    answer = store.call(lambda r: r.eval(script, 0, *head, *STAYING, *LIGHT))
    if answer[0] == 0:
        raise Conflict(f"The town is not empty (any more): {answer[1]} keys would be lost.", "See: tt status")
    if answer[0] == 2:
        raise Conflict("An agent was started meanwhile; nothing was restored.", "Stop it with tt kill, and try again.")
    if answer[0] != 1:
        raise Unavailable("Redis did not keep what was to be restored; nothing was changed.", "Try again.")


def _rebuild(store: Store, name: str, home: str, kind: str, first: Any) -> Iterator[Command]:
    if kind == "string":
        if first is not None:
            yield ("SET", home, str(first))
    elif kind == "hash":
        yield from (("HSET", home, field, value) for field, value in sorted(first.items()))
    elif kind == "set":
        yield from (("SADD", home, member) for member in sorted(first))
    else:
        start, page = 0, first
        while page:
            yield from _elements(home, kind, page)
            length = len(page) // 2 if kind == "zset" else len(page)
            if length < _ELEMENTS_AT_ONCE:
                return
            start += length
            (page,) = store.read(_READERS[kind](name, str(page[-1][0]) if kind == "stream" else str(start)))


def _elements(home: str, kind: str, page: Any) -> Iterator[Command]:
    if kind == "list":
        yield from (("RPUSH", home, element) for element in page)
    elif kind == "zset":
        yield from (("ZADD", home, str(score), member) for member, score in zip(*[iter(page)] * 2, strict=True))
    else:
        for entry_id, fields in page:
            yield ("XADD", home, entry_id, *(word for pair in fields.items() for word in pair))


def _at_once(store: Store, operations: list[Command]) -> None:
    def run(client: Any) -> None:
        pipe = client.pipeline(transaction=True)
        for operation in operations:
            pipe.execute_command(*operation)
        pipe.execute()

    store.call(run)


def _batches(made: Iterable[Command]) -> Iterator[list[Command]]:
    batch: list[Command] = []
    size = 0
    for command in made:
        batch.append(command)
        size += sum(map(len, command))
        if len(batch) >= _COMMANDS_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while page := list(islice(iterator, size)):
        yield page
