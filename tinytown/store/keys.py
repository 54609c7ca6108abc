"""The table of every key of a town, and the only formatter of them."""

from __future__ import annotations

from dataclasses import dataclass

from tinytown.ids import is_id

PREFIX = "tt:"


@dataclass(frozen=True, slots=True)
class KeyKind:
    """One row: Redis type, time to live in seconds (None = for good), what it holds."""

    type: str
    ttl_s: int | None
    holds: str


SENT_TTL_S = 3600
LEASE_TTL_S = 30
SNAPSHOT_TTL_S = 600
ANSWER_TTL_S = 86_400

# The part after `tt:<town>:` without the id -> its row; see `row_of`.
TABLE: dict[str, KeyKind] = {
    "agent": KeyKind("string", None, "agent record, JSON; one writer, the holder of the epoch"),
    "stats": KeyKind("hash", None, "counters of one agent: rounds, tasks_completed, restarts"),
    "agents": KeyKind("hash", None, "index: current name -> agent id"),
    "wanted": KeyKind("hash", None, "agent id -> wish, JSON: what users want to run"),
    "inbox": KeyKind("list", None, "messages, head is next"),
    "urgent": KeyKind("list", None, "messages read before the inbox"),
    "claimed": KeyKind("list", None, "messages held for the round in progress"),
    "dead": KeyKind("list", None, "dead letters, JSON: message text, reason, time"),
    "attempts": KeyKind("hash", None, "message id -> attempts charged"),
    "sent": KeyKind("string", SENT_TTL_S, "a message or transaction id that was accepted"),
    "wake": KeyKind("list", None, "doorbell of an agent, at most one element"),
    "stop": KeyKind("string", None, "mirror of a stop wish; a flag set by hand is obeyed"),
    "pause": KeyKind("string", None, "mirror of a pause wish; a flag set by hand is obeyed"),
    "lease": KeyKind("string", LEASE_TTL_S, "owner token of an agent, of a host's supervisor, of the missions"),
    "hold": KeyKind("string", None, "a model CLI on hold for all agents, JSON; TTL is the time left"),
    "activity": KeyKind("list", None, "last lines of what an agent did"),
    "task": KeyKind("string", None, "task record, JSON"),
    "tasks": KeyKind("zset", None, "index by state: task id, scored by creation time"),
    "backlog": KeyKind("list", None, "ids of tasks without an agent"),
    "dependents": KeyKind("set", None, "ids of the pending tasks that wait for this task's completion"),
    "releases": KeyKind("set", None, "ids of completed tasks whose dependents are not all released yet"),
    "mission": KeyKind("string", None, "mission record, JSON"),
    "mission:work": KeyKind("hash", None, "one mission's items: work item id -> record, JSON"),
    "mission:watch": KeyKind("hash", None, "one mission's watches: watch id -> record, JSON"),
    "mission:events": KeyKind("list", None, "last lines of what happened in a mission, JSON, newest first"),
    "mission:notes": KeyKind("list", None, "last notes that people left for a mission, JSON, newest first"),
    "mission:active": KeyKind("set", None, "ids of the missions that the scheduler works on"),
    "mission:all": KeyKind("zset", None, "index: mission id, scored by creation time"),
    "snapshot": KeyKind("any", SNAPSHOT_TTL_S, "copies of keys while the town is saved or restored: <token>:<key>"),
    "answer": KeyKind("string", ANSWER_TTL_S, "what the town hall answered to a write that may be repeated, JSON"),
    "answers": KeyKind("zset", None, "index: id of an answer, scored by the time its write began"),
    "events": KeyKind("stream", None, "every state change, bounded"),
    "broadcast": KeyKind("channel", None, "pub/sub copy of broadcasts, for observers"),
}

AGENT_KINDS = (
    "agent", "stats", "inbox", "urgent", "claimed", "dead", "attempts", "wake", "stop", "pause", "lease", "activity",
)  # fmt: skip

MISSION_PARTS = ("work", "watch", "events", "notes")
_OF_ALL_MISSIONS = ("active", "all")

# Before towns had keys of their own: `tt:<kind>:<id>`, and one backlog for all. Ids are UUIDs, so that no key of
# a town that is called like a kind is taken for one of these.
FORMER_KINDS = ("agent", "inbox", "urgent", "task", "activity", "stop")
FORMER_BACKLOG = f"{PREFIX}backlog"


def former(kind: str, identifier: str) -> str:
    """The former key of this kind."""
    return f"{PREFIX}{kind}:{identifier}"


