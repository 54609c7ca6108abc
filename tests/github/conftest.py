"""A GitHub of each test's own, and a door to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.github.server import GitHub
from tinytown.github import client
from tinytown.github.access import Access
from tinytown.github.cache import Cache

TOKEN = "ghp_0123456789"  # noqa: S105  the server knows no other


@pytest.fixture
def world() -> Iterator[GitHub]:
    """The server, with one issue and one pull request; it knows one token."""
    with GitHub() as github:
        github.issue("acme/web", 23, title="Log in", body="It fails.", labels=("bug", "role:backend"))
        github.pull("acme/web", 45)
        github.tokens = {TOKEN}
        yield github


@pytest.fixture
def github(world: GitHub, tmp_path: Path) -> Iterator[client.GitHub]:
    """The door, with the token."""
    with Access(world.api_url, TOKEN, Cache(tmp_path / "cache", TOKEN)) as access:
        yield client.GitHub(access, world.web_url)


@pytest.fixture
def hurried(world: GitHub) -> Iterator[client.GitHub]:
    """One that waits half a second at most, for a server that does not answer."""
    with Access(world.api_url, TOKEN, all_s=0.5) as access:
        yield client.GitHub(access, world.web_url)
