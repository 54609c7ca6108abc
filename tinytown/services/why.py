"""Why an agent or a task does not go on: what it waits for, the strongest reason first, and the command that helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinytown import ids
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.services import backlog, dependencies, mail, obstacles
from tinytown.services.caller import USER
from tinytown.services.obstacles import Reason, Seen, counted, local, shown
from tinytown.services.waiting import find, first_line
from tinytown.store.agents import AgentRow
from tinytown.town import Town

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Explanation:
    """`kind` is agent or task; `name` an agent's name or a task's first line; `state` as the record says."""

    kind: str
    id: str
    name: str
    state: str
    reasons: list[Reason]


def explain(town: Town, reference: str) -> Explanation:
    """What this agent or task is waiting for. Raises NotFound, Conflict (ambiguous)."""
    found = find(town, reference)
    if isinstance(found, Task):
        reasons = _TASK[found.state](town, found)
        return Explanation("task", found.id, first_line(found.description), found.state.value, reasons)
    agent = found.agent
    return Explanation("agent", agent.id, agent.name, agent.state.value, _agent(town, found))


def _agent(town: Town, row: AgentRow) -> list[Reason]:
    seen = obstacles.look(town, row)
    found = obstacles.of_agent(town, seen)
    work = [reason for reason in _work(town, seen) if not (found and reason.code == "idle")]
    return [*found, *work, *_dead_letters(seen)]


def _work(town: Town, seen: Seen) -> list[Reason]:
    """What it does, or would do if nothing stood in its way."""
    name = seen.row.agent.name
    due = seen.due
    if seen.standing is None:
        left = f"{counted(len(due), 'message')} left for its restart"
        return [Reason("mail", left, f"tt inbox {name}")] if due else []
    closing = "it is closing: " if seen.standing.wish.closed_at else ""
    if seen.box.claimed:
        work = obstacles.busy(town, seen)
        return [Reason(work.code, closing + work.text, work.remedy)]
    if not due:
        rest = len(seen.box.messages)
        more = f"; {counted(rest, 'message')} without a question or a task" if rest and not closing else ""
        text = "its mail is done, it stops" if closing else f"it has nothing to do{more}"
        return [Reason("idle", closing + text, f"tt assign {name} 'What is to be done'" if not closing else None)]
    back_offs = [found for message in due if (found := obstacles.backing_off(town, seen, message))]
    if len(back_offs) == len(due):
        return back_offs[:SHOWN]
    return [Reason("mail", f"{closing}{counted(len(due), 'message')} left for its next rounds", f"tt inbox {name}")]


def _dead_letters(seen: Seen) -> list[Reason]:
    count, name = seen.box.dead, seen.row.agent.name
    return [Reason("dead_letters", f"{counted(count, 'dead letter')}", f"tt inbox {name} --dead")] if count else []


def _pending(town: Town, task: Task) -> list[Reason]:
    if others := dependencies.unmet(town, task):
        return [_dependency(other) for other in others[:SHOWN]]
    short = ids.short(task.id)
    waiting = town.store.tasks.backlog_ids()
    if task.id not in waiting:
        return [Reason("lost", "it is in no backlog and waits for no task", f"tt task cancel {short}")]
    takers, ahead = _takers(town, task, len(waiting))
    if not takers:
        return [_nobody_takes(town, task)]
    reasons = [_not_taken_by(town, row) for row in takers[:SHOWN]]
    behind = f"{counted(ahead, 'task')} for that role before it in the backlog"
    return [*reasons, Reason("queue", behind, "tt backlog list")] if ahead else reasons


def _dependency(other: Task) -> Reason:
    short = ids.short(other.id)
    text = f"it needs task {short} ({shown(other.description)}) first, which is {other.state}"
    is_stuck = other.state in {TaskState.FAILED, TaskState.CANCELLED}
    return Reason("dependency", text, f"tt task retry {short}" if is_stuck else f"tt why {short}")


def _takers(town: Town, task: Task, most: int) -> tuple[list[AgentRow], int]:
    """The agents that take it from the backlog by themselves, and how many tasks they take before it."""
    rows = [row for row in town.store.agents.all() if backlog.claims(town, row.agent, row.wish)]
    takers, ahead = [], 0
    for role in sorted({row.agent.role_id or "" for row in rows}):
        fitting = [found.id for found in backlog.for_role(town, role, most)]
        if task.id in fitting:
            takers += [row for row in rows if row.agent.role_id == role]
            ahead = max(ahead, fitting.index(task.id))
    return takers, ahead


def _nobody_takes(town: Town, task: Task) -> Reason:
    tags, by_hand = task.labels, f"tt backlog claim {ids.short(task.id)} AGENT"
    if not town.config.agent.auto_claim:
        return Reason("no_agent", "in the backlog: agents take nothing by themselves (auto_claim is off)", by_hand)
    if not tags:
        return Reason("no_agent", "in the backlog: it has no tag, so it is for no agent's role", by_hand)
    ended = next((r.agent.name for r in town.store.agents.all() if r.agent.role_id in tags and r.wish is None), None)
    text = f"in the backlog: no agent with one of its tags as role runs ({shown(', '.join(tags))})"
    if ended:
        return Reason("no_agent", text, f"tt restart {ended}")
    role = next(filter(ids.is_name, tags), None)  # another tag is no role, and would be shell in a command to copy
    return Reason("no_agent", text, f"tt spawn NAME --role {role}" if role else by_hand)


def _not_taken_by(town: Town, row: AgentRow) -> Reason:
    """What keeps an agent that could take it."""
    seen = obstacles.look(town, row)
    found = [*obstacles.of_agent(town, seen), *_work(town, seen)][0]
    if found.code == "idle":
        return Reason("due", f"agent '{row.agent.name}' is about to take it")
    return Reason(found.code, f"agent '{row.agent.name}': {found.text}", found.remedy, found.until)


def _assigned(town: Town, task: Task) -> list[Reason]:
    short = ids.short(task.id)
    row = town.store.agents.row(task.assigned_to or "")
    if row is None:
        text = f"its agent {ids.short(task.assigned_to or '?')} is gone"
        return [Reason("no_agent", text, "tt reclaim --orphan-tasks --to-backlog")]
    seen = obstacles.look(town, row)
    name = row.agent.name
    place = next((n for n, message in enumerate(seen.box.messages) if message.task_id == task.id), None)
    if place is None:
        return [Reason("lost", f"no message in the mailbox of '{name}' leads to it", f"tt task cancel {short}")]
    of_agent = [_told_of(name, reason) for reason in obstacles.of_agent(town, seen)]
    message = seen.box.messages[place]
    if not seen.counts(message):
        text = f"agent '{name}' is closing; the task came later and waits for its restart"
        return [*of_agent, Reason("late", text, f"tt wait {name} && tt restart {name}")]
    if found := obstacles.backing_off(town, seen, message):
        return [*of_agent, found]
    if ahead := sum(map(seen.counts, seen.box.messages[:place])):
        text = f"{counted(ahead, 'message')} before it in the mailbox of '{name}'"
        of_agent.append(Reason("queue", text, f"tt inbox {name}"))
    if seen.box.claimed:
        of_agent.append(_told_of(name, obstacles.busy(town, seen)))
    return of_agent or [Reason("due", f"agent '{name}' is about to start on it")]


def _told_of(name: str, reason: Reason) -> Reason:
    return Reason(reason.code, f"agent '{name}': {reason.text}", reason.remedy, reason.until)


def _running(town: Town, task: Task) -> list[Reason]:
    row = town.store.agents.row(task.assigned_to or "")
    if row is None:
        return _assigned(town, task)
    seen = obstacles.look(town, row)
    name, at = row.agent.name, local(task.started_at)
    held = town.store.call(lambda r: r.lrange(town.store.keys.claimed(row.agent.id), 0, -1))
    message = next((m for text in held if (m := mail.read(text)) and m.task_id == task.id), None)
    attempt = seen.attempts.get(message.id, 0) + 1 if message else 1
    text = f"agent '{name}' works on it since {at} (attempt {attempt} of {town.config.agent.max_attempts})"
    dead = [_told_of(name, reason) for reason in obstacles.without_process(town, seen)]
    return dead or [Reason("running", text, f"tt logs {name}")]


def _ended(town: Town, task: Task) -> list[Reason]:
    short, at = ids.short(task.id), local(task.completed_at)
    result = f": {shown(task.result, 300)}" if task.result else ""
    remedy = f"tt task retry {short}" if task.state is not TaskState.COMPLETED else None
    ended = "it has failed" if task.state is TaskState.FAILED else f"it was {task.state}"
    reasons = [Reason(task.state.value, f"{ended} at {at} by {_ender(town, task)}{result}", remedy)]
    for letter in town.store.inboxes.dead(task.assigned_to) if task.assigned_to else []:
        if letter.message is not None and letter.message.task_id == task.id:
            text = f"its message was given up after {counted(letter.attempts, 'attempt')}: {shown(letter.reason, 300)}"
            reasons.append(Reason("dead_letter", text, f"tt inbox --dead --retry {short}"))
    return reasons


def _ender(town: Town, task: Task) -> str:
    """Who ended it: a person, or an agent in its round."""
    agent_id, _, run = (task.ended_by or "").partition(":")
    row = town.store.agents.row(agent_id) if ids.is_id(agent_id) else None
    if row is None:
        return "a person" if agent_id == USER else f"{shown(agent_id) or 'somebody'}"
    number = run.rpartition(":")[2]
    return f"agent '{row.agent.name}'" + (f" in round {number}" if number else "")


_TASK: dict[TaskState, Callable[[Town, Task], list[Reason]]] = {
    TaskState.PENDING: _pending,
    TaskState.ASSIGNED: _assigned,
    TaskState.RUNNING: _running,
    TaskState.COMPLETED: _ended,
    TaskState.FAILED: _ended,
    TaskState.CANCELLED: _ended,
}
