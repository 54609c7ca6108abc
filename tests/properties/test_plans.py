"""Plans of any shape: what is pulled reads as it was, a push that is repeated does nothing, a circle is spelled out."""

from __future__ import annotations

import itertools
import tomllib
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support import invariants
from tests.support.builders import QUICK
from tests.support.town import all_tasks, register
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Invalid
from tinytown.services import backlog, plan, tasks
from tinytown.services.caller import Caller
from tinytown.services.plan import entries, toml_file
from tinytown.services.plan.pushing import Did, push
from tinytown.town import Town

pytestmark = pytest.mark.slow

REDIS = settings(QUICK, max_examples=20)
TOLD = {Did.NEW, Did.CHANGED, Did.RESTARTED}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
ODD = st.lists(
    st.sampled_from(['"', "\\", "\n", "\r", "\r\n", "\t", "\0", "\x7f", "\x1b", "[[tasks]]", "#", "'''", '"""', " ",
                     "\u2028", "\ufeff", "\u202e", "\U0001f3d8", "u0041", "a = 1", "\x85"]),
    min_size=1, max_size=8,
).map("".join).filter(str.strip)  # fmt: skip
IDS = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12).filter(
    lambda text: text.isprintable() and bool(text.strip())
)
AGENTS = st.sampled_from([None, None, "", "one", "two"])


@st.composite
def tables(draw: st.DrawFn, *, acyclic: bool = True) -> list[dict[str, Any]]:
    """Tasks of a plan; each depends on any of the others, or on those before it only."""
    names = draw(st.lists(IDS, min_size=1, max_size=7, unique=True))
    found = []
    for n, name in enumerate(names):
        table: dict[str, Any] = {"id": name, "description": draw(TEXTS | ODD)}
        others = names[:n] if acyclic else names
        if draw(st.booleans()) and others:
            table["depends_on"] = draw(st.lists(st.sampled_from(others), min_size=1, max_size=4))
        if draw(st.booleans()) and n:
            table["parent"] = draw(st.sampled_from(names[:n]))
        if (agent := draw(AGENTS)) is not None:
            table["agent"] = agent
        if draw(st.booleans()):
            table["tags"] = draw(st.lists(TEXTS.filter(lambda tag: not tag.strip().startswith("plan:")), max_size=3))
        if draw(st.integers(0, 5)) == 0:
            table["status"] = draw(st.sampled_from(TaskState)).value
        found.append(table)
    return draw(st.permutations(found))


LAYOUTS = st.tuples(
    st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\ufeff"]), st.sampled_from(["", "# why\n\n"])
)


def written(rows: list[dict[str, Any]], layout: tuple[str, str, str]) -> str:
    end, mark, comment = layout
    lines = [line for row in rows for line in [*toml_file.block(row), ""]]
    return mark + (comment + "\n".join(lines)).replace("\n", end)


def write(town: Town, text: str) -> None:
    plan.path(town).write_bytes(text.encode())


def text_of(town: Town) -> str:
    return plan.path(town).read_bytes().decode()


@QUICK
@given(tables(acyclic=False))
def test_any_graph(rows: list[dict[str, Any]]) -> None:
    """Each task comes after those that it depends on; a circle is refused and written out, link by link."""
    links = {row["id"]: row.get("depends_on", []) for row in rows}
    document = toml_file.parse(written(rows, ("\n", "", "")))
    try:
        order = [entry.id for entry in entries.read(document).in_order()]
    except Invalid as refused:
        said = str(refused)
        assume(not any(" -> " in name or ": " in name or "..." in name for name in links))
        assert "wait for each other: " in said
        circle = said.split("wait for each other: ")[1].split(" -> ")
        assert circle[0] == circle[-1]
        assert all(after in links[before] for before, after in itertools.pairwise(circle))
        return
    assert sorted(order) == sorted(links)
    assert all(order.index(other) < order.index(name) for name, others in links.items() for other in others)


