"""Take over the state of older versions: keys without a town, and records that are hashes or in no index.

Every record is one step (the new form, its place in the indexes, its event, and the old key gone), so a migration
that is killed goes on when it is run again. What is there already in this version's form is never overwritten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tinytown import clock, ids
from tinytown.domain.event import Event
from tinytown.services import mail
from tinytown.services.migration import missions
from tinytown.services.migration.records import agent_of, counters_of, fields_of, free_name
from tinytown.services.migration.tasks import Lead, migrate_task
from tinytown.store import keys, records
from tinytown.store.inboxes import bury
from tinytown.store.records import Source
from tinytown.store.transaction import ACTIVITY_LINES, Transaction
from tinytown.town import Town, change

_AT_ONCE = 200
SAY_EVERY_S = 1.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to migrate; `mail`: agent id -> former keys.

    `moves`: old key and what becomes of it, for people; `left`: what stays, and why.
    """

    agents: list[Source]
    mail: dict[str, list[str]]
    tasks: list[Source]
    backlog: list[str]
    moves: list[tuple[str, str]]
    left: list[str]
    missions: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Nothing can be migrated."""
        return not self.moves


@dataclass(slots=True)
class Done:
    """How much was migrated. `left` says what was not, and why."""

    agents: int = 0
    tasks: int = 0
    messages: int = 0
    backlog: int = 0
    missions: int = 0
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan(town: Town) -> Plan:
    """Look through all keys of the server (SCAN) and change nothing."""
    found = records.look(town.store)
    citizens = {*town.store.agents.names().values(), ids.SUPERVISOR_ID}
    agents = _newest_first(town, [source for source in found.agents if _can_be_read(town, source)])
    citizens |= {source.id for source in agents}
    tasks = [source for source in found.tasks if _can_be_read(town, source)]
    left = [f"{s.key}: no record that can be read" for s in (*found.agents, *found.tasks) if s not in (*agents, *tasks)]
    left += [f"{s.key}: {s.home} is there already" for s in found.conflicts]
    left += [f"{key}: not what an older version wrote there" for key in found.strange]
    homeless = found.mail.keys() - citizens
    left += [f"{key}: agent {ids.short(i)} has no record" for i in homeless for key in found.mail[i]]
    movable = {i: former for i, former in sorted(found.mail.items()) if i in citizens}
    moves = [(s.key, s.home if s.is_former else f"{s.home} (as JSON, in the index)") for s in (*agents, *tasks)]
    moves += [(key, _new_place(town, key)) for former in movable.values() for key in former]
    if found.backlog:
        moves.append((keys.FORMER_BACKLOG, town.store.keys.backlog))
    runs = missions.find(town)
    readable = [run for run in runs if missions.can_be_read(town, run)]
    left += [f"{town.store.keys.mission(run)}: no record that can be read" for run in runs if run not in readable]
    moves += [(town.store.keys.mission(run), f"{town.store.keys.mission(run)} (stopped)") for run in readable]
    return Plan(agents, movable, tasks, found.backlog, sorted(moves), sorted(left), readable)


def migrate(town: Town, say: Say | None = None) -> Done:
    """Do what `plan` finds; idempotent. Agents arrive stopped, their mail and tasks with them.

    Raises Conflict when older processes keep changing what is to be migrated, RedisAway; run it again then.
    """
    town.ensure_redis()
    todo = plan(town)
    done = Done(left=todo.left)
    tell = _Progress(len(todo.agents) + len(todo.mail) + len(todo.tasks), say)
    for source in todo.agents:
        done.agents += _migrate_agent(town, source, done.notes)
        tell.one_more()
    known = _message_ids(town)
    for agent_id, former in todo.mail.items():
        done.messages += _move_mail(town, agent_id, former, known, done.notes)
        tell.one_more()
    for source in todo.agents:
        if not source.is_former:
            _bury_unreadable(town, source.id, done.notes)
    leads, citizens = _leads(town), set(town.store.agents.names().values())
    for source in _in_order(town, todo):
        done.tasks += migrate_task(town, source, leads.get(source.id, []), citizens)
        tell.one_more()
    done.backlog = _finish_backlog(town, done.notes)
    done.missions = sum([missions.migrate(town, run) for run in todo.missions])
    missions.forget_strays(town)
    return done


class _Progress:
    def __init__(self, total: int, say: Say | None) -> None:
        self._total, self._say, self._count = total, say, 0
        self._next = clock.monotonic() + SAY_EVERY_S

    def one_more(self) -> None:
        self._count += 1
        if self._say is not None and clock.monotonic() >= self._next:
            self._say(f"   Migrating: {self._count:,} of {self._total:,}...")
            self._next = clock.monotonic() + SAY_EVERY_S


def _can_be_read(town: Town, source: Source) -> bool:
    stored = records.read(town.store, source)
    return stored is None or fields_of(stored) is not None  # gone meanwhile: somebody else has migrated it


def _newest_first(town: Town, sources: list[Source]) -> list[Source]:
    """Of several agents of one name the newest is the one that users mean: it keeps the name."""
    made = {s.id: str((fields_of(records.read(town.store, s)) or {}).get("created_at", "")) for s in sources}
    return sorted(sources, key=lambda source: made[source.id], reverse=True)


def _new_place(town: Town, key: str) -> str:
    kind, agent_id = keys.split_former(key) or ("", "")
    return "removed: the agent is stopped" if kind == "stop" else str(getattr(town.store.keys, kind)(agent_id))


def _migrate_agent(town: Town, source: Source, notes: list[str]) -> bool:
    """The record, its name and its counters; False when it has gone meanwhile."""

    def build(tx: Transaction) -> tuple[str, str] | None:
        stored = records.read(town.store, source)
        fields = fields_of(stored)
        if fields is None or not records.take(tx, source, stored):
            return None
        agent = agent_of(source.id, fields, town.config.default_cli)
        taken = town.store.agents.names()
        name = free_name(agent.name, agent.id, taken)
        agent = agent.having(name=name)
        tx.expect_field(tx.keys.agents, name, taken.get(name), "name")
        tx.do("HSET", tx.keys.agents, name, agent.id)
        tx.do("SET", tx.keys.agent(agent.id), agent.to_json())
        for counter, value in counters_of(fields).items():
            tx.do("HINCRBY", tx.keys.stats(agent.id), counter, value)
        tx.do("PERSIST", tx.keys.activity(agent.id))
        tx.do("LTRIM", tx.keys.activity(agent.id), 0, ACTIVITY_LINES - 1)
        tx.do("DEL", tx.keys.stop(agent.id))
        text = f"Agent '{name}' taken over from an older version"
        tx.event(Event("agent_migrated", text, clock.stamp(), agent_id=agent.id))
        return str(fields.get("name")), name

    names = change(town.store, build)
    if names is not None and names[0] != names[1]:
        notes.append(f"Agent '{names[0]}' is called '{names[1]}' now: its name was taken, or is not allowed.")
    return names is not None


def _move_mail(town: Town, agent_id: str, former: list[str], known: set[str], notes: list[str]) -> int:
    """The former lists of one agent or of the conductor's mailbox, a page per step; how many messages came."""
    kinds = [kind for kind in ("urgent", "inbox") if keys.former(kind, agent_id) in former]
    count = sum(_move_list(town, agent_id, kind, known, notes) for kind in kinds)

    def build(tx: Transaction) -> None:
        tx.do("DEL", keys.former("stop", agent_id))
        old = keys.former("activity", agent_id)
        if old not in former:
            return
        (lines,) = town.store.read(("LRANGE", old, 0, ACTIVITY_LINES - 1))
        for line in lines:
            tx.do("RPUSH", tx.keys.activity(agent_id), line)
        tx.do("LTRIM", tx.keys.activity(agent_id), 0, ACTIVITY_LINES - 1)
        tx.do("DEL", old)

    change(town.store, build)
    return count


