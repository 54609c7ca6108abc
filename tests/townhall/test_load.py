"""Many visitors at once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.builders import AT
from tests.support.town import writing
from tests.support.townhall import TownHall
from tinytown.domain.event import Event
from tinytown.town import Town

pytestmark = pytest.mark.slow
SOURCE = Path(__file__).parents[2] / "bench" / "load.c"
LISTENERS, RATE, SECONDS, EVENTS = 200, 200, 2, 50


def test_two_hundred_listeners_and_requests(town: Town, hall: TownHall, tmp_path: Path) -> None:
    """200 event streams and 200 requests a second: every stream gets every event, and no request is refused."""
    program = tmp_path / "load"
    subprocess.run(["gcc", "-O1", "-o", str(program), str(SOURCE)], check=True)
    argv = [str(program), str(hall.port), str(LISTENERS), str(RATE), str(SECONDS), "/v1/status"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        assert load.stdout.readline() == "ready\n"
        for _ in range(EVENTS):
            with writing(town) as tx:
                tx.event(Event("x", "hello", AT))
        told = json.loads(load.stdout.readline())
    assert (told["listeners"], told["refused"]) == (LISTENERS, 0)
    assert told["events"] == LISTENERS * EVENTS
    assert told["answered"] > 0
