"""The invariants of a town, checked from outside: one atomic look at every key, and the process table.

`check` holds at any moment; with `settled` also what must be true when nothing is under way.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import missions
from tinytown import processes
from tinytown.domain.agent import Agent, Wish
from tinytown.domain.message import Message, Unreadable, parse
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.ids import SUPERVISOR_ID
from tinytown.processes import Identity
from tinytown.services import supervision
from tinytown.services.missions import status
from tinytown.store.inboxes import read_dead_letter
from tinytown.store.keys import PREFIX, row_of
from tinytown.town import Town

# Every key in one step: nothing moves between two lists while we look.
_DUMP = """
local cursor, found = '0', {}
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local kind, value = redis.call('TYPE', key).ok, false
    if kind == 'string' then value = redis.call('GET', key)
    elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
    elseif kind == 'hash' then value = redis.call('HGETALL', key)
    elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1)
    elseif kind == 'set' then value = redis.call('SMEMBERS', key)
    elseif kind == 'stream' then value = redis.call('XRANGE', key, '-', '+') end
    found[#found + 1] = {key, kind, redis.call('PTTL', key), value}
  end
until cursor == '0'
return found
"""
WAITING = ("inbox", "urgent", "claimed")
PLACES = (*WAITING, "dead")
OWNED = {*PLACES, "agent", "stats", "attempts", "wake", "stop", "pause", "activity"}  # kinds of an agent's keys
SINGLE = {"agents", "wanted", "backlog", "releases", "events"}  # kinds without an id
LIVING = {"hold"}  # kinds whose time to live is their content
ACCOUNTED = {"message_acked", "message_dropped", "message_moved", "message_pruned", "message_reset"}
SCHEDULER = "missions: "  # no name of an agent
GONE = {"task_removed", "task_expired"}
ENDED = {f"task_{state}": state for state in TaskState if state.is_terminal}


@dataclass
class Snapshot:
    """One moment of Redis. `keys`: name -> (type, milliseconds to live, value); `values`: kind -> id -> value."""

    keys: dict[str, tuple[str, int, Any]]
    values: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    agents: dict[str, Agent] = field(default_factory=dict)
    wishes: dict[str, Wish] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> dict[str, Any]:
        """The values of the keys of this kind, by id."""
        return self.values.get(kind, {})

    def messages(self, kinds: Iterable[str]) -> Iterator[tuple[str, str, Message]]:
        """(kind, agent id, message) of every readable message in these lists."""
        for kind in kinds:
            for agent_id, texts in self.of(kind).items():
                for text in texts:
                    with contextlib.suppress(Unreadable):
                        yield kind, agent_id, parse(read_dead_letter(text).text if kind == "dead" else text)


@dataclass(frozen=True)
class Living:
    """The town's processes: actors by agent name (from their titles), model runs by agent id (from their mark).

    `schedulers` work on missions; `askers` ask GitHub for them.
    """

    actors: dict[str, list[Identity]]
    models: dict[str, dict[str, list[Identity]]]
    schedulers: list[Identity]
    askers: list[Identity]


def check(town: Town, *, settled: bool, accepted: Iterable[str] = ()) -> None:
    """Assert that every invariant holds. `accepted`: ids of messages that must not be lost."""
    found = violations(town, settled=settled, accepted=accepted)
    assert not found, "invariants violated:\n" + "\n".join(found)


def violations(town: Town, *, settled: bool, accepted: Iterable[str] = (), may_give_up: bool = False) -> list[str]:
    """One line for each thing that is not as it must be. `may_give_up`: the scheduler too, when that is said."""
    seen = look(town)
    found = [*of_records(seen, accepted), *_processes(town, seen)]
    return [*found, *_settled(town, seen, may_give_up=may_give_up)] if settled else found


def of_records(seen: Snapshot, accepted: Iterable[str] = ()) -> list[str]:
    """Those that need no look at processes."""
    kept = [*_keys(seen), *_messages(seen, accepted), *_tasks(seen), *_dependencies(seen)]
    return [*kept, *_transitions(seen), *_histories(seen), *missions.violations(seen)]


def look(town: Town) -> Snapshot:
    """Read every key of the town."""
    dump = town.store.call(lambda r: r.eval(_DUMP, 0, f"{PREFIX}{town.name}:*"))
    seen = Snapshot({key: (kind, ttl, value) for key, kind, ttl, value in dump})
    for key, (kind, _ttl, value) in seen.keys.items():
        name, _, identifier = key[len(f"{PREFIX}{town.name}:") :].partition(":")
        seen.values[name][identifier] = _pairs(value) if kind == "hash" else value
    seen.agents = {i: Agent.from_json(text) for i, text in seen.of("agent").items()}
    seen.wishes = {i: Wish.from_json(text) for i, text in seen.of("wanted").get("", {}).items()}
    seen.tasks = {i: Task.from_json(text) for i, text in seen.of("task").items()}
    seen.events = [json.loads(_pairs(fields)["data"]) for _id, fields in seen.of("events").get("", [])]
    return seen


def living(town: Town) -> Living:
    """Look through the process table.

    A title names its town, and other towns on this machine may be called so: what is not below us is theirs. (Whoever
    looks is a subreaper: what it started stays below it.)
    """
    actors: dict[str, list[Identity]] = defaultdict(list)
    models: dict[str, dict[str, list[Identity]]] = defaultdict(lambda: defaultdict(list))
    known = set(town.store.agents.wishes()) | set(town.store.agents.names().values())
    titled: dict[int, tuple[str, int, Identity]] = {}  # pid -> name, parent, process
    askers: list[Identity] = []
    for entry in Path("/proc").glob("[0-9]*"):
        process = processes.identity(int(entry.name))
        if process is None:
            continue
        with contextlib.suppress(OSError):
            title = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            is_ours = title.startswith(("tt: agent ", "tt: missions ")) and title.endswith(f"[{town.name}]")
            if is_ours and _is_below_us(entry):
                name = title.split()[2] if title.startswith("tt: agent ") else SCHEDULER
                titled[process.pid] = (name, _parent(entry), process)
            for variable in (entry / "environ").read_bytes().split(b"\0"):
                if variable.startswith(b"TINYTOWN_RUN=") and int(entry.name) != os.getpid():
                    run = variable.partition(b"=")[2].decode()
                    if run.startswith(f"missions:{town.name}:"):
                        askers.append(process)
                    if run.split(":")[0] in known:
                        models[run.split(":")[0]][run].append(process)
    for name, parent, process in titled.values():
        if parent not in titled:  # else it is to be a model, and has its parent's title for a moment
            actors[name].append(process)
    return Living(actors, models, actors.pop(SCHEDULER, []), askers)


def _is_below_us(entry: Path) -> bool:
    while (parent := _parent(entry)) not in {0, os.getpid()}:
        entry = entry.with_name(str(parent))
    return parent != 0


def _parent(entry: Path) -> int:
    return int((entry / "stat").read_text().rpartition(")")[2].split()[1])


def _keys(seen: Snapshot) -> Iterator[str]:
    """Every key is in the table, with its type and time to live, and belongs to somebody."""
    owners = {*seen.of("agents").get("", {}).values(), SUPERVISOR_ID}
    for key, (kind, ttl, value) in seen.keys.items():
        _tt, _town, name, *rest = key.split(":")
        row = row_of(":".join([name, *rest]))
        if row is None:
            yield f"{key}: no key of the table"
            continue
        if row.type not in {kind, "any"}:
            yield f"{key}: a {kind}, not a {row.type}"
        lives = row.ttl_s is not None or name in LIVING
        if lives != (ttl >= 0) or (row.ttl_s is not None and ttl > row.ttl_s * 1000):
            yield f"{key}: time to live {ttl} ms, the table says {row.ttl_s} s"
        if (name in SINGLE) != (not rest):
            yield f"{key}: with or without an id, against the table"
        if name in OWNED and rest[0] not in owners:
            yield f"{key}: belongs to no agent"
        if name == "wake" and len(value) > 1:
            yield f"{key}: a bell rings once, not {len(value)} times"
    for agent_id in seen.wishes.keys() - seen.agents.keys():
        yield f"wish {agent_id}: without a record"


def _messages(seen: Snapshot, accepted: Iterable[str]) -> Iterator[str]:
    """An accepted message is in exactly one place, or an event says what became of it."""
    places: dict[str, list[str]] = defaultdict(list)
    for kind, agent_id, message in seen.messages(PLACES):
        places[message.id].append(f"{kind}:{agent_id}")
    named = [event for event in seen.events if "message_id" in event]
    accounted = {event["message_id"]: event["event_type"] for event in named if event["event_type"] in ACCOUNTED}
    sent = {event["message_id"] for event in named if event["event_type"] == "message_sent"}
    for message_id in sent | set(accepted) | places.keys():
        where, why = places.get(message_id, []), accounted.get(message_id)
        if len(where) > 1:
            yield f"message {message_id}: in {' and '.join(where)}"
        if where and why:
            yield f"message {message_id}: {why}, and yet in {where[0]}"
        if not where and not why:
            yield f"message {message_id}: lost"
    waiting = {message.id for _kind, _agent, message in seen.messages(WAITING)}
    for agent_id, counted in seen.of("attempts").items():
        for message_id in counted.keys() - waiting:
            yield f"attempts of {agent_id}: counts message {message_id}, which waits nowhere"


def _tasks(seen: Snapshot) -> Iterator[str]:
    """Records, index, backlog and mail agree."""
    indexed = Counter((task_id, state) for state, ids in seen.of("tasks").items() for task_id in ids)
    for task_id, state in indexed:
        if task_id not in seen.tasks or seen.tasks[task_id].state != state:
            yield f"task {task_id}: in the index as {state}, the record says otherwise"
    backlog = Counter(seen.of("backlog").get("", []))
    waits = {task_id for waiting in seen.of("dependents").values() for task_id in waiting}
    leads = defaultdict(list)
    for kind, agent_id, message in seen.messages(WAITING):
        if message.task_id:
            leads[message.task_id].append((kind, agent_id))
    for task_id, task in seen.tasks.items():
        if (task_id, task.state.value) not in indexed:
            yield f"task {task_id}: {task.state}, and not in the index so"
        if backlog[task_id] + (task_id in waits) != (task.state is TaskState.PENDING):
            also = ", and waits for others" if task_id in waits else ""
            yield f"task {task_id}: {task.state}, {backlog[task_id]} times in the backlog{also}"
        yield from _leads(task, leads.get(task_id, []))
    for task_id in backlog.keys() - seen.tasks.keys():
        yield f"task {task_id}: in the backlog, without a record"


def _dependencies(seen: Snapshot) -> Iterator[str]:
    """Who waits for a task names it, and waits for one that is not completed (or being released)."""
    released = seen.of("releases").get("", [])
    for other_id, waiting in seen.of("dependents").items():
        other = seen.tasks.get(other_id)
        if other is None or (other.state is TaskState.COMPLETED and other_id not in released):
            yield f"task {other_id}: {other.state if other else 'gone'}, and {len(waiting)} wait for it"
        for task_id in waiting:
            if task_id not in seen.tasks or other_id not in (seen.tasks[task_id].depends_on or []):
                yield f"task {task_id}: waits for {other_id}, and its record does not say so"


def _leads(task: Task, leads: list[tuple[str, str]]) -> Iterator[str]:
    if task.state in (TaskState.ASSIGNED, TaskState.RUNNING):
        wanted = ("claimed",) if task.state is TaskState.RUNNING else WAITING
        if len(leads) != 1 or leads[0][0] not in wanted or leads[0][1] != task.assigned_to:
            yield f"task {task.id}: {task.state} to {task.assigned_to}, and what leads to it is {leads}"
    elif task.state is TaskState.PENDING and leads:
        yield f"task {task.id}: pending, and {leads} lead to it"


def _transitions(seen: Snapshot) -> Iterator[str]:
    """A task ends once, and nothing happens to it after that but a retry."""
    ended: dict[str, str] = {}
    for event in seen.events:
        task_id, kind = event.get("task_id"), event["event_type"]
        if task_id is None or not kind.startswith("task_"):
            continue
        if kind == "task_retried" or kind in GONE:
            ended.pop(task_id, None)
        elif task_id in ended:
            yield f"task {task_id}: {kind} after {ended[task_id]}"
        elif kind in ENDED:
            ended[task_id] = kind
    for task_id, task in seen.tasks.items():
        last = ENDED.get(ended.get(task_id, ""))
        if last != (task.state if task.state.is_terminal else None):
            yield f"task {task_id}: {task.state}, and its history says {last}"


def _histories(seen: Snapshot) -> Iterator[str]:
    """Each change of state follows from the one before it, and the last one is what the record says."""
    last: dict[tuple[str, str], str] = {}
    for event in seen.events:
        new, old = event.get("new_state"), event.get("old_state")
        noun = "agent" if event["event_type"].startswith("agent_") else "task"
        identifier = event.get(f"{noun}_id")
        if event["event_type"] in GONE:  # a plan's task may be made again under its id
            last.pop((noun, str(identifier)), None)
        if new is None or identifier is None:
            continue
        before = last.get((noun, identifier))
        if before not in (None, old):
            yield f"{noun} {identifier}: {event['event_type']} from {old}, and before it was {before}"
        last[noun, identifier] = new
    records = {("agent", i): a.state for i, a in seen.agents.items()} | {
        ("task", i): t.state for i, t in seen.tasks.items()
    }
    for (noun, identifier), state in records.items():
        if last.get((noun, identifier)) not in (None, state):
            yield f"{noun} {identifier}: {state}, and its history says {last[noun, identifier]}"


def _processes(town: Town, seen: Snapshot) -> list[str]:
    """At most one actor of an agent, one run of an actor. The table is no snapshot: what is wrong is seen twice."""

    def once() -> set[str]:
        now = living(town)
        found = {f"agent {name}: actors {actors}" for name, actors in now.actors.items() if len(actors) > 1}
        found |= {f"missions: schedulers {now.schedulers}"} if len(now.schedulers) > 1 else set()
        return found | {f"agent {i}: runs {sorted(runs)}" for i, runs in now.models.items() if len(runs) > 1}

    return sorted(once() & once()) if once() else []


def _settled(town: Town, seen: Snapshot, *, may_give_up: bool) -> Iterator[str]:
    """Nothing is under way: what is wished, recorded and running is the same."""
    now = living(town)
    for agent_id, agent in seen.agents.items():
        wish = seen.wishes.get(agent_id)
        who = f"agent {agent.name}"
        if seen.of("claimed").get(agent_id):
            yield f"{who}: holds {len(seen.of('claimed')[agent_id])} message(s), {agent.state}"
        if town.journal(agent.name).round() is not None:
            yield f"{who}: has a round in its journal"
        if now.models.get(agent_id):
            yield f"{who}: model processes {dict(now.models[agent_id])}"
        for flag in ("stop", "pause"):
            if (agent_id in seen.of(flag)) != bool(wish and getattr(wish, flag)):
                yield f"{who}: its {flag} flag is not what {wish} says"
        yield from _alive(town, seen, agent, wish) if wish is not None else _ended(town, seen, agent, now)
    if not (may_give_up and not now.schedulers and status.stands_still(town)):
        yield from _scheduler(town, seen, now)


def _scheduler(town: Town, seen: Snapshot, now: Living) -> Iterator[str]:
    """It runs, and holds the lease, exactly while a mission is active and there is a supervisor."""
    lease = seen.of("lease").get("missions")
    if not seen.of("mission").get("active") or not supervision.is_running(town):
        if now.schedulers or now.askers:
            yield f"missions: {now.schedulers} and {now.askers} live, and nothing is to be done"
        if lease is not None and _holder_lives(lease) and supervision.is_running(town):
            yield f"missions: none is active, and {lease} holds the lease"
    elif len(now.schedulers) != 1:
        yield f"missions: some are active, and schedulers are {now.schedulers}"
    elif lease is None or not lease.endswith(f":{now.schedulers[0].pid}:{now.schedulers[0].started}"):
        yield f"missions: lease {lease}, scheduler {now.schedulers[0]}"


def _holder_lives(lease: str) -> bool:
    """Of one that was killed as its last mission ended the lease lapses by itself."""
    _host, pid, started = lease.rsplit(":", 2)
    return processes.is_alive(Identity.from_dict({"pid": pid, "started": started}))


def _alive(town: Town, seen: Snapshot, agent: Agent, wish: Wish) -> Iterator[str]:
    entry = town.journal(agent.name).actor()
    actor = entry.process if entry is not None and processes.is_alive(entry.process) else None
    if not supervision.is_running(town):
        if actor is not None:
            yield f"agent {agent.name}: {actor} lives without a supervisor"
        return
    if actor is None or entry is None:
        yield f"agent {agent.name}: wanted, and no actor"
        return
    if {agent.epoch, entry.epoch} != {wish.epoch}:
        yield f"agent {agent.name}: epochs {agent.epoch} (record), {entry.epoch} (file), {wish.epoch} (wish)"
    if agent.state not in {AgentState.IDLE, AgentState.PAUSED} or agent.current_task is not None:
        yield f"agent {agent.name}: wanted, {agent.state} on {agent.current_task}"
    lease = seen.of("lease").get(agent.id)
    if lease is None or f":{actor.pid}:{actor.started}:" not in lease:
        yield f"agent {agent.name}: lease {lease}, actor {actor}"


def _ended(town: Town, seen: Snapshot, agent: Agent, now: Living) -> Iterator[str]:
    if not agent.state.is_terminal or agent.current_task is not None:
        yield f"agent {agent.name}: not wanted, {agent.state} on {agent.current_task}"
    if agent.id in seen.of("lease"):
        yield f"agent {agent.name}: not wanted, and holds a lease"
    entry = town.journal(agent.name).actor()
    mine = entry is not None and entry.agent_id == agent.id and processes.is_alive(entry.process)
    if mine or now.actors.get(agent.name):
        yield f"agent {agent.name}: not wanted, and lives"


def _pairs(flat: list[Any]) -> dict[str, Any]:
    return dict(zip(*[iter(flat)] * 2, strict=True))
