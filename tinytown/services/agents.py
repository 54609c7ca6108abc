"""Agents: find, spawn, restart, kill, stop, list."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from tinytown import clock, ids, logs
from tinytown.domain.agent import Agent, Wish
from tinytown.domain.event import Event, state_changed, task_changed
from tinytown.domain.states import AgentState, TaskState
from tinytown.errors import AgentNotFound, Conflict, Invalid, TimedOut
from tinytown.model_cli import catalog
from tinytown.processes import own
from tinytown.services import recovery, supervision
from tinytown.store.agents import AgentRow, save_agent, save_wish
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

DEFAULT_ROUNDS = 10
UP_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """What `tt spawn` was asked for."""

    name: str
    cli: str | None = None
    rounds: int = DEFAULT_ROUNDS
    foreground: bool = False
    role: str | None = None
    nickname: str | None = None
    parent: str | None = None


def resolve(town: Town, reference: str) -> AgentRow:
    """The agent of this name, nickname, id or id prefix.

    Raises AgentNotFound, or Conflict when several match. The reserved mailbox is not an agent.
    """
    is_id = ids.is_id(reference)
    agent_id = reference if is_id else town.store.call(lambda r: r.hget(town.store.keys.agents, reference))
    if agent_id and (row := town.store.agents.row(agent_id)):
        return row
    if is_id:
        raise AgentNotFound(reference)
    rows = town.store.agents.all()
    wanted = reference.strip().lower()
    named = [r for r in rows if wanted and wanted in {r.agent.name.lower(), (r.agent.nickname or "").lower()}]
    if len(named) > 1:
        raise Conflict(f"Agent reference '{reference}' is ambiguous: {', '.join(r.agent.name for r in named)}")
    if named:
        return named[0]
    found = ids.match_prefix(reference, (r.agent.id for r in rows), "Agent")
    for row in rows:
        if row.agent.id == found:
            return row
    raise AgentNotFound(reference)


def mailbox_of(town: Town, reference: str) -> tuple[str, str]:
    """Id and name of whoever takes mail under this reference, the conductor's mailbox included."""
    if reference.strip().lower() in ids.RESERVED_NAMES or reference == ids.SUPERVISOR_ID:
        return ids.SUPERVISOR_ID, "conductor"
    agent = resolve(town, reference).agent
    return agent.id, agent.name


def spawn(town: Town, request: SpawnRequest) -> Agent:
    """Register an agent and wish it to run; the supervisor (started if there is none) forks it.

    Returns when its actor has the lease (for `foreground`: at once, the caller runs it). Raises Invalid,
    NotFound (CLI, parent), Conflict (an agent of that name is alive, too many agents), TimedOut.
    """
    name = ids.check_name(request.name)
    if name.lower() in ids.RESERVED_NAMES:
        raise Conflict(f"'{name}' is reserved for the conductor's mailbox.", "Choose another name.")
    if logs.is_round_log_name(name):
        raise Invalid(f"Agent name '{name}' is not valid.", "A name that ends in _round_<number> is that of a log.")
    for what, value in (("Role", request.role), ("Nickname", request.nickname)):
        if value is not None:
            ids.check_name(value, what)
    if request.rounds < 1:
        raise Invalid("--max-rounds must be 1 or more.")
    cli = catalog.lookup(request.cli or town.config.default_cli, town.config)
    catalog.check_exists(cli)
    _check_isolation(town, name)
    town.ensure_redis()
    parent = resolve(town, request.parent).agent.id if request.parent else None
    agent = Agent(
        id=ids.new_id(),
        name=name,
        cli=request.cli or town.config.default_cli,
        created_at=clock.stamp(),
        role_id=request.role,
        nickname=request.nickname,
        parent_agent_id=parent,
        host=town.host,
        reason=None,
    )
    _await_end_in_terminal(town, name)
    change(town.store, lambda tx: _register(town, tx, agent, request))
    if not request.foreground:
        _start(town, agent)
    return agent


def restart(town: Town, reference: str, rounds: int = DEFAULT_ROUNDS, *, foreground: bool = False) -> Agent:
    """Wish an agent that has ended to run again, with its id, mail and fresh rounds.

    Raises AgentNotFound, Conflict when it is still active, TimedOut.
    """
    if rounds < 1:
        raise Invalid("--rounds must be 1 or more.")
    town.ensure_redis()
    row = resolve(town, reference)
    catalog.check_exists(catalog.lookup(row.agent.cli, town.config))
    _check_isolation(town, row.agent.name)

    def build(tx: Transaction) -> Agent:
        now = resolve(town, row.agent.id)
        if now.wish is not None:
            word = "wanted" if now.agent.state.is_terminal else "active"
            raise Conflict(
                f"Agent '{now.agent.name}' is still {word} ({now.agent.state.label})",
                _way_on(now) or f"Use 'tt kill {now.agent.name}' to stop it first",
            )
        _expect_room(town, tx)
        _wish(town, tx, now.agent, now.stats, rounds, foreground=foreground)
        fresh = now.agent.having(state=AgentState.STARTING, reason=None, host=town.host)
        save_agent(tx, now.raw, fresh)
        tx.activity(fresh.id, f"🔄 Restarted with {rounds} rounds")
        tx.event(state_changed(now.agent, fresh.state, "restart wished", clock.stamp(), kind="agent_restart_wished"))
        return fresh

    agent = change(town.store, build)
    if not foreground:
        _start(town, agent)
    return agent


