"""What the doors answer, as OpenAPI and MCP publish it. The values are those of `tt ... --json`.

Records may hold fields that a newer version knows: they are passed on.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """An object whose named fields are always there; others may be."""

    model_config = ConfigDict(extra="allow")


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


class Task(Shape):
    """A task. `agent` is the name of the agent that has it."""

    id: str
    description: str
    state: str
    created_at: str
    updated_at: str
    assigned_to: str | None = None
    agent: str | None = None
    tags: list[str] = []
    result: str | None = None
    attempts: int = 0


class Tasks(Shape):
    """A page of tasks, oldest first. `next`: give it as `after` for the page behind it."""

    tasks: list[Task]
    count: int
    total: int
    next: str | None


class Given(Shape):
    """A task that an agent has now."""

    task_id: str
    agent_id: str | None
    agent_name: str | None
    task: Task


class GivenAll(Shape):
    """Tasks that an agent has now."""

    assigned: int
    agent_name: str
    tasks: list[str]


class Backlog(Shape):
    """A page of the tasks that wait for an agent, in their order."""

    backlog: list[Task]
    count: int
    total: int
    next: str | None


class Parked(Shape):
    """A task in the backlog."""

    task_id: str
    task: Task


class Removed(Shape):
    """A task that is in the backlog no more."""

    removed: bool
    task_id: str


class Redis(Shape):
    """The town's Redis server; its URL shows no password."""

    url: str
    server: str
    version: str
    managed: bool


class Supervisor(Shape):
    """Whether one runs."""

    running: bool
    pid: int | None


class Town(Shape):
    """A town."""

    name: str
    root: str
    redis: Redis
    supervisor: Supervisor
    version: str


class Status(Shape):
    """The town at a glance. `tasks` counts them by state."""

    town: str
    root: str
    redis: Redis
    supervisor: Supervisor
    agents: list[Agent]
    tasks: dict[str, int]
    conductor: dict[str, int]
    missions: dict[str, int]


class Message(Shape):
    """A message; `text` is what it says."""

    id: str
    type: str
    to: str
    priority: str
    task_id: str | None
    created_at: str | None
    correlation_id: str | None
    text: str


class Inbox(Shape):
    """A mailbox, next message first. `claimed` is in the round that runs now."""

    id: str
    name: str
    state: str | None
    actionable: int
    claimed: int
    dead: int
    unreadable: int
    messages: list[Message]
    total: int


class Sent(Shape):
    """A message that lies in a mailbox."""

    message_id: str
    to_agent: str
    urgent: bool


class Acknowledged(Shape):
    """How many messages of the conductor's mailbox were taken out of it, and what they said."""

    acknowledged: int
    messages: list[Message]


class DeadLetter(Shape):
    """A message that was given up."""

    id: str
    agent: str
    reason: str
    at: str
    attempts: int
    message: dict[str, Any] | None
    text: str


class DeadLetters(Shape):
    """Dead letters."""

    dead_letters: list[DeadLetter]
    count: int


class Dropped(Shape):
    """A dead letter that is no more."""

    dropped: bool
    id: str


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


class Log(Shape):
    """The end of a log. `size`: bytes of the whole of it; `rounds`: those that have a log of their own."""

    agent: str
    round: int | None
    text: str
    size: int
    rounds: list[int]


class Event(Shape):
    """Something that happened. `id` is its place in the stream."""

    id: str
    event_type: str
    timestamp: str
    message: str = ""


class Events(Shape):
    """Events, oldest first. `last`: where to go on."""

    events: list[Event]
    count: int
    last: str


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


class Recovered(Shape):
    """Agents whose process was gone, and that are finished now."""

    checked: int
    recovered: int
    agents: list[str]


class Item(Shape):
    """A message of an agent that has ended."""

    type: str
    task_id: str | None
    text: str


