"""Records as older versions left them: where they are, what they hold, and how a transaction takes them away."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tinytown.domain.states import TaskState
from tinytown.store import keys
from tinytown.store.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tinytown.store import Store

_AT_ONCE = 500
# What the older versions made of each kind.
_RECORD, _LIST = frozenset({"string", "hash"}), frozenset({"list"})
_WRITTEN_AS = {"agent": _RECORD, "task": _RECORD, "stop": frozenset({"string"})}


@dataclass(frozen=True, slots=True)
class Source:
    """An old record: its key, where its new form belongs, and whether it is a string or a hash."""

    id: str
    key: str
    home: str
    type: str

    @property
    def is_former(self) -> bool:
        """It is not in its place yet."""
        return self.key != self.home


@dataclass(frozen=True, slots=True)
class Found:
    """Everything old that concerns a town. `mail`: agent id -> former keys. `conflicts`: the new form is there, too.

    `strange`: former keys of a Redis type that no version wrote.
    """

    agents: list[Source]
    tasks: list[Source]
    mail: dict[str, list[str]]
    backlog: list[str]
    conflicts: list[Source]
    strange: list[str]


def look(store: Store) -> Found:
    """Look through all keys of the server; changes nothing."""
    prefix = store.keys.prefix
    former: list[tuple[str, str, str]] = []
    own: list[tuple[str, str, str]] = []
    for name in set(store.call(lambda r: list(r.scan_iter(match=f"{keys.PREFIX}*", count=1000)))):
        kind, _, identifier = name.removeprefix(prefix).partition(":")
        if (parts := keys.split_former(name)) is not None:
            former.append((*parts, name))
        elif name.startswith(prefix) and kind in {"agent", "task"}:
            own.append((kind, identifier, name))
    mail, strange = _mail(store, former)
    there = {name for _kind, _id, name in own}
    old = [row for row in former if row[0] in {"agent", "task"}]
    moving = list(_sources(store, old))
    fresh = [source for source in moving if source.home not in there]
    found = sorted([*fresh, *_outside_the_indexes(store, own)], key=lambda source: source.key)
    backlog = store.call(lambda r: r.lrange(keys.FORMER_BACKLOG, 0, -1))
    agents = [source for source in found if source.home == store.keys.agent(source.id)]
    tasks = [source for source in found if source.home == store.keys.task(source.id)]
    return Found(agents, tasks, mail, backlog, [source for source in moving if source.home in there], strange)


def read(store: Store, source: Source) -> str | dict[str, str] | None:
    """What is stored there now; None when it is gone."""
    if source.type == "hash":
        return dict(store.call(lambda r: r.hgetall(source.key))) or None
    found: str | None = store.call(lambda r: r.get(source.key))
    return found


def take(tx: Transaction, source: Source, stored: str | dict[str, str] | None) -> bool:
    """Expect the old record as it was read and the new one's place free, and delete the old; False: it is gone."""
    if stored is None:
        return False
    if isinstance(stored, str):
        tx.expect(source.key, stored)
    else:
        for name, value in stored.items():
            tx.expect_field(source.key, name, value)
    if source.is_former:
        tx.expect(source.home, None)
    tx.do("DEL", source.key)
    return True


def _mail(store: Store, former: list[tuple[str, str, str]]) -> tuple[dict[str, list[str]], list[str]]:
    """The former keys that are no records, by their agents; and all keys that are not what they should be."""
    mail: dict[str, list[str]] = defaultdict(list)
    strange = []
    for page in _pages(sorted(former)):
        types = store.read(*(("TYPE", name) for _kind, _id, name in page))
        for (kind, identifier, name), stored_as in zip(page, types, strict=True):
            if stored_as not in _WRITTEN_AS.get(kind, _LIST) | {"none"}:
                strange.append(name)
            elif kind not in {"agent", "task"}:
                mail[identifier].append(name)
    return dict(mail), strange


def _outside_the_indexes(store: Store, own: list[tuple[str, str, str]]) -> Iterator[Source]:
    """The town's records that are hashes, or that no index names."""
    named = set(store.agents.names().values())
    indexed = set(store.tasks.ids(TaskState))
    for source in _sources(store, own):
        if source.type == "hash" or source.id not in named | indexed:
            yield source


def _sources(store: Store, rows: list[tuple[str, str, str]]) -> Iterator[Source]:
    for page in _pages(rows):
        types = store.read(*(("TYPE", name) for _kind, _id, name in page))
        for (kind, identifier, name), stored_as in zip(page, types, strict=True):
            if stored_as in {"string", "hash"}:
                home = store.keys.agent(identifier) if kind == "agent" else store.keys.task(identifier)
                yield Source(identifier, name, home, stored_as)


def _pages(rows: Iterable[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    iterator = iter(rows)
    while page := list(islice(iterator, _AT_ONCE)):
        yield page
