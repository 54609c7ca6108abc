"""Fault tests: each gets a town of its own and ends with the invariants checked and the town stopped in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.passed import has_passed
from tests.support.running_town import RunningTown, compile_stubborn

NewTown = Callable[..., RunningTown]


@pytest.fixture(scope="session")
def stubborn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripted CLI."""
    return compile_stubborn(tmp_path_factory.mktemp("stubborn"))


@pytest.fixture
def new_town(request: pytest.FixtureRequest, tmp_path: Path, stubborn: Path) -> Iterator[NewTown]:
    """Start a town with these settings. After a test that passed: invariants, stop, nothing left."""
    made: list[RunningTown] = []

    def make(**settings: Any) -> RunningTown:
        made.append(RunningTown(tmp_path / f"town{len(made)}", stubborn, **settings))
        return made[-1].start()

    yield make
    try:
        if has_passed(request.node):
            for town in made:
                town.finish()
    finally:
        for town in made:
            town.close()


@pytest.fixture
def town(new_town: NewTown) -> RunningTown:
    """A town with the settings of most tests."""
    return new_town()
