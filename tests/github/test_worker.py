"""The process that asks for the scheduler: lines in, lines out, in order, bounded, and it ends with its input."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.github.conftest import TOKEN
from tests.support.github.server import GitHub
from tinytown.domain.pull_request import Answer, Failure, Issue, Look, PullRequest
from tinytown.github.lines import MergeRequest, Question, decode_answer, encode_question

pytestmark = pytest.mark.slow


class Worker:
    """The process, and a conversation with it."""

    def __init__(self, api_url: str, cache: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-X", "importtime", "-m", "tinytown.github", api_url, str(cache)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: text for name, text in os.environ.items() if not name.startswith("GITHUB_")} | environment,
        )

    def ask(self, question: Question) -> Answer:
        return self.say(encode_question(question))[1]

    def say(self, line: str) -> tuple[str, Answer]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return decode_answer(self.process.stdout.readline())

    def end(self) -> tuple[int, str, set[str]]:
        """Its exit code, what it complained about, and the modules it loaded."""
        said = self.process.communicate(timeout=20)[1].decode().splitlines()
        loaded = {line.rpartition("|")[2].strip() for line in said if line.startswith("import time:")}
        return self.process.returncode, "".join(x for x in said if not x.startswith("import time:")), loaded


@pytest.fixture
def worker(world: GitHub, tmp_path: Path) -> Iterator[Worker]:
    """One with the token in its environment."""
    made = Worker(world.api_url, tmp_path / "a" / "cache", GITHUB_TOKEN=TOKEN)
    yield made
    made.process.kill()
    made.process.wait()
    for pipe in (made.process.stdin, made.process.stdout, made.process.stderr):
        with contextlib.suppress(OSError):
            assert pipe is not None
            pipe.close()


def test_a_conversation(world: GitHub, worker: Worker, tmp_path: Path) -> None:
    """Looks and merges are answered one by one; at the end of the input it ends, without a word."""
    pull = world.pulls["acme/web", 45]
    pull.check("test", "failure", log="it failed")
    pull.review("ann", "CHANGES_REQUESTED", "No.")

    issue, seen = worker.ask(Look("acme/web#23")), worker.ask(Look(pull.url))
    assert isinstance(issue, Issue)
    assert isinstance(seen, PullRequest)
    assert (seen.checks[0].log, seen.reviews[0].body) == ("it failed", "No.")
    assert isinstance(worker.ask(MergeRequest(pull.url, "0" * 40)), Failure)
    merged = worker.ask(MergeRequest(pull.url, pull.head))
    assert isinstance(merged, PullRequest)
    assert merged.is_merged

    code, said, loaded = worker.end()
    assert (code, said) == (0, "")
    assert "githubkit" in loaded
    assert not {name for name in loaded if name.startswith(("redis.", "rich_click"))}
    cache = tmp_path / "a" / "cache"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert not any(TOKEN in path.read_text() or path.stat().st_mode & 0o077 for path in cache.iterdir())


def test_the_token_is_in_no_argument(worker: Worker) -> None:
    """Every user may read arguments."""
    worker.ask(Look("acme/web#23"))

    assert TOKEN.encode() not in Path(f"/proc/{worker.process.pid}/cmdline").read_bytes()


@pytest.mark.parametrize(
    "line", ["", "x", "[]", "{}", '{"ref": 5}', '{"merge": "u"}', '{"ref": "a", "known": [1]}', "\x00"]
)
def test_a_line_that_is_no_question(worker: Worker, line: str) -> None:
    """It is answered like any other, and the next one too."""
    answer = worker.say(line)[1]

    assert isinstance(answer, Failure)
    assert answer.is_final
    assert isinstance(worker.ask(Look("acme/web#23")), Issue)


def test_long_answers_are_cut(world: GitHub, worker: Worker) -> None:
    """However much there is, a line stays bounded, and what says most is kept."""
    pull = world.pulls["acme/web", 45]
    world.issues["acme/web", 23].body = "x" * 60_000
    for number in range(300):
        pull.comment("ann", f"{number} " + "long " * 2000)
        pull.check(f"check {number}", app="ci")
    pull.check("the red one", "failure", app="ci", summary="y" * 50_000)

    issue, seen = worker.ask(Look("acme/web#23")), worker.ask(Look(pull.url))

    assert isinstance(issue, Issue)
    assert len(issue.body) == 8000
    assert isinstance(seen, PullRequest)
    assert len(seen.comments) == 200
    assert seen.comments[-1].body.startswith("299 ")
    assert max(len(comment.body) for comment in seen.comments) == 2000
    assert [check.name for check in seen.checks if check.outcome == "failure"] == ["the red one"]


def test_a_token_that_cannot_be_one(world: GitHub, tmp_path: Path) -> None:
    """Every look says so, none is final, and the token itself is not said."""
    worker = Worker(world.api_url, tmp_path, GITHUB_TOKEN="ghp secret\nvalue")  # noqa: S106

    answer = worker.ask(Look("acme/web#23"))

    code, said, _ = worker.end()
    assert (code, said) == (0, "")
    assert isinstance(answer, Failure)
    assert not answer.is_final
    assert answer.reason.startswith("GITHUB_TOKEN holds characters that no token has.")
    assert "secret" not in answer.reason


def test_without_the_package(world: GitHub, tmp_path: Path) -> None:
    """Where githubkit is not installed, every look says which extra brings it."""
    (tmp_path / "githubkit.py").write_text("raise ModuleNotFoundError('No module named githubkit', name='githubkit')")
    worker = Worker(world.api_url, tmp_path, GITHUB_TOKEN=TOKEN, PYTHONPATH=str(tmp_path))

    answer = worker.ask(Look("acme/web#23"))

    assert worker.end()[:2] == (0, "")
    assert isinstance(answer, Failure)
    assert not answer.is_final
    assert "pip install 'tinytown[github]'" in answer.reason


def test_nobody_listens(worker: Worker) -> None:
    """When the scheduler has gone it ends without a traceback."""
    assert worker.process.stdout is not None
    worker.process.stdout.close()
    assert worker.process.stdin is not None
    worker.process.stdin.write(json.dumps({"ref": "acme/web#23"}).encode() + b"\n")
    worker.process.stdin.close()
    assert worker.process.stderr is not None
    said = worker.process.stderr.read().decode()

    assert worker.process.wait(20) == 1
    assert "Traceback" not in said
