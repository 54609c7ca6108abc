"""What `tt top` draws, without a terminal: any size, any text, any order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.builders import QUICK
from tinytown.cli import top_cells, top_pager, top_tables, top_text
from tinytown.cli.top_actions import offers
from tinytown.cli.top_tables import Order
from tinytown.cli.top_view import Frame, Meter, View, page, progress, text_of

AT = "2026-01-02T03:04:05.000006Z"
HOSTILE = st.text(st.sampled_from("ab \t\n\r\x00\x1b\x07\x9b\u202e\u200d\ufe0f\u0301é日本👩🇩🇪[31m"), max_size=120)
MAIL = dict.fromkeys(("total", "tasks", "queries", "informational", "confirmations", "control", "unreadable"), 0)


def agent(name: str, state: str = "idle", **fields: Any) -> dict[str, Any]:
    """An agent as an overview tells of it."""
    none = dict.fromkeys(("nickname", "role", "reason", "stopping", "closed_at", "task", "run_s", "output_age_s"))
    return {
        "id": f"id-{name}", "name": name, "cli": "demo", "state": state, "wanted": state not in {"stopped", "error"},
        "pausing": False, "foreground": False, "pid": 7, "rounds": 0, "rounds_max": 10, "restarts": 0,
        "last_output": "", "cpu_s": None, "memory_bytes": None,
        "pending": MAIL | {"urgent": 0, "claimed": 0, "dead": 0},
    } | none | fields  # fmt: skip


def need(title: str, kind: str = "task", **fields: Any) -> dict[str, Any]:
    """Something that waits for a person."""
    none = dict.fromkeys(("agent", "task_id", "mission_id", "item_id", "letter_id", "remedy", "since"))
    return {"id": f"{kind}:{title}", "kind": kind, "title": title, "reason": "why", "behind": 0, "actions": []} | (
        none | fields
    )


def task(title: str, state: str = "failed", **fields: Any) -> dict[str, Any]:
    """A task as a card."""
    return {
        "id": f"12345678-{title}", "title": title, "state": state, "column": "done", "agent": None, "reason": None,
        "remedy": None, "attempts": 1, "tags": [], "updated_at": AT, "mission_id": None,
    } | fields  # fmt: skip


def item(number: int, status: str, **fields: Any) -> dict[str, Any]:
    """A work item."""
    none = dict.fromkeys(("job", "agent", "reason", "remedy"))
    head = {"id": f"i{number}", "number": number, "source_ref": f"acme/web#{number}", "title": "Part"}
    return head | {"status": status, "needs_person": False} | none | fields


def overview(text: str = "x", **fields: Any) -> dict[str, Any]:
    """A town in which this text is everywhere."""
    mission = {"id": "mission-1", "state": "running", "stopped": False, "reason": text, "remedy": None}
    items = [item(1, "done"), item(2, "assigned"), item(3, "blocked", title=text), item(4, "pending")]
    return {
        "town": "shop", "at": AT, "supervisor": {"running": True, "pid": 9}, "conductor": {"pending": 0},
        "counts": dict.fromkeys(("pending", "assigned", "running", "completed", "failed", "cancelled", "backlog"), 0),
        "needs": [need(text, remedy=text, since=AT, behind=n) for n in range(7)],
        "agents": [agent(f"a{n}", "working", last_output=text, reason=text) for n in range(9)],
        "tasks": [task(text, reason=text)],
        "missions": [mission | {"auto_merge": False, "items": items}],
        "events": [{"id": "1-1", "event_type": "agent_started", "message": text, "timestamp": AT, "agent_id": "id-a1"}],
    } | fields  # fmt: skip


@QUICK
@given(
    st.integers(1, 230), st.none() | st.integers(1, 60), HOSTILE, st.sampled_from(["agents", "tasks"]), st.booleans()
)
def test_everything_fits(width: int, height: int | None, text: str, table: str, icons: bool) -> None:  # noqa: FBT001
    """No line is wider than the frame, no page is longer, and nothing in it speaks to a terminal."""
    view = View(overview(text), table=table).moved(9)
    drawn = page(view, Frame(width, height, icons=icons))
    assert height is None or len(drawn.lines) <= height
    assert len(drawn.keys) == len(drawn.lines)
    for line in [*text_of(drawn.lines), *text_of([top_text.foot(*keys(view), width)])]:
        assert cell_len(line) <= width
        assert not set("\x00\x1b\x07\x9b\r\n\t\u202e\u200d\ufe0f") & set(line)
    for line in top_cells.wrapped(text, width):
        assert cell_len(line) <= max(2, width)
        assert not set("\x1b\r\n\u200d") & set(line)


def keys(view: View) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What the last line shows."""
    return top_text.hints(view.chosen), top_text.always(view)