def _move_list(town: Town, agent_id: str, kind: str, known: set[str], notes: list[str]) -> int:
    count = 0
    while (moved := change(town.store, lambda tx: _move_page(town, tx, agent_id, kind, known))) is not None:
        new, unreadable = moved
        known.update(new)
        count += len(new)
        if unreadable:
            notes.append(f"{unreadable} message(s) of {ids.short(agent_id)} cannot be read: now dead letters.")
    return count


def _move_page(town: Town, tx: Transaction, agent_id: str, kind: str, known: set[str]) -> tuple[list[str], int] | None:
    """The ids that came and how many were no messages; None when the list is empty."""
    old = keys.former(kind, agent_id)
    length, page = town.store.read(("LLEN", old), ("LRANGE", old, 0, _AT_ONCE - 1))
    if not page:
        return None
    tx.expect_length(old, length)
    tx.expect_member(old, page[0])
    new, unreadable = [], 0
    home = tx.keys.urgent(agent_id) if kind == "urgent" else tx.keys.inbox(agent_id)
    for text in page:
        message = mail.read(text)
        if message is None:
            unreadable += 1
            _bury(tx, agent_id, text)
        elif message.id not in known and message.id not in new:  # an older version may have put it back twice
            new.append(message.id)
            tx.do("RPUSH", home, text)
    tx.do("LTRIM", old, len(page), -1)
    return new, unreadable


