"""`tt spawn`, `tt restart`, `tt kill`, `tt wait`, `tt list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.domain.task import Task
    from tinytown.services.status import AgentStatus
    from tinytown.store.agents import AgentRow
    from tinytown.town import Town

STATE_COLOURS = {"idle": "green", "working": "yellow", "error": "red", "stopped": "dim", "cold": "dim"}


@base.command(
    examples="tt spawn backend\ntt spawn reviewer --model codex --role reviewer\n"
    "tt spawn helper --cli demo --max-rounds 5\n"
    "tt spawn dev --model 'my-model --batch' --foreground"
)
@click.argument("name")
@click.option("--model", "-m", "--cli", "-c", "cli", metavar="CLI", help="A preset, one of [agent_clis], or a command.")
@click.option(
    "--max-rounds",
    "rounds",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Rounds before it stops by itself.",
)
@click.option("--foreground", is_flag=True, help="Run in this terminal, without the supervisor.")
@click.option("--role", metavar="ROLE", help="Takes backlog work whose tag is this role.")
@click.option("--nickname", metavar="NAME", help="Another name it answers to.")
@click.option("--parent", metavar="AGENT", help="The agent it works for.")
@click.pass_context
def spawn(  # noqa: PLR0913  one verb with its options
    ctx: click.Context, name: str, *, cli: str | None, rounds: int, foreground: bool, role: str | None,
    nickname: str | None, parent: str | None,
) -> None:  # fmt: skip
    """Create an agent and start it."""
    from tinytown.services import agents  # noqa: PLC0415  not for --help

    town = base.open_town()
    request = agents.SpawnRequest(name, cli, rounds, foreground, role, nickname, parent)
    agent = agents.spawn(town, request)
    render.out(f"{render.icon('🤖')}Spawned agent '{agent.name}' using model '{render.clean(agent.cli)}'")
    render.out(f"   ID: {agent.id}")
    if town.config.agent.isolation == "worktree":
        from tinytown.services import worktrees  # noqa: PLC0415  few towns use them

        tree = worktrees.find(town, agent.name)
        render.out(f"   Worktree: {tree.path} (branch {tree.branch})")
    if foreground:
        _run_here(ctx, town, agent.id, agent.name)
    render.out(f"{render.icon('🔄')}Starting agent loop in background (max {rounds} rounds)...")
    render.out(f"   Logs: {town.logs_dir / agent.name}.log")
    render.out("   Agent running in background. Check status with 'tt status'")


@base.command(examples="tt restart backend\ntt restart backend --rounds 20\ntt restart backend --foreground")
@click.argument("agent")
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Rounds before it stops by itself.",
)
@click.option("--foreground", is_flag=True, help="Run in this terminal, without the supervisor.")
@click.pass_context
def restart(ctx: click.Context, agent: str, *, rounds: int, foreground: bool) -> None:  # fmt: skip
    """Start an agent that has ended again, with fresh rounds."""
    from tinytown.errors import AgentNotFound, NotFound  # noqa: PLC0415  not for --help
    from tinytown.services import agents  # noqa: PLC0415  as above

    town = base.open_town()
    try:
        fresh = agents.restart(town, agent, rounds, foreground=foreground)
    except AgentNotFound as error:
        raise NotFound(f"Agent '{agent}' not found", error.remedy) from error
    render.out(f"{render.icon('🔄')}Restarting agent '{fresh.name}'...")
    render.out(f"   Rounds: {rounds}")
    render.out(f"   Log: {town.logs_dir / fresh.name}.log")
    if foreground:
        _run_here(ctx, town, fresh.id, fresh.name)
    render.out(f"\n{render.icon('✅')}Agent '{fresh.name}' restarted")


@base.command(examples="tt kill backend\ntt kill backend --now")
@click.argument("agent")
@click.option("--now", is_flag=True, help="End the round in progress; its work goes back, uncharged.")
def kill(agent: str, *, now: bool) -> None:
    """Stop an agent after its round, or at once."""
    from tinytown.services import agents, servers  # noqa: PLC0415  not for --help

    town = base.open_town()
    servers.require(town)
    killed = agents.kill(town, agent, now=now)
    name, state = killed.agent.name, killed.agent.state
    if killed.wish is None:
        is_over = f"Agent '{name}' has ended already ({state.label})."
        render.out(is_over if state.is_terminal else f"Nothing runs agent '{name}' ({state.label}); nothing to stop.")
        return
    render.out(f"{render.icon('🛑')}Requested stop for agent '{name}'")
    render.out("   Its round is ended now." if now else "   Agent will stop at the start of its next round.")


@base.command(
    examples="tt wait backend\ntt wait backend --timeout 600 && echo done\n"
    "tt wait 550e8400\ntt close backend && tt wait backend"
)
@click.argument("what", metavar="AGENT|TASK")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up then, with exit code 124.")
@base.json_option()
def wait(what: str, *, timeout: float | None, as_json: bool) -> None:
    """Wait until an agent has ended or a task is done; exit code 1 for one that failed or was cancelled."""
    from tinytown.domain.task import Task  # noqa: PLC0415  not for --help
    from tinytown.errors import Conflict  # noqa: PLC0415  as above
    from tinytown.services import shapes, waiting  # noqa: PLC0415  as above

    town = base.open_to_read()
    found = waiting.find(town, what)
    _warn_if_nobody_works(town, found)
    done = waiting.wait(town, found.id if isinstance(found, Task) else found.agent.id, timeout)
    if as_json:
        render.print_json(shapes.waited(done))
        click.get_current_context().exit(0 if done.is_well else 1)
    why = f": {render.clean(done.reason, 500)}" if done.reason else ""
    if done.kind == "agent":
        render.out(f"Agent '{done.name}' has ended ({done.state.label}){why}")
    elif done.is_well:
        render.out(f"Task {done.id} is {done.state}{why}")
    else:
        ended = "has failed" if done.state == "failed" else "was cancelled"
        raise Conflict(f"Task {done.id} {ended}{why}", f"To run it again: tt task retry {done.id[:8]}")


def _warn_if_nobody_works(town: Town, found: AgentRow | Task) -> None:
    """Say that the wait may be long, when no supervisor runs for those that are waited for."""
    from tinytown.domain.task import Task  # noqa: PLC0415  not for --help

    owner = town.store.agents.row(found.assigned_to or "") if isinstance(found, Task) else found
    is_open = not isinstance(found, Task) or not found.state.is_terminal
    if is_open and owner is not None and owner.wish is not None and not owner.wish.foreground:
        _warn_without_supervisor(town, 1)


@base.command("list", examples="tt list\ntt list --json")
@base.json_option()
def list_agents(*, as_json: bool) -> None:
    """List the agents and their states."""
    from tinytown.services import shapes, status  # noqa: PLC0415  not for --help

    town = base.open_to_read()
    found = status.agents(town)
    if as_json:
        render.print_json([shapes.agent(agent) for agent in found])
        return
    if not found:
        render.out("No agents. Run 'tt spawn <name>' to create one.")
        return
    render.out("Agents:")
    for one in found:
        agent = one.agent
        render.out(f"  {agent.name} ({agent.id}) - {state_of(one)}{details(one)}")
    hint_unsupervised(town, sum(one.waits_for_supervisor for one in found))


def state_of(status: AgentStatus) -> str:
    """The state, in its colour."""
    state = status.agent.state
    return render.colour(state.label, STATE_COLOURS.get(state.value, "blue"))


def details(status: AgentStatus) -> str:
    """What else there is to say: other name, role, and why it ended or what it is about to do."""
    agent, wish = status.agent, status.row.wish
    parts = [f"nickname {agent.nickname}"] if agent.nickname else []
    parts += [f"role {agent.role_id}"] if agent.role_id else []
    parts += ["in a terminal"] if wish is not None and wish.foreground else []
    parts += ["asked to stop"] if wish is not None and wish.stop else []
    parts += ["to be paused"] if wish is not None and wish.pause and agent.state != "paused" else []
    parts += ["closing"] if wish is not None and wish.closed_at and agent.state != "draining" else []
    text = f" [{render.clean(', '.join(parts))}]" if parts else ""
    return text + (f" - {render.clean(agent.reason, 120)}" if agent.reason else "")


def hint_unsupervised(town: Town, waiting: int) -> None:
    """Say on stderr that nobody runs these agents, if so."""
    if waiting:
        _warn_without_supervisor(town, waiting)


def warn_if_waiting(town: Town) -> None:
    """The same, after a command that gave somebody work."""
    hint_unsupervised(town, len(town.store.agents.wishes()))


def _warn_without_supervisor(town: Town, waiting: int) -> None:
    from tinytown.services import supervision  # noqa: PLC0415  not for --help

    if not supervision.is_running(town):
        render.talk(f"No supervisor is running: {waiting} agent(s) wait for it. Start it with: tt supervise")


def _run_here(ctx: click.Context, town: Town, agent_id: str, name: str) -> None:
    from tinytown.supervisor.foreground import run  # noqa: PLC0415  loads the whole engine

    render.flush()
    ctx.exit(run(town, agent_id, name))
