"""`tt service`: the town as a user service of systemd."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.services.systemd import Installed

SHELL_ONLY = ("REDIS_URL", "TINYTOWN_REDIS_PASSWORD")


@base.group(examples="tt service install\ntt service status\ntt service uninstall")
def service() -> None:
    """Run the supervisor as a user service of systemd."""


@service.command(
    cls=base.Command, examples="tt service install\ntt service install --no-now\ntt service install --take-over"
)
@click.option("--now/--no-now", default=True, help="Start it, too.  [default: now]")
@click.option("--take-over", is_flag=True, help="Replace a supervisor that runs already; no round is cut off.")
def install(*, now: bool, take_over: bool) -> None:
    """Write, enable and start the town's unit."""
    from tinytown.services import systemctl, systemd, unit_file  # noqa: PLC0415  not for --help

    if take_over and not now:
        raise click.UsageError("--take-over and --no-now exclude each other.")
    town = base.open_town()
    done = systemd.install(town, start=now, take_over=take_over)
    render.out(f"{'Wrote' if done.has_changed else 'Unchanged:'} {done.path}")
    hidden = [name for name in SHELL_ONLY if os.environ.get(name)]
    if hidden:
        keep = town.state_dir / unit_file.ENVIRONMENT_FILE
        render.talk(f"Warning: the service does not see this shell's {' and '.join(hidden)}; write it into {keep}")
    _say_started(done, now=now)
    if not systemctl.has_linger():
        render.talk("It runs while you are logged in; to run it without a login: loginctl enable-linger")


def _say_started(done: Installed, *, now: bool) -> None:
    if not done.has_manager:
        render.talk(
            "No user manager of systemd answers here. When you are logged in, run: "
            f"systemctl --user daemon-reload && systemctl --user enable --now {done.unit}"
        )
    elif done.pid is not None:
        render.out(f"{render.icon('👀')}Enabled and running: {done.unit} (supervisor pid {done.pid})")
        if done.is_stale:
            render.talk(f"It runs with its former unit until: systemctl --user restart {done.unit}")
    elif done.in_the_way is not None and now:
        render.out(f"Enabled, not started: a supervisor runs outside of the service (pid {done.in_the_way}).")
        render.talk("Let the service take its place with: tt service install --take-over")
    else:
        render.out(f"Enabled: {done.unit}")
        render.talk(f"Start it with: systemctl --user start {done.unit}")


@service.command(cls=base.Command, examples="tt service uninstall")
def uninstall() -> None:
    """Stop and disable the service, and remove its unit."""
    from tinytown.services import systemd, unit_file  # noqa: PLC0415  not for --help

    town = base.open_town()
    if systemd.uninstall(town):
        render.out(f"Removed {unit_file.unit_path(town)}")
        render.talk("Agents that are wanted come back with the next supervisor: tt supervise")
    else:
        render.out(f"Not installed: {unit_file.unit_name(town)}")


@service.command(cls=base.Command, examples="tt service status\ntt service status --json")
@base.json_option()
def status(*, as_json: bool) -> None:
    """Show whether the service is installed, enabled and running."""
    from tinytown.services import systemd  # noqa: PLC0415  not for --help

    state = systemd.status(base.open_town())
    if as_json:
        render.print_json(state)
        return
    for line in render.columns(_rows(state), indent=""):
        render.out(line)
    if not state["installed"]:
        render.talk("Install it with: tt service install")
    elif not state["up_to_date"]:
        render.talk("The unit is not what this tt would write; renew it with: tt service install")


def _rows(state: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = [
        ("Unit:", state["unit"] + ("" if state["installed"] else " (not installed)")),
        ("File:", render.clean(state["path"])),
        ("Enabled:", "yes" if state["enabled"] else "no"),
        ("Active:", _active(state)),
    ]
    if state["restarts"]:
        rows.append(("Restarts:", str(state["restarts"])))
    return [*rows, ("Supervisor:", _supervisor(state)), ("Without login:", "yes" if state["linger"] else "no")]


def _active(state: dict[str, Any]) -> str:
    if not state["has_manager"]:
        return "unknown (no user manager of systemd answers here)"
    if state["active"] is None:
        return "no"
    told = f": {render.clean(state['status'])}" if state["status"] else ""
    return f"{state['active']} ({state['sub']}){told}"


def _supervisor(state: dict[str, Any]) -> str:
    pid = state["supervisor_pid"]
    if pid is None:
        return "none"
    return f"pid {pid}" + (", the service's" if pid == state["pid"] else ", outside of the service")


@service.command("end-leftovers", cls=base.Command, hidden=True, examples="")
def end_leftovers() -> None:
    """End what a stopped service left. For the unit alone: systemd sets $SERVICE_RESULT."""
    if os.environ.get("SERVICE_RESULT") != "success":
        return  # a supervisor that died is replaced, and adopts its actors
    from tinytown.services import leftovers  # noqa: PLC0415  not for --help

    ended = leftovers.end_all(base.open_town())
    if not ended.is_ours:
        render.out("Another supervisor runs; nothing was ended.")
    elif ended.actors or ended.models or ended.redis:
        redis = ", Redis" if ended.redis else ""
        render.out(f"Ended: {ended.actors} agent(s), {ended.models} model process(es){redis}")
