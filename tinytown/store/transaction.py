"""A change of several keys, decided in Python on what was read, applied by one script or not at all.

It is WATCH/MULTI/EXEC in one round trip: the expectations are the raw old values, so two writers at one key
never undo each other, and no script has to understand (or re-encode) JSON.
"""

from __future__ import annotations

import hashlib

from tinytown import clock
from tinytown.domain.event import Event
from tinytown.domain.message import Message, Priority
from tinytown.domain.record import dump
from tinytown.domain.task import Task
from tinytown.store.keys import SENT_TTL_S, Keys

COMMIT_TOKEN_TTL_S = 60
ACTIVITY_LINES = 10


class Stale(Exception):
    """An expectation did not hold: somebody else changed the key since it was read. Nothing was done."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Transaction:
    """Expectations and operations, in order. `Store.commit` applies it."""

    def __init__(self, keys: Keys, *, events_kept: int = 10_000) -> None:
        self.keys = keys
        self.token: str | None = None
        self.token_ttl_s = COMMIT_TOKEN_TTL_S
        self.is_repeatable = False  # applying it twice is applying it once: it needs no token
        self.told: list[Event] = []  # the events that it adds
        self._bound: tuple[str | int, ...] = ("MAXLEN", "~", events_kept) if events_kept else ()
        self._key_index: dict[str, int] = {}
        self._expectations: dict[tuple[str, str, tuple[str, ...]], str] = {}  # -> what it is about
        self._operations: list[tuple[str, str, tuple[str, ...]]] = []
        self._rung: set[str] = set()

    # What must hold

    def expect(self, key: str, value: str | None, what: str = "") -> None:
        """The string at `key` is still this (None: there is none)."""
        self._expect("get", key, ("0",) if value is None else ("1", value), what)

    def expect_field(self, key: str, field: str, value: str | None, what: str = "") -> None:
        """The field of the hash is still this (None: there is none)."""
        self._expect("hget", key, (field, "0") if value is None else (field, "1", value), what)

    def expect_member(self, key: str, value: str, what: str = "") -> None:
        """The list holds this element."""
        self._expect("has", key, (value,), what)

    def expect_exists(self, key: str, what: str = "") -> None:
        """The key is there."""
        self._expect("exists", key, (), what)

    def expect_length(self, key: str, length: int, what: str = "") -> None:
        """The list has exactly this many elements."""
        self._expect("llen", key, (str(length),), what)

    def expect_list(self, key: str, elements: list[str], what: str = "") -> None:
        """The list has exactly these elements: needed before all of it is deleted or given away."""
        text = "\n".join(elements).encode("utf-8", "surrogateescape")
        digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        self._expect("list", key, (str(len(elements)), digest), what)

    def expect_size(self, key: str, size: int, what: str = "") -> None:
        """The set has exactly this many members."""
        self._expect("scard", key, (str(size),), what)

    def expect_ranked(self, key: str, size: int, what: str = "") -> None:
        """The sorted set has exactly this many members."""
        self._expect("zcard", key, (str(size),), what)

    def expect_in_set(self, key: str, member: str, what: str = "") -> None:
        """The set has this member."""
        self._expect("in_set", key, (member,), what)

    def expect_fewer_fields(self, key: str, limit: int, what: str = "") -> None:
        """The hash has fewer fields than this."""
        self._expect("hlen_below", key, (str(limit),), what)

    def expect_newest(self, event_id: str, what: str = "") -> None:
        """Nothing has changed in the town since this event (as `Events.last_id` gives it): each change has its own."""
        self._expect("newest", self.keys.events, (event_id,), what)

    # What is done

    def do(self, command: str, key: str, *arguments: str | float) -> None:
        """One Redis command on one key."""
        self._operations.append((command, key, tuple(map(str, arguments))))

    def once(self, token: str, ttl_s: int = SENT_TTL_S) -> None:
        """Make a repetition of this transaction (an answer was lost) a no-op that counts as done."""
        self.token, self.token_ttl_s = token, ttl_s

    def event(self, event: Event) -> None:
        """Append to the town's history, which is bounded unless `events_kept` is 0."""
        self.told.append(event)
        self.do("XADD", self.keys.events, *self._bound, "*", "event_type", event.type, "data", event.to_json())

    def ring(self, agent_id: str) -> None:
        """Ring the agent's doorbell (a list of at most one), once in a transaction."""
        if agent_id in self._rung:
            return
        self._rung.add(agent_id)
        self.do("LPUSH", self.keys.wake(agent_id), "1")
        self.do("LTRIM", self.keys.wake(agent_id), 0, 0)

    def put(self, agent_id: str, message: Message) -> None:
        """Put a message into the agent's inbox by its priority, and ring."""
        text = message.raw or message.to_json()
        if message.priority is Priority.URGENT:
            self.do("RPUSH", self.keys.urgent(agent_id), text)
        else:
            head = message.priority is Priority.HIGH
            self.do("LPUSH" if head else "RPUSH", self.keys.inbox(agent_id), text)
        self.ring(agent_id)

    def save_task(self, raw: str | None, task: Task, old: Task | None = None) -> None:
        """Replace a task's record (`raw`: as it was read; None: it is new) and move it in the index."""
        self.expect(self.keys.task(task.id), raw, f"task {task.id}")
        self.do("SET", self.keys.task(task.id), task.to_json())
        if old is not None and old.state is not task.state:
            self.do("ZREM", self.keys.tasks(old.state), task.id)
        if old is None or old.state is not task.state:
            self.do("ZADD", self.keys.tasks(task.state), creation_score(task), task.id)

    def activity(self, agent_id: str, line: str) -> None:
        """One line of what the agent did; the last ten are kept."""
        self.do("LPUSH", self.keys.activity(agent_id), line)
        self.do("LTRIM", self.keys.activity(agent_id), 0, ACTIVITY_LINES - 1)

    # For the store

    @property
    def is_empty(self) -> bool:
        """It would change nothing."""
        return not self._operations

    def encoded(self) -> tuple[list[str], list[str]]:
        """KEYS and ARGV of `commit.lua`."""
        token = self._index(self.keys.sent(self.token)) if self.token else 0
        argv = [str(token), str(self.token_ttl_s)]
        for rows in (self._expectations, self._operations):
            argv.append(str(len(rows)))
            for word, key, arguments in rows:
                argv += [word, str(self._index(key)), str(len(arguments)), *arguments]
        return list(self._key_index), [dump(argv)]

    def label(self, number: int) -> str:
        """What expectation `number` (from 1) was about."""
        return list(self._expectations.values())[number - 1]

    def _expect(self, kind: str, key: str, arguments: tuple[str, ...], what: str) -> None:
        self._expectations.setdefault((kind, key, arguments), what or key)

    def _index(self, key: str) -> int:
        return self._key_index.setdefault(key, len(self._key_index) + 1)


def creation_score(task: Task) -> float:
    """The index score: creation time in seconds, so that lists are in order of creation."""
    try:
        return clock.parse(task.created_at).timestamp()
    except ValueError:
        return 0.0
