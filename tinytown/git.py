"""The door to git: bounded in time, never through a shell, never asking anybody.

Which repository is meant is said by a folder alone: what the environment says of one (a hook's GIT_DIR) is left out.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tinytown.errors import Conflict, TimedOut, Unavailable
from tinytown.missions.references import repository_of

if TYPE_CHECKING:
    import subprocess

ASK_S = 5.0
DO_S = 60.0
WORK_S = 600.0  # a checkout of a large repository
_LINE = 300
_KEPT = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_SSH")
_SET = {"GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "GIT_PAGER": "cat"}


@dataclass(frozen=True, slots=True)
class Ran:
    """How one git command ended. `out` may hold undecodable bytes as surrogates, as file names do."""

    code: int
    out: str
    said: str

    @property
    def line(self) -> str:
        """What it said on stderr, in one line."""
        lines = [line for line in self.said.splitlines() if not line.startswith("hint:")]
        return " ".join(" ".join(lines).split()).removeprefix("fatal: ")[:_LINE] or f"exit code {self.code}"


def run(
    where: Path, *arguments: str, within_s: float = DO_S, env: Mapping[str, str] | None = None, feed: bytes = b""
) -> Ran:
    """Run git in a folder, to its end; `feed` is its stdin.

    Raises Unavailable (no git), TimedOut (it is killed then, with its hooks).
    """
    import subprocess  # noqa: PLC0415  costs 10 ms

    # Files, not pipes: a daemon that a hook leaves behind may hold a pipe open for good.
    with tempfile.TemporaryFile() as fed, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        fed.write(feed)
        fed.seek(0)
        process = _start(where, arguments, fed, out, said, env)
        try:
            code = process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            raise TimedOut(f"git {_verb(arguments)} did not end within {within_s:g} s in {where}.") from error
        finally:
            _end(process)
        return Ran(code, _text(out), _text(said))


def do(
    where: Path, *arguments: str, within_s: float = DO_S, env: Mapping[str, str] | None = None, feed: bytes = b""
) -> str:
    """What git prints. Raises Conflict with git's own words when it fails, and what `run` raises."""
    done = run(where, *arguments, within_s=within_s, env=env, feed=feed)
    if done.code:
        raise failed(done, *arguments)
    return done.out


def answer(where: Path, *arguments: str, within_s: float = DO_S, env: Mapping[str, str] | None = None) -> str:
    """The one line git answers; nothing when it fails.

    Raises what `run` raises: a git that is slow has not said that there is nothing.
    """
    done = run(where, *arguments, within_s=within_s, env=env)
    return done.out.strip() if done.code == 0 else ""


def ask(where: Path, *arguments: str) -> str:
    """As `answer`, for what is good to know: also nothing when git hangs or is not there."""
    try:
        return answer(where, *arguments, within_s=ASK_S)
    except (Unavailable, TimedOut):
        return ""


def origin_repository(where: Path, web: str) -> str | None:
    """The `owner/repo` that the remote `origin` of a folder's repository means on the GitHub at `web`.

    None: no such remote, another server, or no git.
    """
    return repository_of(ask(where, "remote", "get-url", "origin"), web)


def stream(where: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
    """The lines git prints, as they come; as long as they are read there is no time limit. Raises as `do`."""
    import subprocess  # noqa: PLC0415  costs 10 ms

    with tempfile.TemporaryFile() as said:
        process = _start(where, arguments, subprocess.DEVNULL, subprocess.PIPE, said, env)
        try:
            assert process.stdout is not None
            with process.stdout as out:
                yield from out
            code = process.wait(DO_S)
        finally:
            _end(process)
        if code:
            raise failed(Ran(code, "", _text(said)), *arguments)


def failed(done: Ran, *arguments: str) -> Conflict:
    """The error that says what git said."""
    return Conflict(f"git {_verb(arguments)} failed: {done.line}")


def _verb(arguments: tuple[str, ...]) -> str:
    """The command, behind options of git's own."""
    return next(word for word in arguments if not word.startswith("-") and "=" not in word)


def _start(
    where: Path,
    arguments: tuple[str, ...],
    fed: IO[bytes] | int,
    out: IO[bytes] | int,
    said: IO[bytes],
    env: Mapping[str, str] | None,
) -> subprocess.Popen[bytes]:
    import subprocess  # noqa: PLC0415  costs 10 ms

    own = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith(_KEPT)}
    try:
        return subprocess.Popen(
            ["git", "-C", str(where), "-c", "core.quotePath=false", *arguments],
            stdin=fed,
            stdout=out,
            stderr=said,
            env=own | _SET | dict(env or {}),
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Unavailable("git was not found.", "Install git and put it on PATH.") from error
    except OSError as error:
        raise Unavailable(f"git cannot be run: {error.strerror}.") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """A command that is no longer waited for is killed with what it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")
