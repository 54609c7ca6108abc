"""`tt supervise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.town import Town


@base.command(examples="tt supervise\ntt supervise --detach\ntt supervise --status\ntt supervise --status --json")
@click.option("--detach", "-d", is_flag=True, help="Run in the background; its log is .tt/supervisor.log.")
@click.option("--status", "show", is_flag=True, help="Show the running supervisor and its children.")
@base.json_option()
@click.pass_context
def supervise(ctx: click.Context, *, detach: bool, show: bool, as_json: bool) -> None:
    """Run the supervisor, which keeps the agents alive."""
    if detach and show:
        raise click.UsageError("--detach and --status exclude each other.")
    if as_json and not show:
        raise click.UsageError("--json needs --status.")
    town = base.open_town()
    if show:
        _show(town, as_json=as_json)
    elif detach:
        _detach(town)
    else:
        from tinytown.supervisor.main import run  # noqa: PLC0415  loads the whole engine

        ctx.exit(run(town))


def _detach(town: Town) -> None:
    from tinytown.services import supervision  # noqa: PLC0415  not for --help

    started = supervision.ensure_running(town)
    running = supervision.process(town)
    pid = running.pid if running else "?"
    if started:
        render.out(f"{render.icon('👀')}Supervisor of town '{town.name}' started (pid {pid})")
    else:
        render.out(f"Supervisor of town '{town.name}' is already running (pid {pid})")
    render.out(f"   Log: {town.state_dir / 'supervisor.log'}")


def _status_of(town: Town) -> dict[str, Any] | None:
    """What it says of itself; one that is just starting (or ending) gets a moment."""
    from tinytown import clock  # noqa: PLC0415  not for --help
    from tinytown.errors import Unavailable  # noqa: PLC0415  as above
    from tinytown.services import supervision  # noqa: PLC0415  as above

    deadline = clock.monotonic() + supervision.ANSWER_WITHIN_S
    while True:
        try:
            return supervision.status(town)
        except Unavailable:
            if clock.monotonic() > deadline:
                raise
            clock.sleep(0.02)


def _show(town: Town, *, as_json: bool) -> None:
    from tinytown.services import servers  # noqa: PLC0415  not for --help

    status = _status_of(town)
    redis_is_up = servers.is_listening(town) if town.store.connector.is_managed else None
    if as_json:
        nothing: dict[str, Any] = {"pid": None, "town": town.name, "redis": _state(redis_is_up), "children": []}
        render.print_json({"running": status is not None, **(status or nothing)})
    elif status is None:
        render.out(f"No supervisor is running for town '{town.name}'.")
        render.out(f"Redis: {_state(redis_is_up)}")
        render.talk("Start it with: tt supervise")
    else:
        _print(status)


def _state(is_up: bool | None) -> str:  # noqa: FBT001  None: not ours to tell
    return "external" if is_up is None else "ok" if is_up else "away"


def _print(status: dict[str, Any]) -> None:
    stopping = ", stopping" if status.get("stopping") else ""
    render.out(f"{render.icon('👀')}Supervisor of town '{status['town']}': running{stopping}")
    render.out(f"   Pid: {status['pid']}")
    render.out(f"   Uptime: {render.duration(status['uptime_s'])}")
    render.out(f"   Redis: {status['redis']}")
    children = status["children"]
    render.out(f"   Children: {len(children)}")
    for line in render.columns((_child(child) for child in children), indent="      "):
        render.out(line)


def _reason(child: dict[str, Any]) -> str:
    """Why it was given up."""
    return f": {render.clean(str(child['reason']))}" if child.get("reason") else ""


def _child(child: dict[str, Any]) -> tuple[str, ...]:
    age = child.get("beat_age_s")
    return (
        render.clean(str(child["name"])),
        str(child["phase"]),
        f"pid {child['pid']}" if child.get("pid") else "no process",
        f"beat {age:.1f} s ago" if age is not None else "no beat",
        f"{child.get('rss_bytes', 0) / 1e6:.0f} MB",
        f"restarts {child['restarts']}" + (", adopted" if child.get("adopted") else "") + _reason(child),
    )