def split_former(key: str) -> tuple[str, str] | None:
    """Kind and id of a former key; None for every other key."""
    kind, _, identifier = key.removeprefix(PREFIX).partition(":")
    return (kind, identifier) if kind in FORMER_KINDS and is_id(identifier) and key.startswith(PREFIX) else None


def owner(key: str) -> str | None:
    """The id of the agent whose own key this is; None for every other key."""
    kind, _, identifier = (split(key) or ("", ""))[1].partition(":")
    return identifier if kind in AGENT_KINDS and is_id(identifier) else None


def row_of(rest: str) -> KeyKind | None:
    """The row of the key whose part after `tt:<town>:` is `rest`; None for what the table does not know."""
    kind, _, identifier = rest.partition(":")
    if kind == "mission":
        part = identifier if identifier in _OF_ALL_MISSIONS else identifier.partition(":")[2]
        kind = f"{kind}:{part}" if part else kind
    return TABLE.get(kind)


def split(key: str) -> tuple[str, str] | None:
    """Town and rest of a town's key; None for every other key."""
    town, _, rest = key.removeprefix(PREFIX).partition(":")
    return (town, rest) if key.startswith(PREFIX) and town and rest else None


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one town."""

    town: str

    def _key(self, kind: str, identifier: str | None = None) -> str:
        base = f"{PREFIX}{self.town}:{kind}"
        return base if identifier is None else f"{base}:{identifier}"

    @property
    def prefix(self) -> str:
        return self._key("")

    def snapshot(self, token: str) -> str:
        return self._key("snapshot", token)

    def agent(self, agent_id: str) -> str:
        return self._key("agent", agent_id)

    def stats(self, agent_id: str) -> str:
        return self._key("stats", agent_id)

    @property
    def agents(self) -> str:
        return self._key("agents")

    @property
    def wanted(self) -> str:
        return self._key("wanted")

    def inbox(self, agent_id: str) -> str:
        return self._key("inbox", agent_id)

    def urgent(self, agent_id: str) -> str:
        return self._key("urgent", agent_id)

    def claimed(self, agent_id: str) -> str:
        return self._key("claimed", agent_id)

    def dead(self, agent_id: str) -> str:
        return self._key("dead", agent_id)

    def attempts(self, agent_id: str) -> str:
        return self._key("attempts", agent_id)

    def sent(self, token: str) -> str:
        return self._key("sent", token)

    def wake(self, agent_id: str) -> str:
        return self._key("wake", agent_id)

    def stop(self, agent_id: str) -> str:
        return self._key("stop", agent_id)

    def pause(self, agent_id: str) -> str:
        return self._key("pause", agent_id)

    def of_agent(self, agent_id: str) -> list[str]:
        """The keys that one agent has for itself."""
        return [self._key(kind, agent_id) for kind in AGENT_KINDS]

    def lease(self, name: str) -> str:
        return self._key("lease", name)

    def hold(self, cli: str) -> str:
        return self._key("hold", cli)

    def activity(self, agent_id: str) -> str:
        return self._key("activity", agent_id)

    def task(self, task_id: str) -> str:
        return self._key("task", task_id)

    def tasks(self, state: str) -> str:
        return self._key("tasks", state)

    @property
    def backlog(self) -> str:
        return self._key("backlog")

    def dependents(self, task_id: str) -> str:
        return self._key("dependents", task_id)

    @property
    def releases(self) -> str:
        return self._key("releases")

    def mission(self, mission_id: str) -> str:
        return self._key("mission", mission_id)

    def mission_work(self, mission_id: str) -> str:
        return self._key("mission", f"{mission_id}:work")

    def mission_watch(self, mission_id: str) -> str:
        return self._key("mission", f"{mission_id}:watch")

    def mission_events(self, mission_id: str) -> str:
        return self._key("mission", f"{mission_id}:events")

    def mission_notes(self, mission_id: str) -> str:
        return self._key("mission", f"{mission_id}:notes")

    def of_mission(self, mission_id: str) -> list[str]:
        """The keys that one mission has for itself."""
        return [self.mission(mission_id), *(self._key("mission", f"{mission_id}:{part}") for part in MISSION_PARTS)]

    @property
    def missions_active(self) -> str:
        return self._key("mission", "active")

    @property
    def missions_all(self) -> str:
        return self._key("mission", "all")

    def answer(self, identifier: str) -> str:
        return self._key("answer", identifier)

    @property
    def answers(self) -> str:
        return self._key("answers")

    @property
    def events(self) -> str:
        return self._key("events")

    @property
    def broadcast(self) -> str:
        return self._key("broadcast")
