"""Wanted against running, applied again and again: it gets there, and then there is nothing to do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK, make_wish
from tinytown.domain.agent import Wish
from tinytown.supervisor.reconcile import Plan, reconcile

HERE = "here"
IDS = st.sampled_from("abcdefgh")
WISHES = st.builds(
    make_wish,
    host=st.sampled_from([None, HERE, "there"]),
    stop=st.sampled_from([None, None, "graceful", "now"]),
    foreground=st.booleans(),
    pause=st.booleans(),
    closed_at=st.sampled_from([None, "2026-01-02T03:04:05.000006Z"]),
)
WORLDS = st.tuples(st.dictionaries(IDS, WISHES), st.sets(IDS), st.sets(IDS))


class World:
    """What a loop does about a plan; `lucky` are the agents whose terminal still lives."""

    def __init__(self, wanted: dict[str, Wish], children: set[str], lucky: set[str]) -> None:
        self.wanted, self.children, self.lucky = dict(wanted), list(children), lucky

    def plan(self) -> Plan:
        return reconcile(self.wanted, self.children, HERE)

    def apply(self, plan: Plan) -> None:
        for agent_id in plan.start:
            assert agent_id not in self.children, "two of one agent"
            self.children.append(agent_id)
        for agent_id in plan.end:
            self.children.remove(agent_id)
        for agent_id in [*plan.finish, *(i for i in plan.look_at if i not in self.lucky)]:
            del self.wanted[agent_id]

    def obey(self) -> None:
        """A child whose wish says so ends itself, and takes the wish along."""
        for agent_id in [i for i in self.children if i in self.wanted and self.wanted[i].stop]:
            self.children.remove(agent_id)
            del self.wanted[agent_id]


def is_ours(wish: Wish) -> bool:
    return wish.host in {None, HERE}


def is_empty(plan: Plan) -> bool:
    return not (plan.start or plan.end or plan.finish)


@QUICK
@given(WORLDS)
def test_it_gets_there(world: tuple[dict[str, Wish], set[str], set[str]]) -> None:
    """Two looks are enough; then each agent that is wanted here has one child, and nobody else has."""
    there = World(*world)
    for _ in range(2):
        there.apply(there.plan())
        there.obey()

    assert is_empty(there.plan())
    assert len(there.children) == len(set(there.children))
    had = world[1]
    for agent_id, wish in there.wanted.items():
        if not is_ours(wish):
            assert (agent_id in there.children) == (agent_id in had)  # never taken up, never ended
        elif wish.foreground:
            assert agent_id in there.children or agent_id in there.lucky
        else:
            assert agent_id in there.children
            assert not wish.stop
    assert set(there.children) <= there.wanted.keys()


@QUICK
@given(WORLDS)
def test_what_is_left_alone(world: tuple[dict[str, Wish], set[str], set[str]]) -> None:
    """Another host's wishes and those of living terminals are neither started, nor ended, nor taken away."""
    there = World(*world)
    apart = {
        i: wish for i, wish in world[0].items()
        if not is_ours(wish) or (wish.foreground and not wish.stop and i in there.lucky)
    }  # fmt: skip
    before = {i: i in there.children for i in apart}
    for _ in range(3):
        there.apply(there.plan())

    assert {i: there.wanted.get(i) for i in apart} == apart
    assert {i: i in there.children for i in apart} == before


@QUICK
@given(WORLDS, st.lists(st.tuples(IDS, st.none() | WISHES), max_size=20))
def test_wishes_that_change_all_the_time(
    world: tuple[dict[str, Wish], set[str], set[str]], changes: list[tuple[str, Wish | None]]
) -> None:
    """Whatever is wished between two looks, no agent ever has two children, and when it is quiet it gets there."""
    there = World(*world)
    for agent_id, wish in changes:
        there.wanted.pop(agent_id, None)
        if wish is not None:
            there.wanted[agent_id] = wish
        there.apply(there.plan())
        assert len(there.children) == len(set(there.children))
        there.obey()
    there.apply(there.plan())
    there.obey()
    there.apply(there.plan())
    assert is_empty(there.plan())
