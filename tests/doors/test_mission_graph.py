"""The drawing of a mission's graph."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.cli.mission_graph import Node, columns_of, cut, depths, draw


def graph(**after: str) -> list[Node]:
    """Nodes by name; each value names those that it waits for."""
    return [Node(name, n, f"{n} {name}", list(others)) for n, (name, others) in enumerate(after.items(), 1)]


def test_a_diamond() -> None:
    """Below the deepest of those that it waits for, the other one is named; what waits for nothing stands alone."""
    nodes = graph(a="", b="a", c="b", d="a", e="cd", f="")
    assert draw(nodes, 80) == [
        "1 a",
        "├─ 2 b",
        "│  └─ 3 c",
        "│     └─ 5 e  (also after 4)",
        "└─ 4 d",
        "6 f",
    ]
    assert draw(nodes, 80, boxes=False)[1:3] == ["|- 2 b", "|  `- 3 c"]
    assert depths(nodes) == {"a": 0, "b": 1, "c": 2, "d": 1, "e": 3, "f": 0}


def test_a_long_chain_stays_inside_the_terminal() -> None:
    """Where there is no room to go deeper, each line says what it waits for."""
    nodes = [Node(str(n), n, f"{n} Part", [str(n - 1)] if n > 1 else []) for n in range(1, 301)]
    lines = draw(nodes, 60)
    assert len(lines) == 300
    assert max(map(columns_of, lines)) <= 60
    assert lines[-1].endswith("300 Part  (after 299)")


def test_what_a_terminal_gives_a_character() -> None:
    """Two columns for wide ones, none for what joins the one before."""
    assert [columns_of(text) for text in ("ab", "⏳", "日本", "e\u0301", "⚙️")] == [2, 2, 4, 1, 1]
    assert cut("日本語日本語", 9) == "日本語..."
    assert cut("short", 9) == "short"


@QUICK
@given(st.data(), st.integers(0, 40), st.integers(20, 120))
def test_any_graph(data: st.DataObject, count: int, width: int) -> None:
    """Each item once, in at most so many columns, whatever waits for what, also for what is not there."""
    some = st.lists(st.integers(0, 45), max_size=4)
    nodes = [Node(str(n), n, f"<{n}> text", [str(i) for i in data.draw(some) if i < n or i > 40]) for n in range(count)]
    lines = draw(nodes, width)
    assert len(lines) == count
    assert all(columns_of(line) <= width for line in lines)
    if width > 60:
        assert all(sum(f"<{n}>" in line for line in lines) == 1 for n in range(count))
