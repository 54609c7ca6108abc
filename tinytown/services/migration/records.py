"""Records of older versions, JSON objects or hashes of text, as records of this one. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tinytown import clock, ids
from tinytown.domain.agent import Agent
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import Invalid
from tinytown.logs import is_round_log_name
from tinytown.services import naming

MIGRATED = "migrated"
NAME_LIMIT = 64
_OLD_TASK_STATES = {"in_flight": "running", "inflight": "running", "in_progress": "running", "canceled": "cancelled"}


def fields_of(stored: str | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The fields of a stored record; None when it is none."""
    if isinstance(stored, str):
        try:
            stored = json.loads(stored)
        except (ValueError, RecursionError):
            return None
    return dict(stored) if isinstance(stored, Mapping) and stored.get("id") else None


def agent_of(agent_id: str, fields: Mapping[str, Any], default_cli: str) -> Agent:
    """The agent, stopped: no process of this version stands behind it. Its name may be taken or illegal."""
    ended = AgentState.ERROR if str(fields.get("state", "")).lower() == "error" else AgentState.STOPPED
    return Agent(
        id=agent_id,
        name=str(fields.get("name") or ""),
        cli=_text(fields, "cli") or _text(fields, "model") or default_cli,
        created_at=_time(fields, "created_at") or clock.stamp(),
        agent_type=_text(fields, "agent_type") or "worker",
        state=ended,
        nickname=_name(fields, "nickname"),
        role_id=_name(fields, "role_id"),
        parent_agent_id=_text(fields, "parent_agent_id"),
        spawn_mode=_text(fields, "spawn_mode") or "fresh",
        last_heartbeat=_time(fields, "last_heartbeat"),
        last_active_at=_time(fields, "last_active_at"),
        reason=MIGRATED,
    )


def counters_of(fields: Mapping[str, Any]) -> dict[str, int]:
    """What the agent has done, as its counters are called now; zeros are left out."""
    named = {"rounds": fields.get("rounds_completed"), "tasks_completed": fields.get("tasks_completed")}
    return {name: int(str(value)) for name, value in named.items() if str(value).isdecimal() and int(str(value))}


def task_of(task_id: str, fields: Mapping[str, Any]) -> Task:
    """The task as it was; a state that nobody knows is pending."""
    state = str(fields.get("state", "")).lower()
    state = _OLD_TASK_STATES.get(state, state)
    created = _time(fields, "created_at") or clock.stamp()
    known = TaskState(state) if state in set(TaskState) else TaskState.PENDING
    updated = _time(fields, "updated_at") or created
    return Task(
        id=task_id,
        description=_text(fields, "description") or "(no description)",
        created_at=created,
        updated_at=updated,
        state=known,
        assigned_to=_text(fields, "assigned_to"),
        started_at=_time(fields, "started_at"),
        completed_at=(_time(fields, "completed_at") or updated) if known.is_terminal else None,
        result=_text(fields, "result") if known.is_terminal else None,
        parent_id=_text(fields, "parent_id"),
        tags=_tags(fields.get("tags")),
        ended_by=MIGRATED if known.is_terminal else None,
    )


def free_name(name: str, agent_id: str, taken: Mapping[str, str]) -> str:
    """The agent's name if it is legal and free, else one that names its id as well."""
    try:
        legal = naming.legal(name)
    except Invalid:
        legal = "agent"
    is_usable = legal.lower() not in ids.RESERVED_NAMES and not is_round_log_name(legal)
    if is_usable and taken.get(legal, agent_id) == agent_id:
        return legal
    suffix = f"-{ids.short(agent_id)}"
    return legal[: NAME_LIMIT - len(suffix)] + suffix


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and value.strip() else None


def _name(fields: Mapping[str, Any], name: str) -> str | None:
    try:
        return ids.check_name(_text(fields, name) or "")
    except Invalid:
        return None


def _time(fields: Mapping[str, Any], name: str) -> str | None:
    try:
        return clock.stamp(clock.parse(str(fields[name])))
    except (KeyError, ValueError):
        return None


def _tags(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    return [str(tag) for tag in value] if isinstance(value, list) else []
