"""The plan in tasks.toml."""

from __future__ import annotations

from typing import Any

from tinytown.townhall.models.shape import Shape


class Plan(Shape):
    """The file tasks.toml."""

    path: str
    description: str | None
    default_agent: str | None
    tasks: list[dict[str, Any]]


class Pushed(Shape):
    """What a push of tasks.toml did, counted, and the tasks that were left as they run."""

    dry_run: bool
    total: int
    counts: dict[str, int]
    held: list[str]


class Pulled(Shape):
    """What a pull wrote into tasks.toml."""

    tasks: int
    changed: int
    added: int
