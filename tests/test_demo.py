"""scripts/demo, run for real: the whole story, and its end by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[1]
STORY = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--remove"]
ROW = re.compile(r"^  (\S.*?)\s{2,}(backend|frontend|reviewer)\s+(\d+)\s+(\w+)\s+([\d.]+)\s+(\S.*)$", re.MULTILINE)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its folder."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def folders(temp: Path) -> list[Path]:
    """What demos left."""
    return list(temp.glob("tinytown-demo-*"))


def test_demo_does_eight_tasks_through_two_kills(temp: Path) -> None:
    """Exit 0, a table of eight completed tasks, both kills and what followed, nothing left but the files."""
    home = temp / "home"
    home.mkdir()
    environment = os.environ | {"HOME": str(home), "REDIS_URL": "redis://127.0.0.1:1"}

    done = subprocess.run([ROOT / "scripts" / "demo"], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    rows = ROW.findall(done.stdout)
    assert len(rows) == 8, done.stdout
    assert {state for _task, _agent, _runs, state, _seconds, _result in rows} == {"completed"}
    runs = {task: int(count) for task, _agent, count, *_rest in rows}
    assert runs.pop("wait 4") == 2, "the task of the agent that was killed is run again"
    assert set(runs.values()) == {1}, "no other run is repeated"
    assert done.stdout.count("KILL   kill -9") == done.stdout.count("AFTER  ") == 2
    assert "All 8 tasks were completed, each exactly once" in done.stdout
    (folder,) = folders(temp)
    assert f"Files: {folder}/town" in done.stdout
    assert (folder / "town" / "NOTES.md").read_text().startswith("as it is: $(touch oops)")
    assert not (home / ".tt").exists(), "the user's towns stay as they are"


def test_demo_ends_cleanly_on_ctrl_c(temp: Path) -> None:
    """One INT in the middle: the town is stopped, the folder removed as asked, exit 130."""
    with subprocess.Popen(STORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as story:
        output = story.stdout
        assert output is not None
        wait_until(lambda: "Spawned agent 'backend'" in output.readline(), 30, what="the first agent")
        story.send_signal(signal.SIGINT)
        _out, err = story.communicate(timeout=60)

    assert story.returncode == 130
    assert err == "Error: interrupted\n"
    assert folders(temp) == []


def test_demo_ends_when_nobody_reads(temp: Path) -> None:
    """A reader that goes away (`scripts/demo | head -1`) ends the demo and its town."""
    with subprocess.Popen(STORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as story:
        assert story.stdout is not None
        assert "Initialized town" in story.stdout.readline()
        story.stdout.close()
        assert story.wait(60) == 1
    assert folders(temp) == []


def test_demo_refuses_unknown_options() -> None:
    """An option that it does not have is refused before anything is set up."""
    done = subprocess.run([ROOT / "scripts" / "demo", "--wrong"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "Error: unknown option: --wrong\nUse: scripts/demo [--remove]\n"
