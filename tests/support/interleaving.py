"""Two clients at once, with the moment chosen: one client's whole operation runs inside of another's.

Services read, decide and commit, each in round trips of its own. `Interruptible` is a store that hands control away
before a round trip of the caller's choice, so that what two processes do by chance can be done on purpose and again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.invariants import Snapshot
from tinytown import ids
from tinytown.store import Store
from tinytown.store.transaction import Transaction
from tinytown.town import Town


class Interruptible(Store):
    """Counts its round trips; `visits` run before those that they are numbered for, from 0, once each."""

    def __init__(self, town: Town) -> None:
        super().__init__(town.name, town.config.redis, town.state_dir, events_kept=town.config.retention.events)
        self.visits: dict[int, Callable[[], object]] = {}
        self.trips = 0
        self.commits = 0

    def call(self, function: Callable[[Any], Any]) -> Any:
        self._arrive()
        return super().call(function)

    def read(self, *commands: tuple[Any, ...]) -> list[Any]:
        self._arrive()
        return super().read(*commands)

    def commit(self, tx: Transaction) -> None:
        super().commit(tx)
        self.commits += 0 if tx.is_empty else 1

    def _arrive(self) -> None:
        number, self.trips = self.trips, self.trips + 1
        visit = self.visits.pop(number, None)
        if visit is not None:
            visit()


def interruptible(town: Town) -> tuple[Town, Interruptible]:
    """The same town through a store of this kind; close it."""
    own = Town(town.root, town.config)
    store = own.__dict__["store"] = Interruptible(own)  # where the property keeps it
    return own, store


@contextmanager
def visited(town: Town, visits: Mapping[int, Callable[[], object]]) -> Iterator[tuple[Town, Interruptible]]:
    """A client of the town during whose round trips others come; those whose trip never came, come at the end."""
    own, store = interruptible(town)
    store.visits = dict(visits)
    try:
        yield own, store
        while store.visits:
            store.visits.pop(min(store.visits))()
    finally:
        store.close()


@contextmanager
def unforced(town: Town) -> Iterator[None]:
    """Its server forces nothing to the disk meanwhile: thousands of examples would wait for it most of the time."""
    client: Any = town.store.redis
    forced = client.config_get("appendfsync")["appendfsync"]
    client.config_set("appendfsync", "no")
    try:
        yield
    finally:
        client.config_set("appendfsync", forced)
        if hasattr(client, "raw"):
            client.raw.close()


@dataclass(frozen=True)
class Frozen:
    """Every key of the town as Redis itself writes it down, with what is left of its time in ms (0: for good)."""

    keys: dict[str, tuple[bytes, int]]


def freeze(town: Town) -> Frozen:
    """One moment of the town, to come back to. Nobody else may be at work in its database."""
    client = _raw(town)
    names = sorted(client.scan_iter(match=f"tt:{town.name}:*", count=1000))
    pipe = client.pipeline(transaction=True)
    for name in names:
        pipe.dump(name).pttl(name)
    answers = pipe.execute()
    rows = zip(names, answers[::2], answers[1::2], strict=True)
    return Frozen({name: (dumped, max(left, 0)) for name, dumped, left in rows})


def thaw(town: Town, frozen: Frozen) -> None:
    """Make the town's database what it was."""
    pipe = _raw(town).pipeline(transaction=True)
    pipe.flushdb()
    for name, (dumped, left) in frozen.keys.items():
        pipe.restore(name, left, dumped)
    pipe.execute()


def _raw(town: Town) -> Any:
    """A client that leaves bytes as they are."""
    client: Any = town.store.redis
    if not hasattr(client, "raw"):
        pool = client.connection_pool
        options = pool.connection_kwargs | {"decode_responses": False}
        client.raw = type(client).from_pool(type(pool)(connection_class=pool.connection_class, **options))
    return client.raw


Shape = dict[str, list[list[str]]]  # key -> for each key that reads so, what is in it
_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_SHORT = re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{8}\b(?!-)|\b[0-9]{8}\b(?!-)")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:[\d.]+Z")
_FLOAT = re.compile(r"\d+\.\d{2,}")


def shape(seen: Snapshot, known: str) -> Shape:
    """What is there, but for the ids (that are not in `known`) and times that each run makes anew.

    Events are a heap, not a row: an operation of several steps has others between them.
    """
    found: Shape = {}

    def plain(value: object) -> str:
        text = _ID.sub(lambda m: m[0] if m[0] in known else "#", str(value))
        text = _SHORT.sub(lambda m: m[0] if m[0] in known else "#", text)
        return _FLOAT.sub("~", _TIME.sub("@", text))

    for key, (kind, _ttl, value) in seen.keys.items():
        if key.split(":")[2] == "sent":
            continue
        if kind == "stream":
            rows = sorted(plain(fields) for _id, fields in value)
        elif kind == "hash":
            rows = sorted(map(plain, zip(*[iter(value)] * 2, strict=True)))
        else:
            rows = [plain(item) for item in value] if isinstance(value, list) else [plain(value)]
        found.setdefault(plain(key), []).append(rows if kind == "list" else sorted(rows))
    return {key: sorted(rows) for key, rows in found.items()}


def named(seen: Snapshot) -> str:
    """The text in which known ids are looked for."""
    return repr(seen.keys) + ids.SUPERVISOR_ID
