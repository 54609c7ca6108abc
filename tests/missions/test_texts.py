"""What agents are told, and which pull requests a result names."""

from __future__ import annotations

import pytest

from tests.missions.builders import OTHER_URL, URL, an_item, handed_in
from tinytown.domain.task import Task
from tinytown.domain.work import Job
from tinytown.missions import texts

ITEM = an_item(2, body="All of it,\nin full.", depends_on=["item00001"], source_url="https://github.com/o/r/issues/2")
ITEMS = {ITEM.id: ITEM, "item00001": handed_in(1, result="made the table")}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"see {URL}.", [URL]),
        (f"[it]({URL}/files), and {URL}#discussion_r1", [URL]),
        (f"{URL} and {OTHER_URL}", [URL, OTHER_URL]),
        ("https://GitHub.example.com/O/R/pull/7", ["https://GitHub.example.com/O/R/pull/7"]),
        ("o/r#7, #7, pull/7 and https://github.com/o/r/issues/7", []),
        ("https://github.com/other/r/pull/7", []),
        ("https://github.com/o/r/pull/0", []),
        ("", []),
    ],
)
def test_pull_requests_are_whole_urls_of_our_repositories(text: str, found: list[str]) -> None:
    """Pull requests are whole urls of our repositories."""
    assert texts.pulls_in(text, ["o/r"]) == found


def test_without_known_repositories_any_will_do() -> None:
    """Without known repositories any will do."""
    assert texts.pulls_in("https://github.com/other/r/pull/7", []) == ["https://github.com/other/r/pull/7"]


def test_work_holds_the_whole_issue_what_it_builds_on_and_how_to_hand_in() -> None:
    """Work holds the whole issue what it builds on and how to hand in."""
    text = texts.of_task(Job.WORK, ITEM, ITEMS)
    assert all(part in text for part in (ITEM.title, ITEM.body, "o/r#2", "made the table", "item 2 of 2", "/pull/N"))


def test_an_agent_is_told_to_name_no_other_pull_request() -> None:
    """An agent is told to name no other pull request."""
    assert "no other's" in texts.of_task(Job.WORK, ITEM, ITEMS)
    noted = texts.of_task(Job.WORK, ITEM, ITEMS, notes=["user: the API is\nfrozen", "ann: use v2"])
    assert "Notes on the mission:\n- user: the API is frozen\n- ann: use v2" in noted


def test_a_fix_holds_what_is_to_be_put_right_and_where() -> None:
    """A fix holds what is to be put right and where."""
    text = texts.of_task(Job.FIX, handed_in(1, URL, body="the issue"), ITEMS, "the build broke")
    assert all(part in text for part in ("the build broke", URL, "the issue"))


def test_a_review_asks_for_a_command_and_says_which() -> None:
    """A review asks for a command and says which."""
    item = handed_in(1, URL, body="the issue", result="made it", mission_id="mission0-1")
    text = texts.of_task(Job.REVIEW, item, {item.id: item})
    assert "tt mission approve item0000 --run mission0" in text
    assert "tt mission reject item0000 --run mission0 --reason" in text
    assert all(part in text for part in ("nothing else counts", URL, "made it", "the issue"))


def test_a_verification_is_a_line_for_people_and_a_line_for_each_command() -> None:
    """A verification is a line for people and a line for each command."""
    text = texts.of_task(Job.VERIFY, handed_in(1, title="two\nlines", verify=["make", "pytest -q"]), {})
    assert Task(id="t", description=text, created_at="", updated_at="").commands == ["make", "pytest -q"]


def test_only_the_first_of_many_names_are_told() -> None:
    """Only the first of many names are told."""
    assert texts.some("abcde") == "a, b, c and 2 more"
    assert texts.some("abc") == "a, b, c"
