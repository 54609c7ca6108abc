"""Merging: exactly the commit that was judged, once, and never more than asked."""

from __future__ import annotations

import pytest

from tests.support.github.server import GitHub
from tests.support.github.state import Pull
from tinytown.domain.pull_request import Failure, PullRequest
from tinytown.github import client


@pytest.fixture
def pull(world: GitHub) -> Pull:
    return world.pulls["acme/web", 45]


def test_it_is_merged(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """One request, and it is done."""
    answer = github.merge(pull.url, pull.head)

    assert isinstance(answer, PullRequest)
    assert (answer.is_merged, answer.is_open, pull.merged_by) == (True, False, "owner")
    assert [(each.method, each.body) for each in world.requests] == [
        ("PUT", {"sha": pull.head, "merge_method": "merge"})
    ]


def test_another_commit_came_first(github: client.GitHub, pull: Pull) -> None:
    """What nobody has judged is not merged."""
    judged = pull.head
    pull.push()

    answer = github.merge(pull.url, judged)

    assert isinstance(answer, Failure)
    assert "Head branch was modified" in answer.reason
    assert not answer.is_final
    assert not pull.is_merged


def test_somebody_was_quicker(github: client.GitHub, pull: Pull) -> None:
    """Merged already is merged."""
    pull.merge(by="ann")

    answer = github.merge(pull.url, pull.head)

    assert isinstance(answer, PullRequest)
    assert (answer.is_merged, answer.ended_by) == (True, "ann")


@pytest.mark.parametrize("harm", [{"mergeable": False}, {"is_draft": True}, {"state": "closed"}])
def test_it_cannot_be_merged(github: client.GitHub, pull: Pull, harm: dict[str, object]) -> None:
    """GitHub's refusal is passed on."""
    for name, value in harm.items():
        setattr(pull, name, value)

    answer = github.merge(pull.url, pull.head)

    assert isinstance(answer, Failure)
    assert "Pull Request is not mergeable" in answer.reason
    assert not pull.is_merged


def test_a_rule_of_the_branch(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """A rule is not worked around: asked once, told why."""
    pull.refusal = "At least 1 approving review is required by reviewers with write access."

    answer = github.merge(pull.url, pull.head)

    assert isinstance(answer, Failure)
    assert "At least 1 approving review" in answer.reason
    assert world.count(method="PUT") == 1


def test_a_repository_that_wants_squashes(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """Where merge commits are not allowed, the next way is taken."""
    world.fail(405, "/merge", message="Merge commits are not allowed on this repository.")

    assert isinstance(github.merge(pull.url, pull.head), PullRequest)
    assert [each.body["merge_method"] for each in world.requests] == ["merge", "squash"]


@pytest.mark.parametrize("status", [500, 502])
def test_an_error_is_not_tried_again(world: GitHub, github: client.GitHub, pull: Pull, status: int) -> None:
    """Nobody knows whether it was merged: the next look will tell."""
    world.fail(status, "/merge")

    answer = github.merge(pull.url, pull.head)

    assert isinstance(answer, Failure)
    assert not answer.is_final
    assert world.count(method="PUT") == 1


def test_no_right_to_merge(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """A token that may only read says so for good."""
    world.fail(403, "/merge", message="Resource not accessible by personal access token")

    answer = github.merge(pull.url, pull.head)

    assert isinstance(answer, Failure)
    assert answer.is_final


def test_a_renamed_repository(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """The redirect keeps method and body."""
    world.move("acme/web", "acme/site")

    assert isinstance(github.merge(pull.url, pull.head), PullRequest)
    assert pull.is_merged


def test_what_is_no_pull_request(world: GitHub, github: client.GitHub) -> None:
    """An issue cannot be merged; nothing is asked."""
    answer = github.merge("acme/web#23", "0" * 40)

    assert isinstance(answer, Failure)
    assert answer.is_final
    assert world.requests == []
