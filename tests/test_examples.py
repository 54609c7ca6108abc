"""The examples as their readers run them: each in a scratch folder, with the demo CLI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import invariants
from tests.support.cli import Tt
from tinytown import Town
from tinytown.town import open_town

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "here.py")


@dataclass(frozen=True)
class Scratch:
    """A folder to run examples in."""

    root: Path

    def run(self, program: str, *arguments: str) -> list[str]:
        """The lines it prints; it must end well and complain of nothing."""
        done = subprocess.run(
            [sys.executable, EXAMPLES / program, *arguments],
            cwd=self.root, capture_output=True, text=True, check=False, timeout=50,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
        return done.stdout.splitlines()

    def text(self, name: str) -> str:
        """A file that the agents made."""
        return (self.root / name).read_text()


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    """At the end the town is at rest and everything is as it must be; then it is stopped."""
    yield Scratch(tmp_path)
    town = open_town(str(tmp_path))
    invariants.check(town, settled=True)
    town.store.close()
    ended = Tt(tmp_path, town=tmp_path).ok("stop", "--all")
    assert "Requested graceful stop for 0 agent(s)" in ended.out  # the example dismissed all of its own


def test_single_agent(scratch: Scratch) -> None:
    """One task is done; run again in the same town it works as well."""
    for _ in range(2):
        lines = scratch.run("single_agent.py")
        assert re.fullmatch(r"Spawned coder: [0-9a-f-]{36}", lines[0])
        assert re.fullmatch(r"Assigned task [0-9a-f-]{36}", lines[1])
        assert lines[2:] == ["coder is idle", "The task is completed: wrote fibonacci.txt (18 characters)"]
    assert scratch.text("fibonacci.txt") == "1 1 2 3 5 8 13 21\n"


def test_sequential(scratch: Scratch) -> None:
    """Each step finds what the one before it left."""
    assert scratch.run("sequential.py") == [
        "architect: completed: wrote api.md (35 characters)",
        "developer: completed: copied api.md to server.txt",
        "tester: completed: server.txt: 1 lines, 6 words, 35 characters",
        "reviewer: completed: server.txt is in upper case",
    ]
    assert scratch.text("server.txt") == "POST /SIGNUP, POST /LOGIN, GET /ME\n"


def test_parallel(scratch: Scratch) -> None:
    """All three are done."""
    lines = scratch.run("parallel.py", "--cli", "demo")
    assert [line.partition(": ")[0] for line in lines] == ["frontend", "backend", "docs"]
    assert all(": completed: wrote " in line for line in lines)


def test_fan_out_fan_in(scratch: Scratch) -> None:
    """The reviewer has all parts."""
    assert scratch.run("fan_out_fan_in.py") == [
        "All parts are there", "reviewer: completed: the sum of 3 numbers in parts.txt is 42",
    ]  # fmt: skip


def test_pipeline(scratch: Scratch) -> None:
    """All stages pass, their tasks are parts of the epic, which is completed."""
    lines = scratch.run("pipeline.py")
    assert [line.partition(":")[0] for line in lines] == [
        "[code] completed", "[style] completed", "[test] completed", "[deploy] completed", "epic completed",
    ]  # fmt: skip
    tasks = Tt(scratch.root, town=scratch.root).ok("task", "list", "--json").json
    epic = next(task for task in tasks if task["tags"] == ["epic"])
    parts = [task for task in tasks if task["parent_id"] == epic["id"]]
    assert (epic["state"], epic["result"]) == ("completed", "all 4 stages passed")
    assert sorted(part["tags"][0] for part in parts) == ["code", "deploy", "style", "test"]


def test_pipeline_stops_at_a_failure(scratch: Scratch) -> None:
    """A stage that fails is the last one; the epic has failed with its reason."""
    Town.init(scratch.root, "examples").close()
    with (scratch.root / "tinytown.toml").open("a") as settings:
        settings.write("\n[agent]\nretry_delay_s = 0.05\n")
    (scratch.root / "profile.txt.count").mkdir()  # the tester cannot write there
    lines = scratch.run("pipeline.py")
    assert [line.partition(":")[0] for line in lines] == [
        "[code] completed", "[style] completed", "[test] failed", "epic failed",
    ]  # fmt: skip
    assert "stage test failed: crashed: exit code 1" in lines[-1]


def test_recovery(scratch: Scratch) -> None:
    """The failure is seen, what was missing is made, a new worker does it."""
    Town.init(scratch.root, "examples").close()
    with (scratch.root / "tinytown.toml").open("a") as settings:
        settings.write("\n[agent]\nretry_delay_s = 0.05\n")
    lines = scratch.run("recovery.py")
    assert lines[0] == "No worker yet: the first one"
    assert lines[1].startswith("'sum numbers.txt' failed: crashed: exit code 1")
    assert lines[2:] == [
        "'write numbers.txt: 17 4 21' completed: wrote numbers.txt (8 characters)",
        "Refused: A task that is failed cannot become completed.",
        "worker has ended: another one",
        "'sum numbers.txt' completed: the sum of 3 numbers in numbers.txt is 42",
    ]


def test_conversation(scratch: Scratch) -> None:
    """Both questions are answered, also when the mailbox held something before."""
    scratch.run("single_agent.py")
    first, second = scratch.run("conversation.py")
    assert first == "It is idle"
    assert second.startswith("It says: wrote a note to notes/")


def test_own_worker(scratch: Scratch) -> None:
    """No model CLI, no supervisor; run again it goes on with the same worker."""
    for _ in range(2):
        assert scratch.run("own_worker.py") == ["5! = 120", "10! = 3628800", "20! = 2432902008176640000"]
    with Town.connect(scratch.root) as town:
        assert [agent.tasks_completed for agent in town.list_agents()] == [6]
    assert not open_town(str(scratch.root)).supervisor_lock.is_taken()


def test_own_model(scratch: Scratch) -> None:
    """The command got the whole prompt; its CLI is in the settings."""
    (line,) = scratch.run("own_model.py")
    assert re.fullmatch(r"Words in the prompt: completed: \d{2,}", line)
    assert "[agent_clis.word-counter]" in scratch.text("tinytown.toml")


@pytest.mark.parametrize("program", PROGRAMS)
def test_they_say_what_they_do(program: str, tmp_path: Path) -> None:
    """--help shows the docstring and makes no town; the table names each of them."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / program, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: ")
    assert "--cli" in done.stdout
    assert not os.listdir(tmp_path)
    assert f"| [{program}]({program}) |" in (EXAMPLES / "README.md").read_text()
