"""The issues that a mission is started with, out of GitHub."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinytown.domain.pull_request import Issue
from tinytown.github.places import web_url
from tinytown.town import Town

Say = Callable[[str], None]


def web_of(town: Town) -> str:
    """Where browsers find the town's GitHub."""
    return web_url(town.config.github.api_url)


def issues(town: Town, wanted: Sequence[str], say: Say | None = None) -> list[Issue]:
    """These issues (`owner/repo#N`), in order; `say` hears of each before it is asked for.

    Raises NotFound, Forbidden, Unavailable, TimedOut for the first that cannot be had. Without any GitHub is not asked.
    """
    if not wanted:
        return []
    from tinytown.github import client  # noqa: PLC0415  a mission of documents needs no GitHub

    found = []
    with client.connect(town.config.github.api_url) as github:
        for number, ref in enumerate(wanted, 1):
            if say is not None:
                say(f"Fetching {ref} ({number} of {len(wanted)})...")
            found.append(github.issue(ref))
    return found
