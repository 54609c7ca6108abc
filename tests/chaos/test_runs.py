"""Chaos runs of this suite: the default size with a seed, the default limits, and one that is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.fault]

CHECKOUT = Path(__file__).parents[2]


def start(folder: Path, *words: str, path: str = os.environ["PATH"]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chaos", *words], cwd=CHECKOUT, env=os.environ | {"TMPDIR": str(folder), "PATH": path},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def run(folder: Path, *words: str) -> str:
    """What it prints; it must find nothing and leave nothing."""
    with start(folder, *words) as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    assert "Found:  nothing." in said
    assert not list(folder.iterdir())
    return said


@pytest.mark.timeout(420)
def test_default_size(tmp_path: Path) -> None:
    """20 agents, 2,000 tasks, a minute of trouble: nothing lost, nothing twice, nothing left over."""
    said = run(tmp_path, "--seed", "7", "--settle", "240")  # two other tests run beside it
    assert "2000 accepted from 4 writers" in said


@pytest.mark.timeout(240)
def test_default_limits(tmp_path: Path) -> None:
    """What is given up says why, and all of it is done when it is asked for again."""
    sizes = ("--agents", "4", "--tasks", "120", "--seconds", "10")
    said = run(tmp_path, "--default-limits", "--seed", "5", *sizes)
    assert "given up: 5 restarts in 60 s, last: " in said
    assert "crashed: exit code 3" in said
    assert "failed tasks were retried" in said


@pytest.mark.parametrize("words", ["--seconds nan", "--minutes x", "--agents 0", "--tasks many"])
def test_what_is_no_number(tmp_path: Path, words: str) -> None:
    """One line says which, and nothing is started."""
    with start(tmp_path, *words.split()) as process:
        said = process.communicate()[0]
    assert process.returncode == 2
    option, value = words.split()
    assert f"error: argument {option}: {value} is no" in said


def test_no_town_can_be_started(tmp_path: Path) -> None:
    """Not a finding: another exit code, a line with what failed."""
    compiler = tmp_path / "gcc"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    with start(tmp_path, path=f"{tmp_path}:{os.environ['PATH']}") as process:
        said = process.communicate()[0]
    assert process.returncode == 2
    assert "Error: gcc " in said
    assert "Traceback" not in said


@pytest.mark.timeout(60)
def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C in mid-trouble: no process is left, which the suite checks; the folder stays, and is named."""
    with start(tmp_path, "--agents", "3", "--tasks", "50", "--seed", "1") as process:
        wait_until(lambda: list(tmp_path.glob("*/control/marks")), 30, "the first run of a model")
        until = time.monotonic() + 1.0
        wait_until(lambda: time.monotonic() > until)  # some trouble
        process.send_signal(signal.SIGINT)
        interrupted = time.monotonic()
        said = process.communicate()[0]
    assert process.returncode == 130, said
    assert time.monotonic() < interrupted + 20  # and not when the minute is over
    assert f"The town is kept in {next(tmp_path.iterdir())}" in said
    assert "Traceback" not in said