def names(view: View) -> list[str]:
    """The agents as they are listed."""
    return [row["name"] for row in view.rows]


def test_the_worst_comes_first() -> None:
    """Given up, run by nobody, ended with mail, paused, silent for long, working, idle, ended."""
    rows = [
        agent("ended", "stopped"),
        agent("idle"),
        agent("busy", "working", output_age_s=1.0),
        agent("silent", "working", output_age_s=900.0),
        agent("paused", "paused"),
        agent("left", "stopped", pending=MAIL | {"total": 3, "urgent": 0, "dead": 0}),
        agent("alone", pid=None),
        agent("broken", "error"),
    ]
    down = overview(agents=rows, supervisor={"running": False, "pid": None})
    assert names(View(down)) == ["broken", "alone", "left", "paused", "silent", "busy", "idle", "ended"]


@pytest.mark.parametrize("letter", [column.letter for column in top_tables.agents(icons=True) if column.letter])
def test_every_letter_sorts(letter: str) -> None:
    """Much comes first, by name from A; the same letter again turns it round; no letter means two columns."""
    little = agent("b", "idle")
    busy = {"run_s": 5.0, "output_age_s": 5.0, "rounds": 3, "restarts": 2, "memory_bytes": 10}
    mail = MAIL | {"total": 1, "urgent": 0, "dead": 0}
    much = agent("a", "working", task={"id": "t" * 36, "title": "it"}, pending=mail, **busy)
    view = View(overview(agents=[little, much]), cpu={much["id"]: 50.0, little["id"]: 1.0})
    once = Order().pressed(letter)
    first = names(View(view.town, view.cpu, once))
    assert first == (["b", "a"] if letter == "S" else ["a", "b"])
    assert names(View(view.town, view.cpu, once.pressed(letter))) == first[::-1]
    for table in (top_tables.agents(icons=True), top_tables.tasks(icons=True)):
        letters = [column.letter for column in table if column.letter]
        assert len(letters) == len(set(letters))
        assert not set(letters) & set("RW")


def test_a_filter_hides_what_does_not_match() -> None:
    """All words, anywhere in what is seen of a row, without regard to case; of needs, too."""
    seen = overview(agents=[agent("web", role="Front"), agent("db")], needs=[need("web is broken"), need("other")])
    view = View(seen, pattern="WEB")
    assert names(view) == ["web"]
    assert [one["title"] for one in view.needs] == ["web is broken"]
    assert names(View(seen, pattern="front idle")) == ["web"]
    assert any(
        "no agents match 'nobody'" in line for line in text_of(page(View(seen, pattern="nobody"), Frame(80, 24)).lines)
    )


def test_the_selection_stays_on_what_it_is_about() -> None:
    """Whatever moves around it; when it is gone, its neighbour is selected; with nothing left, nothing is."""
    empty = overview(agents=[], needs=[], missions=[])
    view = View(overview(agents=[agent("a"), agent("b"), agent("c")], needs=[], missions=[])).moved(1).moved(1)
    assert view.selected == ("agent", "id-b")
    later = view.shows(overview(agents=[agent("b", "error"), agent("c")], needs=[need("n")], missions=[]), {})
    assert later.selected == ("agent", "id-b")
    gone = later.shows(overview(agents=[agent("c")], needs=[], missions=[]), {})
    assert gone.selected == ("agent", "id-c")
    assert gone.shows(empty, {}).selected is None
    assert View(empty).moved(1).chosen is None


