"""This user's manager of systemd, asked through systemctl. Without one (a container, a plain `su`) it says so."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinytown.errors import TimedOut, Unavailable
from tinytown.services import unit_file
from tinytown.town import Town

if TYPE_CHECKING:
    from subprocess import CompletedProcess

ANSWER_WITHIN_S = 10.0
START_WITHIN_S = 120.0
LINGER_DIR = Path("/var/lib/systemd/linger")


@dataclass(frozen=True, slots=True)
class State:
    """What systemd knows of the unit; all None without a user manager."""

    active: str | None = None
    sub: str | None = None
    pid: int | None = None
    restarts: int | None = None
    text: str | None = None


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


def must(verb: str, *arguments: str, is_needed: bool = True, timeout_s: float = ANSWER_WITHIN_S) -> None:
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
