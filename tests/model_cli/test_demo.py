"""The demo CLI as a real process, with a `tt` that writes down how it was called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinytown import clock
from tinytown.model_cli.catalog import PRESETS
from tinytown.model_cli.marks import fenced, mark

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TASK = "7b0c9a3e-0000-4000-8000-000000000001"
TT = """#!{python} -IS
import json, os, sys
with open(os.environ["CALLS"], "a") as stream:
    stream.write(json.dumps(sys.argv[1:]) + "\\n")
print("refused: no such agent" if os.environ.get("TT_EXIT") else "ok", file=sys.stderr)
sys.exit(int(os.environ.get("TT_EXIT", "0")))
"""


class Demo:
    """Runs the demo in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.calls_file = folder / "calls"
        program = folder / "bin" / "tt"
        program.parent.mkdir()
        program.write_text(TT.format(python=sys.executable))
        program.chmod(0o755)
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        self.env = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "CALLS": str(self.calls_file)}

    def __call__(self, *texts: str, kind: str = "task_assign", **env: str) -> subprocess.CompletedProcess[str]:
        """One round with these texts as tasks."""
        parts = []
        for number, text in enumerate(texts):
            task = TASK[:-1] + str(number) if kind == "task_assign" else None
            parts.append(f"### {number}\n\n{mark(f'm-{number}', task, kind, 'boss')}\n{fenced(text)}")
        return subprocess.run(
            PRESETS["demo"].argv,
            input="# prompt\n\n" + "\n\n".join(parts) + "\n",
            cwd=self.folder,
            env=self.env | env,
            text=True,
            capture_output=True,
            check=False,
        )

    @property
    def calls(self) -> list[list[str]]:
        if not self.calls_file.exists():
            return []
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


def test_write_and_report(demo: Demo) -> None:
    """The file has the text, and the task is reported with the result, once."""
    ended = demo("write sub/hello.txt: hi: 'there'")
    assert ended.returncode == 0, ended.stderr
    assert (demo.folder / "sub" / "hello.txt").read_text() == "hi: 'there'\n"
    result = "wrote sub/hello.txt (12 characters)"
    assert demo.calls == [["task", "complete", TASK[:-1] + "0", "--result", result]]
    assert result in ended.stdout.splitlines()


def test_file_kinds(demo: Demo) -> None:
    """Copy, upper, sort, count, sum and table do what they say."""
    (demo.folder / "n.txt").write_text("b 2\na 1.5\nc -1\n")
    ended = demo("copy n.txt to m.txt", "upper m.txt", "sort m.txt", "count m.txt", "sum n.txt", "table 3 to t.txt")
    assert ended.returncode == 0, ended.stdout
    assert (demo.folder / "m.txt").read_text() == "A 1.5\nB 2\nC -1\n"
    assert (demo.folder / "m.txt.count").read_text() == "3 lines, 6 words, 15 characters\n"
    assert "the sum of 3 numbers in n.txt is 2.5" in ended.stdout
    assert (demo.folder / "t.txt").read_text().splitlines()[2].split() == ["3", "6", "9"]
    assert len(demo.calls) == 6


def test_append_once_per_task(demo: Demo) -> None:
    """A second run of the same task adds nothing; a first run that died before the write is made good."""
    for _ in range(2):
        assert demo("append log.txt: line").returncode == 0
    assert (demo.folder / "log.txt").read_text() == "line\n"
    (demo.folder / "log.txt").write_text("")
    demo("append log.txt: line")
    assert (demo.folder / "log.txt").read_text() == "line\n"


def test_anything_else_is_a_note(demo: Demo) -> None:
    """Free text becomes a note named after the task."""
    assert demo("Build the login page\nwith care").returncode == 0
    assert (demo.folder / "notes" / f"{TASK[:8]}.md").read_text() == "Build the login page\nwith care\n"


@pytest.mark.parametrize(
    "text",
    ["write /etc/x: y", "write ../x: y", "copy /etc/passwd to x", "write .tt/x: y", "write link/x: y", "upper no"],
)
def test_files_stay_inside(demo: Demo, text: str) -> None:
    """No file outside the working directory, by whatever way; nothing is reported."""
    (demo.folder / "link").symlink_to("/tmp")
    ended = demo(text)
    assert ended.returncode == 1
    assert "failed: " in ended.stdout
    assert demo.calls == []


def test_fail(demo: Demo) -> None:
    """A task may ask to fail."""
    ended = demo("fail no coffee")
    assert (ended.returncode, "failed: no coffee" in ended.stdout, demo.calls) == (1, True, [])


def test_wait(demo: Demo) -> None:
    """Waiting takes its time."""
    begun = clock.monotonic()
    assert demo("wait 0.2").returncode == 0
    assert clock.monotonic() - begun >= 0.2


def test_ask_and_delegate_once(demo: Demo) -> None:
    """Messages to others are sent once per task; a refusal fails the task."""
    refused = demo("delegate nobody: write a: b", TT_EXIT="1")
    assert (refused.returncode, "failed: tt assign: refused: no such agent" in refused.stdout) == (1, True)
    demo.calls_file.unlink()
    for _ in range(2):
        assert demo("ask ui: Which port?", "delegate qa: write a: b").returncode == 0
    sent = [call for call in demo.calls if call[0] != "task"]
    assert sent == [["send", "ui", "--query", "Which port?"], ["assign", "qa", "write a: b"]]


def test_query_is_answered(demo: Demo) -> None:
    """A message without a task is done, and a question answered to who asked."""
    assert demo("write a.txt: b", kind="query").returncode == 0
    assert demo.calls == [["send", "boss", "--info", "wrote a.txt (2 characters)"]]


def test_report_refused_or_impossible(demo: Demo) -> None:
    """Work that is done is not undone because the town did not take the report."""
    ended = demo("write a: b", TT_EXIT="1")
    assert (ended.returncode, "tt task complete: refused" in ended.stdout) == (0, True)
    ended = demo("write a: b", PATH="/nowhere")
    assert (ended.returncode, "tt task complete: cannot run tt" in ended.stdout) == (0, True)


def test_modules_in_the_working_directory_do_no_harm(demo: Demo) -> None:
    """A file that a task wrote does not shadow a module of the next run."""
    assert demo("write subprocess.py: raise SystemExit(9)").returncode == 0
    assert demo("write tinytown.py: raise SystemExit(9)").returncode == 0


def test_help_and_no_items(demo: Demo) -> None:
    """--help lists the kinds; a prompt without work is no error."""
    argv = [*PRESETS["demo"].argv, "--help"]
    shown = subprocess.run(argv, env=demo.env, text=True, capture_output=True, check=True).stdout
    kinds = "write append copy upper sort count sum table wait fail ask delegate"
    for kind in kinds.split(" "):
        assert f"{kind} " in shown
    assert demo().returncode == 0
