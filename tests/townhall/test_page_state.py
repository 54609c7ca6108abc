"""What the page is told: everything once, then what has changed."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.support.town import register
from tinytown.services import messages, pruning, tasks
from tinytown.services.caller import Caller
from tinytown.town import Town
from tinytown.townhall.page.ledger import Ledger

PARTS = ("tasks", "agents", "missions", "needs", "events")


def ask(http: httpx2.Client, since: str | None = None) -> dict[str, Any]:
    answer = http.get("/page/state", params={} if since is None else {"since": since})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


def ids(answer: dict[str, Any], part: str) -> list[str]:
    return [row["id"] for row in answer[part]]


@pytest.mark.slow
def test_a_difference_is_what_changed(shared_town: Town, shared_http: httpx2.Client) -> None:
    """A task that was given is there for who knows the rest, and nothing else of its kind; then nothing at all."""
    ann = register(shared_town, "ann")
    first = tasks.assign(shared_town, "ann", "the first", Caller())
    whole = ask(shared_http)
    assert whole["full"]
    assert (ids(whole, "tasks"), ids(whole, "agents")) == ([first.id], [ann.id])
    second = tasks.assign(shared_town, "ann", "the second", Caller())
    told = ask(shared_http, whole["next"])
    assert not told["full"]
    assert ids(told, "tasks") == [second.id]
    assert told["events"]
    assert told["counts"]["assigned"] == 2
    again = ask(shared_http, told["next"])
    assert [again[part] for part in PARTS] == [[]] * 5
    assert ids(ask(shared_http, whole["next"]), "tasks") == [second.id], "a second visitor is where it was"


@pytest.mark.slow
def test_what_went_is_named(shared_town: Town, shared_http: httpx2.Client) -> None:
    """An agent that is removed is gone for who saw it."""
    bob = register(shared_town, "bob", wanted=False)
    messages.send(shared_town, "bob", "are you there?", Caller())  # an event names it
    seen = ask(shared_http)
    assert bob.id in ids(seen, "agents")
    pruning.prune(shared_town, everyone=False, force=True)
    assert bob.id in ask(shared_http, seen["next"])["gone"]["agents"]


@pytest.mark.slow
@pytest.mark.parametrize("since", ["", "other.3", "nonsense", "-1", "0.0.0"])
def test_a_place_that_is_not_known_gives_everything(shared_http: httpx2.Client, since: str) -> None:
    """A page that was open when another town hall ran begins anew."""
    assert ask(shared_http, since)["full"]


def test_a_ledger_tells_each_visitor_what_it_has_not_seen() -> None:
    """Changed rows by the look that changed them; an unchanged row is not told again; a row that came back is there."""
    ledger = Ledger()
    ledger.keep(1, [{"id": "a", "n": 1}, {"id": "b", "n": 1}])
    ledger.keep(2, [{"id": "a", "n": 1}, {"id": "b", "n": 2}])
    assert ledger.since(1) == ([{"id": "b", "n": 2}], [])
    ledger.keep(3, [{"id": "a", "n": 1}])
    assert ledger.since(1) == ([], ["b"])
    assert ledger.since(3) == ([], [])
    ledger.note(4, [{"id": "b", "n": 3}])
    assert ledger.since(2) == ([{"id": "b", "n": 3}], [])
    assert ledger.newest(1) == [{"id": "b", "n": 3}]
