"""Many `tt` commands in one process, which takes a tenth of the time; a program and its callers.

The program reads a list of argument lists as JSON from stdin. On pipes it prints [exit code, stdout, stderr] of all;
on a terminal it runs them with END after each.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.cli import Ran, Tt
from tinytown.cli import root
from tinytown.cli.base import run

END = "\0END\0"
WITHIN_S = 50


def run_all(tt: Tt, commands: Sequence[Sequence[str]], cwd: Path | None = None, umask: int = -1) -> list[Ran]:
    """What each would do as a command of its own, in order, in the folder and environment of `tt`."""
    done = subprocess.run(
        _program("main"),
        input=json.dumps(list(map(list, commands))).encode(),
        cwd=cwd or tt.cwd,
        env=_environment(tt),
        capture_output=True,
        umask=umask,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = zip(commands, json.loads(done.stdout), strict=True)
    return [Ran(tuple(args), *result) for args, result in results]


def show_all(tt: Tt, commands: Sequence[Sequence[str]]) -> list[str]:
    """What a terminal shows of each, as `run_all` runs them."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        _program("on_terminal"),
        stdin=subprocess.PIPE,
        stdout=slave,
        stderr=slave,
        cwd=tt.cwd,
        env={"TERM": "xterm-256color"} | _environment(tt),
    ) as process:
        os.close(slave)
        assert process.stdin is not None
        process.stdin.write(json.dumps(list(map(list, commands))).encode())
        process.stdin.close()
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while block := os.read(master, 65536):
                shown += block
        os.close(master)
    parts = shown.decode().replace("\r\n", "\n").split(END)
    assert (process.returncode, len(parts), parts[-1]) == (0, len(commands) + 1, ""), parts[-1]
    return parts[:-1]


def main() -> None:
    """The program, on pipes."""
    results, real = [], (sys.stdout, sys.stderr)
    for args in json.load(sys.stdin):
        buffers = (io.BytesIO(), io.BytesIO())
        streams = [io.TextIOWrapper(buffer, "utf-8", write_through=True) for buffer in buffers]
        sys.stdout, sys.stderr = streams
        try:
            code = run(root(), args)
        finally:
            sys.stdout, sys.stderr = real
        results.append((code, *(buffer.getvalue().decode("utf-8", "replace") for buffer in buffers)))
    json.dump(results, sys.stdout)


def on_terminal() -> None:
    """The program, on a terminal."""
    for args in json.load(sys.stdin):
        run(root(), args)
        sys.stdout.write(END)
        sys.stdout.flush()


def _program(function: str) -> list[str]:
    here = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})"
    return [sys.executable, "-P", "-c", f"{here}; from tests.security import in_one_process as p; p.{function}()"]


def _environment(tt: Tt) -> dict[str, str]:
    return {k: v for k, v in {**os.environ, **tt.env}.items() if v is not None}