def kill(town: Town, reference: str, *, now: bool = False) -> AgentRow:
    """Wish an agent to stop: after its round, or (`now`) by ending the model, uncharged.

    Returns the agent as it was. One without a wish (it has ended, or a program runs it) is left as it is.
    """
    row = resolve(town, reference)

    def build(tx: Transaction) -> AgentRow:
        seen = resolve(town, row.agent.id)
        _wish_to_stop(tx, seen, now=now)
        return seen

    killed = change(town.store, build)
    supervision.finish_dead(town)
    return killed


def stop_all(town: Town, *, now: bool = False, only: Collection[str] | None = None) -> list[Agent]:
    """Wish every wanted agent (of the ids in `only`) to stop, in one step; returns those that were asked."""

    def build(tx: Transaction) -> list[Agent]:
        wanted = [r for r in town.store.agents.all() if r.wish is not None and (only is None or r.agent.id in only)]
        for row in wanted:
            _wish_to_stop(tx, row, now=now)
        return [row.agent for row in wanted]

    asked = change(town.store, build)
    supervision.finish_dead(town)
    return asked


def _wish_to_stop(tx: Transaction, row: AgentRow, *, now: bool) -> None:
    if row.wish is None:
        return
    how = "now" if now or row.wish.stop == "now" else "graceful"
    save_wish(tx, row.agent.id, row.wish_raw, row.wish.having(stop=how))
    tx.ring(row.agent.id)
    tx.activity(row.agent.id, "🛑 Stop requested")
    tx.event(_event("agent_stop_requested", f"Stop of '{row.agent.name}' requested ({how})", row.agent))


def _await_end_in_terminal(town: Town, name: str) -> None:
    """An agent of this name whose terminal has gone is taken leave of first; who can, does it now."""
    deadline = clock.monotonic() + UP_WITHIN_S
    while clock.monotonic() < deadline:
        seen_until = town.store.events.last_id()
        agent_id = town.store.call(lambda r: r.hget(town.store.keys.agents, name))
        row = town.store.agents.row(agent_id) if agent_id else None
        if row is None or row.wish is None or not row.wish.foreground or recovery.holds(row.wish):
            return
        supervision.finish_dead(town)
        town.store.events.after(seen_until, 0.2)


def _register(town: Town, tx: Transaction, agent: Agent, request: SpawnRequest) -> None:
    keys = town.store.keys
    old_id = town.store.call(lambda r: r.hget(keys.agents, agent.name))
    old = town.store.agents.row(old_id) if old_id else None
    if old is not None and old.wish is not None:
        word = "still wanted" if old.agent.state.is_terminal else "alive"
        raise Conflict(
            f"Agent '{agent.name}' is {word} ({old.agent.state.label}).",
            _way_on(old) or f"Use 'tt restart {agent.name}' after 'tt kill {agent.name}', or choose another name.",
        )
    _expect_room(town, tx)
    tx.expect_field(keys.agents, agent.name, old_id, "name")
    tx.do("HSET", keys.agents, agent.name, agent.id)
    save_agent(tx, None, agent)
    _wish(town, tx, agent, {}, request.rounds, foreground=request.foreground)
    if old is not None:
        _take_over(town, tx, old, agent)
    tx.event(_event("agent_spawned", f"Agent '{agent.name}' spawned on {agent.cli}", agent))


def _way_on(row: AgentRow) -> str | None:
    """What helps with an agent that is wanted and does not simply work."""
    wish, name = row.wish, row.agent.name
    if wish is None:
        return None
    if row.agent.state.is_terminal and not wish.stop:
        return f"It starts again with a supervisor: 'tt supervise --detach'. Or stop it for good: 'tt kill {name}'"
    if not wish.stop and (wish.pause or row.agent.state is AgentState.PAUSED):
        return f"Use 'tt resume {name}' to let it go on, or 'tt kill {name}' to stop it first"
    how = "stopping" if wish.stop else "closing" if wish.closed_at else None
    return f"It is {how}: wait for its end with 'tt wait {name}', or 'tt kill {name} --now'" if how else None


