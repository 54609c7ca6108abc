"""Where the town's page is: a running town hall leaves its address; `tt web` makes a link to it that lets in once.

`.tt/townhall.json` names processes and their addresses, the newest last. It may outlive them: who reads it looks
whether they live.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytown import config_townhall, processes
from tinytown.errors import Unavailable
from tinytown.files import locked, read_json, write_atomic
from tinytown.processes import Identity
from tinytown.services import web_codes
from tinytown.town import Town

FILE = "townhall.json"
OPENING = "web.html"
_EVERYWHERE = {"//0.0.0.0:": "//127.0.0.1:", "//[::]:": "//[::1]:"}


@dataclass(frozen=True, slots=True)
class Link:
    """The page's address, and what opens it: the same, or with a code that is good once for `good_s` seconds."""

    url: str
    link: str
    good_s: float | None


def announce(state_dir: Path, url: str) -> None:
    """This process serves the page at `url`. Raises OSError (disk full), Forbidden."""
    with locked(state_dir / f"{FILE}.lock"):  # there may be several town halls: each is found when the others have left
        mine = {"url": url, "process": processes.own().to_dict()}
        write_atomic(state_dir / FILE, json.dumps({"halls": [*_living(state_dir), mine]}), sync=False)


def running(state_dir: Path) -> str | None:
    """The address of the town hall that runs, of several the last that was started; None when none does."""
    living = _living(state_dir)
    return str(living[-1]["url"]) if living else None


def _living(state_dir: Path) -> list[dict[str, Any]]:
    told = (read_json(state_dir / FILE) or {}).get("halls")
    halls = [hall for hall in told if isinstance(hall, dict)] if isinstance(told, list) else []
    return [
        hall
        for hall in halls
        if isinstance(hall.get("url"), str) and processes.is_alive(Identity.from_dict(hall.get("process")))
    ]


def link(town: Town) -> Link:
    """A link to the page for a browser of this machine. Raises Unavailable (no town hall runs), OSError, Forbidden."""
    url = running(town.state_dir)
    if url is None:
        raise Unavailable(f"No town hall of '{town.name}' is running.", "Start it in another terminal: townhall")
    for everywhere, here in _EVERYWHERE.items():
        url = url.replace(everywhere, here)
    settings = config_townhall.check(town.config.townhall, town.root / "tinytown.toml")
    if settings.auth.mode == "none":
        return Link(url, f"{url}/", None)
    # Behind the #: browsers send it to no server, so that it is in no log.
    return Link(url, f"{url}/#code={web_codes.create(town.state_dir)}", web_codes.GOOD_S)


def opening(state_dir: Path, made: Link) -> Path:
    """A file that leads a browser to the link: the arguments of programs are for all users to see, it is not."""
    path = state_dir / OPENING
    target = html.escape(made.link)
    meta = f'<meta charset="utf-8"><meta http-equiv="refresh" content="0;url={target}">'
    write_atomic(path, f'<!doctype html>{meta}<title>Tinytown</title><a href="{target}">Tinytown</a>\n', sync=False)
    return path
