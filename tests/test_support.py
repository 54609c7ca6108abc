"""The helpers that other tests stand on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import leftovers, warm
from tests.support.cli import TT
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


@pytest.mark.parametrize(
    "args",
    [
        ["--version"],
        [],
        ["--help"],
        ["list", "--help"],
        ["list"],
        ["no-such"],
        ["assign", "a\x1b", "x"],
        ["config"],
    ],
    ids=" ".join,
)
def test_a_warm_command_is_the_real_one(args: list[str], tmp_path: Path) -> None:
    """Exit code, output and complaint of a forked `tt` are those of one that starts by itself."""
    env = os.environ | {"HOME": str(tmp_path), "COLUMNS": "70"}

    forked = warm.TT.run(args, tmp_path, env, 20)
    done = subprocess.run(
        [TT, *args], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )

    assert (forked.returncode, forked.stdout, forked.stderr) == (done.returncode, done.stdout, done.stderr)


def test_a_warm_command_has_its_folder_environment_and_time(tmp_path: Path) -> None:
    """They are the caller's of this call; what takes too long is killed, and tells nobody's next command."""
    (tmp_path / "here").mkdir()
    env = os.environ | {"HOME": str(tmp_path), "TINYTOWN_TOWN": str(tmp_path / "nowhere")}

    told = warm.TT.run(["list"], tmp_path / "here", env, 20)
    assert b"nowhere" in told.stderr
    before = leftovers.descendants()
    with pytest.raises(subprocess.TimeoutExpired):
        warm.TT.run(["list"], tmp_path, env, 0)
    assert leftovers.left_over(before) == []
    assert warm.TT.run(["--version"], tmp_path, env, 20).returncode == 0


def test_what_is_read_at_the_start_wants_a_start(tmp_path: Path) -> None:
    """Variables that an interpreter reads only once have no effect on a warm command: it is refused."""
    with pytest.raises(warm.NotWarm):
        warm.TT.run(["list"], tmp_path, os.environ | {"PYTHONIOENCODING": "latin-1"}, 20)
