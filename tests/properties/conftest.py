"""The town of these tests: a real one, whose server need not survive a power cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.interleaving import unforced
from tests.support.redis_server import TestRedis
from tests.support.town import fresh_town
from tinytown.config import SupervisorConfig
from tinytown.services import stopping, tasks
from tinytown.town import Town


@pytest.fixture
def town(redis_server: TestRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """Nobody ends a run or lets go of a lock in it while somebody else is at work: who waits for that waits in vain."""
    monkeypatch.setattr(tasks, "RUN_ENDS_WITHIN_S", 0.0)
    monkeypatch.setattr(stopping, "NOW_WITHIN_S", 0.0)
    monkeypatch.setattr(stopping, "GONE_WITHIN_S", 0.0)
    fresh = fresh_town(redis_server, tmp_path / "town", supervisor=SupervisorConfig(grace_s=0.01))
    with unforced(fresh):
        yield fresh
        fresh.store.redis.flushdb()
    fresh.store.close()
