"""`tt worktree ...`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.services.worktrees import Standing

_COLOURS = (("@@", "blue"), ("+", "green"), ("-", "red"))


@base.group(
    examples="tt worktree list\ntt worktree diff backend --stat\ntt worktree merge backend\ntt worktree remove backend"
)
def worktree() -> None:
    """Show, merge or remove the git worktrees of agents."""


@worktree.command("list", cls=base.Command, examples="tt worktree list\ntt worktree list --json")
@base.json_option()
def list_worktrees(*, as_json: bool) -> None:
    """List the worktrees, also of agents that are gone, and how they stand to the main checkout."""
    from tinytown.services import worktrees  # noqa: PLC0415  not for --help

    town = base.open_town()
    found = worktrees.listing(town)
    if as_json:
        from tinytown.services import shapes  # noqa: PLC0415  only with --json

        render.print_json([shapes.worktree(one) for one in found])
    elif not found:
        how = "They are made when an agent first works." if worktrees.is_isolated(town) else _HOW_TO_ISOLATE
        render.out(f"No worktrees. {how}")
    else:
        render.out(f"{render.icon('🌿')}Worktrees ({len(found)}):")
        rows = [(one.tree.agent, render.clean(one.tree.branch), _standing(one), str(one.tree.path)) for one in found]
        for line in render.columns(rows):
            render.out(render.clean_block(line))


@worktree.command("diff", cls=base.Command, examples="tt worktree diff backend\ntt worktree diff backend --stat")
@click.argument("agent")
@click.option("--stat", is_flag=True, help="Only the files and how much changed in each.")
def diff(agent: str, *, stat: bool) -> None:
    """Show what an agent changed since its branch began, committed or not."""
    from tinytown.services import worktrees  # noqa: PLC0415  not for --help

    is_shown = render.is_terminal(sys.stdout)
    for line in worktrees.diff(base.open_town(), agent, stat=stat, whole=not is_shown and not stat):
        if is_shown:
            text = render.clean_block(line.decode("utf-8", "replace").rstrip("\n"))
            colour = next((colour for head, colour in _COLOURS if text.startswith(head)), None)
            render.out(render.colour(text, colour) if colour else text)
        else:  # as it is: for `git apply`
            sys.stdout.buffer.write(line)


@worktree.command(
    "merge", cls=base.Command,
    examples="tt worktree merge backend\ntt worktree merge backend --commit 'Add the login API'",
)  # fmt: skip
@click.argument("agent")
@click.option("--commit", "message", metavar="MESSAGE", help="First commit what the agent left uncommitted.")
def merge(agent: str, *, message: str | None) -> None:
    """Merge an agent's branch into the branch of the main checkout; on a conflict nothing is changed."""
    from tinytown.services.worktrees import merging  # noqa: PLC0415  not for --help

    done = merging.merge(base.open_town(), agent, message)
    if done.commits == 0:
        render.out(f"Nothing to merge: '{done.into}' has all of '{done.branch}'.")
        return
    render.out(f"{render.icon('🔀')}Merged {done.commits} commit(s) of '{done.branch}' into '{done.into}'")
    render.out(f"   Commit: {done.commit}")


@worktree.command("remove", cls=base.Command, examples="tt worktree remove backend")
@click.argument("agent")
def remove(agent: str) -> None:
    """Remove an agent's worktree; what is not committed is kept in a ref (but for files that git ignores)."""
    from tinytown.services.worktrees import removal  # noqa: PLC0415  not for --help

    done = removal.remove(base.open_town(), agent)
    if not done.was_there:
        render.out(f"Agent '{done.agent}' has no worktree.")
        return
    render.out(f"{render.icon('🗑️')}Removed the worktree of '{done.agent}'")
    if done.rescue is not None:
        render.out(f"   What was only there is kept as {done.rescue}")
        render.out(f"   To get it back: git switch -c {done.agent}-rescued {done.rescue}")
    if done.kept:
        render.out(f"   Branch {done.branch} is kept: not all of it is merged.")


@worktree.command("prepare", cls=base.Command, hidden=True, examples="tt worktree prepare backend")
@click.argument("agent")
def prepare(agent: str) -> None:
    """Make an agent's worktree ready; what its actor runs before the first model."""
    from tinytown.services.worktrees import making  # noqa: PLC0415  not for --help

    making.prepare(base.open_town(), agent, _say)


_HOW_TO_ISOLATE = 'For one per agent set [agent] isolation = "worktree" in tinytown.toml.'


def _say(line: str) -> None:
    """At once: what `setup` prints must come after it."""
    render.out(render.clean(line))
    render.flush()


def _standing(one: Standing) -> str:
    if one.error is not None:
        return render.clean(one.error, 100)
    parts = [f"{one.ahead} ahead, {one.behind} behind", f"{one.dirty} uncommitted" if one.dirty else "clean"]
    parts += [] if one.head == one.tree.branch else [f"on {render.clean(one.head or 'no branch')}"]
    parts += [one.tree.phase.value] if one.tree.phase not in {None, "ready"} else []
    return ", ".join(parts)
