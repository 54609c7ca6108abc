"""`tt save`, `tt restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from pathlib import Path

    from tinytown.town import Town


@base.command(examples="tt save\ntt save && git add .tt/redis.aof")
def save() -> None:
    """Save the town's state into one file that git may hold."""
    from tinytown.services import snapshots  # noqa: PLC0415  not for --help

    town = base.open_town()
    saved = snapshots.save(town, render.talk)
    path = _short(town, saved.file)
    where = "" if path != str(saved.file) else f"-C {_quoted(str(saved.file.parent))} "
    file = _quoted(path if not where else saved.file.name)
    render.out(f"{render.icon('💾')}Saving Redis state...")
    render.out(f"   AOF rewrite triggered. File: {render.clean(_dotted(path))}")
    render.out(f"   Verified by a test load: {saved.contents} ({saved.size:,} bytes)")
    render.out("\n   To version control Redis state:")
    render.out(f"   git {where}add {file}")
    render.out(f"   git {where}commit -m 'Save town state'")


@base.command(examples="tt restore\ntt restore --force")
@click.option("--force", is_flag=True, help="Replace a town that is not empty; its agents are stopped first.")
def restore(*, force: bool) -> None:
    """Load the town's state from the saved file."""
    from tinytown.services import snapshots, towns  # noqa: PLC0415  not for --help

    town = base.open_town()
    restored = snapshots.restore(town, force=force, say=render.talk)
    render.out(f"{render.icon('📂')}AOF file found: {render.clean(_dotted(_short(town, restored.file)))}")
    former = "" if restored.former_name == town.name else f", saved as '{restored.former_name}'"
    render.out(f"{render.icon('✅')}Restored town '{town.name}'{former}: {restored.contents}")
    if warning := towns.register(town):  # in a clone that was never made a town by `tt init`
        render.talk(f"Warning: {warning}")
    if restored.contents.agents:
        render.out("   All agents are stopped. Start one with: tt restart <name>")


def _short(town: Town, file: Path) -> str:
    """From the working directory when that is in the town, else whole."""
    import os  # noqa: PLC0415  not for --help
    from pathlib import Path  # noqa: PLC0415  as above

    return os.path.relpath(file) if Path.cwd().is_relative_to(town.root) else str(file)


def _dotted(path: str) -> str:
    return path if path.startswith((".", "/")) and not path.startswith(".tt") else f"./{path}"


def _quoted(text: str) -> str:
    import shlex  # noqa: PLC0415  not for --help

    return render.clean(shlex.quote(text))
