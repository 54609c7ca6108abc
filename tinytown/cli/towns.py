"""`tt init`, `tt start`, `tt stop`, `tt towns`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.domain.agent import Agent
    from tinytown.services.registry import Seen
    from tinytown.town import Town

PROGRESS_AFTER_S = 1.0


@base.command(examples="tt init\ntt init --name my-project\ntt init --town ./projects/new-project --name new-project")
@click.option("--name", "-n", metavar="NAME", help="The town's name.  [default: <repo>-<branch>]")
def init(name: str | None) -> None:
    """Make a town here: settings, folders, Redis."""
    from pathlib import Path  # noqa: PLC0415  not for --help

    from tinytown.config import TOWN_FILE  # noqa: PLC0415  as above
    from tinytown.services import towns  # noqa: PLC0415  as above
    from tinytown.town import check_owner  # noqa: PLC0415  as above

    given = click.get_current_context().meta.get(base.TOWN, ".")
    if given == "." and Path(TOWN_FILE).exists():
        check_owner(Path.cwd())
    made = towns.init(Path(os.path.expanduser(given)), name, render.talk)
    town = made.town
    for warning in (*town.config.warnings, *filter(None, (made.warning, made.not_loaded))):
        render.talk(f"Warning: {warning}")
    if made.asked_name != town.name:
        render.talk(f"The name {made.asked_name!r} has characters a town cannot have; it is '{town.name}'.")
    render.out(f"{render.icon('✨')}Initialized town '{town.name}' at {render.clean(given)}")
    if town.store.connector.is_managed and town.config.redis.use_socket:
        render.out(f"{render.icon('📡')}Redis running with Unix socket for fast message passing")
    else:
        render.out(f"{render.icon('📡')}Redis running at {town.store.connector.url}")
    if made.restored is not None:
        done = made.restored
        former = "" if done.former_name == town.name else f", saved as '{done.former_name}'"
        render.out(f"{render.icon('📂')}Restored {done.contents} from {render.clean(str(done.file))}{former}")
    render.out(f"{render.icon('🚀')}Run 'tt spawn <name>' to create agents")


@base.command(examples="tt start\ntt start --town ~/git/my-project")
def start() -> None:
    """Start Redis and keep a connection open until Ctrl-C."""
    import select  # noqa: PLC0415  this command alone

    town = base.open_town()
    town.ensure_redis()
    town.store.connector.check(town.store.redis)
    line = town.store.connector.bell()
    line.connect()
    render.out(f"{render.icon('🚀')}Town connection open")
    render.flush()
    try:
        select.select([line.fileno()], [], [])
    except KeyboardInterrupt:
        render.out(f"\n{render.icon('👋')}Closing town connection...")
        return
    finally:
        line.disconnect()
    from tinytown.errors import RedisAway  # noqa: PLC0415  rare

    raise RedisAway(f"Redis of town '{town.name}' has ended.", "Start it again with: tt start")


@base.command(examples="tt stop\ntt stop --all\ntt stop --all --now")
@click.option("--all", "everything", is_flag=True, help="Also end the supervisor and the town's own Redis.")
@click.option("--now", is_flag=True, help="End rounds in progress; their work goes back, uncharged.")
def stop(*, everything: bool, now: bool) -> None:
    """Ask all agents to stop; --all also ends supervisor and Redis."""
    from tinytown.services import agents, servers  # noqa: PLC0415  not for --help

    town = base.open_town()
    if everything and servers.is_own(town) and not servers.is_listening(town):
        asked: list[Agent] = []
        render.talk(f"Redis is not running for town '{town.name}': no agent could be asked.")
    else:
        servers.require(town)
        asked = agents.stop_all(town, now=now)
        how = "an immediate" if now else "graceful"
        render.out(f"{render.icon('🛑')}Requested {how} stop for {len(asked)} agent(s) in town '{town.name}'")
    if everything:
        _end_all(town, asked)
    elif asked and not now:
        render.out("   Agents will stop at the start of their next round.")
    if not everything or not servers.is_own(town):
        render.out("   Redis remains available." if servers.is_own(town) else _REMAINS)


@base.command("towns", examples="tt towns\ntt towns --json")
@base.json_option()
def list_towns(*, as_json: bool) -> None:
    """List the towns of this machine."""
    from tinytown.services import registry  # noqa: PLC0415  not for --help

    towns = registry.survey()
    if as_json:
        render.print_json([town._asdict() | {"state": town.state.value} for town in towns])
    elif not towns:
        render.out(f"{render.icon('📍')}No towns registered yet.")
        render.out("   Run 'tt init' in a directory to register a town.")
    else:
        render.out(f"{render.icon('🏘️ ')}Registered Towns ({len(towns)}):")
        for town in towns:
            render.out(f"\n   {render.clean(town.name)} - {_status(town)}")
            render.out(f"      {render.icon('📂')}{render.clean(town.path)}")


_REMAINS = "   Central Redis remains available to other towns."


def _end_all(town: Town, asked: list[Agent]) -> None:
    from tinytown.services import caller, servers, supervision  # noqa: PLC0415  not for --help

    if caller.from_environment().is_model:  # waiting would be for its own round to end
        asked_to = supervision.ask_to_stop(town)
        render.out("   The supervisor ends after this round." if asked_to else "   No supervisor was running.")
        render.talk("Redis stays up; a person can end it with: tt stop --all")
        return
    patience = town.config.supervisor.grace_s + 15
    ended = _end_supervisor(town, patience)
    render.out("   Supervisor ended." if ended else "   No supervisor was running.")
    if not servers.is_own(town):
        return
    if servers.is_listening(town):
        _await_agents(town, asked, patience)
    if servers.stop(town):
        render.out("   Redis ended; its data stays.")
    else:
        is_others = servers.is_listening(town)
        render.out("   Redis goes on: this town did not start it." if is_others else "   Redis was not running.")


def _end_supervisor(town: Town, patience: float) -> bool:
    """Say what is waited for when it takes more than a second."""
    from tinytown.errors import TimedOut  # noqa: PLC0415  rare
    from tinytown.services import supervision  # noqa: PLC0415  not for --help

    try:
        return supervision.stop(town, PROGRESS_AFTER_S)
    except TimedOut:
        running = supervision.process(town)
    if running is not None:
        render.talk(f"   Waiting up to {patience:g} s for the agents' rounds (supervisor pid {running.pid})...")
        _wait(lambda: supervision.process(town) is None, patience, "The supervisor has not ended yet.")
    return True


def _await_agents(town: Town, asked: list[Agent], patience: float) -> None:
    """Agents in terminals end by themselves; Redis must not go before they have."""
    from tinytown.services import supervision  # noqa: PLC0415  not for --help

    supervision.finish_dead(town)
    names = {agent.id: agent.name for agent in asked}

    def left() -> list[str]:
        return [names[i] for i in town.store.agents.wishes() if i in names]

    if names and left():
        render.talk(f"   Waiting up to {patience:g} s for: {', '.join(left())}")
        _wait(lambda: not left(), patience, "Not all agents have ended; Redis is left running.")


def _wait(is_done: object, patience: float, complaint: str) -> None:
    from tinytown import clock  # noqa: PLC0415  not for --help
    from tinytown.errors import TimedOut  # noqa: PLC0415  as above

    assert callable(is_done)
    deadline = clock.monotonic() + patience
    while not is_done():
        if clock.monotonic() > deadline:
            raise TimedOut(complaint, "Look with: tt status")
        clock.sleep(0.02)


def _status(town: Seen) -> str:
    match town.state.value:
        case "online":
            return f"{render.colour('[OK]', 'green')} {town.agents} agents ({town.active} active)"
        case "offline":
            why = f" {render.clean(town.problem, 300)}" if town.problem else ""
            return f"{render.colour('[OFFLINE]', 'yellow')}{why}"
        case "no_config":
            return f"{render.icon('⚠️ ')}(no config)"
        case "broken_config":
            return f"{render.icon('⚠️ ')}(broken config) {render.clean(town.problem or '', 300)}"
        case _:
            return f"{render.icon('❌')}(path not found)"
