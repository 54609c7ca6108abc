"""The order of a graph, and circles in words."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.errors import Invalid
from tinytown.missions import graph


def test_after_what_they_depend_on_else_by_priority_else_as_given() -> None:
    """The three rules, in this order."""
    assert graph.in_order("abc", {}) == ["a", "b", "c"]
    assert graph.in_order("abc", {}, {"c": 1, "a": -1}) == ["c", "b", "a"]
    assert graph.in_order("abc", {"a": ["c"]}, {"a": 9}) == ["b", "c", "a"]
    assert graph.in_order("aabb", {"a": ["b", "b", "elsewhere"]}) == ["b", "a"]
    assert graph.in_order("", {}) == []


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ({"a": "a"}, "a -> a"),
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"a": "b", "b": "c", "c": "b"}, "b -> c -> b"),
        ({"c": "b", "b": "d", "d": "c", "a": "d"}, "b -> d -> c -> b"),
    ],
)
def test_a_circle_is_spelled_out(before: dict[str, str], said: str) -> None:
    """From the first of it that was given, without those that only wait for it."""
    with pytest.raises(Invalid, match=re.escape(f"wait for each other: {said}") + "$"):
        graph.in_order("abcd", before)


def test_a_long_circle_is_shortened() -> None:
    """Ten thousand links fit neither in a line nor in a recursion."""
    names = [f"#{n}" for n in range(1, 10_001)]
    before = {name: [other] for name, other in zip(names, [*names[1:], names[0]], strict=True)}
    with pytest.raises(Invalid, match=r": #1 -> #2 -> #3 -> #4 -> #5 -> #6 -> \.\.\. -> .* -> #10000 -> #1$"):
        graph.in_order(names, before)
    before["#10000"] = []
    assert graph.in_order(names, before) == names[::-1]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[int], dict[int, list[int]], dict[int, int]]:
    """Nodes, links and priorities, with or without circles."""
    nodes = draw(st.lists(st.integers(0, 12), unique=True))
    links = st.lists(st.sampled_from([*nodes, 99]), max_size=3)
    before = {node: draw(links) for node in nodes if draw(st.booleans())}
    return nodes, before, {node: draw(st.integers(-2, 2)) for node in nodes}


@QUICK
@given(graphs())
def test_any_graph_has_an_order_or_a_circle(
    given_graph: tuple[list[int], dict[int, list[int]], dict[int, int]],
) -> None:
    """Each node once, after those it depends on; a circle that is told is one."""
    nodes, links, ranks = given_graph
    names = [str(node) for node in nodes]
    before = {str(node): [str(other) for other in others] for node, others in links.items()}
    priority = {str(node): rank for node, rank in ranks.items()}
    try:
        found = graph.in_order(names, before, priority)
    except Invalid as error:
        circle = str(error).rpartition(": ")[2].split(" -> ")
        assert circle[0] == circle[-1]
        assert all(other in before[node] for node, other in itertools.pairwise(circle) if "..." not in (node, other))
        return
    assert sorted(found) == sorted(names)
    place = {node: n for n, node in enumerate(found)}
    assert all(place[other] < place[node] for node in names for other in before.get(node, []) if other in place)
    assert found == graph.in_order(names, before, priority)
