"""The backlog: work that waits for an agent."""

from __future__ import annotations

from tinytown import clock, ids
from tinytown.domain.agent import Agent, Wish
from tinytown.domain.event import Event, task_changed
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict
from tinytown.services import agents, dependencies, mail, tasks
from tinytown.services.caller import Caller
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Stale, Transaction
from tinytown.town import COMMIT_TRIES, Town, change

_FIRST_PAGE, _PAGE = 16, 200  # mostly the first tasks fit; each costs the reading of its JSON
_SPREAD = 16  # agents that found one another at the same task look at this many
_AT_ONCE = 100


def add(town: Town, description: str, tags: list[str], caller: Caller) -> Task:
    """Park a task without an agent; idle agents whose role is one of its tags hear of it at once."""
    text = tasks.check_description(description)
    town.ensure_redis()
    at = clock.stamp()
    task = Task(
        id=ids.new_id(), description=text, created_at=at, updated_at=at, tags=tasks.clean_tags(tags),
        assigned_by=caller.id,
    )  # fmt: skip

    def build(tx: Transaction) -> Task:
        tx.once(task.id)
        tx.save_task(None, task)
        mail.park(town, tx, task)
        tx.event(task_changed("task_created", "parked in the backlog", task, None, clock.stamp()))
        return task

    return change(town.store, build)


def listing(town: Town) -> list[Task]:
    """The tasks in the backlog, in order."""
    return town.store.tasks.many(town.store.tasks.backlog_ids())


def claim(town: Town, reference: str, agent: str, caller: Caller) -> Task:
    """Give a backlog task to an agent: out of the backlog, assigned and mailed in one step; one winner.

    Raises AgentNotFound, TaskNotFound, Conflict when it is not in the backlog (any more).
    """
    town.ensure_redis()

    def build(tx: Transaction) -> Task:
        to = agents.resolve(town, agent).agent  # again in each try: a new agent may have taken over the name
        raw, task = tasks.find(town, reference)
        _expect_parked(town, task)
        return _give(town, tx, raw, task, to, caller.id)

    return change(town.store, build)


def assign_all(town: Town, agent: str, caller: Caller) -> list[Task]:
    """Give every backlog task to one agent, in order, up to a hundred in a step."""
    town.ensure_redis()
    given: list[Task] = []
    while batch := change(town.store, lambda tx: _give_some(town, tx, agent, caller.id)):
        given += batch
    return given


def remove(town: Town, reference: str) -> Task:
    """Delete a backlog task and its record.

    Raises TaskNotFound, Conflict when it is not in the backlog or others wait for it.
    """
    town.ensure_redis()

    def build(tx: Transaction) -> Task:
        raw, task = tasks.find(town, reference)
        _expect_parked(town, task)
        if town.store.call(lambda r: r.scard(tx.keys.dependents(task.id))):
            raise Conflict(f"Other tasks wait for task {task.id}.", "Cancel them first, or complete it.")
        tx.expect(tx.keys.task(task.id), raw)
        tx.expect_size(tx.keys.dependents(task.id), 0, "tasks that wait for it")
        tx.expect_member(tx.keys.backlog, task.id)
        tx.do("LREM", tx.keys.backlog, 0, task.id)
        tx.do("ZREM", tx.keys.tasks(task.state), task.id)
        tx.do("DEL", tx.keys.task(task.id))
        said = task.description[:200]
        tx.event(Event("task_removed", said, clock.stamp(), task_id=task.id, old_state=task.state.value))
        return task

    return change(town.store, build)


def for_role(town: Town, role: str, most: int) -> list[Task]:
    """The first backlog tasks with a tag that equals the role."""
    found: list[Task] = []
    start, size = 0, _FIRST_PAGE
    while len(found) < most and (page := town.store.tasks.backlog_ids(start, start + size - 1)):
        found += [t for t in town.store.tasks.many(page) if role in (t.tags or [])]
        start, size = start + size, _PAGE
    return found[:most]


def claims(town: Town, agent: Agent, wish: Wish | None) -> bool:
    """An idle agent takes work for its role from the backlog by itself; not one that is closing."""
    return bool(agent.role_id) and town.config.agent.auto_claim and wish is not None and wish.closed_at is None


def claim_for_role(town: Town, agent: Agent) -> Task | None:
    """The first backlog task for the agent's role, claimed for it; None when there is none.

    When another agent was quicker, one of the next is tried, by each agent another one: of a crowd that always went
    for the first, one would win each time and all others would have looked in vain.
    """
    if agent.role_id is None:
        return None
    for attempt in range(COMMIT_TRIES):
        waiting = for_role(town, agent.role_id, _SPREAD if attempt else 1)
        if not waiting:
            return None
        tx = town.store.transaction()
        chosen = (int(agent.id[:8], 16) + attempt) % len(waiting)
        found = town.store.tasks.get(waiting[chosen].id)
        if found is None or found[1].state is not TaskState.PENDING:
            continue  # somebody was quicker
        raw, task = found
        try:
            given = _give(town, tx, raw, task, agent, task.assigned_by or ids.SUPERVISOR_ID)
            town.store.commit(tx)
        except Stale:
            continue
        return given
    return None


def _expect_parked(town: Town, task: Task) -> None:
    if task.id in town.store.tasks.backlog_ids():
        return
    if others := dependencies.unmet(town, task):
        raise Conflict(
            f"Task {task.id} waits for {dependencies.named(others)}.", f"See why with: tt why {ids.short(task.id)}"
        )
    _raw, now = tasks.find(town, task.id)  # what was read before may be what somebody else has just changed
    raise Conflict(f"Task {task.id} is not in the backlog ({now.state}).", "See it with: tt backlog list")


def _give_some(town: Town, tx: Transaction, reference: str, by: str) -> list[Task]:
    agent = agents.resolve(town, reference).agent  # as in `claim`
    ids_ = town.store.tasks.backlog_ids(0, _AT_ONCE - 1)
    given = []
    for task_id, raw in zip(ids_, town.store.tasks.raws(ids_), strict=True):
        task = read_task(raw, task_id)
        if task is None or raw is None:
            tx.do("LREM", tx.keys.backlog, 0, task_id)
            continue
        given.append(_give(town, tx, raw, task, agent, by))
    return given


def _give(town: Town, tx: Transaction, raw: str, task: Task, agent: Agent, by: str) -> Task:
    given = task.assigned(agent.id, by, clock.stamp())
    tx.expect_member(tx.keys.backlog, task.id, "backlog")
    tx.do("LREM", tx.keys.backlog, 0, task.id)
    tx.save_task(raw, given, task)
    said = f"claimed from the backlog for '{agent.name}'"
    tx.event(task_changed("task_assigned", said, given, task.state, clock.stamp()))
    mail.deliver(town, tx, mail.compose(by, agent.id, "task_assign", {"task_id": task.id}))
    return given
