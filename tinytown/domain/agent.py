"""The agent: a worker a user knows by name, whether or not a process runs for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import NoneType
from typing import Any, ClassVar, Self

from tinytown.domain.record import Record
from tinytown.domain.states import AgentState
from tinytown.ids import is_stored_name

BY_PROGRAM = "program"  # the spawn mode of an agent that a program runs itself: no process of the town's is it


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent(Record):
    """An agent's record. One writer: the holder of the agent's current epoch.

    Counters (rounds, tasks completed, restarts) live in `stats:<id>`, not here.
    """

    KINDS: ClassVar[dict[str, tuple[type, ...]]] = (
        dict.fromkeys(("id", "name", "cli", "created_at", "agent_type", "spawn_mode"), (str,))
        | dict.fromkeys(("nickname", "role_id", "parent_agent_id", "current_task", "host", "reason"), (str, NoneType))
        | dict.fromkeys(("last_heartbeat", "last_active_at"), (str, NoneType))
        | {"epoch": (int,), "state": (str, AgentState)}
    )

    id: str
    name: str
    cli: str
    created_at: str
    agent_type: str = "worker"
    state: AgentState = AgentState.STARTING
    nickname: str | None = None
    role_id: str | None = None
    parent_agent_id: str | None = None
    spawn_mode: str = "fresh"
    current_task: str | None = None
    last_heartbeat: str | None = None
    last_active_at: str | None = None
    epoch: int = 0
    host: str | None = None
    reason: str | None = None

    @classmethod
    def convert(cls, picked: dict[str, Any]) -> dict[str, Any]:
        """Type the state; refuse a name that no door would have written, which names files, too."""
        if "state" in picked:
            picked["state"] = AgentState(picked["state"])
        return _named(picked)

    def having(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish(Record):
    """What users want of one agent: that it runs, for how long, how. Stored in `wanted`.

    `epoch` is the current spawn's number: only its holder may claim and settle. `rounds` is the most
    rounds this wish allows, `rounds_from` the agent's round count when the wish was made. `stop` is
    None, "graceful" (finish the round) or "now". `pause_now` ends the round that is in progress.
    `closed_at` is the moment of its close: it works off the mail made until then, and stops. `holder` is
    the terminal's process (foreground).
    """

    KINDS: ClassVar[dict[str, tuple[type, ...]]] = {
        "name": (str,),
        "epoch": (int,),
        "rounds": (int,),
        "rounds_from": (int,),
        "host": (str, NoneType),
        "foreground": (bool,),
        "stop": (str, NoneType),
        "pause": (bool,),
        "pause_now": (bool,),
        "closed_at": (str, NoneType),
        "since": (float, int),
        "holder": (dict, NoneType),
    }

    name: str
    epoch: int
    rounds: int
    rounds_from: int = 0
    host: str | None = None
    foreground: bool = False
    stop: str | None = None
    pause: bool = False
    pause_now: bool = False
    closed_at: str | None = None
    since: float = 0.0
    holder: dict[str, Any] | None = None

    @classmethod
    def convert(cls, picked: dict[str, Any]) -> dict[str, Any]:
        """Refuse a name that no door would have written: one bad wish must not trouble those who read all of them."""
        return _named(picked)

    def having(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        return replace(self, **changes)


def _named(picked: dict[str, Any]) -> dict[str, Any]:
    if "name" in picked and not is_stored_name(picked["name"]):
        raise ValueError(f"{picked['name'][:40]!r} is not valid as a name")
    return picked
