"""Towns to knock at: one on the session's Redis without processes, one of its own made by `tt init`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Tt
from tests.support.town import supervised, town
from tinytown.town import Town

__all__ = ["supervised", "town"]


@pytest.fixture
def tt(town: Town) -> Tt:
    """`tt` for the town on the session's Redis."""
    return Tt(town.root.parent, town=town.root)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Tt]:
    """`tt` in an empty folder, with a home of its own."""
    folder, home = tmp_path / "project", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    command = Tt(folder, env={"HOME": str(home)})
    yield command
    command("stop", "--all", "--now")


@pytest.fixture
def made(bare: Tt) -> Tt:
    """`tt` in a town with a Redis of its own."""
    bare.ok("init", "--name", "my-project")
    return bare
