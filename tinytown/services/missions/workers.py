"""The agents as the scheduler sees them: who could begin a task, who would begin at once, who has how much to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tinytown.domain.agent import BY_PROGRAM
from tinytown.domain.message import Message, Sort
from tinytown.domain.standing import Block, Standing
from tinytown.domain.states import AgentState
from tinytown.missions.snapshot import Worker
from tinytown.services import mail
from tinytown.store.agents import AgentRow
from tinytown.town import Town

WINDOW = 200  # messages that are looked at in each list
_ASLEEP = frozenset({Block.STOPPING, Block.PAUSED, Block.SPENT})


@dataclass(frozen=True, slots=True)
class Known:
    """An agent as it is stored, and what that means. `held_s`: its model CLI takes no work for that long."""

    row: AgentRow
    worker: Worker
    held_s: float = 0.0


def read(town: Town, agent_ids: Iterable[str] | None = None) -> dict[str, Known]:
    """These agents (all that have a name: None) by id; those without a record are left out. Two round trips."""
    rows = town.store.agents.all() if agent_ids is None else town.store.agents.rows(agent_ids)
    if not rows:
        return {}
    keys = town.store.keys
    clis = sorted({row.agent.cli for row in rows})
    answers = town.store.read(
        *(("PTTL", keys.hold(cli)) for cli in clis),
        *(command for row in rows for command in _commands(town, row.agent.id)),
    )
    held = {cli: max(0, left_ms) / 1000 for cli, left_ms in zip(clis, answers, strict=False)}
    facts = answers[len(clis) :]
    each = len(facts) // len(rows)
    return {
        row.agent.id: _known(row, held[row.agent.cli], facts[n * each : (n + 1) * each]) for n, row in enumerate(rows)
    }


def _commands(town: Town, agent_id: str) -> tuple[tuple[Any, ...], ...]:
    keys = town.store.keys
    return (
        ("EXISTS", keys.stop(agent_id)),
        ("EXISTS", keys.pause(agent_id)),
        ("LRANGE", keys.urgent(agent_id), 0, WINDOW - 1),
        ("LRANGE", keys.inbox(agent_id), 0, WINDOW - 1),
        ("LRANGE", keys.claimed(agent_id), 0, WINDOW - 1),
    )


def _known(row: AgentRow, held_s: float, facts: Sequence[Any]) -> Known:
    stop, pause, urgent, inbox, claimed = facts
    agent, wish = row.agent, row.wish
    waiting, held = _messages([*urgent, *inbox]), _messages(claimed)
    load = sum(message.sort is Sort.TASK for message in (*waiting, *held))
    is_quiet = agent.state is AgentState.IDLE and not held and not any(message.is_actionable for message in waiting)
    if wish is None:
        is_run = agent.spawn_mode == BY_PROGRAM and not agent.state.is_terminal
        takes = is_run and agent.state in {AgentState.IDLE, AgentState.WORKING}
        worker = Worker(agent.id, agent.name, agent.role_id, not is_run, takes, takes and is_quiet, load)
        return Known(row, worker)
    standing = Standing(
        wish=wish, stop_flag=bool(stop), pause_flag=bool(pause), all_rounds=row.stats.get("rounds", 0), held_s=held_s
    )
    block = standing.block
    takes = block not in _ASLEEP and wish.closed_at is None
    # An idle agent with a reason to be so cannot make its worktree ready.
    is_free = takes and block is None and is_quiet and agent.reason is None
    is_leaving = not takes and block is not Block.PAUSED
    return Known(row, Worker(agent.id, agent.name, agent.role_id, False, takes, is_free, load, is_leaving), held_s)


def _messages(texts: Iterable[str]) -> list[Message]:
    return [message for text in texts if (message := mail.read(text)) is not None]
