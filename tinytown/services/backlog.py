"""The backlog: work that waits for an agent."""

from __future__ import annotations

from tinytown import clock, ids
from tinytown.domain.agent import Agent, Wish
from tinytown.domain.event import Event, task_changed
from tinytown.domain.message import Unreadable, parse
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict
from tinytown.services import agents, dependencies, mail, tasks
from tinytown.services.caller import Caller
from tinytown.services.settlement import guard
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Stale, Transaction
from tinytown.town import COMMIT_TRIES, Town, change

_PAGE = 200
_AT_ONCE = 100


def add(town: Town, description: str, tags: list[str], caller: Caller) -> Task:
    """Park a task without an agent; idle agents whose role is one of its tags hear of it at once."""
    text = tasks.check_description(description)
    town.ensure_redis()
    at = clock.stamp()
    task = Task(
        id=ids.new_id(), description=text, created_at=at, updated_at=at, tags=_clean(tags), assigned_by=caller.id
    )

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
    row = agents.resolve(town, agent)

    def build(tx: Transaction) -> Task:
        agents.resolve(town, row.agent.id)  # gone since: not found, nothing changed
        raw, task = tasks.find(town, reference)
        _expect_parked(town, task)
        return _give(town, tx, raw, task, row.agent, caller.id)

    return change(town.store, build)


def assign_all(town: Town, agent: str, caller: Caller) -> list[Task]:
    """Give every backlog task to one agent, in order, up to a hundred in a step."""
    town.ensure_redis()
    row = agents.resolve(town, agent)
    given: list[Task] = []
    while batch := change(town.store, lambda tx: _give_some(town, tx, row.agent, caller.id)):
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
    start = 0
    while len(found) < most and (page := town.store.tasks.backlog_ids(start, start + _PAGE - 1)):
        found += [t for t in town.store.tasks.many(page) if role in (t.tags or [])]
        start += _PAGE
    return found[:most]


def claims(town: Town, agent: Agent, wish: Wish | None) -> bool:
    """An idle agent takes work for its role from the backlog by itself; not one that is closing."""
    return bool(agent.role_id) and town.config.agent.auto_claim and wish is not None and wish.closed_at is None


def claim_for_role(town: Town, agent: Agent) -> Task | None:
    """The first backlog task for the agent's role, claimed for it; None when there is none.

    When another agent was quicker the next one is tried.
    """
    if agent.role_id is None:
        return None
    for _ in range(COMMIT_TRIES):
        waiting = for_role(town, agent.role_id, 1)
        if not waiting:
            return None
        tx = town.store.transaction()
        found = town.store.tasks.get(waiting[0].id)
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


def reclaim_lost(town: Town, agent_id: str, epoch: int, texts: list[str]) -> None:
    """Claim these messages (again) for a round that holds them: the server lost the claim or the messages."""

    def build(tx: Transaction) -> None:
        keys = tx.keys
        wish_raw, claimed, urgent, inbox = town.store.read(
            ("HGET", keys.wanted, agent_id),
            ("LRANGE", keys.claimed(agent_id), 0, -1),
            ("LRANGE", keys.urgent(agent_id), 0, -1),
            ("LRANGE", keys.inbox(agent_id), 0, -1),
        )
        guard(agent_id, epoch, wish_raw)
        tx.expect_field(keys.wanted, agent_id, wish_raw)
        for text in texts:
            if text in claimed:
                continue
            for home, held in ((keys.urgent(agent_id), urgent), (keys.inbox(agent_id), inbox)):
                if text in held:
                    tx.do("LREM", home, 1, text)
            tx.do("RPUSH", keys.claimed(agent_id), text)
            _restart_lost_task(town, tx, text)

    change(town.store, build)


def _restart_lost_task(town: Town, tx: Transaction, text: str) -> None:
    try:
        task_id = parse(text).task_id
    except Unreadable:
        return
    found = town.store.tasks.get(task_id) if task_id else None
    if found is not None and found[1].state is TaskState.ASSIGNED:
        started = found[1].started(clock.stamp())
        tx.save_task(found[0], started, found[1])
        tx.event(task_changed("task_started", "its round goes on", started, found[1].state, clock.stamp()))


def _expect_parked(town: Town, task: Task) -> None:
    if task.id in town.store.tasks.backlog_ids():
        return
    if others := dependencies.unmet(town, task):
        raise Conflict(
            f"Task {task.id} waits for {dependencies.named(others)}.", f"See why with: tt why {ids.short(task.id)}"
        )
    raise Conflict(f"Task {task.id} is not in the backlog ({task.state}).", "See it with: tt backlog list")


def _give_some(town: Town, tx: Transaction, agent: Agent, by: str) -> list[Task]:
    agents.resolve(town, agent.id)  # as in `claim`
    ids_ = town.store.tasks.backlog_ids(0, _AT_ONCE - 1)
    given = []
    for task_id, raw in zip(ids_, town.store.tasks.raws(ids_), strict=True):
        task = read_task(raw)
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


def _clean(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
