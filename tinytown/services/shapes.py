"""Agents, mail and the town as JSON: the documented shapes of `--json`. Fields are added, never renamed.

A task is shown as it is stored (domain/task.py), with `agent`, its agent's name, beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinytown.domain.message import Message
from tinytown.domain.task import Task
from tinytown.services.status import AgentStatus, Pending, TownStatus
from tinytown.store.inboxes import DeadLetter

if TYPE_CHECKING:
    from tinytown.services.messages import Mailbox  # loads much that a status does not need
    from tinytown.services.plan.entries import Plan  # as above
    from tinytown.services.waiting import Waited  # as above
    from tinytown.services.why import Explanation  # as above
    from tinytown.services.worktrees import Standing  # as above


def agent(status: AgentStatus) -> dict[str, Any]:
    """One agent. `rounds` counts those of its life, `rounds_max` is null when it is not wanted to run."""
    record, wish, stats = status.agent, status.row.wish, status.row.stats
    return {
        "id": record.id,
        "name": record.name,
        "nickname": record.nickname,
        "role": record.role_id,
        "cli": record.cli,
        "state": record.state.value,
        "reason": record.reason,
        "wanted": wish is not None,
        "stopping": wish.stop if wish else None,
        "pausing": wish.pause if wish else False,
        "closed_at": wish.closed_at if wish else None,
        "foreground": wish.foreground if wish else False,
        "pid": status.process.pid if status.process else None,
        "host": record.host,
        "epoch": record.epoch,
        "current_task": record.current_task,
        "parent_agent_id": record.parent_agent_id,
        "created_at": record.created_at,
        "last_active_at": record.last_active_at,
        "since": wish.since if wish else None,
        "rounds": stats.get("rounds", 0),
        "rounds_max": wish.rounds_from + wish.rounds if wish else None,
        "tasks_completed": stats.get("tasks_completed", 0),
        "restarts": stats.get("restarts", 0),
        "pending": pending(status.pending),
    }


def waited(done: Waited) -> dict[str, Any]:
    """The end that was waited for: `tt wait --json`."""
    return {
        "kind": done.kind,
        "id": done.id,
        "name": done.name,
        "state": done.state.value,
        "reason": done.reason,
    }


def explanation(found: Explanation) -> dict[str, Any]:
    """What something waits for: `tt why --json`. `until` is when a reason passes by itself, if that is known."""
    return {
        "kind": found.kind,
        "id": found.id,
        "name": found.name,
        "state": found.state,
        "reasons": [
            {"code": reason.code, "text": reason.text, "remedy": reason.remedy, "until": reason.until}
            for reason in found.reasons
        ],
    }


def pending(mail: Pending) -> dict[str, int]:
    """One agent's mail, counted."""
    return {
        "total": mail.total,
        "tasks": mail.tasks,
        "queries": mail.queries,
        "informational": mail.informational,
        "confirmations": mail.confirmations,
        "control": mail.control,
        "unreadable": mail.unreadable,
        "urgent": mail.urgent,
        "claimed": mail.claimed,
        "dead": mail.dead,
    }


def town(status: TownStatus, *, deep: bool = False) -> dict[str, Any]:
    """The town: `tt status --json`; `activity` with --deep, `all_tasks` with --tasks."""
    where, server = status.town, status.server
    agents = [agent(a) | ({"activity": a.activity} if deep else {}) for a in status.agents]
    shown: dict[str, Any] = {
        "town": where.name,
        "root": str(where.root),
        "redis": {
            "url": where.store.connector.url,
            "server": server.name,
            "version": server.version,
            "managed": where.store.connector.is_managed,
        },
        "supervisor": {"running": status.supervisor is not None, "pid": getattr(status.supervisor, "pid", None)},
        "agents": agents,
        "tasks": {
            "total": sum(status.counts.values()),
            **{state.value: count for state, count in status.counts.items()},
            "backlog": status.backlog,
        },
        "conductor": {"pending": status.conductor},
        "missions": {"active": status.missions},
    }
    if status.tasks is not None:
        names = {a.agent.id: a.agent.name for a in status.agents}
        shown["all_tasks"] = [task(t, names) for t in status.tasks]
    return shown


def task(record: Task, names: Mapping[str, str]) -> dict[str, Any]:
    """One task; `names` maps agent ids to names."""
    return record.to_dict() | {"agent": names.get(record.assigned_to or "")}


def worktree(seen: Standing) -> dict[str, Any]:
    """One worktree. Numbers are null when git cannot tell them; then `error` says why."""
    return {
        "agent": seen.tree.agent,
        "branch": seen.tree.branch,
        "path": str(seen.tree.path),
        "phase": seen.tree.phase.value if seen.tree.phase else None,
        "head": seen.head,
        "ahead": seen.ahead,
        "behind": seen.behind,
        "dirty": seen.dirty,
        "error": seen.error,
    }


def plan(path: Path, loaded: Plan) -> dict[str, Any]:
    """The file tasks.toml; `agent` of a task is null when nobody is to have it."""
    return {
        "path": str(path),
        "description": loaded.description,
        "default_agent": loaded.default_agent,
        "tasks": [
            {
                "id": entry.id,
                "description": entry.description,
                "agent": loaded.agent_of(entry),
                "status": entry.status.value,
                "tags": list(entry.tags),
                "parent": entry.parent,
                "depends_on": list(entry.depends_on),
            }
            for entry in loaded.entries
        ],
    }


def mailbox(box: Mailbox, texts: Mapping[str, str]) -> dict[str, Any]:
    """One mailbox, next message first; `texts` maps message ids to what they say. `broken`: texts that are none."""
    from tinytown.services.messages import broken_id  # noqa: PLC0415  loads much that a status does not need

    return {
        "id": box.id,
        "name": box.name,
        "state": box.state.value if box.state else None,
        "actionable": box.actionable,
        "claimed": box.claimed,
        "dead": box.dead,
        "unreadable": box.unreadable,
        "messages": [message(m) | {"text": texts[m.id]} for m in box.messages],
        "broken": [{"id": broken_id(text), "text": text} for text in box.broken],
    }


def message(sent: Message) -> dict[str, Any]:
    """One message."""
    return {
        "id": sent.id,
        "type": sent.type,
        "from": sent.sender,
        "to": sent.to,
        "priority": sent.priority.value,
        "task_id": sent.payload.get("task_id"),
        "created_at": sent.created_at,
        "correlation_id": sent.correlation_id,
    }


def dead_letter(agent_name: str, identifier: str, letter: DeadLetter) -> dict[str, Any]:
    """One dead letter; `message` is null when its text is no message."""
    return {
        "id": identifier,
        "agent": agent_name,
        "reason": letter.reason,
        "at": letter.at,
        "attempts": letter.attempts,
        "message": message(letter.message) if letter.message else None,
        "text": letter.text,
    }
