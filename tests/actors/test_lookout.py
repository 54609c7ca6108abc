"""The process that asks GitHub, as its actor drives it: questions, answers, silence, noise, death."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tinytown import clock, ids, processes
from tinytown.actors import lookout
from tinytown.actors.lookout import Lookout
from tinytown.domain.pull_request import Answer, Failure, Look
from tinytown.github.lines import ref_of
from tinytown.missions.decisions import Merge

# An asker for tests: what it does with a question is in the question.
PROGRAM = """
import json, os, subprocess, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    ref = asked.get("ref") or asked["merge"]
    if "die" in ref:
        print("Traceback\\nOSError: the network is on fire", file=sys.stderr)
        sys.exit(1)
    if "silent" in ref:
        child = subprocess.Popen(["sleep", "600"])
        time.sleep(600)
    if "noise" in ref:
        print("a warning", flush=True)
    if "close" in ref:
        os.close(1); os.close(2)
        time.sleep(600)
    limited = 0.5 if "limit" in ref else None
    print(json.dumps({"ref": ref, "failure": {"ref": ref, "reason": "merge" if "merge" in asked else "look",
          "is_final": False, "retry_after_s": limited}}), flush=True)
"""
NewLookout = Callable[..., Lookout]
MARK = f"missions:{ids.new_id()}:"


@pytest.fixture
def new_lookout(tmp_path: Path) -> Iterator[NewLookout]:
    """Start none; all are killed at the end."""
    program = tmp_path / "asker.py"
    program.write_text(PROGRAM)
    made: list[Lookout] = []

    def make(within_s: float = 20.0, argv: list[str] | None = None) -> Lookout:
        made.append(Lookout(argv or [sys.executable, str(program)], tmp_path, MARK, within_s=within_s))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def drive(found: Lookout, count: int) -> list[tuple[str, Answer]]:
    """Do what its actor does until there are that many answers."""
    answers: list[tuple[str, Answer]] = []

    def enough() -> bool:
        found.step(clock.monotonic())
        for fd in select.select(found.fds, [], [], 0.01)[0] if found.fds else ():
            found.on_ready(fd)
        answers.extend((ref_of(question), answer) for question, answer in found.drain())
        return len(answers) >= count

    wait_until(enough, 15.0, f"{count} answers")
    assert len(answers) == count
    return answers


def reasons(answers: list[tuple[str, Answer]]) -> list[tuple[str, str]]:
    """What they say; all are failures."""
    return [(ref, answer.reason) for ref, answer in answers if isinstance(answer, Failure)]


def test_questions_and_answers(new_lookout: NewLookout) -> None:
    """In their order, more than the pipe is given at once; looks and merges of one thing are told apart."""
    found = new_lookout()
    refs = [f"acme/web#{n}" for n in range(1, 41)]
    found.ask(Look(ref) for ref in refs)
    found.merge([Merge("acme/web#1", "abc")])
    answers = drive(found, 41)
    assert [ref for ref, _answer in answers] == [*refs, "acme/web#1"]
    assert reasons(answers)[0] == ("acme/web#1", "look")
    assert reasons(answers)[-1] == ("acme/web#1", "merge")


def test_what_is_under_way_is_not_asked_again(new_lookout: NewLookout) -> None:
    """One look at a time at one thing; when it was answered it may be asked anew."""
    found = new_lookout()
    for _ in range(3):
        found.ask([Look("a/b#1"), Look("a/b#1", ("known",))])
        found.step(clock.monotonic())
    drive(found, 1)
    found.ask([Look("a/b#1")])
    drive(found, 1)


def test_one_process_for_all_questions(new_lookout: NewLookout) -> None:
    """It goes on for a while, carries the mark, and is ended when nothing is asked any more."""
    found = new_lookout()
    found.ask([Look("a/b#1")])
    drive(found, 1)
    (process,) = processes.marked(MARK)
    found.ask([Look("a/b#2")])
    drive(found, 1)
    assert processes.marked(MARK) == [process]
    found.step(clock.monotonic() + lookout.IDLE_S)
    assert not processes.is_alive(process)
    assert found.fds == []
    assert found.next_due() is None


def test_noise_is_no_answer(new_lookout: NewLookout) -> None:
    """Lines that are no answers are passed over."""
    found = new_lookout()
    found.ask([Look("a/noise#1")])
    assert reasons(drive(found, 1)) == [("a/noise#1", "look")]


def test_its_death_is_a_failure_of_what_it_owed(new_lookout: NewLookout) -> None:
    """With its last words; it is started again after a pause, which grows."""
    found = new_lookout()
    found.ask([Look("a/b#1"), Look("a/die#2"), Look("a/b#3")])
    answers = reasons(drive(found, 3))
    assert answers[0] == ("a/b#1", "look")
    assert [ref for ref, _reason in answers[1:]] == ["a/die#2", "a/b#3"]
    assert "the network is on fire" in answers[1][1]
    found.ask([Look("a/b#1")])
    found.step(clock.monotonic())
    assert found.fds == []
    due = found.next_due()
    assert due is not None
    assert 0 < due - clock.monotonic() <= lookout.RETRY_S
    drive(found, 1)


@pytest.mark.parametrize("how", ["silent", "close"])
def test_silence_ends_it(new_lookout: NewLookout, how: str) -> None:
    """No answer in time, or none to come: it is ended with what it has started."""
    found = new_lookout(within_s=0.5)
    found.ask([Look(f"a/{how}#1")])
    ((_ref, reason),) = reasons(drive(found, 1))
    assert "failed" in reason
    wait_until(lambda: not processes.marked(MARK), 5.0, "the end of it all")


def test_a_rate_limit_holds_every_question(new_lookout: NewLookout) -> None:
    """GitHub wants to be left alone: nothing is asked until then."""
    found = new_lookout()
    found.ask([Look("a/limit#1")])
    drive(found, 1)
    begun = clock.monotonic()
    found.ask([Look("a/b#2")])
    drive(found, 1)
    assert clock.monotonic() - begun > 0.4


def test_a_command_that_is_not_there(new_lookout: NewLookout) -> None:
    """An answer as well, with the reason."""
    found = new_lookout(argv=["/nowhere/python"])
    found.ask([Look("a/b#1")])
    ((_ref, reason),) = reasons(drive(found, 1))
    assert "No such file" in reason


def test_questions_of_any_length(new_lookout: NewLookout) -> None:
    """More than fits into the pipe at once is a failure, and no half of a line."""
    found = new_lookout()
    long = Look("a/b#1", tuple("x" * 1000 for _ in range(100)))
    found.ask([long, Look("a/b#2")])
    answers = reasons(drive(found, 2))
    assert [ref for ref, _reason in answers] == ["a/b#1", "a/b#2"]
    assert "does not read" in answers[0][1]
