"""`tt config`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from pathlib import Path

    from tinytown.services.settings import Overview, Setting


@base.command(
    examples="tt config\ntt config default_cli\ntt config default_cli codex\n"
    "tt config agent_clis.my-ai 'my-ai-cli --flag'\ntt config redis.use_central true\n"
    "tt config --unset agent_clis.my-ai"
)
@click.argument("key", required=False)
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Remove the key from the global file.")
@base.json_option()
@click.pass_context
def config(ctx: click.Context, key: str | None, value: str | None, *, unset: bool, as_json: bool) -> None:
    """Show settings and where each comes from, or set a global one."""
    from tinytown.services import settings  # noqa: PLC0415  not for --help

    if unset and (key is None or value is not None):
        raise click.UsageError("--unset takes one KEY and no VALUE.")
    if value is not None or unset:
        assert key is not None
        _set(ctx, key, value, as_json=as_json)
        return
    root = settings.root_here(ctx.meta.get(base.TOWN))
    if key is not None:
        found = settings.get(root, key)
        if as_json:
            render.print_json(_shape(found))
        else:
            render.out(_plain(found.value))
        return
    seen = settings.overview(root)
    if as_json:
        render.print_json(_overview_shape(seen, root))
    else:
        _show(seen, root)


def _set(ctx: click.Context, key: str, value: str | None, *, as_json: bool) -> None:
    from tinytown.config import global_file  # noqa: PLC0415  not for --help
    from tinytown.services import settings  # noqa: PLC0415  as above

    changed = settings.set_global(key, value)
    stored = settings.get(None, key).value if value is not None else None
    if as_json:
        render.print_json({"key": key, "value": stored, "changed": changed, "file": str(global_file())})
    elif value is None:
        render.out(f"{render.icon('✅')}Removed {key}" if changed else f"{key} was not set")
    else:
        render.out(f"{render.icon('✅')}Set {render.clean(key)} = {_toml(stored)}")
    if not as_json:
        render.out(f"   {'Saved to' if changed else 'File'}: {render.clean(str(global_file()))}")
    if changed and key == "redis.use_central":
        render.talk("Note: towns that do not set it themselves change servers; what they hold stays in the former one.")
    _warn_if_overridden(ctx, key)


def _warn_if_overridden(ctx: click.Context, key: str) -> None:
    """The global file is for all towns; the one we stand in may say otherwise."""
    from tinytown.errors import TinytownError  # noqa: PLC0415  not for --help
    from tinytown.services import settings  # noqa: PLC0415  as above

    try:
        root = settings.root_here(ctx.meta.get(base.TOWN))
        found = settings.get(root, key) if root else None
    except TinytownError:
        return  # it is set, whatever is wrong with the town
    if found is not None and found.source is settings.Source.TOWN:
        render.talk(f"Note: this town's tinytown.toml says {key} = {_toml(found.value)}, which counts here.")


def _show(seen: Overview, root: Path | None) -> None:
    from tinytown.config import TOWN_FILE, global_file  # noqa: PLC0415  not for --help

    file = global_file()
    missing = "" if file.exists() else " (not there yet)"
    if seen.town is not None and root is not None:
        render.out(f"{render.icon('🏘️ ')}Town: {seen.town.name} ({render.clean(str(root / TOWN_FILE))})")
    render.out(f"{render.icon('⚙ ')}Global config: {render.clean(str(file))}{missing}\n")
    rows = [(s.key, f"= {_toml(s.value)}", s.source.value) for s in seen.settings if s.value is not None]
    if seen.town is not None:
        for line in render.columns(rows, indent=""):
            render.out(line)
    else:
        _show_global(seen.settings)
    render.out(f"\nAvailable CLIs: {', '.join(map(render.clean, seen.clis))}")


def _show_global(settings: list[Setting]) -> None:
    """In the form of the file itself."""
    clis = {s.key.removeprefix("agent_clis."): s for s in settings if s.key.startswith("agent_clis.")}
    for setting in settings:
        if setting.value is not None and setting.key.removeprefix("agent_clis.") not in clis:
            note = "   # default" if setting.source == "default" else ""
            render.out(f"{setting.key} = {_toml(setting.value)}{note}")
    if clis:
        render.out("\n[agent_clis]")
    for key, setting in clis.items():
        name = key.removesuffix(".command")
        is_alone = not any(other.startswith(f"{name}.") for other in clis if other != key)
        render.out(f"{render.clean(name if is_alone else key)} = {_toml(setting.value)}")


def _overview_shape(seen: Overview, root: Path | None) -> dict[str, Any]:
    from tinytown.config import TOWN_FILE, global_file  # noqa: PLC0415  not for --help

    return {
        "town": seen.town.name if seen.town else None,
        "town_file": str(root / TOWN_FILE) if root else None,
        "global_file": str(global_file()),
        "settings": [_shape(setting) for setting in seen.settings],
        "available_clis": seen.clis,
    }


def _shape(setting: Setting) -> dict[str, Any]:
    return {"key": setting.key, "value": setting.value, "source": setting.source.value}


def _plain(value: Any) -> str:
    """For a shell: no quotes; a list as words on lines, nothing for what is not set."""
    if isinstance(value, list):
        return "\n".join(render.shown(item) for item in value)
    return "" if value is None else render.shown(value) if isinstance(value, str) else _toml(value)


def _toml(value: Any) -> str:
    from json import dumps  # noqa: PLC0415  not for --help

    return render.clean(dumps(value, ensure_ascii=False))
