"""The mission: objectives that become work items, the policy they are worked off by, and where the whole stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import NoneType
from typing import Any, ClassVar, Self

from tinytown.domain.record import Record
from tinytown.errors import IllegalTransition


class MissionState(StrEnum):
    """Where a mission stands. Blocked: nothing of it is worked on, and `blocked_reason` says what it waits for."""

    PLANNING = "planning"
    RUNNING = "running"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_terminal(self) -> bool:
        """Ended: it can only be looked at."""
        return self in _ENDED

    @property
    def label(self) -> str:
        """As people read it: `Running`."""
        return self.value.capitalize()


_ENDED = frozenset({MissionState.COMPLETED, MissionState.FAILED})
TRANSITIONS: dict[MissionState, frozenset[MissionState]] = {
    MissionState.PLANNING: frozenset({MissionState.RUNNING, MissionState.FAILED}),
    MissionState.RUNNING: frozenset({MissionState.BLOCKED, MissionState.COMPLETED, MissionState.FAILED}),
    MissionState.BLOCKED: frozenset({MissionState.RUNNING, MissionState.COMPLETED, MissionState.FAILED}),
    MissionState.COMPLETED: frozenset(),
    MissionState.FAILED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(Record):
    """How a mission is worked off. Times in seconds.

    `max_rounds`: rejections, failed verifications and fixes of one item before a human is asked. `no_checks`: a pull
    request without any check passes ("pass") or waits for one ("wait").
    """

    KINDS: ClassVar[dict[str, tuple[type, ...]]] = {
        "max_parallel_items": (int,),
        "reviewer_required": (bool,),
        "auto_merge": (bool,),
        "watch_interval_secs": (int,),
        "max_rounds": (int,),
        "no_checks": (str,),
    }

    max_parallel_items: int = 2
    reviewer_required: bool = True
    auto_merge: bool = False
    watch_interval_secs: int = 180
    max_rounds: int = 5
    no_checks: str = "pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mission(Record):
    """A mission's record.

    `objectives`: issues as `owner/repo#23`, documents as paths. `repositories`: where its pull requests are
    (`owner/repo`, lower case; empty: anywhere). `stopped_at`: a person stopped it, and only `resume`
    lets it go on. `remedy` is the command that would help a blocked one. `asked`: what the conductor was asked for,
    reason -> `{"at": time, "count": n}`. `next_wake_at` is the next due time, for people.
    """

    KINDS: ClassVar[dict[str, tuple[type, ...]]] = (
        dict.fromkeys(("id", "created_at", "updated_at"), (str,))
        | dict.fromkeys(("next_wake_at", "blocked_reason", "remedy", "stopped_at", "ended_at"), (str, NoneType))
        | {
            "state": (str, MissionState),
            "objectives": (list,),
            "repositories": (list,),
            "policy": (dict, Policy),
            "asked": (dict,),
        }
    )

    id: str
    objectives: list[str]
    created_at: str
    updated_at: str
    state: MissionState = MissionState.PLANNING
    policy: Policy = Policy()
    repositories: list[str] = field(default_factory=list)
    blocked_reason: str | None = None
    remedy: str | None = None
    next_wake_at: str | None = None
    stopped_at: str | None = None
    ended_at: str | None = None
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def convert(cls, picked: dict[str, Any]) -> dict[str, Any]:
        """Type state and policy."""
        picked["state"] = MissionState(picked.get("state", MissionState.PLANNING))
        picked["policy"] = Policy.from_dict(picked.get("policy", {}))
        return picked

    def to_dict(self) -> dict[str, Any]:
        """The stored form."""
        return Record.to_dict(self) | {"policy": self.policy.to_dict()}

    @property
    def is_active(self) -> bool:
        """The scheduler works on it: neither ended nor stopped by a person."""
        return not self.state.is_terminal and self.stopped_at is None

    def having(self, at: str, **changes: Any) -> Self:
        """A copy with these fields changed at this time. Raises IllegalTransition."""
        new = changes.get("state", self.state)
        if new is not self.state and new not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"A mission that is {self.state} cannot become {new}.")
        return replace(self, updated_at=at, **changes)
