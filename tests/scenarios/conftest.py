"""Scenarios: missions with real agents, a supervisor and a GitHub; each ends with its whole history checked."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.github.server import GitHub
from tests.support.passed import has_passed
from tests.support.running_town import RunningTown
from tests.support.stage import REPOSITORY, Stage, make_player, watch_merges

NewStage = Callable[..., Stage]


@pytest.fixture(scope="session")
def player(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripted agent."""
    return make_player(tmp_path_factory.mktemp("player"))


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A GitHub of one's own, and a token for it. Whatever is merged there by the town must be green."""
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    with GitHub() as server:
        unfit = watch_merges(server)
        yield server
    assert not unfit, "\n".join(unfit)


@pytest.fixture
def new_stage(request: pytest.FixtureRequest, tmp_path: Path, player: Path, github: GitHub) -> Iterator[NewStage]:
    """A stage for one more mission, in the test's town, which starts with the first one's settings.

    After a test that passed: each mission's history, the town's invariants, stop, nothing left.
    """
    made: list[Stage] = []
    towns: list[RunningTown] = []

    def make(**settings: Any) -> Stage:
        if not towns:
            given = {"github": {"api_url": github.api_url}, "mission": {"watch_interval_secs": 1}}
            towns.append(RunningTown(tmp_path / "town", player, **given | settings))
            root = towns[0].root
            subprocess.run(["git", "init", "-q"], cwd=root, check=True)
            origin = f"{github.web_url}/{REPOSITORY}.git"
            subprocess.run(["git", "remote", "add", "origin", origin], cwd=root, check=True)
            towns[0].start()
        made.append(Stage(towns[0], github, player))
        return made[-1]

    yield make
    try:
        if has_passed(request.node):
            for stage in made:
                stage.check()
            for town in towns:
                town.finish()
        else:
            for stage in made:
                stage.tell()
    finally:
        for town in towns:
            town.close()


@pytest.fixture
def stage(new_stage: NewStage) -> Stage:
    """A stage with the settings of most tests."""
    return new_stage()
