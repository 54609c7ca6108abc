"""Waiting until an agent has nothing to do: what moves while one looks is work all the same."""

from __future__ import annotations

import pytest

from tests.support.town import register
from tinytown.domain.states import AgentState
from tinytown.domain.task import Task
from tinytown.errors import TimedOut
from tinytown.services import backlog, idle
from tinytown.services.caller import Caller
from tinytown.town import Town

ME = Caller()


def test_work_that_is_claimed_meanwhile(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """It left the backlog before we looked there, and came into the mailbox after we had looked there."""
    agent = register(town, "tester", role_id="test")
    backlog.add(town, "work", ["test"], ME)
    look = backlog.for_role
    seen: list[str] = []

    def claim_first(opened: Town, role: str, most: int) -> list[Task]:
        if not seen:
            seen.append(role)
            monkeypatch.setattr(backlog, "for_role", look)
            assert backlog.claim_for_role(town, agent) is not None
        return look(opened, role, most)

    monkeypatch.setattr(backlog, "for_role", claim_first)
    with pytest.raises(TimedOut, match="'tester' is not done"):
        idle.wait_until_idle(town, agent.id, 0.05)
    assert seen


def test_nothing_to_do(town: Town) -> None:
    """Seen at once, also by who cannot wait."""
    register(town, "tester", role_id="test")
    backlog.add(town, "work of others", ["other"], ME)
    assert idle.wait_until_idle(town, "tester", 0.0) is AgentState.IDLE
