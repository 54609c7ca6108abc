"""How a round ended, and the one table that says what follows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType
from typing import Any


class OutcomeKind(StrEnum):
    """The typed end of one run of a model CLI."""

    OK = "ok"
    NO_CHANGE = "no_change"
    NEEDS_INPUT = "needs_input"
    RATE_LIMITED = "rate_limited"
    AUTH_FAILED = "auth_failed"
    CONTEXT_FULL = "context_full"
    TIMED_OUT = "timed_out"
    HUNG = "hung"
    CRASHED = "crashed"
    KILLED = "killed"
    STOPPED = "stopped"
    NOT_FOUND = "not_found"
    UNPREPARED = "unprepared"  # the agent's worktree: no model ran


class FollowUp(StrEnum):
    """What happens to the round's messages."""

    DONE = "done"
    RETRY_NOW = "retry_now"
    RETRY_LATER = "retry_later"
    HOLD_CLI = "hold_cli"  # for every agent on this CLI
    ASK_HUMAN = "ask_human"  # parked as dead letters, a question in the conductor's mailbox
    PUT_BACK = "put_back"  # as if the round had not been


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: what follows, and whether the agent is charged an attempt and a round."""

    follow_up: FollowUp
    charged: bool
    asks_human: bool = False


RULES: dict[OutcomeKind, Rule] = {
    OutcomeKind.OK: Rule(FollowUp.DONE, charged=True),
    OutcomeKind.NO_CHANGE: Rule(FollowUp.RETRY_LATER, charged=True),
    OutcomeKind.NEEDS_INPUT: Rule(FollowUp.ASK_HUMAN, charged=True, asks_human=True),
    OutcomeKind.RATE_LIMITED: Rule(FollowUp.HOLD_CLI, charged=False),
    OutcomeKind.AUTH_FAILED: Rule(FollowUp.HOLD_CLI, charged=False, asks_human=True),
    OutcomeKind.NOT_FOUND: Rule(FollowUp.HOLD_CLI, charged=False, asks_human=True),
    OutcomeKind.UNPREPARED: Rule(FollowUp.PUT_BACK, charged=False, asks_human=True),
    OutcomeKind.CONTEXT_FULL: Rule(FollowUp.RETRY_NOW, charged=True),
    OutcomeKind.TIMED_OUT: Rule(FollowUp.RETRY_LATER, charged=True),
    OutcomeKind.HUNG: Rule(FollowUp.RETRY_LATER, charged=True),
    OutcomeKind.CRASHED: Rule(FollowUp.RETRY_LATER, charged=True),
    OutcomeKind.KILLED: Rule(FollowUp.RETRY_NOW, charged=True),
    OutcomeKind.STOPPED: Rule(FollowUp.PUT_BACK, charged=False),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A round's end. `until` is wall time in seconds (rate limit); `result` is the tail of what the model said."""

    kind: OutcomeKind
    detail: str = ""
    result: str = ""
    until: float | None = None
    exit_code: int | None = None

    def __post_init__(self) -> None:
        # A model's JSON may hold half an emoji (a lone surrogate), which neither a file nor Redis can store.
        for name in ("detail", "result"):
            object.__setattr__(self, name, getattr(self, name).encode("utf-8", "replace").decode())

    @property
    def rule(self) -> Rule:
        """What follows."""
        return RULES[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """The journal's form."""
        return {
            "kind": self.kind.value,
            "detail": self.detail,
            "result": self.result,
            "until": self.until,
            "exit_code": self.exit_code,
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Outcome:
        """Read the journal's form. Raises ValueError or TypeError when it is none."""
        for name, kinds in _KINDS.items():
            value = raw.get(name)
            if name in raw and (type(value) not in kinds or (type(value) is float and math.isnan(value))):
                raise ValueError(f"{name} of an outcome is no {kinds[0].__name__}")
        return cls(**{**raw, "kind": OutcomeKind(raw["kind"])})


_KINDS: dict[str, tuple[type, ...]] = {
    "kind": (str,), "detail": (str,), "result": (str,), "until": (float, int, NoneType), "exit_code": (int, NoneType),
}  # fmt: skip
