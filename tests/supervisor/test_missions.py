"""What the supervisor does for missions: a child exactly while one is active."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator

import pytest

from tests.support.builders import make_mission
from tests.support.missions import put_mission
from tests.support.town import events, town
from tinytown import clock
from tinytown.supervisor.child import Phase, RestartType
from tinytown.supervisor.children import Children
from tinytown.supervisor.decide import Exit, Forget, GiveUp, Restart
from tinytown.supervisor.log import SupervisorLog
from tinytown.supervisor.missions import KIND, Missions
from tinytown.town import Town

__all__ = ["town"]


@pytest.fixture
def children() -> Iterator[Children]:
    """None yet, and none is ever started."""
    with selectors.DefaultSelector() as selector:
        yield Children(selector, lambda: None, lambda _told, _beat: 0)


@pytest.fixture
def keeper(town: Town, children: Children) -> Missions:
    """Who keeps the scheduler."""
    return Missions(town, children, SupervisorLog(town.state_dir / "supervisor.log"))


def test_one_child_while_it_is_wanted(keeper: Missions, children: Children) -> None:
    """Not two; one that waits for its start goes with the last mission, one that runs leaves by itself."""
    keeper.look(is_wanted=False)
    assert KIND not in children
    for _ in range(2):
        keeper.look(is_wanted=True)
    (child,) = children
    assert (child.spec.kind, child.spec.restart, child.phase) == (KIND, RestartType.PERMANENT, Phase.WAITING)
    assert child.spec.label == "missions"
    child.phase = Phase.RUNNING
    keeper.look(is_wanted=False)
    assert KIND in children
    child.phase = Phase.WAITING
    keeper.look(is_wanted=False)
    assert KIND not in children


def test_what_follows_from_its_end(town: Town, keeper: Missions, children: Children) -> None:
    """Nothing when no mission is active; else it comes again, in whatever order it left, until it is too often."""
    keeper.look(is_wanted=True)
    (child,) = children
    assert keeper.decide(child, Exit(-9)) == Forget()
    put_mission(town, make_mission())
    for code in (0, 3, -9):
        child.starts = [clock.wall()]
        assert keeper.decide(child, Exit(code)) == Restart(0.0)
    child.starts = [clock.wall()] * 7
    decision = keeper.decide(child, Exit(1))
    assert isinstance(decision, GiveUp)
    keeper.give_up(child, decision.reason)
    assert (child.phase, child.reason) == (Phase.GIVEN_UP, decision.reason)
    assert len(events(town, "missions_gave_up")) == 1


def test_one_that_was_given_up_waits_for_people(town: Town, keeper: Missions, children: Children) -> None:
    """It stays, without a start, until no mission is active or the settings were read again."""
    ends: list[Callable[[], None]] = [lambda: keeper.look(is_wanted=False), keeper.begin_anew]
    for end in ends:
        keeper.look(is_wanted=True)
        (child,) = children
        keeper.give_up(child, "too often")
        keeper.look(is_wanted=True)
        assert list(children) == [child]
        assert children.dues(works=True) == []
        end()
        assert KIND not in children
    keeper.begin_anew()
