"""Missions."""

from __future__ import annotations

from typing import Any

from tinytown.townhall.models.shape import Shape


class Mission(Shape):
    """A mission."""

    id: str
    state: str
    objective_refs: list[dict[str, Any]]
    repositories: list[str]
    policy: dict[str, Any]
    created_at: str
    updated_at: str
    ended_at: str | None
    stopped_at: str | None
    blocked_reason: str | None
    remedy: str | None
    next_wake_at: str | None
    work: dict[str, int]
    watch: dict[str, int]
    events: list[dict[str, Any]]
    notes: list[dict[str, Any]]


class Missions(Shape):
    """Missions, oldest first. `ended`: how many more there are that have ended."""

    missions: list[Mission]
    count: int
    ended: int


class WorkItem(Shape):
    """A work item, its agent's name, and why nobody works on it."""

    id: str
    number: int
    source_ref: str
    title: str
    status: str
    agent: str | None
    reason: str | None
    remedy: str | None


class Work(Shape):
    """The work items of a mission."""

    mission_id: str
    work_items: list[WorkItem]
    count: int


class Watches(Shape):
    """What a mission looks at outside."""

    mission_id: str
    watch_items: list[dict[str, Any]]
    count: int


class Graph(Shape):
    """The work items of a mission and which waits for which: `edges` are (before, after)."""

    mission_id: str
    state: str
    nodes: list[WorkItem]
    edges: list[tuple[str, str]]


class MissionPreview(Shape):
    """A mission as it would be; nothing was changed."""

    dry_run: bool
    warnings: list[str]
    mission: dict[str, Any]


class MissionStarted(Shape):
    """A mission that is under way."""

    warnings: list[str]
    mission: Mission


class MissionState(Shape):
    """A mission's state after a wish. `taken_back`: tasks; `running`: rounds that go on to their end."""

    id: str
    state: str
    taken_back: int = 0
    running: int = 0


class MissionLog(Shape):
    """The newest lines and notes of a mission."""

    mission_id: str
    events: list[dict[str, Any]]
    notes: list[dict[str, Any]]
