"""The town that these tests work in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.github.server import GitHub
from tests.support.town import supervised, town

__all__ = ["supervised", "town"]


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A GitHub of one's own, and a token for it."""
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    with GitHub() as server:
        yield server