def _check_isolation(town: Town, name: str) -> None:
    """Refuse now what the agent's first round would refuse: a worktree where none can be."""
    if town.config.agent.isolation == "worktree":
        from tinytown.services import worktrees  # noqa: PLC0415  few towns use them, and they know agents

        worktrees.check(town, name)


def _expect_room(town: Town, tx: Transaction) -> None:
    limit = town.config.max_agents
    if len(town.store.agents.wishes()) >= limit:
        raise Conflict(
            f"There are {limit} agents already (max_agents).", "Stop one with 'tt kill', or raise max_agents."
        )
    tx.expect_fewer_fields(tx.keys.wanted, limit, "max_agents")


def _take_over_round(town: Town, tx: Transaction, old: AgentRow, new: Agent) -> None:
    """A round that was left when the wish was taken away by hand: back to the head, once its process has gone."""
    held_key = tx.keys.claimed(old.agent.id)
    (held,) = town.store.read(("LRANGE", held_key, 0, -1))
    tx.expect_list(held_key, held)
    if not held:
        return
    recovery.require_round_over(town, old.agent)
    for text in reversed(held):
        tx.do("LPUSH", tx.keys.inbox(new.id), text)
    tx.do("DEL", held_key)


def _wish(town: Town, tx: Transaction, agent: Agent, stats: dict[str, int], rounds: int, *, foreground: bool) -> None:
    wish = Wish(
        name=agent.name,
        epoch=agent.epoch + 1,
        rounds=rounds,
        rounds_from=stats.get("rounds", 0),
        host=town.host,
        foreground=foreground,
        since=clock.wall(),
        holder=own().to_dict() if foreground else None,
    )
    save_wish(tx, agent.id, None, wish)


def _take_over(town: Town, tx: Transaction, old: AgentRow, new: Agent) -> None:
    """Everything that waits for the ended agent of this name waits for the new one, in the same step."""
    keys, store = town.store.keys, town.store
    tx.expect(keys.agent(old.agent.id), old.raw)
    tx.expect_field(keys.wanted, old.agent.id, None)
    for kind in (keys.urgent, keys.inbox, keys.dead):
        (texts,) = store.read(("LRANGE", kind(old.agent.id), 0, -1))
        tx.expect_list(kind(old.agent.id), texts)
        if texts:
            tx.do("RENAME", kind(old.agent.id), kind(new.id))
    _take_over_round(town, tx, old, new)
    if store.call(lambda r: r.exists(keys.attempts(old.agent.id))):
        tx.expect_exists(keys.attempts(old.agent.id))
        tx.do("RENAME", keys.attempts(old.agent.id), keys.attempts(new.id))
    open_states = (TaskState.PENDING, TaskState.ASSIGNED, TaskState.RUNNING)
    open_ids = store.tasks.ids(open_states)
    for task_id, raw in zip(open_ids, store.tasks.raws(open_ids), strict=True):
        task = read_task(raw, task_id)
        if task is None or old.agent.id not in (task.assigned_to, task.assigned_by):
            continue
        by = new.id if task.assigned_by == old.agent.id else task.assigned_by
        moved = replace(task, assigned_by=by)
        if task.assigned_to == old.agent.id:
            moved = task.assigned(new.id, by or ids.SUPERVISOR_ID, clock.stamp())
        tx.save_task(raw, moved, task)
        tx.event(task_changed("task_moved", f"with the mail of '{new.name}'", moved, task.state, clock.stamp()))
    for key in keys.of_agent(old.agent.id):
        tx.do("DEL", key)
    tx.event(_event("agent_replaced", f"Agent '{new.name}' takes over the mail of {ids.short(old.agent.id)}", new))


def _start(town: Town, agent: Agent) -> None:
    """`agent`: as it was wished. Raises Conflict when somebody else has taken the wish back, TimedOut."""
    name = agent.name
    deadline = clock.monotonic() + UP_WITHIN_S
    rung = False
    while clock.monotonic() < deadline:
        # Again and again: who held the supervisor's lock a moment ago may have been a command, or on its way out.
        supervision.ensure_running(town)
        rung = rung or town.ring_supervisor()
        if town.store.agents.lease(agent.id) is not None:
            return
        row = town.store.agents.row(agent.id)
        if row is None or row.wish is None or row.wish.stop:
            if row is not None and row.agent.epoch > agent.epoch:
                return  # it was up, and has ended since
            again = f"tt restart {name}" if row is not None else f"tt spawn {name}"
            raise Conflict(f"Somebody else stopped agent '{name}' before it was up.", f"Start it again with: {again}")
        clock.sleep(0.005)
    raise TimedOut(
        f"Agent '{name}' is registered but did not come up within {UP_WITHIN_S:g} s.",
        f"See {town.state_dir / 'supervisor.log'} or run: tt supervise --status",
    )


def _event(kind: str, message: str, agent: Agent) -> Event:
    return Event(kind, message, clock.stamp(), agent_id=agent.id)
