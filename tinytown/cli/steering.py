"""`tt interrupt`, `tt resume`, `tt close`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.town import Town


@base.command(examples="tt interrupt backend\ntt interrupt backend --now\ntt resume backend")
@click.argument("agent")
@click.option("--now", is_flag=True, help="End the round in progress; its work goes back, uncharged.")
def interrupt(agent: str, *, now: bool) -> None:
    """Pause an agent after its round, or at once: its mail waits until 'tt resume'."""
    from tinytown.services import steering  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    town = base.open_town()
    done = steering.interrupt(town, agent, from_environment(), now=now)
    name, state = done.agent.name, done.agent.state
    if done.changed:
        render.out(f"{render.icon('⏸️ ')}Interrupted agent '{name}'")
    else:
        render.out(f"Agent '{name}' was interrupted already.")
    if done.has_ended:
        render.out(f"   It has ended meanwhile ({state.label}).")
    elif state == "paused":
        render.out(f"   Agent is now paused. Use 'tt resume {name}' to continue.")
    elif not done.is_attended:
        _unattended(town, "It is paused as soon as somebody runs it.")
    elif now:
        render.out("   Its round is ended now.")
    else:
        when = "after its round" if done.is_in_round else "as soon as its process looks"
        render.out(f"   Agent will pause {when}. Use 'tt resume {name}' to continue.")


@base.command(examples="tt resume backend")
@click.argument("agent")
def resume(agent: str) -> None:
    """Let a paused agent go on: it works on the mail that waits."""
    from tinytown.services import steering  # noqa: PLC0415  not for --help

    town = base.open_town()
    done = steering.resume(town, agent)
    render.out(f"{render.icon('▶️ ')}Resumed agent '{done.agent.name}'")
    if not done.is_attended and not done.has_ended:
        _unattended(town, "It goes on as soon as somebody runs it.")


@base.command(examples="tt close backend\ntt close backend && tt wait backend")
@click.argument("agent")
def close(agent: str) -> None:
    """Let an agent finish the mail it has now, then stop it. Later mail waits for 'tt restart'."""
    from tinytown.services import steering  # noqa: PLC0415  not for --help

    town = base.open_town()
    done = steering.close(town, agent)
    name = done.agent.name
    if done.changed:
        render.out(f"{render.icon('🔻')}Closing agent '{name}' (draining current work, then stopping)")
    else:
        render.out(f"Agent '{name}' is closing already ({done.agent.state.label}).")
    if not done.is_attended and not done.has_ended:
        _unattended(town, f"It works off its mail as soon as somebody runs it. To stop it as it is: tt kill {name}")


def _unattended(town: Town, text: str) -> None:
    """The wish is recorded, and nobody is there to obey it."""
    from tinytown.cli.agents import hint_unsupervised  # noqa: PLC0415  rare

    render.out(f"   {text}")
    hint_unsupervised(town, 1)
