"""The town as a user service of systemd: install, uninstall, status, through systemctl where a user manager answers.

Without a manager (a container, a plain `su`) files are still written and read.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinytown import clock, processes
from tinytown.errors import TimedOut, Unavailable
from tinytown.processes import Identity
from tinytown.services import supervision, unit_file
from tinytown.town import Town

if TYPE_CHECKING:
    from subprocess import CompletedProcess

LOCK_WITHIN_S = 5.0
ANSWER_WITHIN_S = 10.0
START_WITHIN_S = 120.0
LINGER_DIR = Path("/var/lib/systemd/linger")


@dataclass(frozen=True, slots=True)
class Installed:
    """What `install` did. `in_the_way` is a supervisor outside of the service; `is_stale`: restart to use the unit."""

    unit: str
    path: Path
    has_changed: bool
    has_manager: bool
    pid: int | None = None
    in_the_way: int | None = None
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """What systemd knows of the unit; all None without a user manager."""

    active: str | None = None
    sub: str | None = None
    pid: int | None = None
    restarts: int | None = None
    text: str | None = None


def install(town: Town, *, start: bool, take_over: bool = False) -> Installed:
    """Write the unit if it changed; with a user manager also enable and (`start`) start it, up when this returns.

    Raises Conflict (another town has that unit), Invalid, Forbidden, TimedOut, Unavailable (no Linux, the service
    does not start).
    """
    if sys.platform != "linux":
        raise Unavailable("A service needs systemd, which is a part of Linux.", "Use: tt supervise --detach")
    unit, path = unit_file.unit_name(town), unit_file.unit_path(town)
    has_changed = unit_file.write(town)
    if not has_manager():
        return Installed(unit, path, has_changed, has_manager=False)
    _must("daemon-reload")
    _must("enable", unit)
    state = show(unit)
    if state.pid is not None:
        return Installed(unit, path, has_changed, has_manager=True, pid=state.pid, is_stale=has_changed)
    other = supervision.process(town)
    if start and other is not None and take_over:
        _end_other(town, other)
        other = None
    if start and other is None:
        _must("reset-failed", unit, is_needed=False)
        _must("start", unit, timeout_s=START_WITHIN_S)
        state = show(unit)
    return Installed(unit, path, has_changed, has_manager=True, pid=state.pid, in_the_way=other.pid if other else None)


def uninstall(town: Town) -> bool:
    """Stop and disable the service and remove its unit; False when there was none.

    Raises Conflict (it is another town's), Forbidden, TimedOut (then the unit is kept).
    """
    unit = unit_file.unit_name(town)
    unit_file.check_owner(town)
    is_managed = has_manager()
    was_there = unit_file.unit_path(town).exists() or unit_file.is_enabled(town)
    if is_managed and was_there:
        patience = town.config.supervisor.grace_s + 3 * unit_file.STOP_MARGIN_S
        _must("disable", "--now", unit, is_needed=False, timeout_s=patience)
    unit_file.remove(town)
    if is_managed and was_there:
        _must("daemon-reload")
        _must("reset-failed", unit, is_needed=False)
    return was_there


def status(town: Town) -> dict[str, Any]:
    """What `tt service status --json` prints. Starts nothing, needs no manager."""
    unit, path = unit_file.unit_name(town), unit_file.unit_path(town)
    is_installed, is_managed = unit_file.is_owned(town), has_manager()
    state = show(unit) if is_managed and is_installed else State()
    supervisor = supervision.process(town)
    return {
        "town": town.name,
        "unit": unit,
        "path": str(path),
        "installed": is_installed,
        "up_to_date": is_installed and unit_file.is_same(unit_file.read(path) or "", unit_file.unit_text(town)),
        "enabled": is_installed and unit_file.is_enabled(town),
        "has_manager": is_managed,
        "active": state.active,
        "sub": state.sub,
        "status": state.text if state.pid is not None else None,
        "restarts": state.restarts,
        "pid": state.pid,
        "supervisor_pid": supervisor.pid if supervisor else None,
        "linger": has_linger(),
    }


def start(town: Town) -> bool:
    """Start the town's service and wait until it is up; False when its manager cannot be reached or refuses."""
    unit = unit_file.unit_name(town)
    if not has_manager() or not unit_file.is_owned(town):
        return False
    done = _systemctl("start", unit, timeout_s=START_WITHIN_S)
    return done is not None and done.returncode == 0


def has_linger() -> bool:
    """This user's manager runs without a login."""
    import pwd  # noqa: PLC0415  this alone

    try:
        return (LINGER_DIR / pwd.getpwuid(os.getuid()).pw_name).exists()
    except (KeyError, OSError):
        return False


def has_manager() -> bool:
    """This user's manager answers."""
    answer = _systemctl("show", "--property=Version")
    return answer is not None and answer.returncode == 0


def show(unit: str, timeout_s: float = ANSWER_WITHIN_S) -> State:
    """The unit as its manager sees it."""
    properties = "--property=ActiveState,SubState,MainPID,NRestarts,StatusText"
    answer = _systemctl("show", unit, properties, timeout_s=timeout_s)
    if answer is None or answer.returncode != 0:
        return State()
    told = dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line)
    pid, restarts = told.get("MainPID", "0"), told.get("NRestarts", "")
    return State(
        active=told.get("ActiveState"),
        sub=told.get("SubState"),
        pid=int(pid) if pid.isdigit() and pid != "0" else None,
        restarts=int(restarts) if restarts.isdigit() else None,
        text=told.get("StatusText") or None,
    )


def _end_other(town: Town, other: Identity) -> None:
    """By SIGKILL: so its actors finish their rounds and are adopted, while TERM would give them the grace time only."""
    processes.send(other, signal.SIGKILL)
    deadline = clock.monotonic() + LOCK_WITHIN_S
    while supervision.is_running(town):
        if clock.monotonic() > deadline:
            raise TimedOut(f"The supervisor (pid {other.pid}) does not end.", "Look with: tt supervise --status")
        clock.sleep(0.01)


def _must(verb: str, *arguments: str, is_needed: bool = True, timeout_s: float = ANSWER_WITHIN_S) -> None:
    """Raises TimedOut, and Unavailable when it fails and `is_needed`."""
    command = f"systemctl --user {' '.join((verb, *arguments))}"
    answer = _systemctl(verb, *arguments, timeout_s=timeout_s)
    if answer is None:
        raise TimedOut(f"'{command}' did not end within {timeout_s:g} s.", "Look with: tt service status")
    if is_needed and answer.returncode != 0:
        told = " ".join(answer.stderr.split()) or f"exit {answer.returncode}"
        remedy = f"See: journalctl --user -n 30 -u {arguments[-1]}" if arguments else None
        raise Unavailable(f"'{command}' failed: {told}", remedy)


def _systemctl(*arguments: str, timeout_s: float = ANSWER_WITHIN_S) -> CompletedProcess[str] | None:
    """None when there is none, or it takes too long."""
    import subprocess  # noqa: PLC0415  costs a command 10 ms

    if shutil.which("systemctl") is None:
        return None
    environment = dict(os.environ) | {"LC_ALL": "C.UTF-8"}
    usual = f"/run/user/{os.getuid()}"  # what `su` and cron do not set although a manager may run
    if not environment.get("XDG_RUNTIME_DIR") and os.path.isdir(usual):
        environment["XDG_RUNTIME_DIR"] = usual
    try:
        return subprocess.run(
            ["systemctl", "--user", "--no-pager", "--no-ask-password", *arguments],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