def test_the_selected_row_is_shown() -> None:
    """The table scrolls as far as it must."""
    view = View(overview(agents=[agent(f"a{n:03}") for n in range(200)])).moved(10**9)
    view = view.moved(-2)
    drawn = page(view, Frame(80, 24))
    assert view.selected in drawn.keys
    assert drawn.scroll > 150


def test_processor_time_becomes_a_rate() -> None:
    """Percent of a core between two readings; a process that is another one has none yet."""
    meter = Meter()
    first = overview(at="2026-01-02T03:04:05Z", agents=[agent("a", cpu_s=1.0), agent("b", cpu_s=1.0)])
    later = overview(
        at="2026-01-02T03:04:07Z", agents=[agent("a", cpu_s=2.0), agent("b", cpu_s=0.5), agent("c", cpu_s=9.0)]
    )
    assert meter.take(first) == {}
    assert meter.take(later) == {"id-a": 50.0, "id-b": 0.0}


def test_a_bar_has_a_cell_for_everything() -> None:
    """Its cells are in proportion, exactly as many as asked for, and none of what is there is left out."""
    drawn = top_cells.bar([(96, "#", ""), (1, ">", ""), (1, "!", ""), (0, "x", ""), (2, ".", "")], 20)
    text = "".join(part for part, _style in drawn)
    assert len(text) == 20
    assert set(text) == set("#>!.")
    assert progress({"items": [item(1, "blocked", needs_person=True, job="fix"), item(2, "ready")]})["failed"] == 1


def test_only_keys_that_do_something_are_offered() -> None:
    """By the state of what is selected."""

    def shown(kind: str, row: dict[str, Any]) -> str:
        return "".join(offer.key for offer in offers(kind, row))

    assert shown("agent", agent("a")) == "mis"
    assert shown("agent", agent("a", "paused")) == "mrs"
    assert shown("agent", agent("a", "stopped")) == "mR"
    assert [offer.verb for offer in offers("agent", agent("a", stopping="graceful"))][-1] == "agent.kill_now"
    assert shown("task", task("t")) == "t"
    assert shown("task", task("t", "running")) == "c"
    assert shown("task", task("t", "completed")) == ""
    assert (
        shown("need", need("n", "item", item_id="i", mission_id="m", actions=["mission.approve", "mission.reject"]))
        == "ax"
    )
    assert shown("need", need("n", "dead_letter", letter_id="l", agent="a", actions=["message.retry_dead"])) == "tm"
    stuck = need("n", "item", item_id="i", mission_id="m", actions=["mission.retry", "mission.cancel"])
    assert shown("need", stuck) == "tc"
    assert shown("need", need("n", "task", task_id="t", actions=["task.cancel"])) == "c"
    assert shown("need", need("n", "mission", mission_id="m", actions=["mission.note", "mission.stop"])) == "n"
    mission = overview()["missions"][0]
    states: list[dict[str, Any]] = [{}, {"stopped": True}, {"state": "failed"}]
    assert [shown("mission", mission | more) for more in states] == ["snc", "rnc", ""]


def test_what_is_cancelled_is_asked_for_first() -> None:
    """No key cancels by itself: each asks whether it is meant."""
    rows = [
        ("task", task("t", "running")),
        ("need", need("n", "item", item_id="i", mission_id="m", actions=["mission.cancel"])),
        ("need", need("n", "task", task_id="t", actions=["task.cancel"])),
        ("mission", overview()["missions"][0]),
    ]
    assert all(offer.confirms for kind, row in rows for offer in offers(kind, row) if offer.key == "c")


def test_help_fits_a_small_terminal() -> None:
    """No line of it is wrapped at 80 columns."""
    assert max(map(cell_len, top_pager.HELP.splitlines())) < 80
