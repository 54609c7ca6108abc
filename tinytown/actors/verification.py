"""A verification: the commands of a work item, run where its author worked, in place of a model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from tinytown import clock
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.record import dump
from tinytown.model_cli.catalog import ModelCli
from tinytown.model_cli.run import ModelRun

OUTPUT_CHARS = 3_000  # of the command that failed, or was the last
_OUR_LIMITS = frozenset({OutcomeKind.TIMED_OUT, OutcomeKind.HUNG})


class Verification:
    """Its commands one after the other, each by `sh -c`, until one fails.

    It is completed whatever they say: that is the result, JSON with `ok`, `command`, `exit` and `output`. What keeps
    them from having a say (stopped, killed, no shell) is the round's outcome as with any run. `limit_s` (0: none) is
    for all of them; `make(cli, prompt, cwd=..., ...)` makes a run.
    """

    def __init__(
        self,
        commands: Sequence[str],
        make: Callable[..., ModelRun],
        limit_s: float,
        log: Path,
        say: Callable[[str], None],
    ) -> None:
        self._commands = list(commands)
        self._make = make
        self._limit_s = limit_s
        self._log = log
        self._say = say
        self._begun_at = 0.0
        self._cwd = Path()

    def start(self, cwd: Path) -> ModelRun:
        """The first command's run."""
        self._begun_at, self._cwd = clock.monotonic(), cwd
        return self._run()

    def after(self, ended: Outcome) -> ModelRun | Outcome:
        """The next command's run, or what it all comes to."""
        command = self._commands[0] if self._commands else "true"
        if ended.kind is OutcomeKind.STOPPED or (ended.exit_code is None and ended.kind not in _OUR_LIMITS):
            is_hold = ended.kind is OutcomeKind.NOT_FOUND  # of a model CLI, which has nothing to do with it
            return Outcome(OutcomeKind.CRASHED, ended.detail) if is_hold else ended
        ok = ended.kind not in _OUR_LIMITS and ended.exit_code == 0
        self._say(f"   $ {command}: {'passed' if ok else ended.detail or 'failed'}")
        self._commands = self._commands[1:]
        if ok and self._commands:
            return self._run()
        output = ended.result if ok or ended.exit_code is not None else f"{ended.result}\n[{ended.detail}]".lstrip()
        exit_code = None if ended.kind in _OUR_LIMITS else ended.exit_code
        told = {"ok": ok, "command": command, "exit": exit_code, "output": output[-OUTPUT_CHARS:]}
        return Outcome(OutcomeKind.OK, "" if ok else f"`{command}` failed"[:200], dump(told))

    def _run(self) -> ModelRun:
        command = self._commands[0] if self._commands else "true"
        self._note(f"$ {command}\n")
        left = self._begun_at + self._limit_s - clock.monotonic()
        limit = max(left, 1.0) if self._limit_s > 0 else 0.0
        cli = ModelCli("verify", ("sh", "-c", command))
        return self._make(cli, "", cwd=self._cwd, round_timeout_s=limit, silence_timeout_s=0.0)

    def _note(self, line: str) -> None:
        """Into the round's log."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with contextlib.suppress(OSError), open(os.open(self._log, flags, 0o600), "ab") as stream:
            stream.write(line.encode("utf-8", "replace"))
