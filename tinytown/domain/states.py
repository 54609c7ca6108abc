"""The transition tables, and the one function that applies them."""

from __future__ import annotations

from enum import StrEnum

from tinytown.errors import IllegalTransition


class AgentState(StrEnum):
    """What an agent does now."""

    COLD = "cold"
    STARTING = "starting"
    IDLE = "idle"
    WORKING = "working"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"
    ERROR = "error"

    @property
    def is_terminal(self) -> bool:
        """No process stands behind this state."""
        return self in _ENDED_AGENT

    @property
    def can_accept_work(self) -> bool:
        """The agent would start on a task at once."""
        return self is AgentState.IDLE

    @property
    def label(self) -> str:
        """As people read it: `Idle`."""
        return self.value.capitalize()


class TaskState(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Ended: nothing will run it again unless somebody retries it."""
        return self in _ENDED_TASK

    @property
    def label(self) -> str:
        """As people read it: `Running`."""
        return self.value.capitalize()


Transitions = dict[TaskState, frozenset[TaskState]]

_ENDED_AGENT = frozenset({AgentState.COLD, AgentState.STOPPED, AgentState.ERROR})
_ENDED_TASK = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED})

# From -> what may follow. `retry` is the only way out of an ended state; it is a verb of its own.
TASK_TRANSITIONS: Transitions = {
    TaskState.PENDING: frozenset(
        {TaskState.ASSIGNED, TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED},
    ),
    TaskState.ASSIGNED: frozenset(
        {
            TaskState.PENDING,
            TaskState.ASSIGNED,
            TaskState.RUNNING,
            TaskState.COMPLETED,
            TaskState.FAILED,
            TaskState.CANCELLED,
        },
    ),
    TaskState.RUNNING: frozenset(
        {
            TaskState.PENDING,
            TaskState.ASSIGNED,
            TaskState.COMPLETED,
            TaskState.FAILED,
            TaskState.CANCELLED,
        },
    ),
    TaskState.COMPLETED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}
TASK_RETRY: Transitions = {
    TaskState.FAILED: frozenset({TaskState.PENDING, TaskState.ASSIGNED}),
    TaskState.CANCELLED: frozenset({TaskState.PENDING, TaskState.ASSIGNED}),
}
# A plan that is pushed with --reset starts any ended task anew.
TASK_RESET = TASK_RETRY | {TaskState.COMPLETED: frozenset({TaskState.PENDING, TaskState.ASSIGNED})}


def advance(
    old: TaskState,
    new: TaskState,
    table: Transitions = TASK_TRANSITIONS,
) -> TaskState:
    """Return `new` if the table allows it after `old`; IllegalTransition otherwise."""
    if new not in table.get(old, frozenset()):
        raise IllegalTransition(f"A task that is {old.value} cannot become {new.value}.")
    return new
