"""Agents, and what becomes of wishes about them."""

from __future__ import annotations

from tinytown.townhall.models.shape import Shape


class Pending(Shape):
    """An agent's mail, counted; `urgent` is contained in the kinds."""

    total: int
    tasks: int
    queries: int
    informational: int
    confirmations: int
    control: int
    unreadable: int
    urgent: int
    claimed: int
    dead: int


class Agent(Shape):
    """An agent. `rounds` are those of its life; `rounds_max` is null when it is not wanted to run."""

    id: str
    name: str
    nickname: str | None
    role: str | None
    cli: str
    state: str
    reason: str | None
    wanted: bool
    stopping: str | None
    pausing: bool
    closed_at: str | None
    foreground: bool
    pid: int | None
    host: str | None
    epoch: int
    current_task: str | None
    parent_agent_id: str | None
    created_at: str
    last_active_at: str | None
    since: float | None
    rounds: int
    rounds_max: int | None
    tasks_completed: int
    restarts: int
    pending: Pending


class Agents(Shape):
    """All agents, by name."""

    agents: list[Agent]
    count: int


class Steered(Shape):
    """What became of a wish. Not `changed`: it had been wished before. Not `attended`: nobody is there to obey it."""

    agent: str
    state: str
    changed: bool
    in_round: bool
    attended: bool
    ended: bool


class Started(Shape):
    """An agent that runs."""

    agent_id: str
    name: str
    cli: str
    agent: Agent


class Stopped(Shape):
    """An agent that was asked to stop. `status` is stopping, or stopped when nothing runs it."""

    status: str
    agent: str


class Kept(Shape):
    """An agent that was not removed, and why."""

    agent: str
    why: str
    remedy: str


class Pruned(Shape):
    """Agents that are no more, and those that were kept."""

    removed: int
    agents: list[str]
    kept: list[Kept]


class Log(Shape):
    """The end of a log. `size`: bytes of the whole of it; `rounds`: those that have a log of their own."""

    agent: str
    round: int | None
    text: str
    size: int
    rounds: list[int]


class Reason(Shape):
    """Why something waits, and what helps."""

    code: str
    text: str
    remedy: str | None
    until: str | None


class Explanation(Shape):
    """What an agent or a task waits for."""

    kind: str
    id: str
    name: str
    state: str
    reasons: list[Reason]


class Waited(Shape):
    """An end that was waited for."""

    kind: str
    id: str
    name: str
    state: str
    reason: str | None
