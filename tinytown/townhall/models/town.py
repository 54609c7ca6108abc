"""The town, at a glance and whole; its history."""

from __future__ import annotations

from typing import Any

from tinytown.townhall.models.agents import Agent
from tinytown.townhall.models.shape import Shape


class Redis(Shape):
    """The town's Redis server; its URL shows no password."""

    url: str
    server: str
    version: str
    managed: bool


class Supervisor(Shape):
    """Whether one runs."""

    running: bool
    pid: int | None


class Town(Shape):
    """A town."""

    name: str
    root: str
    redis: Redis
    supervisor: Supervisor
    version: str


class Status(Shape):
    """The town at a glance. `tasks` counts them by state."""

    town: str
    root: str
    redis: Redis
    supervisor: Supervisor
    agents: list[Agent]
    tasks: dict[str, int]
    conductor: dict[str, int]
    missions: dict[str, int]


class Event(Shape):
    """Something that happened. `id` is its place in the stream."""

    id: str
    event_type: str
    timestamp: str
    message: str = ""


class Events(Shape):
    """Events, oldest first. `last`: where to go on."""

    events: list[Event]
    count: int
    last: str


class Need(Shape):
    """What only a person can do. `behind`: how much work waits for it; `actions`: verbs that may help."""

    id: str
    kind: str
    title: str
    reason: str
    remedy: str | None
    agent: str | None
    task_id: str | None
    mission_id: str | None
    item_id: str | None
    letter_id: str | None
    since: str | None
    behind: int
    actions: list[str]


class Overview(Shape):
    """The town for people. `tasks`: newest change first; `last_event`: from where the stream goes on."""

    town: str
    root: str
    at: str
    last_event: str
    redis: Redis
    supervisor: Supervisor
    conductor: dict[str, int]
    counts: dict[str, int]
    needs: list[Need]
    agents: list[Agent]
    tasks: list[dict[str, Any]]
    missions: list[dict[str, Any]]
    events: list[dict[str, Any]]
    done_hidden: int


class Check(Shape):
    """A finding of the doctor; `level` is ok, warn or FAIL."""

    name: str
    level: str
    finding: str
    remedy: str | None


class Findings(Shape):
    """What the doctor found; `ok`: nothing failed."""

    root: str
    ok: bool
    checks: list[Check]


class Saved(Shape):
    """The file that holds the town's state, and what is in it. `size` in bytes."""

    file: str
    size: int
    agents: int
    tasks: int
    messages: int
