"""The town as a user service of systemd: install, uninstall, status, through systemctl where a user manager answers.

Without a manager (a container, a plain `su`) files are still written and read.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytown import clock, processes
from tinytown.errors import TimedOut, Unavailable
from tinytown.processes import Identity
from tinytown.services import supervision, systemctl, unit_file
from tinytown.town import Town

LOCK_WITHIN_S = 5.0


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


def install(town: Town, *, start: bool, take_over: bool = False) -> Installed:
    """Write the unit if it changed; with a user manager also enable and (`start`) start it, up when this returns.

    Raises Conflict (another town has that unit), Invalid, Forbidden, TimedOut, Unavailable (no Linux, the service
    does not start).
    """
    if sys.platform != "linux":
        raise Unavailable("A service needs systemd, which is a part of Linux.", "Use: tt supervise --detach")
    unit, path = unit_file.unit_name(town), unit_file.unit_path(town)
    has_changed = unit_file.write(town)
    if not systemctl.has_manager():
        return Installed(unit, path, has_changed, has_manager=False)
    systemctl.must("daemon-reload")
    systemctl.must("enable", unit)
    state = systemctl.show(unit)
    if state.pid is not None:
        return Installed(unit, path, has_changed, has_manager=True, pid=state.pid, is_stale=has_changed)
    other = supervision.process(town)
    if start and other is not None and take_over:
        _end_other(town, other)
        other = None
    if start and other is None:
        systemctl.must("reset-failed", unit, is_needed=False)
        systemctl.must("start", unit, timeout_s=systemctl.START_WITHIN_S)
        state = systemctl.show(unit)
    return Installed(unit, path, has_changed, has_manager=True, pid=state.pid, in_the_way=other.pid if other else None)


def uninstall(town: Town) -> bool:
    """Stop and disable the service and remove its unit; False when there was none.

    Raises Conflict (it is another town's), Forbidden, TimedOut (then the unit is kept).
    """
    unit = unit_file.unit_name(town)
    unit_file.check_owner(town)
    is_managed = systemctl.has_manager()
    was_there = unit_file.unit_path(town).exists() or unit_file.is_enabled(town)
    if is_managed and was_there:
        patience = town.config.supervisor.grace_s + 3 * unit_file.STOP_MARGIN_S
        systemctl.must("disable", "--now", unit, is_needed=False, timeout_s=patience)
    unit_file.remove(town)
    if is_managed and was_there:
        systemctl.must("daemon-reload")
        systemctl.must("reset-failed", unit, is_needed=False)
    return was_there


def status(town: Town) -> dict[str, Any]:
    """What `tt service status --json` prints. Starts nothing, needs no manager."""
    unit, path = unit_file.unit_name(town), unit_file.unit_path(town)
    is_installed, is_managed = unit_file.is_owned(town), systemctl.has_manager()
    state = systemctl.show(unit) if is_managed and is_installed else systemctl.State()
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
        "linger": systemctl.has_linger(),
    }


def _end_other(town: Town, other: Identity) -> None:
    """By SIGKILL: so its actors finish their rounds and are adopted, while TERM would give them the grace time only."""
    processes.send(other, signal.SIGKILL)
    deadline = clock.monotonic() + LOCK_WITHIN_S
    while supervision.is_running(town):
        if clock.monotonic() > deadline:
            raise TimedOut(f"The supervisor (pid {other.pid}) does not end.", "Look with: tt supervise --status")
        clock.sleep(0.01)
