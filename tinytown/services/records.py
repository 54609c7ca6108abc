"""Records as programs write them: a task's or an agent's next state, as far as every rule of the town holds."""

from __future__ import annotations

from dataclasses import replace

from tinytown import clock, ids, logs
from tinytown.domain.agent import Agent
from tinytown.domain.event import state_changed, task_changed
from tinytown.domain.message import Message
from tinytown.domain.states import TASK_TRANSITIONS, TaskState, advance
from tinytown.domain.task import Task
from tinytown.errors import Conflict
from tinytown.services import agents, dependencies, mail, tasks
from tinytown.services.caller import Caller
from tinytown.services.settlement import finish_task
from tinytown.store.agents import save_agent
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change


def set_task(
    town: Town, task: Task, base: str | None, caller: Caller, message: Message | None = None
) -> tuple[str, Task]:
    """Bring the stored task into the state of this one, with everything that belongs to it, in one step.

    `base` is the stored text that the change was made on (None: the task is new). Pending goes to the backlog,
    assigned to the agent's inbox (`message`, else one made for it); running is for agents without an actor, and
    moves that message to `claimed`; an end takes it away. Returns the new stored text and record. Raises
    IllegalTransition, AgentNotFound, Invalid, Conflict (changed since it was read, an actor is at it).
    """
    clean = replace(task, description=tasks.check_description(task.description))
    town.ensure_redis()

    def build(tx: Transaction) -> Task:
        raw, old = town.store.tasks.get(task.id) or (None, None)
        _expect_base(f"Task {ids.short(task.id)}", raw, base)
        if message is not None:
            tx.once(message.id)
        return _set(town, tx, raw, old, clean, caller, message)

    saved = change(town.store, build)
    if saved.state is TaskState.COMPLETED:
        dependencies.finish_releases(town)
    return saved.to_json(), saved


def set_agent(town: Town, agent: Agent, base: str | None) -> str:
    """Store the record of an agent that no actor runs; one that is new gets its name. Returns the stored text.

    `base` as in `set_task`. Raises Invalid, Conflict (it is wanted to run, its name is taken or reserved, it changed
    since it was read).
    """
    _check_name(agent)
    town.ensure_redis()

    def build(tx: Transaction) -> str:
        row = town.store.agents.row(agent.id)
        _expect_base(f"Agent '{agent.name}'", row.raw if row else None, base)
        expect_no_actor(town, tx, agent.id, agent.name)
        holder = town.store.call(lambda r: r.hget(tx.keys.agents, agent.name))
        if holder not in (None, agent.id):
            raise Conflict(f"Another agent has the name '{agent.name}'.", "Choose another name.")
        tx.expect_field(tx.keys.agents, agent.name, holder, "name")
        tx.do("HSET", tx.keys.agents, agent.name, agent.id)
        old = row.agent if row else None
        if old is None or old.state is not agent.state:
            kind = "agent_registered" if old is None else "agent_state_changed"
            tx.event(state_changed(old or agent, agent.state, "said by a program", clock.stamp(), kind=kind))
        return save_agent(tx, row.raw if row else None, agent)

    return change(town.store, build)


def expect_no_actor(town: Town, tx: Transaction, agent_id: str, name: str) -> None:
    """Nobody wants the agent to run, now and when the transaction is applied. Raises Conflict."""
    (wish,) = town.store.read(("HGET", tx.keys.wanted, agent_id))
    if wish is not None:
        raise Conflict(f"Agent '{name}' is run by the town: its actor alone does this.", f"Stop it: tt kill {name}")
    tx.expect_field(tx.keys.wanted, agent_id, None, "wish")


def start(tx: Transaction, home: str, message: Message, raw: str, old: Task, started: Task) -> None:
    """The agent's message moves from `home` to `claimed`, its task to running. No actor must be there."""
    agent_id = message.to
    tx.expect_member(home, message.raw, "mail")
    tx.do("LREM", home, 1, message.raw)
    tx.do("RPUSH", tx.keys.claimed(agent_id), message.raw)
    tx.event(mail.message_event("message_claimed", "claimed by a program", message, agent_id))
    tx.save_task(raw, started, old)
    tx.event(task_changed("task_started", "started by a program", started, old.state, clock.stamp()))


def _set(
    town: Town, tx: Transaction, raw: str | None, old: Task | None, task: Task, caller: Caller, message: Message | None
) -> Task:
    if old is not None and (task.state, task.assigned_to) == (old.state, old.assigned_to):
        tx.save_task(raw, task, old)
        return task
    if old is None and task.state is TaskState.PENDING:
        tx.save_task(None, task)
        mail.park(town, tx, task)
        tx.event(task_changed("task_created", "parked in the backlog", task, None, clock.stamp()))
        return task
    before = old or _unborn(task)
    advance(before.state, task.state, TASK_TRANSITIONS)
    if task.state is TaskState.ASSIGNED:
        _assign(town, tx, raw, old, task, caller, message)
        return task
    if task.state is TaskState.RUNNING:
        _start(town, tx, raw, before, task)
        return task
    return _end(town, tx, raw, before, task, caller)


