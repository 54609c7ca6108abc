"""The whole town at a glance, read in two round trips.

`tt status` starts in a blink, so this module imports only what it reads with, and its values are named
tuples: a frozen dataclass takes a millisecond to be made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any, NamedTuple

from tinytown import processes
from tinytown.domain.agent import Agent
from tinytown.domain.message import Sort, Unreadable, parse
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.ids import SUPERVISOR_ID
from tinytown.services import supervision
from tinytown.store.agents import AgentRow, counters, read_wish
from tinytown.store.connection import ServerInfo
from tinytown.town import Town

ACTIVITY_SHOWN = 5


class Pending(NamedTuple):
    """One agent's mail, counted. `urgent` is contained in the kinds; claimed and dead mail is not."""

    tasks: int = 0
    queries: int = 0
    informational: int = 0
    confirmations: int = 0
    control: int = 0
    unreadable: int = 0
    urgent: int = 0
    claimed: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        """Messages that wait, urgent ones included."""
        kinds = (self.tasks, self.queries, self.informational, self.confirmations, self.control, self.unreadable)
        return sum(kinds)


class AgentStatus(NamedTuple):
    """One agent. `process` is its living actor on this host; `activity` is newest first."""

    row: AgentRow
    pending: Pending
    process: processes.Identity | None
    activity: list[str]

    @property
    def agent(self) -> Agent:
        """Its record."""
        return self.row.agent

    @property
    def waits_for_supervisor(self) -> bool:
        """It is wanted, and no process on this host is it."""
        return self.row.wish is not None and not self.row.wish.foreground and self.process is None


class TownStatus(NamedTuple):
    """The town. `tasks` are all task records, oldest first, when they were asked for."""

    town: Town
    server: ServerInfo
    supervisor: processes.Identity | None
    agents: list[AgentStatus]
    counts: dict[TaskState, int]
    backlog: int
    conductor: int
    missions: int  # that are worked on
    tasks: list[Task] | None = None

    @property
    def unsupervised(self) -> int:
        """How many agents wait for a supervisor that does not run."""
        return 0 if self.supervisor else sum(agent.waits_for_supervisor for agent in self.agents)


def read(town: Town, *, tasks: bool = False, only: Collection[str] | None = None) -> TownStatus:
    """Look at everything; with `tasks` at each task, too; of the agents at those with these ids. Raises RedisAway."""
    keys, states = town.store.keys, list(TaskState)
    names, wanted, info, backlog, conductor, missions, *counts = town.store.read(
        ("HGETALL", keys.agents),
        ("HGETALL", keys.wanted),
        ("INFO", "server"),
        ("LLEN", keys.backlog),
        ("LLEN", keys.inbox(SUPERVISOR_ID)),
        ("SCARD", keys.missions_active),
        *(("ZCARD", keys.tasks(state)) for state in states),
    )
    return TownStatus(
        town=town,
        server=ServerInfo.from_info(info),
        supervisor=supervision.process(town),
        agents=_agents(town, {n: i for n, i in names.items() if only is None or i in only}, wanted),
        counts=dict(zip(states, counts, strict=True)),
        backlog=backlog,
        conductor=conductor,
        missions=missions,
        tasks=_tasks(town) if tasks else None,
    )


def agents(town: Town) -> list[AgentStatus]:
    """The agents alone."""
    keys = town.store.keys
    names, wanted = town.store.read(("HGETALL", keys.agents), ("HGETALL", keys.wanted))
    return _agents(town, names, wanted)


def _agents(town: Town, names: dict[str, str], wanted: dict[str, str]) -> list[AgentStatus]:
    keys = town.store.keys
    ids = [agent_id for _name, agent_id in sorted(names.items())]
    if not ids:
        return []
    reads = [
        command
        for i in ids
        for command in (
            ("GET", keys.agent(i)),
            ("HGETALL", keys.stats(i)),
            ("LRANGE", keys.urgent(i), 0, -1),
            ("LRANGE", keys.inbox(i), 0, -1),
            ("LLEN", keys.claimed(i)),
            ("LLEN", keys.dead(i)),
            ("LRANGE", keys.activity(i), 0, ACTIVITY_SHOWN - 1),
        )
    ]
    answers, each = town.store.read(*reads), len(reads) // len(ids)
    found = (_agent(town, wanted.get(i), answers[n * each : (n + 1) * each]) for n, i in enumerate(ids))
    pairs = zip(found, ids, strict=True)
    return [status for status, agent_id in pairs if status is not None and status.agent.id == agent_id]


def _agent(town: Town, wish: str | None, answers: list[Any]) -> AgentStatus | None:
    raw, stats, urgent, inbox, claimed, dead, activity = answers
    try:
        agent = Agent.from_json(raw) if raw is not None else None
    except ValueError:
        agent = None
    if agent is None or raw is None:
        return None
    row = AgentRow(agent, raw, read_wish(wish), wish, counters(stats))
    return AgentStatus(row, _pending(urgent, inbox, claimed, dead), _process(town, row), activity)


def _pending(urgent: list[str], inbox: list[str], claimed: int, dead: int) -> Pending:
    sorts: Counter[Sort | None] = Counter()
    for text in (*urgent, *inbox):
        try:
            sorts[parse(text).sort] += 1
        except Unreadable:
            sorts[None] += 1
    return Pending(
        tasks=sorts[Sort.TASK],
        queries=sorts[Sort.QUERY],
        informational=sorts[Sort.INFORMATION],
        confirmations=sorts[Sort.CONFIRMATION],
        control=sorts[Sort.CONTROL],
        unreadable=sorts[None],
        urgent=len(urgent),
        claimed=claimed,
        dead=dead,
    )


def _process(town: Town, row: AgentRow) -> processes.Identity | None:
    if row.wish is None:
        return None
    entry = town.journal(row.agent.name).actor()
    if entry is None or entry.agent_id != row.agent.id or not processes.is_alive(entry.process):
        return None
    return entry.process


def _tasks(town: Town) -> list[Task]:
    found = town.store.tasks.many(town.store.tasks.ids(list(TaskState)))
    return sorted(found, key=lambda task: task.created_at)
