"""Asks GitHub for the scheduler: `python -m tinytown.github API_URL CACHE_FOLDER`, ends at the end of its input.

Questions on stdin, answers on stdout in the same order (lines.py). The token comes by the environment alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tinytown.domain.pull_request import Answer, Failure
from tinytown.errors import TinytownError
from tinytown.github import lines
from tinytown.github.client import GitHub, connect, failure


def main() -> None:
    """Answer line by line. Ends early, without a word, when nobody reads its answers or it is interrupted."""
    if len(sys.argv) != 3:
        sys.exit("Usage: python -m tinytown.github API_URL CACHE_FOLDER")
    sys.modules["redis"] = None  # type: ignore[assignment]  # githubkit loads what it finds: 8 MB for nothing
    try:
        with connect(sys.argv[1], Path(sys.argv[2])) as github:
            _serve(github)
    except TinytownError as error:
        _serve(error)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)  # the interpreter would complain about the pipe, too


def _serve(github: GitHub | TinytownError) -> None:
    for line in sys.stdin.buffer:
        try:
            question = lines.decode_question(line)
        except ValueError as error:
            _say("", Failure("", f"This is {error}.", is_final=True))
        else:
            _say(lines.ref_of(question), _answer(github, question))


def _answer(github: GitHub | TinytownError, question: lines.Question) -> Answer:
    if isinstance(github, TinytownError):  # nothing that was asked for is to blame
        refused = failure(lines.ref_of(question), github)
        return Failure(refused.ref, refused.reason)
    if isinstance(question, lines.MergeRequest):
        return github.merge(question.url, question.head)
    return github.look(question)


def _say(ref: str, answer: Answer) -> None:
    sys.stdout.write(lines.encode_answer(ref, answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
