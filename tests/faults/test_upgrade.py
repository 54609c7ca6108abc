"""A running town whose files are replaced on disk: what it needs is in memory."""

from __future__ import annotations

import pytest

from tests.faults.conftest import NewTown
from tinytown.services import agents, waiting

pytestmark = pytest.mark.fault


def test_nothing_of_ours_is_imported_late(new_town: NewTown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervisor and actors load all of tinytown before they are up: a failure finds no module of another version."""
    monkeypatch.setenv("PYTHONVERBOSE", "1")
    town = new_town(agent={"max_attempts": 2, "retry_delay_s": 0.01})
    monkeypatch.delenv("PYTHONVERBOSE")
    started = town.log.stat().st_size
    town.spawn("ann", "bob", role="worker")
    town.task_done("ann", "say hello")
    failed = town.assign("bob", "exit 1")
    town.kill(town.actor("ann"))
    town.kill_redis()
    town.wait(lambda: town.task(failed).state == "failed", "the task to fail")
    agents.kill(town.town, "bob")
    waiting.for_agent(town.town, "bob", 10)
    town.settle()
    with town.log.open() as log:
        log.seek(started)
        late = [line.split("'")[1] for line in log if line.startswith("import 'tinytown")]
    assert not late
