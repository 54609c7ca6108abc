"""Ask programs for their version, all at once, within a time."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tinytown import clock, processes

SHOWN_BYTES = 4096


class Version(NamedTuple):
    """The first line that `--version` printed; `code` None: it did not end in time."""

    text: str
    code: int | None


class Asked:
    """Programs that are being asked."""

    def __init__(self, programs: Mapping[str, str], timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._deadline = clock.monotonic() + timeout_s
        self._running = {name: _start(path) for name, path in programs.items()}

    def answers(self) -> dict[str, Version]:
        """Wait for all of them, at most until the time is up."""
        return {name: self._answer(process) for name, process in self._running.items()}

    def end(self) -> None:
        """Kill what still runs, with everything below it."""
        for process in self._running.values():
            if isinstance(process, subprocess.Popen):
                if process.poll() is None:
                    leader = processes.identity(process.pid)
                    processes.kill_all(processes.kin(leader) if leader else [])
                    process.wait()
                if process.stdout is not None:
                    process.stdout.close()

    def _answer(self, process: subprocess.Popen[bytes] | OSError) -> Version:
        if isinstance(process, OSError):
            return Version(process.strerror or str(process), 126)
        assert process.stdout is not None
        try:
            code = process.wait(max(0.0, self._deadline - clock.monotonic()))
        except subprocess.TimeoutExpired:
            return Version(f"no answer to --version within {self._timeout_s:g} s", None)
        os.set_blocking(process.stdout.fileno(), False)  # its children may hold the other end
        said = b""
        with contextlib.suppress(BlockingIOError):
            said = os.read(process.stdout.fileno(), SHOWN_BYTES)
        lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
        return Version(lines[0] if lines else "", code)


@contextlib.contextmanager
def asking(programs: Mapping[str, str], timeout_s: float) -> Iterator[Asked]:
    """Ask the programs (name -> path) from now on; none of them is left at the end of the block."""
    asked = Asked(programs, timeout_s)
    try:
        yield asked
    finally:
        asked.end()


def _start(path: str) -> subprocess.Popen[bytes] | OSError:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TINYTOWN_")}
    try:
        return subprocess.Popen(
            [path, "--version"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd="/", env=environment, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return error
