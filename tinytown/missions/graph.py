"""The order of a graph: each node after those that it depends on, else by rank; a circle is spelled out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappop, heappush

from tinytown.errors import Invalid

_SHOWN = 12  # nodes of a circle


def in_order(
    nodes: Iterable[str],
    before: Mapping[str, Iterable[str]],
    priority: Mapping[str, int] | None = None,
    shown: Callable[[str], str] = str,
) -> list[str]:
    """The nodes, each after those in `before[node]`; of several possible next ones the higher priority, then as given.

    What is in `before` and no node is passed over. Raises Invalid for a circle; `shown` is how a node is called there.
    """
    place = {node: n for n, node in enumerate(dict.fromkeys(nodes))}
    names, ranks = list(place), priority or {}
    waits_for = {node: {other for other in before.get(node, ()) if other in place} for node in names}
    followers: dict[str, list[str]] = {node: [] for node in names}
    for node, others in waits_for.items():
        for other in others:
            followers[other].append(node)
    open_ones = {node: len(others) for node, others in waits_for.items()}
    ready = [(-ranks.get(node, 0), place[node]) for node in names if not open_ones[node]]
    heapify(ready)
    done: list[str] = []
    while ready:
        node = names[heappop(ready)[1]]
        done.append(node)
        for follower in followers[node]:
            open_ones[follower] -= 1
            if not open_ones[follower]:
                heappush(ready, (-ranks.get(follower, 0), place[follower]))
    if len(done) < len(names):
        raise _circle(names, before, set(done), shown)
    return done


def _circle(
    names: list[str], before: Mapping[str, Iterable[str]], done: set[str], shown: Callable[[str], str]
) -> Invalid:
    """Each node that is left waits for another one that is left: whoever walks that way comes round."""
    left = {name: n for n, name in enumerate(names) if name not in done}
    path: dict[str, None] = {}
    node = next(iter(left))
    while node not in path:
        path[node] = None
        node = next(other for other in before[node] if other in left)
    circle = list(path)[list(path).index(node) :]
    start = circle.index(min(circle, key=left.__getitem__))
    circle = [*circle[start:], *circle[:start], circle[start]]
    spelled = [shown(name) for name in circle]
    if len(spelled) > _SHOWN:
        spelled = [*spelled[: _SHOWN // 2], "...", *spelled[1 - _SHOWN // 2 :]]
    return Invalid(
        f"Work items wait for each other: {' -> '.join(spelled)}",
        "Take one of these dependencies out, or set depends_on in a manifest.",
    )