@QUICK
@given(tables(), LAYOUTS)
def test_any_layout_reads_the_same(rows: list[dict[str, Any]], layout: tuple[str, str, str]) -> None:
    """A byte order mark, the line ends of another system, comments: the tasks are what they are."""
    assume("\n" not in "".join(row["description"] for row in rows))
    text = written(rows, layout)
    assert toml_file.parse(text.removeprefix("\ufeff")).tasks == rows


@REDIS
@given(tables(), LAYOUTS)
def test_pushed_twice_and_pulled(town: Town, rows: list[dict[str, Any]], layout: tuple[str, str, str]) -> None:
    """The second push does nothing; the first pull changes no more than states and agents; the second nothing."""
    begin(town)
    text = written(rows, layout)
    write(town, text)
    push(town, Caller())
    before = everything(town)

    again = push(town, Caller())
    assert not TOLD & again.counts.keys()
    assert everything(town) == before
    assert invariants.of_records(invariants.look(town)) == []

    pulled = plan.pull(town)
    first = text_of(town)
    assert plan.pull(town).changed == 0
    assert text_of(town) == first
    if pulled.changed:
        assert pulled.layout_kept
        assert layout[2].replace("\n", layout[0]) in first
    there = tomllib.loads(first.removeprefix("\ufeff"))["tasks"]
    kept = [{k: v for k, v in row.items() if k not in {"status", "agent"}} for row in there]
    wanted = tomllib.loads(text.removeprefix("\ufeff"))["tasks"]
    assert kept == [{k: v for k, v in row.items() if k not in {"status", "agent"}} for row in wanted]
    assert not TOLD & push(town, Caller(), reset=True).counts.keys()


@REDIS
@given(st.lists(st.tuples(TEXTS | ODD, AGENTS, st.lists(TEXTS, max_size=2)), max_size=5), tables())
def test_what_others_made_is_pulled_whole(
    town: Town, made: list[tuple[str, str | None, list[str]]], rows: list[dict[str, Any]]
) -> None:
    """Tasks that no plan knew come into the file; the town learns nothing from it, an empty one makes the same."""
    begin(town)
    write(town, written(rows, ("\n", "", "")))
    push(town, Caller())
    for text, agent, tags in made:
        if agent:
            tasks.assign(town, agent, text, Caller(), tags)
        else:
            backlog.add(town, text, tags, Caller())
    plan.path(town).unlink()
    plan.pull(town)
    before = all_tasks(town)

    assert not TOLD & push(town, Caller()).counts.keys()
    assert all_tasks(town) == before
    found = sorted(
        (t.description, [tag for tag in t.tags or [] if not tag.startswith("plan:")]) for t in before.values()
    )
    begin(town)
    push(town, Caller())
    anew = sorted(
        (t.description, [tag for tag in t.tags or [] if not tag.startswith("plan:")]) for t in all_tasks(town).values()
    )
    assert anew == found
    assert invariants.of_records(invariants.look(town)) == []


@REDIS
@given(tables(), tables(acyclic=False))
def test_a_plan_that_is_refused_changes_nothing(
    town: Town, good: list[dict[str, Any]], bad: list[dict[str, Any]]
) -> None:
    """A circle among tasks of which some are there already: every key is as it was, and so is the file."""
    begin(town)
    write(town, written(good, ("\n", "", "")))
    push(town, Caller())
    text = written(bad, ("\n", "", ""))
    write(town, text)
    before = everything(town)
    try:
        entries.read(toml_file.parse(text))
    except Invalid:
        with pytest.raises(Invalid):
            push(town, Caller(), reset=True)
        with pytest.raises(Invalid):
            plan.pull(town)
        assert everything(town) == before
        assert text_of(town) == text


def said(task: Task) -> tuple[str, list[str]]:
    """What a task's maker said of it."""
    return task.description, [tag for tag in task.tags or [] if not tag.startswith("plan:")]


def everything(town: Town) -> dict[str, Any]:
    return {key: value for key, (_kind, _ttl, value) in invariants.look(town).keys.items()}


def begin(town: Town) -> None:
    town.store.redis.flushdb()
    for name in ("one", "two"):
        register(town, name)
