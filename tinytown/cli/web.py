"""`tt web`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from tinytown.cli import base, render


@base.command(examples="tt web\ntt web --no-open\ntt web --json")
@click.option("--no-open", is_flag=True, help="Only print the link; open no browser.")
@base.json_option()
def web(*, no_open: bool, as_json: bool) -> None:
    """Open the town's page in a browser; the link lets in once."""
    from tinytown.services import web as service  # noqa: PLC0415  not for --help

    town = base.open_town()
    made = service.link(town)
    if as_json:
        render.print_json({"url": made.url, "link": made.link, "good_s": made.good_s})
        return
    render.out(made.link)
    if made.good_s is not None:
        render.talk(f"The link lets in once, within {made.good_s / 60:g} minutes.")
    if not no_open and render.is_terminal(sys.stdout) and _has_screen():
        _open(service.opening(town.state_dir, made))


def _has_screen() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open(path: Path) -> None:
    import webbrowser  # noqa: PLC0415  for one command

    if not webbrowser.open(path.as_uri()):
        render.talk("No browser could be opened: open the link by hand.")
