"""Issues: what is in them, under which names they are found, and what is said when they are not."""

from __future__ import annotations

import pytest

from tests.support.github.server import GitHub
from tinytown.domain.pull_request import Failure, Issue, Look
from tinytown.errors import Forbidden, Invalid, NotFound
from tinytown.github import client
from tinytown.github.access import Access


def test_an_issue_in_full(world: GitHub, github: client.GitHub) -> None:
    """Title, labels, state and the whole body, however long it is."""
    body = "Zeile Ω 行\n" * 5000
    world.issues["acme/web", 23].body = body

    assert github.issue("acme/web#23") == Issue(
        "acme/web#23",
        "Log in",
        body,
        f"{world.web_url}/acme/web/issues/23",
        is_open=True,
        labels=("bug", "role:backend"),
    )


def test_by_its_url(world: GitHub, github: client.GitHub) -> None:
    """The URL of an issue is as good as its name."""
    assert github.issue(f"{world.web_url}/acme/web/issues/23#issuecomment-1").ref == "acme/web#23"


def test_a_closed_one_without_a_body(world: GitHub, github: client.GitHub) -> None:
    """GitHub's null is an empty body."""
    world.issues["acme/web", 23].body = None
    world.issues["acme/web", 23].state = "closed"

    found = github.issue("acme/web#23")

    assert (found.body, found.is_open) == ("", False)


def test_several(world: GitHub, github: client.GitHub) -> None:
    """All of them by what was asked for, also a pull request, which says that it is one."""
    world.issue("acme/api", 7, title="Seven")

    found = github.issues(["acme/web#23", "acme/api#7", "acme/web#45"])

    assert [(ref, issue.title, issue.is_pull) for ref, issue in found.items()] == [
        ("acme/web#23", "Log in", False),
        ("acme/api#7", "Seven", False),
        ("acme/web#45", "A pull request", True),
    ]


def test_a_renamed_repository(world: GitHub, github: client.GitHub) -> None:
    """GitHub's redirect is followed."""
    world.move("acme/web", "acme/site")

    assert github.issue("acme/web#23").url == f"{world.web_url}/acme/site/issues/23"


def test_one_that_is_not_there(github: client.GitHub) -> None:
    """The error names it."""
    with pytest.raises(NotFound, match="acme/web#99 was not found on GitHub") as caught:
        github.issue("acme/web#99")
    assert "may the token see the repository" in (caught.value.remedy or "")


def test_a_private_one_without_a_token(world: GitHub) -> None:
    """Without a token the error says that one may help, and how to have one."""
    with Access(world.api_url, None) as access, pytest.raises(NotFound) as caught:
        client.GitHub(access, world.web_url).issue("acme/web#23")

    assert caught.value.remedy == "Set GITHUB_TOKEN, or log in with: gh auth login"


def test_a_public_one_without_a_token(world: GitHub) -> None:
    """Who has no token can read what is public."""
    world.tokens = None
    with Access(world.api_url, None) as access:
        assert client.GitHub(access, world.web_url).issue("acme/web#23").title == "Log in"


def test_a_refused_token(world: GitHub) -> None:
    """A bad token is an error about the token, which it does not repeat; it says nothing about the issue."""
    with Access(world.api_url, "ghp_stolen") as access:
        door = client.GitHub(access, world.web_url)
        with pytest.raises(Forbidden, match="refuses the token: Bad credentials") as caught:
            door.issue("acme/web#23")
        answer = door.look(Look("acme/web#23"))

    assert "ghp_stolen" not in f"{caught.value!r}{caught.value.remedy}{answer}"
    assert isinstance(answer, Failure)
    assert not answer.is_final


@pytest.mark.parametrize(
    "ref", ["", "23", "acme#2", "acme/web#x", "https://gitlab.com/acme/web/issues/23", "../../x/y#1", "a/b#1\nc"]
)
def test_what_is_no_reference(world: GitHub, github: client.GitHub, ref: str) -> None:
    """Nothing is asked that cannot be an issue of this GitHub."""
    with pytest.raises(Invalid):
        github.issue(ref)
    answer = github.look(Look(ref))

    assert isinstance(answer, Failure)
    assert answer.is_final
    assert world.requests == []
