"""Runs the real `tt`, as a user's shell does: on pipes, or on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import warm

TT = Path(sys.executable).parent / "tt"
TIMEOUT_S = 40.0


@dataclass(frozen=True)
class Ran:
    """How one command ended."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, decoded."""
        return json.loads(self.out)

    @property
    def complaint(self) -> list[str]:
        """The lines on stderr."""
        return self.err.splitlines()


@dataclass
class Tt:
    """`tt` in this working directory; `env` is laid over the test's environment (None removes)."""

    cwd: Path
    env: dict[str, str | None] = field(default_factory=dict)
    town: Path | None = None

    def __call__(self, *args: str, env: dict[str, str | None] | None = None, **options: Any) -> Ran:
        """Run it to its end; nothing is on its stdin."""
        done = self._run(self._args(args), options.pop("cwd", self.cwd), self._environment(env), options)
        return Ran(args, done.returncode, _text(done.stdout), _text(done.stderr))

    def ok(self, *args: str, **options: Any) -> Ran:
        """Run it; it must exit 0."""
        ran = self(*args, **options)
        assert ran.code == 0, f"tt {' '.join(args)} -> {ran.code}\n{ran.out}{ran.err}"
        return ran

    def fails(self, *args: str, code: int = 1, **options: Any) -> Ran:
        """Run it; it must fail as every command does: nothing on stdout, one line and at most one of remedy."""
        ran = self(*args, **options)
        assert ran.code == code, f"tt {' '.join(args)} -> {ran.code}\n{ran.out}{ran.err}"
        assert ran.out == ""
        assert ran.err.startswith("Error: ")
        assert len(ran.complaint) <= 2, ran.err
        assert "Traceback" not in ran.err
        return ran

    @contextlib.contextmanager
    def running(self, *args: str, env: dict[str, str | None] | None = None) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on; killed at the end of the block if it still runs."""
        with subprocess.Popen(
            [TT, *self._args(args)],
            cwd=self.cwd,
            env=self._environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def on_terminal(self, *args: str, env: dict[str, str | None] | None = None, typed: str = "") -> tuple[int, str]:
        """Run it on a terminal of its own, where `typed` waits to be read; exit code, and everything it showed."""
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.cwd)
            os.execve(  # noqa: S606  the child of pty.fork
                TT, [str(TT), *self._args(args)], {"TERM": "xterm-256color"} | self._environment(env)
            )
        os.write(master, typed.encode())
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while select.select([master], [], [], TIMEOUT_S)[0] and (block := os.read(master, 65536)):
                shown += block
        os.close(master)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return code, shown.decode().replace("\r\n", "\n")

    def _run(
        self, args: list[str], cwd: Path, env: dict[str, str], options: dict[str, Any]
    ) -> warm.Ended | subprocess.CompletedProcess[bytes]:
        """By a process that has its imports behind it, unless how it starts matters."""
        if not options:
            with contextlib.suppress(warm.NotWarm):
                return warm.TT.run(args, cwd, env, TIMEOUT_S)
        argv = [*options.pop("prefix", ()), TT, *args]
        return subprocess.run(
            argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False,
            **options,
        )  # fmt: skip

    def _args(self, args: tuple[str, ...]) -> list[str]:
        return ["--town", str(self.town), *args] if self.town is not None else list(args)

    def _environment(self, more: dict[str, str | None] | None) -> dict[str, str]:
        merged = {**os.environ, **self.env, **(more or {})}
        return {name: value for name, value in merged.items() if value is not None}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def first_line(process: subprocess.Popen[str]) -> str:
    """The first line a running command prints."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")
