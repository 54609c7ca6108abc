"""Whatever GitHub or the network does, there is one line that says so, in time, and whether to ask again."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.github.conftest import TOKEN
from tests.support.github.server import GitHub
from tinytown.domain.pull_request import Failure, Look, PullRequest
from tinytown.errors import Forbidden, NotFound, TimedOut, TinytownError, Unavailable
from tinytown.github import client
from tinytown.github.access import Access
from tinytown.github.refusals import Limited

pytestmark = pytest.mark.slow

Break = Callable[[GitHub], None]


def failure(github: client.GitHub, world: GitHub) -> Failure:
    answer = github.look(Look(world.pulls["acme/web", 45].url))
    assert isinstance(answer, Failure), answer
    assert "\n" not in answer.reason
    assert TOKEN not in answer.reason
    return answer


PASSING: dict[str, tuple[Break, str]] = {
    "500": (lambda w: w.fail(500), "GitHub answers 500 for .*: Server Error"),
    "502 for people": (lambda w: w.fail(502, message="<html>"), "GitHub answers 502"),
    "503": (lambda w: w.fail(503), "GitHub answers 503"),
    "garbage": (lambda w: w.garbage(), "cannot be understood"),
    "the wrong shape": (lambda w: w.garbage(text='{"number": 45}'), "cannot be understood"),
    "a list": (lambda w: w.garbage(text="[]"), "cannot be understood"),
    "too deep": (lambda w: w.garbage(text='{"a":' * 100_000), "cannot be understood"),
    "null": (lambda w: w.garbage(text="null"), "cannot be understood"),
    "odd reviews": (lambda w: w.garbage("reviews", text='[{"state": "APPROVED"}]'), "cannot be understood"),
    "odd comments": (lambda w: w.garbage("issues/45/comments", text='{"a": 1}'), "cannot be understood"),
    "odd checks": (lambda w: w.garbage("check-runs", text='{"check_runs": [5]}'), "cannot be understood"),
    "no checks": (lambda w: w.garbage("check-runs", text="{}"), "cannot be understood"),
    "a closed connection": (lambda w: w.drop(), "cannot be reached at 127.0.0.1"),
    "an unknown commit": (lambda w: w.fail(422, "check-runs", message="No commit found for SHA"), "No commit found"),
    "a commit not there yet": (lambda w: w.fail(404, "/status"), "does not know the commit .* yet"),
    "no server": (lambda w: w.stop(), "cannot be reached at 127.0.0.1: .*refused"),
}
LASTING: dict[str, tuple[Break, str]] = {
    "404": (lambda w: w.pulls.clear(), "was not found on GitHub"),
    "hidden": (lambda w: w.hidden.add("acme/web"), "was not found on GitHub"),
    "410": (lambda w: w.fail(410), "was deleted"),
    "403": (lambda w: w.fail(403, message="Resource protected by organization SAML enforcement"), "SAML"),
    "no right to see checks": (
        lambda w: w.fail(403, "check-runs", message="Resource not accessible"),
        "not accessible",
    ),
    "451": (lambda w: w.fail(451, message="Repository access blocked"), "blocked"),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass(world: GitHub, github: client.GitHub, name: str) -> None:
    """Not final: the next look may be answered."""
    harm, said = PASSING[name]
    harm(world)

    found = failure(github, world)

    assert re.search(said, found.reason)
    assert (found.is_final, found.retry_after_s) == (False, None)
    if name != "no server":
        assert isinstance(github.look(Look(world.pulls["acme/web", 45].url)), PullRequest)


@pytest.mark.parametrize("harm", [GitHub.hang, GitHub.trickle])
def test_no_answer_in_time(world: GitHub, hurried: client.GitHub, harm: Break) -> None:
    """Neither silence nor a byte now and then holds anybody up."""
    harm(world)

    found = failure(hurried, world)

    assert "did not answer within 0.5 s" in found.reason
    assert not found.is_final
    harm(world)
    with pytest.raises(TimedOut):
        hurried.issue("acme/web#23")


@pytest.mark.parametrize("name", LASTING)
def test_what_will_not_pass(world: GitHub, github: client.GitHub, name: str) -> None:
    """Final: nobody needs to ask again before somebody has done something."""
    url = world.pulls["acme/web", 45].url
    harm, said = LASTING[name]
    harm(world)

    found = github.look(Look(url))

    assert isinstance(found, Failure)
    assert said in found.reason
    assert found.is_final


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (lambda w: w.rate_limit(120, time.time()), (100, 121)),
        (lambda w: w.secondary_limit(30), (30, 30)),
        (lambda w: w.secondary_limit(30, status=429), (30, 30)),
        (lambda w: w.secondary_limit(None), (60, 60)),
        (lambda w: w.rate_limit(-5, time.time()), (1, 1)),
        (lambda w: w.rate_limit(90_000, time.time()), (3600, 3600)),
        (lambda w: w.fail(429, message="Too Many Requests"), (60, 60)),
        (lambda w: w.rate_limit(120, time.time(), "issues/45/comments"), (100, 121)),
    ],
)
def test_rate_limits(world: GitHub, github: client.GitHub, limit: Break, seconds: tuple[int, int]) -> None:
    """Nothing waits and nothing is tried again: the answer says how long to leave GitHub alone."""
    limit(world)

    found = failure(github, world)

    assert not found.is_final
    assert seconds[0] <= (found.retry_after_s or 0) <= seconds[1]
    assert world.count(status=403) + world.count(status=429) == 1


def test_a_limit_that_makes_no_sense(world: GitHub, github: client.GitHub) -> None:
    """A header without a number is a minute."""
    world.fail(403, retry_after="Fri, 31 Dec 1999 23:59:59 GMT")

    assert failure(github, world).retry_after_s == 60


def test_as_errors(world: GitHub, github: client.GitHub) -> None:
    """For a command the same are errors of the one tree, with their remedies."""
    harms: list[tuple[Break, type[TinytownError]]] = [
        (lambda w: w.fail(403, message="no"), Forbidden),
        (lambda w: w.fail(404), NotFound),
        (lambda w: w.fail(500), Unavailable),
        (lambda w: w.secondary_limit(9), Limited),
    ]
    for harm, error in harms:
        harm(world)
        with pytest.raises(error):
            github.issue("acme/web#23")


def test_without_a_token_the_limit_says_what_helps(world: GitHub) -> None:
    """Sixty requests an hour are soon gone."""
    world.tokens = None
    world.rate_limit(60, time.time())
    with Access(world.api_url, None) as access, pytest.raises(Limited) as caught:
        client.GitHub(access, world.web_url).issue("acme/web#23")

    assert "GITHUB_TOKEN" in (caught.value.remedy or "")


def test_the_token_goes_nowhere_else(world: GitHub, github: client.GitHub) -> None:
    """A next page at another host is not asked for, whoever wrote that link."""
    with socket.create_server(("127.0.0.1", 0)) as thief:
        link = f'<http://127.0.0.1:{thief.getsockname()[1]}/steal>; rel="next"'
        world.garbage("reviews", text="[]", link=link)

        answer = github.look(Look(world.pulls["acme/web", 45].url))

        thief.setblocking(False)
        with pytest.raises(BlockingIOError):
            thief.accept()
    assert isinstance(answer, PullRequest)


def test_a_spoilt_cache(world: GitHub, github: client.GitHub, tmp_path: Path) -> None:
    """Files that somebody emptied or wrote into are no answers."""
    look = Look(world.pulls["acme/web", 45].url)
    first = github.look(look)
    for number, path in enumerate(sorted((tmp_path / "cache").iterdir())):
        path.write_text(["", "[]", '{"etag": 5, "body": 1}', "\x00", '{"etag": "x"}', "{"][number % 6])

    assert github.look(look) == first
