"""Bringing the town to rest, as its user would: what was stopped is started again, what nobody has is given out."""

from __future__ import annotations

import contextlib
import time

from chaos import script
from chaos.world import ROLE, ROUNDS, World
from tinytown.domain.states import AgentState, TaskState
from tinytown.errors import Conflict, NotFound, TinytownError
from tinytown.services import agents, backlog, orphans, reclaiming, steering, tasks
from tinytown.services.caller import Caller

PROMPT_S = 5.0  # within which a town at rest does a task; an agent whose bell is silent looks every ten seconds
_OPEN = (TaskState.PENDING, TaskState.ASSIGNED, TaskState.RUNNING)


def revive(world: World, *, given_up_too: bool) -> list[str]:
    """Have every agent of the beginning run, and `given_up_too`; a line for each that does not yet."""
    waiting = []
    names = world.town.store.agents.names()
    rows = world.town.store.agents.rows(names.values()) if given_up_too else []
    for name in {*world.names, *(row.agent.name for row in rows if row.agent.state is AgentState.ERROR)}:
        row = world.town.store.agents.row(names.get(name, ""))
        if row is not None and row.wish is not None and not (row.wish.pause or row.wish.stop or row.wish.closed_at):
            continue
        if row is not None and row.agent.state is AgentState.ERROR and not given_up_too:
            continue
        waiting.append(f"agent {name} does not run: {row.agent.state if row is not None else 'removed'}")
        try:
            if row is None:
                agents.spawn(world.town, agents.SpawnRequest(name, cli=world.cli_of(name), rounds=ROUNDS, role=ROLE))
            elif row.wish is None:
                agents.restart(world.town, name, ROUNDS)
            elif row.wish.pause and not row.wish.stop:
                steering.resume(world.town, name)
        except TinytownError as error:
            waiting.append(f"agent {name}: {error}")
    return waiting


def open_work(world: World, *, limited: bool) -> list[str]:
    """Tasks that have not ended. Those whose agent has ended are given to others; `limited`: they may stay with it."""
    rows = world.town.store.agents.rows(world.town.store.agents.names().values())
    ended = {row.agent.id for row in rows if row.agent.state.is_terminal} if limited else set()
    if not limited:
        reclaiming.to_backlog(world.town)
        orphans.requeue_tasks(world.town)
    working = [row.agent.name for row in rows if row.wish is not None]
    _hand_out(world, working)
    left = [task for task in tasks.listing(world.town, _OPEN) if task.assigned_to not in ended]
    if limited and not working:
        left = []  # all agents were given up: nobody is there for the backlog
    return [f"task {task.id} is {task.state}: {task.description.splitlines()[0]}" for task in left]


def _hand_out(world: World, names: list[str]) -> None:
    """Tasks in the backlog that were messages have no tag: no agent takes them by itself."""
    parked = [task for task in backlog.listing(world.town) if ROLE not in (task.tags or [])]
    for number, task in enumerate(parked if names else []):
        with contextlib.suppress(Conflict, NotFound):  # somebody has it
            backlog.claim(world.town, task.id, names[number % len(names)], Caller())


def late(world: World, within_s: float = PROMPT_S) -> list[str]:
    """Give every agent at rest one more task; a line for each that was not done at once."""
    rows = world.town.store.agents.rows(world.town.store.agents.names().values())
    ready = [row.agent for row in rows if row.wish is not None and row.agent.state is AgentState.IDLE]
    given = {tasks.assign(world.town, agent.name, script.PROBE, Caller()).id: agent.name for agent in ready}
    deadline = time.monotonic() + within_s
    left = set(given)
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left &= {task.id for task in tasks.listing(world.town, _OPEN)}
    return [f"agent {given[i]}: had nothing to do, and did not do task {i} within {within_s:g} s" for i in left]


def retry_failed(world: World) -> int:
    """Another life for every task that was to succeed and was given up; how many."""
    failed = tasks.listing(world.town, [TaskState.FAILED])
    chosen = [t for t in failed if (b := script.behaviour_of(t.description)) and b.end == script.SUCCEEDS]
    for task in chosen:
        tasks.retry(world.town, task.id, Caller())
    return len(chosen)
