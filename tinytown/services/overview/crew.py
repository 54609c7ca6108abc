"""Agents as an overview shows them: what they do, for how long, what they said last, what they cost."""

from __future__ import annotations

import os
import re
from typing import Any

from tinytown import clock, processes
from tinytown.domain.states import AgentState
from tinytown.services import shapes
from tinytown.services.overview import cards
from tinytown.services.overview.scene import Scene
from tinytown.services.status import AgentStatus
from tinytown.town import Town

LINE = 200  # characters
_TAIL = 2048  # bytes
_TIME = re.compile(r"^\d\d:\d\d:\d\d ")


def member(scene: Scene, status: AgentStatus) -> dict[str, Any]:
    """One agent, but for its vitals."""
    task = scene.tasks.get(status.agent.current_task or "")
    return shapes.agent(status) | {"task": {"id": task.id, "title": cards.title(task)} if task is not None else None}


def vitals(town: Town, status: AgentStatus) -> dict[str, Any]:
    """What changes without an event. `cpu_s` is what its processes used so far: two reads make a rate."""
    record = status.agent
    is_at_work = record.state is AgentState.WORKING
    age, line = _last_output(town, record.name)
    used = processes.usage(status.process.pid) if status.process is not None else None
    return {
        "id": record.id,
        "run_s": clock.seconds_since(record.last_active_at) if is_at_work and record.last_active_at else None,
        "output_age_s": age,
        "last_output": line,
        "cpu_s": used[0] if used else None,
        "memory_bytes": used[1] if used else None,
    }


def _last_output(town: Town, name: str) -> tuple[float | None, str]:
    """Seconds since its log was written, and the last line of it."""
    path = town.logs_dir / f"{name}.log"
    try:
        with path.open("rb") as stream:
            seen = os.fstat(stream.fileno())
            stream.seek(max(0, seen.st_size - _TAIL))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return None, ""
    lines = [line for line in text.splitlines() if line.strip()]
    return max(0.0, clock.wall() - seen.st_mtime), _TIME.sub("", lines[-1])[:LINE] if lines else ""