def _bury_unreadable(town: Town, agent_id: str, notes: list[str]) -> None:
    """What is no message in the lists that are in their place already goes to the dead letters, with its text."""

    def build(tx: Transaction) -> int:
        urgent, inbox = town.store.inboxes.peek(agent_id)
        count = 0
        for home, texts in ((tx.keys.urgent(agent_id), urgent), (tx.keys.inbox(agent_id), inbox)):
            for text in texts:
                if mail.read(text) is None:
                    tx.expect_member(home, text)
                    tx.do("LREM", home, 1, text)
                    _bury(tx, agent_id, text)
                    count += 1
        return count

    if count := change(town.store, build):
        notes.append(f"{count} message(s) of {ids.short(agent_id)} cannot be read: now dead letters.")


def _bury(tx: Transaction, agent_id: str, text: str) -> None:
    reason = "an older version's message that cannot be read"
    bury(tx, agent_id, text, reason, clock.stamp(), 0)
    tx.event(Event("message_dead", reason, clock.stamp(), agent_id=agent_id))


def _mailboxes(town: Town) -> Iterable[tuple[str, str, str]]:
    """Owner, key and text of everything in the mailboxes."""
    for agent_id in (*town.store.agents.names().values(), ids.SUPERVISOR_ID):
        homes = [kind(agent_id) for kind in (town.store.keys.urgent, town.store.keys.inbox, town.store.keys.claimed)]
        for home, texts in zip(homes, town.store.read(*(("LRANGE", home, 0, -1) for home in homes)), strict=True):
            yield from ((agent_id, home, text) for text in texts)


def _message_ids(town: Town) -> set[str]:
    return {message.id for _owner, _home, text in _mailboxes(town) if (message := mail.read(text)) is not None}


def _leads(town: Town) -> dict[str, list[Lead]]:
    """Task id -> the messages that lead to it."""
    found: dict[str, list[Lead]] = defaultdict(list)
    for owner, home, text in _mailboxes(town):
        message = mail.read(text)
        if message is not None and message.task_id and owner != ids.SUPERVISOR_ID:
            found[message.task_id].append(Lead(owner, home, text, message))
    return found


def _in_order(town: Town, todo: Plan) -> list[Source]:
    """Tasks as the backlogs have them, then the others by their keys."""
    order = {task_id: n for n, task_id in enumerate([*town.store.tasks.backlog_ids(), *todo.backlog])}
    return sorted(todo.tasks, key=lambda source: (order.get(source.id, len(order)), source.key))


def _finish_backlog(town: Town, notes: list[str]) -> int:
    """What is left in the backlogs leads nowhere: its task has ended, is an agent's, or is gone. How many wait now."""

    def build(tx: Transaction) -> int:
        old = town.store.call(lambda r: r.lrange(keys.FORMER_BACKLOG, 0, -1))
        now = town.store.tasks.backlog_ids()
        lost = [i for i, raw in zip(now, town.store.tasks.raws(now), strict=True) if raw is None] if now else []
        for key, gone in ((keys.FORMER_BACKLOG, old), (tx.keys.backlog, lost)):
            for task_id in gone:
                tx.do("LREM", key, 0, task_id)
        return len(old) + len(lost)

    if dropped := change(town.store, build):
        notes.append(f"{dropped} backlog entries led to no waiting task and are gone.")
    return len(town.store.tasks.backlog_ids())
