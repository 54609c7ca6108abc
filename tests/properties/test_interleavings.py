"""Two or three clients inside of each other: whatever is done at which moment, it is as if they had come in a row."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import invariants
from tests.support.builders import QUICK
from tests.support.interleaving import Frozen, Shape, freeze, named, shape, thaw, visited
from tests.support.town import give_mail, give_task, register
from tests.support.verbs import CHOICES, EVERY, FRIENDLY, VERBS, Choice, Operation
from tinytown.errors import TinytownError
from tinytown.services import messages
from tinytown.services.caller import Caller
from tinytown.town import Town

pytestmark = pytest.mark.slow

Doing = tuple[str, Choice]
End = tuple[list[str], Shape]  # what each client was told, and what is there
DONE = "done"
DOINGS = st.tuples(st.sampled_from(EVERY), CHOICES)
STORIES = st.lists(st.tuples(st.sampled_from(FRIENDLY), CHOICES), max_size=8)
ONE_INSIDE = settings(QUICK, max_examples=25)
TWO_INSIDE = settings(QUICK, max_examples=40)
# Several steps by design: others may come between them, and what holds for each step is all that holds.
IN_STEPS = {"take_all", "reclaim", "orphans", "prune", "push", "reset", "recover", "kill", "give_up", "die"}


@st.composite
def crowds(draw: st.DrawFn, size: int) -> list[Doing]:
    """What so many clients do: often to the same agent and task."""
    some = [draw(DOINGS) for _ in range(size)]
    return [(verb, some[0][1] if draw(st.booleans()) else choice) for verb, choice in some]


@pytest.mark.timeout(300)
@ONE_INSIDE
@given(STORIES, crowds(2))
def test_one_inside_of_another(town: Town, story: list[Doing], doings: list[Doing]) -> None:
    """While one client reads and decides, another does all of its own, before each round trip in turn."""
    begin(town, story)
    start = freeze(town)
    for trip in itertools.count():
        thaw(town, start)
        if not check(town, start, doings, [trip]):
            return


@pytest.mark.timeout(300)
@TWO_INSIDE
@given(STORIES, crowds(3), st.tuples(st.integers(0, 9), st.integers(1, 9)))
def test_two_inside_of_a_third(town: Town, story: list[Doing], doings: list[Doing], trips: tuple[int, int]) -> None:
    """One that has to begin anew twice still does all or nothing, once."""
    begin(town, story)
    check(town, freeze(town), doings, list(itertools.accumulate(trips)))


def check(town: Town, start: Frozen, doings: list[Doing], trips: list[int]) -> bool:
    """The other clients' operations run before these round trips of the first one's; False when it made no so many.

    What must hold holds whenever one of them is done, one that is refused has done nothing, and in the end everything
    is as if they had come one after the other, in one of the orders.
    """
    operations = [VERBS[verb](town, choice) for verb, choice in doings]
    if None in operations:
        return False
    ready = [operation for operation in operations if operation is not None]
    known = named(invariants.look(town))
    answers = [""] * len(ready)

    def visit(who: int) -> None:
        with visited(town, {}) as (client, _store):
            answers[who] = told(ready[who], client)
        assert wrong(town) == []

    in_steps = any(verb in IN_STEPS for verb, _choice in doings)
    with visited(town, {trip: partial(visit, who) for who, trip in enumerate(trips, 1)}) as (client, store):
        answers[0] = told(ready[0], client)
        assert answers[0] == DONE or in_steps or store.commits == 0, "refused, and yet something was done"
    assert wrong(town) == []
    if not in_steps:
        found = answers, shape(invariants.look(town), known)
        rows = {
            order: in_a_row(town, start, ready, order, known) for order in itertools.permutations(range(len(ready)))
        }
        assert found in rows.values(), "\n".join(difference(order, found, row) for order, row in rows.items())
    return store.trips > max(trips)


def begin(town: Town, story: list[Doing]) -> None:
    """Two agents at work, one that has ended; all have mail and a task. And what is told of them."""
    town.store.redis.flushdb()
    for name in ("one", "old", "two"):
        agent = register(town, name, wanted=name != "old", role_id="dev")
        give_task(town, agent)
        give_mail(town, agent)
        messages.send(town, name, "look", Caller())
    for verb, choice in story:
        operation = VERBS[verb](town, choice)
        if operation is not None:
            told(operation, town)
        assert wrong(town) == []


def told(operation: Operation, town: Town) -> str:
    """What the client hears: that it is done, or the name of the error."""
    try:
        operation(town)
    except TinytownError as error:
        return type(error).__name__
    return DONE


def wrong(town: Town) -> list[str]:
    return invariants.of_records(invariants.look(town))


def in_a_row(town: Town, start: Frozen, ready: Sequence[Operation], order: Sequence[int], known: str) -> End:
    """What each is told and what is there, when they come one after the other."""
    thaw(town, start)
    answers = [""] * len(ready)
    for who in order:
        answers[who] = told(ready[who], town)
    return answers, shape(invariants.look(town), known)


def difference(order: Sequence[int], found: End, row: End) -> str:
    """For whoever has to find out: what only the one or the other has."""
    lines = [f"in the order {order} they are told {row[0]}, and here {found[0]}"]
    for key in sorted(found[1].keys() | row[1].keys()):
        here, there = ([item for rows in end[1].get(key, []) for item in rows] for end in (found, row))
        lines += [f"  {key}, only here:  {item}" for item in here if item not in there]
        lines += [f"  {key}, only there: {item}" for item in there if item not in here]
        if here != there and sorted(here) == sorted(there):
            lines.append(f"  {key}: in another order")
    return "\n".join(lines)
