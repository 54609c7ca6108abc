"""The helpers that other tests stand on."""

from __future__ import annotations

import subprocess

import pytest

from tests.support import leftovers
from tests.support.waiting import wait_until


def test_waiting_names_what_did_not_come() -> None:
    """A wait in vain ends in time, with what was waited for and the last answer."""
    with pytest.raises(AssertionError, match=r"waited 0.02 s in vain for the moon \(last answer: None\)"):
        wait_until(lambda: None, 0.02, "the moon")


def test_waiting_returns_the_answer() -> None:
    """The first truthy answer ends the wait and is its value."""
    answers = iter([None, 0, "here"])

    assert wait_until(lambda: next(answers)) == "here"


def test_an_orphan_in_its_own_session_is_found_and_killed() -> None:
    """What a test leaves running is found and ended, orphaned, detached and without our environment though it be."""
    before = leftovers.descendants()
    subprocess.run(["sh", "-c", "setsid sleep 300 &"], env={"PATH": "/usr/bin:/bin"}, check=True)

    lines = leftovers.left_over(before)

    assert len(lines) == 1
    assert lines[0].endswith(": sleep 300")
    assert leftovers.descendants() == before
