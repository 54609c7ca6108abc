"""What only a person can do, with the reason, the command that helps, and how much work waits behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinytown import ids
from tinytown.domain.message import Sort
from tinytown.domain.record import load
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.services import messages
from tinytown.services.missions.status import Report
from tinytown.services.obstacles import counted, shown
from tinytown.services.overview import cards
from tinytown.services.overview.scene import WAITING, Scene, reachable
from tinytown.town import Town

LETTERS = 20
_BY_HAND = {"auth_failed": "log in to '{}'", "not_found": "install '{}', or correct its command"}
Need = dict[str, Any]


def of(town: Town, scene: Scene, stuck: list[Task]) -> list[Need]:
    """All of it, most work behind it first. `stuck`: the tasks in the column of what needs a person."""
    found = [
        *_supervisor(scene), *_clis(scene), *_missions(scene), *_agents(scene), *_tasks(scene, stuck),
        *_letters(town, scene), *_mail(town, scene),
    ]  # fmt: skip
    return sorted(found, key=lambda need: (-need["behind"], need["since"] or "", need["id"]))


def _need(kind: str, identifier: str, title: str, reason: str, remedy: str | None = None, **more: Any) -> Need:
    none: Need = dict.fromkeys(("agent", "task_id", "mission_id", "item_id", "letter_id", "since"))
    head = {"id": f"{kind}:{identifier}", "kind": kind, "title": title, "reason": reason, "remedy": remedy}
    return head | none | {"behind": 0, "actions": []} | more


def _supervisor(scene: Scene) -> Iterator[Need]:
    if scene.status.unsupervised:
        waiting = [one.agent.id for one in scene.status.agents if one.waits_for_supervisor]
        text = f"no supervisor is running for {counted(len(waiting), 'agent')}"
        behind = sum(scene.load[agent_id] for agent_id in waiting)
        yield _need("supervisor", "down", "Supervisor", text, "tt supervise --detach", behind=behind)


def _clis(scene: Scene) -> Iterator[Need]:
    """Those that a person must log in to or install; a rate limit passes by itself."""
    for cli, raw in scene.holds.items():
        try:
            hold = load(raw)
        except ValueError:
            continue
        kind = hold.get("kind") if isinstance(hold, dict) else None
        if kind not in _BY_HAND:
            continue
        behind = sum(scene.load[one.agent.id] for one in scene.status.agents if one.agent.cli == cli)
        what = str(kind).replace("_", " ")
        detail = f": {shown(hold.get('detail'), 160)}" if hold.get("detail") else ""
        yield _need("cli", cli, f"CLI {shown(cli)}", what + detail, _BY_HAND[kind].format(shown(cli)), behind=behind)


def _missions(scene: Scene) -> Iterator[Need]:
    for report in scene.missions:
        run = report.run
        if run.state.is_terminal or run.stopped_at is not None:
            continue
        items = [item for item in report.file.items.values() if item.needs_person and not item.status.is_terminal]
        if run.blocked_reason and run.remedy and not items:
            left = sum(not item.status.is_terminal for item in report.file.items.values())
            yield _need(
                "mission", run.id, f"Mission {ids.short(run.id)}", run.blocked_reason, run.remedy, mission_id=run.id,
                since=run.updated_at, behind=left, actions=["mission.note", "mission.stop"],
            )  # fmt: skip
        for item in items:
            title = f"{item.source_ref}: {shown(item.title, cards.TITLE)}"
            yield _need(
                "item", item.id, title, item.reason or "needs a person", item.remedy,
                mission_id=run.id, item_id=item.id, task_id=item.task_id, since=item.updated_at,
                agent=report.names.get(item.author or ""), behind=len(reachable(_after(report), item.id)),
                actions=[*_verdicts(item.submitted_at), "mission.retry", "mission.cancel"],
            )  # fmt: skip


def _verdicts(submitted_at: str | None) -> list[str]:
    return ["mission.approve", "mission.reject"] if submitted_at else []


def _after(report: Report) -> dict[str, list[str]]:
    after: dict[str, list[str]] = {}
    for item in report.file.items.values():
        for before in item.depends_on:
            after.setdefault(before, []).append(item.id)
    return after


def _agents(scene: Scene) -> Iterator[Need]:
    """Those that were given up, and those that have ended with work left."""
    for one in scene.status.agents:
        agent, left = one.agent, scene.load[one.agent.id]
        if one.row.wish is not None:
            continue
        has_failed = agent.state is AgentState.ERROR
        if not has_failed and not left and not one.pending.tasks:
            continue
        why = shown(agent.reason, 200) or agent.state.label
        behind = max(left, one.pending.tasks)
        yield _need(
            "agent", agent.id, f"Agent {agent.name}",
            f"given up: {why}" if has_failed else f"it has ended ({why}) with {counted(behind, 'task')} left",
            f"tt restart {agent.name}", agent=agent.name, since=agent.last_active_at, behind=behind,
            actions=["agent.restart"],
        )  # fmt: skip


def _tasks(scene: Scene, stuck: list[Task]) -> Iterator[Need]:
    """Failed lately, or open and nobody's, or waiting for what will not come."""
    for task in stuck:
        _column, reason, remedy = cards.standing(scene, task)
        owner = scene.agents.get(task.assigned_to or "")
        if task.state is TaskState.ASSIGNED and owner is not None:
            continue  # the agent that has ended is told of once, not with each of its tasks
        is_over = task.state.is_terminal
        yield _need(
            "task", task.id, cards.title(task), reason or "", remedy, task_id=task.id, since=task.updated_at,
            agent=owner.agent.name if owner is not None else None, behind=scene.behind.get(task.id, 0),
            actions=["task.retry"] if is_over else ["task.cancel"],
        )  # fmt: skip


def _letters(town: Town, scene: Scene) -> Iterator[Need]:
    """Dead letters; one whose task has ended is told of with the task."""
    left = LETTERS
    for one in scene.status.agents:
        if not one.pending.dead or not left:
            continue
        for letter in town.store.inboxes.dead(one.agent.id)[-left:]:
            left -= 1
            message = letter.message
            task = scene.tasks.get(message.task_id or "") if message is not None else None
            if task is not None and task.state not in WAITING:
                continue
            identifier = messages.letter_id(letter)
            what = cards.title(task) if task is not None else shown(letter.text, cards.TITLE)
            yield _need(
                "dead_letter", identifier, what, f"given up by {one.agent.name}: {shown(letter.reason, 200)}",
                f"tt inbox --dead --retry {ids.short(identifier)}", agent=one.agent.name, letter_id=identifier,
                task_id=task.id if task is not None else None, since=letter.at or None,
                actions=["message.retry_dead", "message.drop_dead"],
            )  # fmt: skip


def _mail(town: Town, scene: Scene) -> Iterator[Need]:
    """Questions in the conductor's mailbox."""
    if not scene.status.conductor:
        return
    box = messages.mailbox(town, "conductor")
    asked = [message for message in box.messages if message.sort in {Sort.QUERY, Sort.TASK}]
    if asked:
        first = asked[0]
        text = shown(first.payload.get("question") or first.payload.get("description"), 200)
        more = f" (and {counted(len(asked) - 1, 'more message')})" if len(asked) > 1 else ""
        sender = scene.agents.get(first.sender)
        yield _need(
            "mail", first.id, f"Question from {sender.agent.name if sender else 'the town'}", text + more,
            "tt inbox conductor", agent=sender.agent.name if sender else None, since=first.created_at,
            actions=["message.acknowledge"],
        )  # fmt: skip
