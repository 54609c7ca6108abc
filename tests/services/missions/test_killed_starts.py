"""A start that is killed at any moment: the mission is there as a whole, or nothing of it; the next start goes on."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from tests.support import invariants
from tests.support.interleaving import visited
from tinytown.errors import Conflict
from tinytown.services.caller import Caller
from tinytown.services.missions import starting
from tinytown.services.missions.starting import StartRequest
from tinytown.town import Town

PERSON = Caller()


class Killed(BaseException):
    """The process ends here."""


def test_a_start_that_is_killed(supervised: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each of its round trips, and after each."""
    town, request = supervised, StartRequest(docs=("plan.md",))
    monkeypatch.chdir(town.root)
    (town.root / "plan.md").write_text("- [ ] One\n- [ ] Two\n- [ ] Three\n")

    def die() -> None:
        raise Killed

    for trip in itertools.count():
        town.store.redis.flushdb()
        try:
            with visited(town, {}) as (client, store):
                store.visits[trip] = die
                starting.start(client, request, PERSON)
                store.visits.clear()
        except Killed:
            stored = town.store.missions.files(town.store.missions.all_ids())
            assert [len(file.items) for file in stored] in ([], [3])
            invariants.check(town, settled=False)
            with contextlib.suppress(Conflict):  # it was stored before it was killed
                starting.start(town, request, PERSON)
            assert len(town.store.missions.all_ids()) == 1
        else:
            return
