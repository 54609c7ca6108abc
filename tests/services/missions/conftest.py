"""The town that these tests work in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.github.server import GitHub
from tests.support.town import town
from tinytown.town import Town

__all__ = ["town"]


@pytest.fixture
def supervised(town: Town) -> Iterator[Town]:
    """The town with its supervisor's place taken, so that nobody starts one."""
    lock = town.supervisor_lock
    assert lock.acquire()
    yield town
    lock.release()


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A GitHub of one's own, and a token for it."""
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    with GitHub() as server:
        yield server
