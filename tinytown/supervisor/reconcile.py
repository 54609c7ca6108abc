"""Wanted against running: what to start, to end, to finish. Pure; the only place here that knows agents."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tinytown.domain.agent import Wish


@dataclass(slots=True)
class Plan:
    """Agent ids by what is to be done."""

    start: list[str] = field(default_factory=list)
    end: list[str] = field(default_factory=list)
    finish: list[str] = field(default_factory=list)  # wished to stop, or left by a terminal; nothing runs
    look_at: list[str] = field(default_factory=list)  # runs in a terminal: is it still there?


def reconcile(wanted: Mapping[str, Wish], children: Collection[str], host: str) -> Plan:
    """Compare. A wish to stop is obeyed by the child itself; without a child its record has to be finished."""
    plan = Plan()
    for agent_id, wish in wanted.items():
        if wish.host not in (None, host) or agent_id in children:
            continue
        if wish.stop:
            plan.finish.append(agent_id)
        elif wish.foreground:
            plan.look_at.append(agent_id)
        else:
            plan.start.append(agent_id)
    plan.end = [child for child in children if child not in wanted]
    return plan
