"""Start a model CLI: its command line, its environment, where its prompt goes, what its process inherits."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytown import processes
from tinytown.ids import new_id
from tinytown.model_cli.catalog import PROMPT, PROMPT_FILE, ModelCli

ARGUMENT_MAX = 100_000  # the kernel's limit for one argument is 128 KiB
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)  # by Popen itself
SETPRIV = shutil.which("setpriv")
# Those of git: a hook or alias of git that started the town means another checkout than the agent's.
_OWN_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_", "TINYTOWN_", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


@dataclass(slots=True)
class Launch:
    """What to execute. `stdin` is a descriptor that the caller closes; `prompt_file` is removed by the caller."""

    argv: list[str]
    stdin: int
    prompt_file: Path | None = None

    def discard(self) -> None:
        """Close and remove."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1
        if self.prompt_file is not None:
            self.prompt_file.unlink(missing_ok=True)
            self.prompt_file = None


def prepare(cli: ModelCli, prompt: str, runs_dir: Path) -> Launch:
    """Put the prompt where the CLI reads it. Raises OSError (disk full)."""
    data = prompt.encode("utf-8", "replace")
    if cli.prompt == "stdin":
        return Launch(list(cli.argv), _memory_file(data))
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if cli.prompt == "file":
            path = _prompt_file(data, runs_dir)
            return Launch(with_prompt(cli, str(path)), nothing, path)
        if len(data) > ARGUMENT_MAX:
            path = _prompt_file(data, runs_dir)
            short = f"Your instructions are in the file {path} - read all of it and do what it says."
            return Launch(with_prompt(cli, short), nothing, path)
        return Launch(with_prompt(cli, data.replace(b"\0", "\ufffd".encode()).decode()), nothing)
    except OSError:
        os.close(nothing)
        raise


def environment(cli: ModelCli, given: Mapping[str, str]) -> dict[str, str]:
    """Ours without what is meant for us alone, then the CLI's, then the run's.

    When the CLI has a PATH of its own, the first folder of the given one (this town's `tt`) still comes first.
    """
    merged = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
    merged |= cli.env
    merged |= given
    if "PATH" in cli.env and "PATH" in given:
        merged["PATH"] = given["PATH"].split(os.pathsep)[0] + os.pathsep + cli.env["PATH"]
    return merged


def own_path() -> str:
    """PATH with the folder of this `tt` first."""
    own = os.path.dirname(sys.executable)
    if not os.path.exists(os.path.join(own, "tt")):
        found = shutil.which("tt")
        own = os.path.dirname(found) if found else own
    return f"{own}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def with_prompt(cli: ModelCli, value: str) -> list[str]:
    """The command line with the prompt, or the path of its file, where the CLI takes it."""
    placeholder = PROMPT_FILE if cli.prompt == "file" else PROMPT
    if any(placeholder in word for word in cli.argv):
        return [word.replace(placeholder, value) for word in cli.argv]
    return [*cli.argv, *([cli.prompt_flag] if cli.prompt_flag else []), value]


def spawn(launch: Launch, output: int, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start it in a session of its own, to be killed with this process. Raises what Popen raises.

    Through `setpriv` where there is one: without preexec_fn, Popen uses vfork, which takes 0.3 ms in an actor
    instead of 4. Its one gap (we die before it has asked for the death signal) is closed by the successor, which
    ends whatever carries the round's mark.
    """
    program = launch.argv[0]
    found = shutil.which(os.path.join(cwd, program) if "/" in program else program, path=env.get("PATH"))
    common = {"stdin": launch.stdin, "stdout": output, "stderr": output, "cwd": cwd, "env": dict(env)}
    known = {signum: signal.getsignal(signum) for signum in signal.valid_signals()}
    ignored = [s for s, handler in known.items() if handler is signal.SIG_IGN and s not in _RESTORED]
    if SETPRIV is None or ignored:  # exec resets handlers, but not what is ignored
        handled = [signum for signum, handler in known.items() if callable(handler)]
        try:
            return _spawn_by_fork(launch.argv, common, handled, ignored)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
        # A script that names no interpreter; setpriv does as shells do, too.
        return _spawn_by_fork(["/bin/sh", found or program, *launch.argv[1:]], common, handled, ignored)
    if found is None:  # setpriv could only say 127
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    argv = [SETPRIV, "--pdeathsig", "KILL", "--", *launch.argv]
    return subprocess.Popen(argv, start_new_session=True, **common)  # type: ignore[call-overload, no-any-return]


def _spawn_by_fork(
    argv: list[str], common: dict[str, Any], handled: Sequence[int], ignored: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Where there is no setpriv (util-linux), or signals that the child must not ignore.

    Signals with a handler are blocked around the fork: one that reaches the child before exec would write into
    our wake-up descriptor.
    """
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, handled)

    def in_child() -> None:
        processes.die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        for signum in ignored:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before.union(handled))

    try:
        return subprocess.Popen(argv, start_new_session=True, preexec_fn=in_child, **common)  # noqa: PLW1509  no thread in this process
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _memory_file(data: bytes) -> int:
    """Never blocks the writer, ends where the prompt ends, and leaves nothing behind."""
    fd = os.memfd_create("prompt", os.MFD_CLOEXEC)
    try:
        _fill(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    return fd


def _prompt_file(data: bytes, runs_dir: Path) -> Path:
    runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = runs_dir.absolute() / f"prompt-{new_id()}.md"
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        _fill(fd, data)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    return path


def _fill(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