class Reclaimed(Shape):
    """An agent that has ended: what was moved, and what stays with it."""

    agent: str
    agent_id: str
    state: str
    moved: list[Item]
    stays: list[Item]


class Reclaiming(Shape):
    """What was moved where. `destination`: backlog, an agent's name, or null for a preview."""

    reclaimed: int
    destination: str | None
    agents: list[Reclaimed]


class Orphan(Task):
    """A task as it was when nobody would have run it. `reason`: agent_missing or agent_terminal."""

    reason: str


class Orphans(Shape):
    """Orphan tasks, and what was done with them: list, to_backlog or cancel."""

    action: str
    count: int
    orphans: list[Orphan]


class Mission(Shape):
    """A mission."""

    id: str
    state: str
    objective_refs: list[dict[str, Any]]
    repositories: list[str]
    policy: dict[str, Any]
    created_at: str
    updated_at: str
    ended_at: str | None
    stopped_at: str | None
    blocked_reason: str | None
    remedy: str | None
    next_wake_at: str | None
    work: dict[str, int]
    watch: dict[str, int]
    events: list[dict[str, Any]]
    notes: list[dict[str, Any]]


class Missions(Shape):
    """Missions, oldest first. `ended`: how many more there are that have ended."""

    missions: list[Mission]
    count: int
    ended: int


class WorkItem(Shape):
    """A work item, its agent's name, and why nobody works on it."""

    id: str
    number: int
    source_ref: str
    title: str
    status: str
    agent: str | None
    reason: str | None
    remedy: str | None


class Work(Shape):
    """The work items of a mission."""

    mission_id: str
    work_items: list[WorkItem]
    count: int


class Watches(Shape):
    """What a mission looks at outside."""

    mission_id: str
    watch_items: list[dict[str, Any]]
    count: int


class Graph(Shape):
    """The work items of a mission and which waits for which: `edges` are (before, after)."""

    mission_id: str
    state: str
    nodes: list[WorkItem]
    edges: list[tuple[str, str]]


class MissionPreview(Shape):
    """A mission as it would be; nothing was changed."""

    dry_run: bool
    warnings: list[str]
    mission: dict[str, Any]


class MissionStarted(Shape):
    """A mission that is under way."""

    warnings: list[str]
    mission: Mission


class MissionState(Shape):
    """A mission's state after a wish. `taken_back`: tasks; `running`: rounds that go on to their end."""

    id: str
    state: str
    taken_back: int = 0
    running: int = 0


class MissionLog(Shape):
    """The newest lines and notes of a mission."""

    mission_id: str
    events: list[dict[str, Any]]
    notes: list[dict[str, Any]]


class Plan(Shape):
    """The file tasks.toml."""

    path: str
    description: str | None
    default_agent: str | None
    tasks: list[dict[str, Any]]


class Pushed(Shape):
    """What a push of tasks.toml did, counted, and the tasks that were left as they run."""

    dry_run: bool
    total: int
    counts: dict[str, int]
    held: list[str]


class Pulled(Shape):
    """What a pull wrote into tasks.toml."""

    tasks: int
    changed: int
    added: int


class Need(Shape):
    """What only a person can do. `behind`: how much work waits for it; `actions`: verbs that may help."""

    id: str
    kind: str
    title: str
    reason: str
    remedy: str | None
    agent: str | None
    task_id: str | None
    mission_id: str | None
    item_id: str | None
    letter_id: str | None
    since: str | None
    behind: int
    actions: list[str]


class Overview(Shape):
    """The town for people. `tasks`: newest change first; `last_event`: from where the stream goes on."""

    town: str
    root: str
    at: str
    last_event: str
    redis: Redis
    supervisor: Supervisor
    conductor: dict[str, int]
    counts: dict[str, int]
    needs: list[Need]
    agents: list[Agent]
    tasks: list[dict[str, Any]]
    missions: list[dict[str, Any]]
    events: list[dict[str, Any]]
    done_hidden: int
