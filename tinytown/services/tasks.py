"""Tasks: assign, complete, fail, cancel, retry, show, list, current."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tinytown import clock, ids
from tinytown.domain.agent import Agent
from tinytown.domain.event import task_changed
from tinytown.domain.message import Message
from tinytown.domain.states import TASK_RESET, TASK_RETRY, TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, Invalid, TaskNotFound
from tinytown.services import agents, dependencies, mail
from tinytown.services.caller import Caller
from tinytown.services.settlement import finish_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

OPEN = (TaskState.RUNNING, TaskState.ASSIGNED)
RUN_ENDS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Current:
    """What an agent works on now; `task` is None when there is nothing."""

    agent_name: str
    task: Task | None


def assign(town: Town, agent: str, description: str, caller: Caller, tags: list[str] | None = None) -> Task:
    """Create a task and give it to the agent: record, index, message and bell in one step.

    Raises AgentNotFound (then nothing was created), Invalid.
    """
    text = check_description(description)
    town.ensure_redis()
    at = clock.stamp()
    task = Task(id=ids.new_id(), description=text, created_at=at, updated_at=at, tags=clean_tags(tags or []))

    def build(tx: Transaction) -> Task:
        to = agents.resolve(town, agent).agent  # again in each try: a new agent may have taken over the name
        given = task.assigned(to.id, caller.id, at)
        tx.once(task.id)
        tx.save_task(None, given)
        tx.event(task_changed("task_assigned", f"assigned to '{to.name}'", given, task.state, clock.stamp()))
        mail.deliver(town, tx, mail.compose(caller.id, to.id, "task_assign", {"task_id": task.id}))
        return given

    return change(town.store, build)


def complete(town: Town, reference: str, result: str | None, caller: Caller) -> Task:
    """End a task as done. Raises TaskNotFound, Conflict when it has ended already (with what happened first)."""
    return _end(town, reference, TaskState.COMPLETED, result or "Completed", caller)


def fail(town: Town, reference: str, reason: str | None, caller: Caller) -> Task:
    """End a task as failed; a run of it ends, uncharged."""
    return _end(town, reference, TaskState.FAILED, reason or "Failed", caller)


def cancel(town: Town, reference: str, reason: str | None, caller: Caller) -> Task:
    """End a task as cancelled; a run of it ends, uncharged."""
    return _end(town, reference, TaskState.CANCELLED, reason or "Cancelled", caller)


def retry(town: Town, reference: str, caller: Caller, to: str | None = None) -> Task:
    """Give a failed or cancelled task another life: to `to`, else its agent, else the backlog.

    One that depends on others waits for them again. Its dead letters go in the same step, so that one message leads
    to it. Raises TaskNotFound, Conflict (also when the run that is being ended for it does not end within a few
    seconds: never two runs of one task).
    """
    town.ensure_redis()

    def build(tx: Transaction) -> Task:
        raw, task = find(town, reference)
        if task.state not in TASK_RETRY:
            raise Conflict(f"Task {ids.short(task.id)} is {task.state}; only a failed or cancelled one can be retried.")
        check_not_of_mission(task)
        owner = agents.resolve(town, to).agent if to is not None else _last_owner(town, task)
        return revive(town, tx, raw, task, owner, caller)

    return change(town.store, build)


def check_not_of_mission(task: Task) -> None:
    """Raise Conflict: the scheduler gives a mission's items their tasks, each once."""
    if task.is_of_mission:
        raise Conflict(
            f"Task {ids.short(task.id)} is of a mission, which gives its items their tasks.",
            f"Next: tt mission retry {ids.short(task.work_item or '')}",
        )


def revive(town: Town, tx: Transaction, raw: str, task: Task, owner: Agent | None, caller: Caller) -> Task:
    """Another life for an ended task, which goes to the owner (None: to the backlog) unless it has to wait.

    `raw` is what is stored; `task` may differ from it in everything but its state. Raises Conflict as `retry`.
    """
    others = dependencies.open_ones(town, task.depends_on or [])
    agent_id = owner.id if owner and not others else None
    if task.assigned_to and agent_id != task.assigned_to:
        _await_end_of_run(town, task)
        for lead in mail.leads(town, task.assigned_to).get(task.id, []):
            mail.recall(tx, task.assigned_to, lead, "its task is retried elsewhere")
    again = task.retried(agent_id, clock.stamp(), TASK_RESET)
    if others and owner:
        again = replace(again, planned_agent=owner.name)
    tx.save_task(raw, again, task)
    if task.assigned_to:
        _drop_dead_letters(town, tx, task.assigned_to, task.id)
    where = "assigned again"
    if others:
        where = f"waits for {dependencies.named([other for _raw, other in others])}"
        dependencies.wait_for(tx, again.id, others)
    elif agent_id is None:
        where = "to the backlog"
        mail.park(town, tx, again)
    elif not _still_leads(town, tx, agent_id, task.id):
        mail.deliver(town, tx, mail.compose(caller.id, agent_id, "task_assign", {"task_id": task.id}))
    tx.event(task_changed("task_retried", where, again, task.state, clock.stamp()))
    return again


