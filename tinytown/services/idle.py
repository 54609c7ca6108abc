"""Wait until an agent has nothing to do."""

from __future__ import annotations

from tinytown import clock
from tinytown.domain.message import Sort
from tinytown.domain.states import AgentState
from tinytown.errors import TimedOut
from tinytown.services import agents, backlog, mail
from tinytown.store.agents import AgentRow
from tinytown.town import Town

_STARTS_SOMETHING = {Sort.TASK, Sort.QUERY, Sort.CONTROL}


def wait_until_idle(town: Town, reference: str, timeout_s: float | None) -> AgentState:
    """Wait until the agent is idle with no work before it, or has ended; returns its state then.

    Work is mail that starts something, a round in progress, backlog tasks for its role. An agent that was asked to
    stop is waited for until it has. Raises AgentNotFound, TimedOut, RedisAway.
    """
    row = agents.resolve(town, reference)
    deadline = None if timeout_s is None else clock.monotonic() + timeout_s
    while True:
        seen_until = town.store.events.last_id()
        has_mail = _has_mail(town, row.agent.id)
        seen = town.store.agents.row(row.agent.id)
        if seen is None:
            return AgentState.STOPPED
        if _has_ended(seen):
            return seen.agent.state
        # Work that moved while we read may have been where we did not look: what was read must be of one moment.
        if not has_mail and _is_idle(town, seen) and town.store.events.last_id() == seen_until:
            return seen.agent.state
        left = 1.0 if deadline is None else deadline - clock.monotonic()
        if left <= 0:
            text = f"Agent '{seen.agent.name}' is not done within {timeout_s:g} s ({seen.agent.state.label})."
            raise TimedOut(text, f"See why with: tt why {seen.agent.name}")
        town.store.events.after(seen_until, left)


def _has_ended(row: AgentRow) -> bool:
    return row.wish is None and row.agent.state.is_terminal


def _is_idle(town: Town, row: AgentRow) -> bool:
    agent = row.agent
    if agent.state is not AgentState.IDLE or (row.wish is not None and row.wish.stop):
        return False
    return not (backlog.claims(town, agent, row.wish) and backlog.for_role(town, agent.role_id or "", 1))


def _has_mail(town: Town, agent_id: str) -> bool:
    """Something that it has to do waits for it, or is in its round."""
    keys = town.store.keys
    claimed, urgent, inbox = town.store.read(
        ("LRANGE", keys.claimed(agent_id), 0, -1),
        ("LRANGE", keys.urgent(agent_id), 0, -1),
        ("LRANGE", keys.inbox(agent_id), 0, -1),
    )
    messages = (mail.read(text) for text in (*urgent, *inbox))
    return bool(claimed) or any(m is not None and m.sort in _STARTS_SOMETHING for m in messages)
