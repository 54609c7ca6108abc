"""`tt status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render
from tinytown.cli.agents import details, hint_unsupervised, state_of

if TYPE_CHECKING:
    from tinytown.services.status import AgentStatus, Pending, TownStatus


@base.command(examples="tt status\ntt status --deep\ntt status --tasks\ntt status --json")
@click.option("--deep", is_flag=True, help="Rounds, uptime and last activity of each agent.")
@click.option("--tasks", is_flag=True, help="Tasks by state and by agent.")
@base.json_option()
def status(*, deep: bool, tasks: bool, as_json: bool) -> None:
    """Show the town: Redis, supervisor, agents, mail, tasks."""
    from tinytown.services.status import read  # noqa: PLC0415  not for --help

    seen = read(base.open_to_read(), tasks=tasks)
    if as_json:
        from tinytown.services import shapes  # noqa: PLC0415  only with --json

        render.print_json(shapes.town(seen, deep=deep))
        return
    _head(seen)
    for agent in seen.agents:
        _agent(agent, deep=deep)
    if seen.conductor:
        render.out(f"{render.icon('📬')}Conductor's mailbox: {seen.conductor} message(s); read it: tt inbox conductor")
    _task_line(seen)
    if seen.missions:
        render.out(f"{render.icon('🎯')}Missions: {seen.missions} active; see: tt mission status")
    if seen.tasks is not None:
        from tinytown.cli.breakdown import show_tasks  # noqa: PLC0415  only with --tasks

        show_tasks(seen, seen.tasks)
    if deep:
        render.out(f"\n{render.icon('📊')}Stats: rounds completed, uptime since spawn")
    _hints(seen)


def _head(seen: TownStatus) -> None:
    town, server = seen.town, seen.server
    render.out(f"{render.icon('🏘️ ')}Town: {town.name}")
    render.out(f"{render.icon('📂')}Root: {render.clean(str(town.root))}")
    name = "Valkey" if server.name == "valkey" else "Redis"
    render.out(f"{render.icon('📡')}Redis: {render.clean(town.store.connector.url)} ({name} {server.version})")
    running = f"running (pid {seen.supervisor.pid})" if seen.supervisor else "not running"
    render.out(f"{render.icon('👀')}Supervisor: {running}")
    render.out(f"{render.icon('🤖')}Agents: {len(seen.agents)}")


def _agent(status: AgentStatus, *, deep: bool) -> None:
    agent, mail = status.agent, status.pending
    line = f"   {agent.name} ({state_of(status)}) - {mail.total} "
    line += "pending" if deep else "messages pending"
    line += _kinds(mail)
    if deep:
        wish = status.row.wish
        line += f", {status.row.stats.get('rounds', 0)} rounds"
        line += f", uptime {_uptime(wish.since)}" if wish else ""
    render.out(f"{line}, id {agent.id[:8]}{details(status)}")
    if deep:
        for activity in status.activity:
            render.out(f"      └─ {render.clean(activity, 160)}")


def _kinds(mail: Pending) -> str:
    text = ""
    if mail.total:
        text = f" (tasks: {mail.tasks}, queries: {mail.queries}, informational: {mail.informational}"
        text += f", confirmations: {mail.confirmations}"
        text += "".join(f", {n}: {getattr(mail, n)}" for n in ("control", "unreadable") if getattr(mail, n)) + ")"
    text += f", {mail.urgent} urgent" if mail.urgent else ""
    text += f", {mail.claimed} in its round" if mail.claimed else ""
    return text + (f", {mail.dead} dead" if mail.dead else "")


def _uptime(since: float) -> str:
    from tinytown import clock  # noqa: PLC0415  only with --deep

    return render.duration(max(0.0, clock.wall() - since))


def _task_line(seen: TownStatus) -> None:
    counts = {state.value: count for state, count in seen.counts.items()}
    flying = counts["assigned"] + counts["running"]
    done = counts["completed"] + counts["failed"] + counts["cancelled"]
    line = f"{sum(counts.values())} total ({counts['pending']} pending, {flying} in-flight, {done} done)"
    failed = f", {counts['failed']} of them failed" if counts["failed"] else ""
    render.out(f"{render.icon('📋')}Tasks: {line}{failed}")


def _hints(seen: TownStatus) -> None:
    if seen.unsupervised:
        hint_unsupervised(seen.town, seen.unsupervised)
    elif seen.missions and seen.supervisor is None:
        render.talk("No supervisor is running: nothing works on missions. Start it with: tt supervise")
    dead = sum(agent.pending.dead for agent in seen.agents)
    if dead:
        render.talk(f"{dead} dead letter(s). See them with: tt inbox --all --dead")
    if seen.server.is_older_than_recommended:
        render.talk(f"Warning: the server is {seen.server.name} {seen.server.version}; 8.0 or later is recommended.")