def _assign(
    town: Town, tx: Transaction, raw: str | None, old: Task | None, task: Task, caller: Caller, message: Message | None
) -> None:
    agent = agents.resolve(town, task.assigned_to or "").agent
    if old is not None:
        _take_away(town, tx, old)
    tx.save_task(raw, task, old)
    was = old.state if old is not None else TaskState.PENDING
    tx.event(task_changed("task_assigned", f"assigned to '{agent.name}'", task, was, clock.stamp()))
    by = task.assigned_by or caller.id
    mail.deliver(town, tx, message or mail.compose(by, agent.id, "task_assign", {"task_id": task.id}))


def _take_away(town: Town, tx: Transaction, task: Task) -> None:
    """Out of the backlog, or the message that leads its agent to it out of that agent's hands."""
    if task.state is TaskState.PENDING:
        if task.id not in town.store.tasks.backlog_ids():
            short = ids.short(task.id)
            raise Conflict(f"Task {short} waits for other tasks.", f"See why with: tt why {short}")
        tx.expect_member(tx.keys.backlog, task.id, "backlog")
        tx.do("LREM", tx.keys.backlog, 0, task.id)
        return
    agent_id = task.assigned_to or ""
    if task.state is TaskState.RUNNING:
        expect_no_actor(town, tx, agent_id, _name(town, agent_id))
    if (lead := _lead(town, agent_id, task.id)) is not None:
        _remove(tx, agent_id, *lead, "message_moved", "its task was given to an agent anew")


def _start(town: Town, tx: Transaction, raw: str | None, old: Task, task: Task) -> None:
    agent_id = old.assigned_to or ""
    if task.assigned_to != agent_id:
        raise Conflict("A task that changes its agent cannot be started in the same step.", "Store it in between.")
    expect_no_actor(town, tx, agent_id, _name(town, agent_id))
    lead = _lead(town, agent_id, task.id)
    if lead is None or raw is None:
        raise Conflict(f"No message leads to task {ids.short(task.id)}.")
    home, message = lead
    start(tx, home, replace(message, to=agent_id), raw, old, task)


def _end(town: Town, tx: Transaction, raw: str | None, before: Task, task: Task, caller: Caller) -> Task:
    if task.assigned_to not in (None, before.assigned_to):
        agents.resolve(town, task.assigned_to or "")
    if before.assigned_to is not None:
        _ack_lead(town, tx, before.assigned_to, task)
    about = replace(
        before,
        assigned_to=task.assigned_to, assigned_by=task.assigned_by, tags=task.tags, parent_id=task.parent_id,
    )  # fmt: skip
    result = (task.result or task.state.label).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return finish_task(town, tx, raw, about, task.state, result, task.ended_by or caller.run)


def _ack_lead(town: Town, tx: Transaction, agent_id: str, task: Task) -> None:
    """An actor acks the message itself; where there is none, it goes with the task's end."""
    (wish,) = town.store.read(("HGET", tx.keys.wanted, agent_id))
    tx.expect_field(tx.keys.wanted, agent_id, wish, "wish")
    if wish is not None:
        tx.ring(agent_id)
    elif (lead := _lead(town, agent_id, task.id)) is not None:
        _remove(tx, agent_id, *lead, "message_acked", f"its task is {task.state}")


def _remove(tx: Transaction, agent_id: str, home: str, message: Message, kind: str, why: str) -> None:
    tx.expect_member(home, message.raw, "mail")
    tx.do("LREM", home, 1, message.raw)
    tx.do("HDEL", tx.keys.attempts(agent_id), message.id)
    tx.event(mail.message_event(kind, why, message, agent_id))


def _lead(town: Town, agent_id: str, task_id: str) -> tuple[str, Message] | None:
    """The list and the message that lead the agent to the task."""
    keys = town.store.keys
    homes = [kind(agent_id) for kind in (keys.claimed, keys.urgent, keys.inbox)]
    for home, texts in zip(homes, town.store.read(*(("LRANGE", home, 0, -1) for home in homes)), strict=True):
        for text in texts:
            message = mail.read(text)
            if message is not None and message.task_id == task_id:
                return home, message
    return None


def _unborn(task: Task) -> Task:
    """A new task as it was made, before its program moved it on."""
    return replace(
        task, state=TaskState.PENDING, assigned_to=None, assigned_by=None, started_at=None, completed_at=None,
        result=None, ended_by=None,
    )  # fmt: skip


def _expect_base(what: str, raw: str | None, base: str | None) -> None:
    if raw == base:
        return
    if raw is None:
        raise Conflict(f"{what} is gone.")
    raise Conflict(f"{what} has changed since it was read.", "Read it again, and change what you then have.")


def _check_name(agent: Agent) -> None:
    ids.check_name(agent.name)
    if agent.id == ids.SUPERVISOR_ID or agent.name.lower() in ids.RESERVED_NAMES or logs.is_round_log_name(agent.name):
        raise Conflict(f"'{agent.name}' is reserved.", "Choose another name; the supervisor's mailbox has no record.")


def _name(town: Town, agent_id: str) -> str:
    row = town.store.agents.row(agent_id)
    return row.agent.name if row else ids.short(agent_id)