def _await_end_of_run(town: Town, task: Task) -> None:
    keys, owner = town.store.keys, task.assigned_to or ""
    deadline = clock.monotonic() + RUN_ENDS_WITHIN_S
    while True:
        seen_until = town.store.events.last_id()
        held = town.store.call(lambda r: r.lrange(keys.claimed(owner), 0, -1))
        if not any(m.task_id == task.id for text in held if (m := mail.read(text)) is not None):
            return
        left = deadline - clock.monotonic()
        if left <= 0:
            raise Conflict(f"The run of task {ids.short(task.id)} that was ended has not gone yet.", "Try again soon.")
        town.store.events.after(seen_until, left)


def find(town: Town, reference: str) -> tuple[str, Task]:
    """The task with this id, id in tasks.toml or id prefix, and its raw text. Raises TaskNotFound, Conflict."""
    text = reference.strip()
    if ids.is_id(text.lower()):
        found = town.store.tasks.get(text.lower())
    else:
        found = town.store.tasks.get(ids.derived_id(town.name, text)) or _search(town, text)
    if found is None:
        raise TaskNotFound(reference)
    return found


def _search(town: Town, reference: str) -> tuple[str, Task] | None:
    """By a prefix; else by the tag of a plan that another town pushed, of which this one was restored."""
    known = town.store.tasks.ids(TaskState)
    task_id = ids.match_prefix(reference, known, "Task")
    if task_id is None:
        pushed = [task for task in town.store.tasks.many(known) if task.plan_id == reference]
        task_id = min(pushed, key=lambda task: task.created_at).id if pushed else None
    return town.store.tasks.get(task_id) if task_id else None


def listing(town: Town, states: Iterable[TaskState] | None = None) -> list[Task]:
    """The tasks in these states (all: None), oldest first."""
    tasks = town.store.tasks.many(town.store.tasks.ids(list(TaskState) if states is None else states))
    return sorted(tasks, key=lambda task: task.created_at)


def current(town: Town, reference: str) -> Current:
    """What the agent works on: the task of its run, else the only open one that is assigned to it."""
    row = agents.resolve(town, reference)
    if row.agent.current_task and (found := town.store.tasks.get(row.agent.current_task)):
        return Current(row.agent.name, found[1])
    mine = [t for t in listing(town, OPEN) if t.assigned_to == row.agent.id]
    return Current(row.agent.name, mine[0] if len(mine) == 1 else None)


def check_description(text: str) -> str:
    """The text as it can be stored: valid Unicode, not empty. Raises Invalid."""
    clean = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if not clean.strip():
        raise Invalid("The text is empty.", "Say what is to be done.")
    return clean


def clean_tags(tags: Iterable[str]) -> list[str]:
    """The tags without space around them, each once."""
    return list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))


def parse_state(text: str) -> TaskState:
    """A state by its name. Raises Invalid."""
    try:
        return TaskState(text.strip().lower())
    except ValueError as error:
        raise Invalid(f"Unknown state: {text}", f"Valid: {', '.join(TaskState)}") from error


def _end(town: Town, reference: str, state: TaskState, result: str, caller: Caller) -> Task:
    town.ensure_redis()
    text = result.encode("utf-8", "surrogatepass").decode("utf-8", "replace")

    def build(tx: Transaction) -> Task:
        raw, task = find(town, reference)
        if task.state.is_terminal:
            when = f" at {task.completed_at}" if task.completed_at else ""
            raise Conflict(
                f"Task {ids.short(task.id)} was {task.state} already{when}: {(task.result or '')[:120]}",
                "To run it again: tt task retry " + ids.short(task.id) if state is not TaskState.COMPLETED else None,
            )
        return finish_task(town, tx, raw, task, state, text, caller.run)

    ended = change(town.store, build)
    if state is TaskState.COMPLETED:
        dependencies.finish_releases(town)
    return ended


def _last_owner(town: Town, task: Task) -> Agent | None:
    """The agent that had it, else the one that the plan gives it to, as far as they exist."""
    if task.assigned_to and (row := town.store.agents.row(task.assigned_to)):
        return row.agent
    planned = dependencies.planned_agents(town, [task.planned_agent])
    return planned.get(task.planned_agent or "")


def _still_leads(town: Town, tx: Transaction, agent_id: str, task_id: str) -> bool:
    """A message of its former life lies with the agent: it leads to the task again, with fresh attempts."""
    homes = [kind(agent_id) for kind in (tx.keys.urgent, tx.keys.inbox, tx.keys.claimed)]
    for home, texts in zip(homes, town.store.read(*(("LRANGE", home, 0, -1) for home in homes)), strict=True):
        for text in texts:
            message = mail.read(text)
            if message is not None and message.task_id == task_id:
                tx.expect_member(home, text, "mail")
                tx.do("HDEL", tx.keys.attempts(agent_id), message.id)
                tx.ring(agent_id)
                return True
    return False


def _drop_dead_letters(town: Town, tx: Transaction, agent_id: str, task_id: str) -> None:
    for letter in town.store.inboxes.dead(agent_id):
        message: Message | None = letter.message
        if message is not None and message.task_id == task_id:
            tx.expect_member(tx.keys.dead(agent_id), letter.raw)
            tx.do("LREM", tx.keys.dead(agent_id), 1, letter.raw)
            tx.event(mail.message_event("message_dropped", "its task is retried", message, agent_id))
