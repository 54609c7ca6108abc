"""One run of a model CLI, driven from outside: the caller owns the selector and calls in.

    run = ModelRun(cli, prompt, ...)
    run.start()
    selector: run.output_fd -> run.on_output(), run.pidfd -> run.on_exit(), run.next_due() -> run.on_timer(now)
    when run.is_over: outcome = run.finish()

No call blocks, but `finish` for up to a second when something of the tree will not go. Imported by actors only:
what it needs is imported here and not at the first run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from tinytown import clock, processes
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.model_cli import formats, tree
from tinytown.model_cli.catalog import ModelCli
from tinytown.model_cli.launch import Launch, environment, prepare, spawn
from tinytown.model_cli.output import Output
from tinytown.processes import Identity

KILL_AFTER_S = 2.0
KILL_AGAIN_S = 1.0
TREE_PATIENCE_S = 1.0
_NO_COMMAND = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ELOOP)


class ModelRun:
    """See the module. Times in seconds; a time-out of 0 is off; those of `cli` go before those given here.

    `not_ours` gives the pids that are not to be ended with the run, whoever started them.
    """

    def __init__(  # noqa: PLR0913  a run has that many conditions
        self,
        cli: ModelCli,
        prompt: str,
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        runs_dir: Path,
        log_bytes: int,
        round_timeout_s: float,
        silence_timeout_s: float,
        final_grace_s: float,
        on_line: Callable[[str], None] | None = None,
        tee: int | None = None,
        not_ours: Callable[[], Collection[int]] = tuple,
    ) -> None:
        self.cli = cli
        self.is_over = False
        self.leader: Identity | None = None
        self.output_fd = -1
        self.pidfd = -1
        self.reader = formats.reader(cli.format)
        self._prompt = prompt
        self._env = environment(cli, env)
        self._mark = env.get(processes.RUN_VARIABLE)
        self._not_ours = not_ours
        self._cwd = cwd / cli.workdir if cli.workdir else cwd
        self._runs_dir = runs_dir
        self._open_output = partial(Output, self.reader, log, log_bytes, on_line, tee)
        self._round_timeout = round_timeout_s if cli.round_timeout_s is None else cli.round_timeout_s
        self._silence = silence_timeout_s if cli.silence_timeout_s is None else cli.silence_timeout_s
        self._grace = final_grace_s
        self._launch: Launch | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output: Output | None = None
        self._exit_code: int | None = None
        self._signal: int | None = None
        self._ended: OutcomeKind | None = None
        self._detail = ""
        self._kill_at: float | None = None
        self._started_at = self._heard_at = 0.0
        self._final_at: float | None = None
        self._outcome: Outcome | None = None

    def start(self) -> Identity | None:
        """Start it. None when it cannot be started: the run is over then, and `finish` says why."""
        try:
            self._launch = prepare(self.cli, self._prompt, self._runs_dir)
            self._output = self._open_output()
            self._process = spawn(self._launch, self._output.write_fd, self._cwd, self._env)
            os.close(self._launch.stdin)
            self._launch.stdin = -1
            self.pidfd = os.pidfd_open(self._process.pid)
            self.leader = Identity(self._process.pid, _start_time(self._process.pid))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._cannot_start(error)
            return None
        self.output_fd = self._output.read_fd
        self._started_at = self._heard_at = clock.monotonic()
        self._prompt = ""
        return self.leader

    def on_output(self) -> None:
        """Take some of the output, never blocking."""
        if self._output is None or self._outcome is not None:
            return
        if self._output.pump():
            self._heard_at = clock.monotonic()
        self._note_final()

    def on_exit(self) -> None:
        """The leader ended: note how. Its pid stays taken until `finish`, so that nothing else can get it."""
        if self.is_over or self._process is None:
            return
        try:
            seen = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            self.is_over = True
            return
        if seen is None:
            return
        self.is_over = True
        if seen.si_code == os.CLD_EXITED:
            self._exit_code = seen.si_status
        else:
            self._signal = seen.si_status

    def next_due(self) -> float | None:
        """When `on_timer` has something to do (monotonic); None for never."""
        if self.is_over or self.leader is None:
            return None
        if self._kill_at is not None:
            return self._kill_at
        if self._final_at is not None:
            return self._final_at + self._grace
        limits = []
        if self._round_timeout > 0:
            limits.append(self._started_at + self._round_timeout)
        if self._silence > 0:
            limits.append(self._heard_at + self._silence)
        return min(limits, default=None)

    def on_timer(self, now: float) -> None:
        """Apply the time limits that are due at `now`."""
        if not self._is_due(now):
            return
        self.on_exit()
        self.on_output()  # the caller may be late: what is in the pipe was said in time
        if not self._is_due(now):
            return
        if self._kill_at is not None:
            self._kill(now)
        elif self._final_at is not None:
            self._begin_end(None, "")
        elif 0 < self._round_timeout <= now - self._started_at:
            self._begin_end(OutcomeKind.TIMED_OUT, f"no end after {self._round_timeout:g} s")
        else:
            self._begin_end(OutcomeKind.HUNG, f"no output for {self._silence:g} s")

    def end(self, kind: OutcomeKind, detail: str, *, at_once: bool = False) -> None:
        """End it for a reason from outside: TERM, and KILL 2 s later; `at_once`, also on a second call: KILL now.

        The first reason stays. A run that had already reported success keeps it.
        """
        self.on_exit()
        if self.is_over or self.leader is None:
            return
        if self._kill_at is None:
            if self._output is not None:
                self._output.drain()
                self._note_final()
            reported = self.reader.final and self.reader.ok
            self._begin_end(None if reported else kind, detail, term=not at_once)
        if at_once:
            self._kill(clock.monotonic())

    def finish(self) -> Outcome:
        """End what is left of the tree, let go of everything, judge. Again: the same answer."""
        if self._outcome is None:
            self._outcome = self._finish()
        return self._outcome

    def _finish(self) -> Outcome:
        self.end(OutcomeKind.STOPPED, "ended by the town", at_once=True)
        assert self._output is not None, "finish before start"
        self._output.drain()
        if self.leader is not None:
            tree.end(self.leader, self._mark, TREE_PATIENCE_S, self._not_ours())
        self.on_exit()
        self._output.drain()
        self._output.flush()
        self._let_go()
        outcome = formats.classify(self.reader, self._exit_code, self._signal, self._ended)
        return replace(outcome, detail=self._detail) if self._ended is not None else outcome

    def _let_go(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._process.pid, os.WNOHANG)
            self._process.returncode = self._exit_code if self._exit_code is not None else -(self._signal or 0)
            tree.reap_orphans()
        if self.pidfd >= 0:
            os.close(self.pidfd)
        if self._output is not None:
            self._output.close()
        if self._launch is not None:
            with contextlib.suppress(OSError):
                self._launch.discard()
        self.pidfd = self.output_fd = -1
        self.is_over = True

    def _cannot_start(self, error: Exception) -> None:
        """A missing command holds the CLI; a full disk or process table is a failed attempt."""
        if self._process is not None:  # running, but not to be watched: out of descriptors
            self._process.kill()
            self._process.wait()
        kind, reason = OutcomeKind.CRASHED, str(getattr(error, "strerror", None) or error)
        if self._output is None:
            reason = f"cannot store the prompt: {reason}"
        elif not self._cwd.is_dir():
            kind, reason = OutcomeKind.NOT_FOUND, f"working directory '{self._cwd}' was not found"
        else:
            reason = f"cannot run '{self.cli.argv[0]}': {reason}"
            if isinstance(error, OSError) and error.errno in _NO_COMMAND:
                kind = OutcomeKind.NOT_FOUND
        self._let_go()
        self._outcome = Outcome(kind, reason)

    def _is_due(self, now: float) -> bool:
        due = self.next_due()
        return due is not None and now >= due

    def _note_final(self) -> None:
        if not self.reader.final:
            self._final_at = None
        elif self._final_at is None:
            self._final_at = clock.monotonic()

    def _begin_end(self, kind: OutcomeKind | None, detail: str, *, term: bool = True) -> None:
        self._ended, self._detail = kind, detail
        self._kill_at = clock.monotonic() + KILL_AFTER_S
        if term and self.leader is not None:
            processes.kill_all(tree.members(self.leader, self._mark, self._not_ours()), signal.SIGTERM)

    def _kill(self, now: float) -> None:
        if self.leader is not None:
            processes.kill_all(tree.members(self.leader, self._mark, self._not_ours()))
        self._kill_at = now + KILL_AGAIN_S


def _start_time(pid: int) -> int:
    """Start in clock ticks since boot, also of one that ended already (`processes.identity` calls it dead)."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return int(stat[stat.rindex(b")") + 2 :].split()[19])
