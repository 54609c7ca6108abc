"""The process that asks GitHub for the scheduler: started when something is to be asked, ended when it is idle.

It is ended with the actor, and when it owes an answer for too long. Nothing here blocks.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from tinytown import clock, processes
from tinytown.backoff import Backoff
from tinytown.domain.pull_request import Answer, Failure, Look
from tinytown.github import lines
from tinytown.missions.decisions import Merge
from tinytown.model_cli.launch import Launch, spawn

ANSWER_WITHIN_S = 60.0
IDLE_S = 10.0
AT_ONCE = 16  # questions that are in its pipe
LINE_BYTES = 32_000_000
CHUNK = 65536
RETRY_S, RETRY_MAX_S = 1.0, 60.0
COMPLAINT = 300  # characters


class Lookout:
    """See the module. `ask` and `merge`, select on `fds`, then `drain` the answers: (question, answer)."""

    def __init__(self, argv: list[str], folder: Path, mark: str, *, within_s: float = ANSWER_WITHIN_S) -> None:
        self._argv = argv
        self._folder = folder
        self._mark = mark
        self._within_s = within_s
        self._process: subprocess.Popen[bytes] | None = None
        self._stdin = self._stdout = self._pidfd = -1
        self._asked: deque[lines.Question] = deque()  # in its pipe, oldest first
        self._waiting: dict[lines.Question, None] = {}
        self._answers: list[tuple[lines.Question, Answer]] = []
        self._buffer = bytearray()
        self._complaint = ""
        self._heard_at = 0.0
        self._hold_until = 0.0
        self._retry = Backoff(RETRY_S, RETRY_MAX_S)

    def ask(self, looks: Iterable[Look]) -> None:
        """Look at these, unless it is under way already. The newest of several questions about one thing is asked."""
        asked = {q.ref for q in self._asked if isinstance(q, Look)}
        waiting = {q.ref: q for q in self._waiting if isinstance(q, Look)}
        for look in looks:
            if look.ref not in asked:
                self._waiting.pop(waiting.get(look.ref, look), None)
                self._waiting[look] = None
                waiting[look.ref] = look

    def merge(self, merges: Iterable[Merge]) -> None:
        """Merge these."""
        self._waiting |= dict.fromkeys(lines.MergeRequest(merge.url, merge.head) for merge in merges)

    def drain(self) -> list[tuple[lines.Question, Answer]]:
        """The answers that came."""
        answers, self._answers = self._answers, []
        return answers

    @property
    def fds(self) -> list[int]:
        """Readable when it said something, or ended."""
        return [fd for fd in (self._stdout, self._pidfd) if fd >= 0]

    @property
    def has_answers(self) -> bool:
        """There is something to drain."""
        return bool(self._answers)

    def next_due(self) -> float | None:
        """When `step` has something to do (monotonic)."""
        if self._process is None:
            return max(self._hold_until, self._retry.retry_at) if self._waiting else None
        due = self._heard_at + (self._within_s if self._asked else IDLE_S)
        is_held = self._waiting and self._hold_until > self._heard_at
        return min(due, self._hold_until) if is_held else due

    def step(self, now: float) -> None:
        """Start it, give it questions, end it: what is due at `now`."""
        if self._process is not None and now >= self._heard_at + self._within_s and self._asked:
            self._complaint = f"no answer within {self._within_s:g} s"
            self.kill()
            self._failed()
        if self._process is None and self._waiting and now >= max(self._hold_until, self._retry.retry_at):
            self._start()
        if self._process is not None and now >= self._hold_until:
            self._feed(now)
        if self._process is not None and not self._asked and now >= self._heard_at + IDLE_S:
            self.kill()  # it has nothing under way

    def on_ready(self, fd: int) -> list[int]:
        """Read what is readable; returns the descriptors that are closed now."""
        before = self.fds
        if fd in before and (self._has_ended() or fd == self._pidfd):
            self.kill()
            if self._asked:
                self._failed()
        return [fd for fd in before if fd not in self.fds]

    def kill(self) -> None:
        """End it at once, with whatever it has started."""
        if self._process is None:
            return
        leader = processes.identity(self._process.pid)
        if leader is not None:
            processes.kill_all(processes.descendants(leader.pid))
        self._process.kill()
        self._process.wait()
        for fd in (self._stdin, self._stdout, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._process, self._stdin, self._stdout, self._pidfd = None, -1, -1, -1
        self._buffer.clear()

    def _start(self) -> None:
        inner, self._stdin = os.pipe2(os.O_CLOEXEC)
        self._stdout, outer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stdout, False)
        env = {name: value for name, value in os.environ.items() if not name.startswith("TINYTOWN_")}
        self._complaint, self._heard_at = "", clock.monotonic()
        try:
            self._process = spawn(
                Launch(self._argv, inner), outer, self._folder, env | {processes.RUN_VARIABLE: self._mark}
            )
            self._pidfd = os.pidfd_open(self._process.pid)
        except (OSError, subprocess.SubprocessError) as error:
            self._complaint = str(error)
            os.close(self._stdin)
            os.close(self._stdout)
            self._stdin = self._stdout = -1
            self._asked.extend(self._waiting)
            self._waiting.clear()
            self._failed()
        finally:
            os.close(inner)
            os.close(outer)

    def _feed(self, now: float) -> None:
        while self._waiting and len(self._asked) < AT_ONCE:
            question = next(iter(self._waiting))
            line = (lines.encode_question(question) + "\n").encode()
            try:
                written = os.write(self._stdin, line)
            except OSError:  # it has ended, or does not read: its end or its time limit says so
                return
            if not self._asked:
                self._heard_at = now
            del self._waiting[question]
            self._asked.append(question)
            if written < len(line):
                self._complaint = "it does not read its questions"
                self.kill()
                self._failed()
                return

    def _has_ended(self) -> bool:
        """Take what it has said; True when it says no more."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._stdout, CHUNK):
                *whole, self._buffer = (self._buffer + chunk).split(b"\n")
                for line in whole:
                    self._take(bytes(line))
                if len(self._buffer) > LINE_BYTES:
                    self._complaint = "a line without an end"
                    break
            return True
        return False

    def _take(self, line: bytes) -> None:
        try:
            ref, answer = lines.decode_answer(line)
        except ValueError:
            self._complaint = line.decode("utf-8", "replace").strip()[:COMPLAINT] or self._complaint
            return
        question = next((q for q in self._asked if lines.ref_of(q) == ref), None)
        if question is None:
            return
        now = clock.monotonic()
        self._asked.remove(question)
        self._heard_at = now
        self._retry.worked()
        if isinstance(answer, Failure) and answer.retry_after_s is not None:
            self._hold_until = max(self._hold_until, now + answer.retry_after_s)
        self._answers.append((question, answer))

    def _failed(self) -> None:
        """What it owed is answered so, and it is started again a little later."""
        self._retry.failed()
        reason = f"the process that asks GitHub failed: {self._complaint}".rstrip(": ")
        self._answers += [(question, Failure(lines.ref_of(question), reason)) for question in self._asked]
        self._asked.clear()


def worker(api_url: str, cache: Path) -> list[str]:
    """The command that runs it. -P: a file in the working directory must not shadow a module."""
    return [sys.executable, "-P", "-m", "tinytown.github", api_url, str(cache)]
