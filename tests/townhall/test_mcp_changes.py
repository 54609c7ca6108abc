"""Which resources an event is news of."""

from __future__ import annotations

import pytest
from mcp.shared.exceptions import MCPError

from tinytown.townhall.mcp import resources
from tinytown.townhall.mcp.changes import touched
from tinytown.townhall.mcp.resources import AGENTS, BACKLOG, KINDS, MISSIONS, TASKS, TOWN

NAMES = {"backend": "a1b2c3d4", "reviewer": "ffee0011"}
BACKEND, REVIEWER = f"{AGENTS}/backend", f"{AGENTS}/reviewer"
TASK, MISSION = f"{TASKS}/12345678", f"{MISSIONS}/abcdef01"
ALL = [TOWN, AGENTS, BACKLOG, MISSIONS, BACKEND, REVIEWER, TASK, MISSION]


@pytest.mark.parametrize(
    ("event", "changed"),
    [
        ({"event_type": "town_saved"}, [TOWN]),
        ({"agent_id": "a1b2c3d4"}, [TOWN, AGENTS, BACKEND]),
        ({"agent_id": "a1b2c3d4", "task_id": "12345678"}, [TOWN, AGENTS, BACKLOG, BACKEND, TASK]),
        ({"task_id": "99999999"}, [TOWN, BACKLOG]),
        ({"mission_id": "abcdef01"}, [TOWN, MISSIONS, MISSION]),
    ],
)
def test_an_event_is_news_of_what_it_names(event: dict[str, str], changed: list[str]) -> None:
    """And of the lists that these are in, and of the town always."""
    assert set(touched(ALL, [event], NAMES)) == set(changed)


def test_many_events_tell_of_a_resource_once() -> None:
    """What is watched is told as changed, not how often."""
    events = [{"agent_id": "a1b2c3d4"}] * 3
    assert list(touched([AGENTS, BACKEND], events, NAMES)) == [AGENTS, BACKEND]


@pytest.mark.parametrize(
    ("reference", "is_meant"),
    [("backend", True), ("Backend", True), ("a1b2c3d4", True), ("a1b2", True), ("A1B2", True), ("a1b", False),
     ("reviewer", False), ("back", False)],
)  # fmt: skip
def test_an_agent_is_meant_by_name_id_or_beginning_of_it(reference: str, is_meant: bool) -> None:  # noqa: FBT001
    """Four characters are the least of an id."""
    uri = f"{AGENTS}/{reference}"
    assert list(touched([uri], [{"agent_id": "a1b2c3d4"}], NAMES)) == ([uri] if is_meant else [])


def test_every_resource_is_found_by_its_own_address() -> None:
    """Also with a name that has to be written with %."""
    for kind in KINDS:
        address = resources.find(kind.uri.partition("{")[0] + ("a%20b" if kind.input else ""))
        assert address.kind is kind
        assert address.reference == ("a b" if kind.input else None)


@pytest.mark.parametrize(
    "uri", ["", "x", "http://agents", "tinytown://", "tinytown://agents/", "tinytown://agents/a/b", "tinytown://town",
            "tinytown://tasks", "tinytown://agents?x=1", f"{AGENTS}/{'x' * 1000}"],
)  # fmt: skip
def test_other_addresses_are_none(uri: str) -> None:
    """An error of the protocol, which repeats no more than a line of it."""
    with pytest.raises(MCPError, match="Unknown resource") as caught:
        resources.find(uri)
    assert len(str(caught.value)) < 120
