"""Which messages a round takes: pure, so for any mail."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import MINIMAL, QUICK, by_hand
from tinytown.actors.batch import Batch, choose
from tinytown.domain.message import TYPES, Sort

KINDS = list(MINIMAL)
PASSIVE = [kind for kind, row in TYPES.items() if row[0] in {Sort.INFORMATION, Sort.CONFIRMATION}]
CONTROL = [kind for kind, row in TYPES.items() if row[0] is Sort.CONTROL]


def texts_of(kinds: list[str], padding: list[int] | None = None) -> list[str]:
    sizes = padding or [0] * len(kinds)
    return [by_hand(k, id=f"m{n}-{k}", pad="x" * size) for n, (k, size) in enumerate(zip(kinds, sizes, strict=True))]


def look(urgent: list[str], inbox: list[str], **given_: Any) -> Batch:
    usual: dict[str, Any] = {"limit_bytes": 65536, "not_before": {}, "now": 100.0}
    return choose(urgent, inbox, **usual | given_)


MAIL = st.lists(st.tuples(st.sampled_from([*KINDS, "broken"]), st.integers(0, 400)), max_size=12)


@QUICK
@given(MAIL, MAIL, st.integers(1, 2000), st.sets(st.integers(0, 23), max_size=6))
def test_a_batch_for_any_mail(
    urgent: list[tuple[str, int]], inbox: list[tuple[str, int]], limit: int, late: set[int]
) -> None:
    """At most one task, order kept, the byte bound, urgent first, nothing without something to do, nothing twice."""
    lists = []
    for name, mail in (("u", urgent), ("i", inbox)):
        lists.append([
            "{" if kind == "broken" else by_hand(kind, id=f"{name}{n}", pad="x" * size)
            for n, (kind, size) in enumerate(mail)
        ])  # fmt: skip
    held_back = {f"{'u' if n % 2 else 'i'}{n // 2}": 101.0 + n for n in late}

    batch = look(*lists, limit_bytes=limit, not_before=held_back)

    chosen = [(p.urgent, lists[0 if p.urgent else 1].index(p.message.raw)) for p in batch.chosen]
    assert chosen == sorted(set(chosen), key=lambda place: (not place[0], place[1]))
    assert sum(p.message.sort is Sort.TASK for p in batch.chosen) <= 1
    assert not {p.message.id for p in batch.chosen} & held_back.keys()
    assert len(batch.broken) == sum(text == "{" for text in lists[0] + lists[1])
    assert sorted(p.message.raw for p in batch.control) == sorted(
        t for t in lists[0] + lists[1] if t != "{" and json.loads(t)["type"] in CONTROL
    )
    parsed = [json.loads(t) for t in lists[0] + lists[1] if t != "{"]
    ready = [m for m in parsed if m["id"] not in held_back]
    leads = [m for m in ready if TYPES[m["type"]][0] in {Sort.TASK, Sort.QUERY}]
    assert batch.is_actionable == bool(leads) == bool(batch.chosen)
    if batch.chosen:
        lead = next(p for p in batch.chosen if p.message.is_actionable)
        assert lead.message.id == leads[0]["id"], "the first that starts a run does"
        assert sum(len(p.message.raw) for p in batch.chosen) - len(lead.message.raw) <= max(
            0, limit - len(lead.message.raw)
        )
    dues = [held_back[m["id"]] for m in parsed if m["id"] in held_back and m["type"] not in CONTROL]
    assert batch.next_due == (min(dues) if dues else None)


@QUICK
@given(st.lists(st.sampled_from(PASSIVE)), st.lists(st.sampled_from([*PASSIVE, *CONTROL])))
def test_information_starts_nothing(urgent: list[str], inbox: list[str]) -> None:
    """Without a task or a query nothing is chosen, however much or however urgent."""
    batch = look(texts_of(urgent), texts_of(inbox))

    assert batch.chosen == []
    assert not batch.is_actionable


def test_one_task_and_what_fits() -> None:
    """The first task, and everything else that is no task, in the order of the mailbox."""
    batch = look([], texts_of(["informational", "task", "query", "task_assign", "confirmation", "task"]))

    assert [p.message.id for p in batch.chosen] == ["m0-informational", "m1-task", "m2-query", "m4-confirmation"]


def test_a_query_takes_a_task_along() -> None:
    """A query leads; one task may come with it."""
    batch = look([], texts_of(["query", "task", "task"]))

    assert [p.message.id for p in batch.chosen] == ["m0-query", "m1-task"]


def test_what_is_too_large_goes_alone() -> None:
    """The first actionable message is taken whatever its size; the rest waits."""
    mail = texts_of(["informational", "task", "query"], [0, 5000, 0])

    assert [p.message.id for p in look([], mail, limit_bytes=1000).chosen] == ["m1-task"]


def test_what_is_small_passes_what_is_large() -> None:
    """A message that does not fit does not hold up the smaller ones behind it, whose order is kept."""
    mail = texts_of(["task", "query", "informational", "query"], [0, 2000, 0, 0])

    assert [p.message.id for p in look([], mail, limit_bytes=1000).chosen] == [
        "m0-task",
        "m2-informational",
        "m3-query",
    ]


def test_bytes_are_bytes() -> None:
    """The bound counts bytes, not characters."""
    task, wide = by_hand("task"), json.dumps({"type": "query", "question": "ä" * 600}, ensure_ascii=False)

    assert len(look([], [task, wide], limit_bytes=1000).chosen) == 1


def test_held_back_until_its_time() -> None:
    """A message is due at its time, not before; the earliest due time is known."""
    mail = texts_of(["task", "query"])
    held = {"m0-task": 105.0, "m1-query": 103.0}

    early, then = look([], mail, not_before=held, now=102.9), look([], mail, not_before=held, now=103.0)

    assert (early.chosen, early.next_due) == ([], 103.0)
    assert ([p.message.id for p in then.chosen], then.next_due) == (["m1-query"], 105.0)


def test_control_is_never_held_back() -> None:
    """A shutdown is obeyed at once, also when a time was set for its id."""
    batch = look(texts_of(["shutdown"]), texts_of(["ping"]), not_before={"m0-shutdown": 999.0})

    assert [(p.message.type, p.urgent) for p in batch.control] == [("shutdown", True), ("ping", False)]


def test_broken_texts_say_where_and_why() -> None:
    """What is no message is picked out with its list and the reason, and hides nothing behind it."""
    batch = look(["[]"], ["{}", by_hand("query")])

    assert [(b.text, b.urgent) for b in batch.broken] == [("[]", True), ("{}", False)]
    assert all(b.reason for b in batch.broken)
    assert batch.is_actionable
