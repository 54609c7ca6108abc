"""The checker of a mission's history finds what must not be; it is no use if it never complains."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import stage
from tests.support.builders import make_item, make_mission
from tests.support.github.server import GitHub, Request
from tinytown.store.missions import MissionFile

RUN = make_mission()
FIRST = make_item(RUN, 1, verify=["true"])
SECOND = make_item(RUN, 2, depends_on=[FIRST.id])
FILE = MissionFile("", RUN, {FIRST.id: FIRST, SECOND.id: SECOND})

WORK = ("assigned", "work given to ann")
HANDED_IN = ("handed_in", "work handed in by ann")
VERIFY, VERIFIED = ("assigned", "verify given to ann"), ("handed_in", "verified")
REVIEW, APPROVED = ("assigned", "review given to zoe"), ("approved", "approved by zoe")
DONE = ("done", "verified and approved")
FINE = [WORK, HANDED_IN, VERIFY, VERIFIED, REVIEW, APPROVED, DONE]


def history(*rows: tuple[str, str], of: Any = FIRST) -> list[dict[str, Any]]:
    """Events of an item."""
    return [
        {"event_type": f"work_item_{kind}", "message": f"{of.source_ref}: {text}", "work_item_id": of.id}
        for kind, text in rows
    ]


def test_nothing_is_wrong() -> None:
    """A plain history, and one where a person merged what nobody had approved."""
    assert not list(stage.wrong(FILE, history(*FINE)))
    assert not list(stage.wrong(FILE, history(WORK, HANDED_IN, ("done", "x was merged by zoe"))))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([WORK, WORK], "had a task already"),
        ([*FINE, DONE], "done twice"),
        ([WORK, HANDED_IN, REVIEW], "reviewed before it was verified"),
        ([WORK, HANDED_IN, VERIFY, VERIFIED, DONE], "without an approval"),
        ([WORK, HANDED_IN, APPROVED, ("merging", "merges x")], "without a verification"),
        ([*FINE[:-1], ("assigned", "fix given to ann"), ("handed_in", "fix handed in by ann"), DONE], "without an app"),
    ],
)
def test_what_is_wrong_is_found(rows: list[tuple[str, str]], words: str) -> None:
    """Each rule by one history that breaks it."""
    assert any(words in line for line in stage.wrong(FILE, history(*rows)))


def test_what_was_begun_too_early_is_found() -> None:
    """An item may begin when those that it depends on are done."""
    late = [*history(*FINE), *history(WORK, of=SECOND)]
    assert not list(stage.wrong(FILE, late))
    assert list(stage.wrong(FILE, [*late[1:-2], late[-1], late[-2]]))


def test_unfit_merges_are_found() -> None:
    """One at a red or running check, or at another commit than the newest."""
    with GitHub() as github:
        found = stage.watch_merges(github)
        pull = github.pull("acme/web", 7)
        path = "/api/v3/repos/acme/web/pulls/7/merge"
        assert github.before is not None
        pull.check("build", "failure")
        github.before(Request("PUT", path, 0, None, {"sha": pull.head}))
        pull.check("build", "success")
        github.before(Request("PUT", path, 0, None, {"sha": pull.head}))
        assert len(found) == 1
        github.before(Request("PUT", path, 0, None, {"sha": "other"}))
        assert len(found) == 2
