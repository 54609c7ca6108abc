"""`tt events` and `tt history`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from tinytown.cli import base, render
from tinytown.cli.icons import TASK_ICONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tinytown.services.events import Entry, Filter
    from tinytown.town import Town

_OWN_NAME = re.compile(r"^Agent '[^']*':? ")
_MARKS = {"agent": "🤖", "message": "✉️", "task": "📋", "mission": "🚀", "work": "🧩", "watch": "👁️", "cli": "⏳"}


@base.command(
    examples="tt events\ntt events -f\ntt events --agent backend --type task_completed,task_failed\n"
    "tt events --task 550e8400 --json"
)  # fmt: skip
@click.option("--count", "-c", "-n", type=click.IntRange(min=0), default=20, show_default=True, help="How many.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--agent", metavar="AGENT", help="Only this agent's.")
@click.option("--task", metavar="TASK_ID", help="Only this task's.")
@click.option("--mission", metavar="MISSION_ID", help="Only this mission's.")
@click.option("--type", "types", metavar="TYPES", help="Only these types, separated by commas.")
@base.json_option()
def events(
    *, count: int, follow: bool, agent: str | None, task: str | None, mission: str | None, types: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Show the newest events of the town. With --json: a list, or with -f one per line."""
    from tinytown.cli.tasks import names, split_tags  # noqa: PLC0415  not for --help
    from tinytown.services import events as service  # noqa: PLC0415  as above

    town = base.open_to_read()
    wanted = service.filter_of(town, agent=agent, task=task, mission=mission, types=split_tags(types))
    found, end = service.newest(town, count, wanted)
    if as_json and not follow:
        render.print_json([_shape(entry) for entry in found])
        return
    if not found and not follow:
        render.out("No events found. Events are emitted on state transitions.")
        return
    known = names(town)
    for entry in found:
        _print(entry, known, as_json=as_json)
    if follow:
        render.flush()
        _follow(town, end, wanted, as_json=as_json)


@base.command(examples="tt history\ntt history backend\ntt history 550e8400 --limit 100\ntt history --agent backend")
@click.argument("what", metavar="[AGENT|TASK]", required=False)
@click.option("--agent", "-a", metavar="AGENT", help="Only this agent's.")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=30, show_default=True, help="How many events.")
@base.json_option()
def history(*, what: str | None, agent: str | None, limit: int, as_json: bool) -> None:
    """Show what happened to the town, an agent or a task, for people."""
    from tinytown.cli.tasks import names  # noqa: PLC0415  not for --help
    from tinytown.services import events as service  # noqa: PLC0415  as above

    if what is not None and agent is not None:
        raise click.UsageError("Give an agent or task, or --agent, not both.")
    town = base.open_to_read()
    if what is not None:
        wanted = service.about(town, what)
    else:
        wanted = service.filter_of(town, agent=agent, task=None, mission=None, types=[])
    found, _end = service.newest(town, limit, wanted)
    if as_json:
        render.print_json([_shape(entry) for entry in found])
        return
    if not found:
        render.out("No events recorded yet.")
        return
    known = names(town)
    render.out(f"{render.icon('📜')}Recent History ({len(found)} event{'s' if len(found) != 1 else ''}):")
    day = ""
    for entry in found:
        date, time = _when(entry.event)
        if date != day:
            render.out(f"  {date}")
            day = date
        who = render.colour(_agent(entry.event, known) or "town", "bold")
        render.out(f"    {time} {_mark(entry.event)}{who}: {render.clean(_text(entry.event), 160)}")


def _follow(town: Town, end: str, wanted: Filter, *, as_json: bool) -> None:
    from tinytown.cli.tasks import names  # noqa: PLC0415  not for --help
    from tinytown.services import events as service  # noqa: PLC0415  as above

    known: dict[str, str] = {}
    for entry in service.follow(town, end, wanted):
        if entry is None:
            render.talk("Redis is away; waiting for it.")
            continue
        if entry.event.get("agent_id") not in known:
            known = names(town)
        _print(entry, known, as_json=as_json)
        render.flush()


def _print(entry: Entry, known: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        render.print_json(_shape(entry), compact=True)
        return
    event = entry.event
    date, time = _when(event)
    subject = [part for part in (_agent(event, known), (event.get("task_id") or "")[:8]) if part]
    kind = render.colour(f"[{render.clean(str(event.get('event_type', '?')))}]", "dim")
    render.out(f"{date} {time} {kind} {' '.join(subject) or 'town'} — {render.clean(_text(event), 300)}")


def _shape(entry: Entry) -> dict[str, Any]:
    """The event as it is stored, with its place in the stream."""
    return {"id": entry.id} | entry.event


def _agent(event: Mapping[str, Any], known: Mapping[str, str]) -> str:
    from tinytown.ids import SUPERVISOR_ID  # noqa: PLC0415  not for --help

    agent_id = str(event.get("agent_id") or "")
    return known.get(agent_id) or ("conductor" if agent_id == SUPERVISOR_ID else agent_id[:8])


def _mark(event: Mapping[str, Any]) -> str:
    noun = str(event.get("event_type", "")).partition("_")[0]
    ended = TASK_ICONS.get(str(event.get("new_state"))) if noun == "task" else None
    return render.icon(ended or _MARKS.get(noun, "•"))


def _text(event: Mapping[str, Any]) -> str:
    """What it says, with the type where that says more."""
    said, kind = str(event.get("message") or ""), str(event.get("event_type") or "")
    states = [str(event[name]) for name in ("old_state", "new_state") if event.get(name)]
    change = " -> ".join(states) if len(states) > 1 else ""
    noun, _, verb = kind.partition("_")
    head = "" if kind == "agent_state_changed" else f"{noun} {verb.replace('_', ' ')}".strip()
    said = _OWN_NAME.sub("", said)  # who it is stands before it
    return " · ".join(part for part in (head, said, change) if part)


def _when(event: Mapping[str, Any]) -> tuple[str, str]:
    """Date and time of this machine's time zone."""
    from tinytown import clock  # noqa: PLC0415  not for --help

    try:
        moment = clock.parse(str(event.get("timestamp"))).astimezone()
    except ValueError:
        return "----------", "--:--:--"
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H:%M:%S")
