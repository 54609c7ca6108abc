"""What is left of agents that have ended."""

from __future__ import annotations

from tinytown.townhall.models.shape import Shape
from tinytown.townhall.models.tasks import Task


class Recovered(Shape):
    """Agents whose process was gone, and that are finished now."""

    checked: int
    recovered: int
    agents: list[str]


class Item(Shape):
    """A message of an agent that has ended."""

    type: str
    task_id: str | None
    text: str


class Reclaimed(Shape):
    """An agent that has ended: what was moved, and what stays with it."""

    agent: str
    agent_id: str
    state: str
    moved: list[Item]
    stays: list[Item]


class Reclaiming(Shape):
    """What was moved where. `destination`: backlog, an agent's name, or null for a preview."""

    reclaimed: int
    destination: str | None
    agents: list[Reclaimed]


class Orphan(Task):
    """A task as it was when nobody would have run it. `reason`: agent_missing or agent_terminal."""

    reason: str


class Orphans(Shape):
    """Orphan tasks, and what was done with them: list, to_backlog or cancel."""

    action: str
    count: int
    orphans: list[Orphan]
