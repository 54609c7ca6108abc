"""Towns as programs open them: one on the session's Redis without processes, one of its own with real agents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import invariants
from tests.support.cli import Tt
from tests.support.town import town
from tinytown import Town
from tinytown.town import Town as OpenTown
from tinytown.town import open_town

__all__ = ["town"]


@pytest.fixture
def api(town: OpenTown) -> Iterator[Town]:
    """The town on the session's Redis; whatever a test did there, the invariants hold at its end."""
    yield Town(town)
    invariants.check(town, settled=False)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Town]:
    """A town of its own: agents really run. At its end the invariants hold, and everything is ended."""
    folder = tmp_path / "live"
    with Town.init(folder, "live") as made:
        with (folder / "tinytown.toml").open("a") as settings:
            settings.write("\n[agent]\nretry_delay_s = 0.05\n")
        yield made
        opened = open_town(str(folder))
        invariants.check(opened, settled=False)
        opened.store.close()
    Tt(folder, town=folder).ok("stop", "--all", "--now")
