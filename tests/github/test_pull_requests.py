"""A look at a pull request: all pages, the newest of each, and nothing that says more than GitHub does."""

from __future__ import annotations

import pytest

from tests.support.github.server import GitHub
from tests.support.github.state import Pull
from tinytown.domain.pull_request import Check, Failure, Issue, Look, PullRequest
from tinytown.github import client

pytestmark = pytest.mark.slow


@pytest.fixture
def pull(world: GitHub) -> Pull:
    """The pull request."""
    return world.pulls["acme/web", 45]


def look(github: client.GitHub, pull: Pull, *known: str) -> PullRequest:
    answer = github.look(Look(pull.url, known))
    assert isinstance(answer, PullRequest), answer
    return answer


def test_a_bare_one(github: client.GitHub, pull: Pull) -> None:
    """No checks, no reviews, no comments: each its own fact."""
    assert look(github, pull) == PullRequest(
        pull.url, pull.head, is_open=True, author="dev", branch="topic", mergeable=True
    )


@pytest.mark.parametrize("mergeable", [None, True, False])
def test_mergeable(github: client.GitHub, pull: Pull, *, mergeable: bool | None) -> None:
    """Whether it can be merged, or that GitHub has not worked it out; a draft says that it is one."""
    pull.mergeable, pull.is_draft = mergeable, True

    found = look(github, pull)

    assert (found.mergeable, found.is_draft) == (mergeable, True)


@pytest.mark.parametrize("end", ["merge", "close"])
def test_one_that_has_ended(world: GitHub, github: client.GitHub, pull: Pull, end: str) -> None:
    """Who merged or closed it; what is left of it is not asked for."""
    getattr(pull, end)(by="ann")

    found = look(github, pull)

    assert (found.is_open, found.is_merged, found.ended_by) == (False, end == "merge", "ann")
    assert world.count() <= 2


def test_reopened(github: client.GitHub, pull: Pull) -> None:
    """A closed one that was opened again is open."""
    pull.close()
    look(github, pull)
    pull.reopen()

    assert look(github, pull).is_open


@pytest.mark.parametrize(
    ("status", "conclusion", "outcome"),
    [(status, None, "pending") for status in ("queued", "in_progress", "pending", "waiting", "requested", "completed")]
    + [("completed", word, "success") for word in ("success", "neutral", "skipped")]
    + [
        ("completed", word, "failure")
        for word in ("failure", "timed_out", "cancelled", "action_required", "startup_failure", "stale", "new_word")
    ],
)
def test_outcomes(github: client.GitHub, pull: Pull, status: str, conclusion: str | None, outcome: str) -> None:
    """Each pair of status and conclusion is green, red or running; a word nobody knows yet is not green."""
    pull.check("build", conclusion, status=status, app="ci")

    assert [check.outcome for check in look(github, pull).checks] == [outcome]


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("pending", "pending"), ("success", "success"), ("failure", "failure"), ("error", "failure")],
)
def test_commit_statuses(github: client.GitHub, pull: Pull, state: str, outcome: str) -> None:
    """Statuses of the older kind are checks too; what a failed one says is its log."""
    made = pull.status("ci/build", state, description="3 tests failed")

    expected = Check(f"s{made.id}", "ci/build", outcome, made.target_url, log="3 tests failed")
    assert look(github, pull, *([f"s{made.id}"] if outcome != "failure" else [])).checks == (
        expected if outcome == "failure" else Check(expected.id, "ci/build", outcome, made.target_url),
    )


def test_the_newest_run_counts(github: client.GitHub, pull: Pull) -> None:
    """A second run of a job replaces the first one; so does a second status."""
    pull.check("build", "failure")
    pull.status("ci", "failure")
    again = pull.check("build", None)
    pull.status("ci", "success")

    assert [(check.name, check.outcome) for check in look(github, pull).checks] == [
        ("build", "pending"),
        ("ci", "success"),
    ]
    again.status, again.conclusion = "completed", "success"
    assert {check.outcome for check in look(github, pull).checks} == {"success"}


def test_jobs_of_one_name(github: client.GitHub, pull: Pull) -> None:
    """Two workflows may both have a job `build`: the green one does not hide the red one."""
    pull.check("build", "failure", workflow="CI")
    pull.check("build", "success", workflow="Release")

    assert sorted(check.outcome for check in look(github, pull).checks) == ["failure", "success"]


def test_a_workflow_that_began_anew(github: client.GitHub, pull: Pull) -> None:
    """The same workflow triggered once more by the same event has another suite, and replaces the first one."""
    pull.check("build", "failure")
    pull.check("build", "success", suite=77)

    assert [check.outcome for check in look(github, pull).checks] == ["success"]


def test_workflows_that_may_not_be_seen(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """Where it cannot be told whether two runs are of one workflow, both count."""
    pull.check("build", "failure")
    pull.check("build", "success", suite=77)
    world.fail(403, "/actions/runs?", message="Resource not accessible by personal access token")

    assert len(look(github, pull).checks) == 2


def test_checks_of_an_older_commit(github: client.GitHub, pull: Pull) -> None:
    """After a push only what belongs to the new commit counts."""
    pull.check("build", "failure")
    pull.push()

    assert look(github, pull).checks == ()


def test_all_pages(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """Nothing is lost behind the first page."""
    world.page_limit = 2
    for number in range(5):
        pull.check(f"check {number}", app="ci")
        pull.status(f"status {number}")
        pull.comment("ann", f"below {number}")
        pull.review_comment("ann", f"diff {number}")
        pull.review(f"reviewer {number}")

    found = look(github, pull)

    assert (len(found.checks), len(found.comments), len(found.reviews)) == (10, 10, 5)


def test_a_page_that_was_just_full(github: client.GitHub, pull: Pull) -> None:
    """A full page that has not changed says nothing of a new page behind it: that one is asked for all the same."""
    for number in range(100):
        pull.comment("ann", f"{number}")
    assert len(look(github, pull).comments) == 100
    pull.comment("ann", "one more")

    assert look(github, pull).comments[-1].body == "one more"


def test_verdicts(github: client.GitHub, pull: Pull) -> None:
    """Of each reviewer the newest verdict; a comment leaves it, a dismissal takes it away, a pending one is none."""
    pull.review("ann", "CHANGES_REQUESTED", "Not yet.")
    pull.review("bob", "APPROVED")
    pull.review("cid", "CHANGES_REQUESTED")
    pull.review("dan", "PENDING", "draft")
    pull.review("ann", "APPROVED", "Now.")
    pull.review("ann", "COMMENTED", "One more thing.")
    pull.review("cid", "DISMISSED")

    found = look(github, pull)

    assert [(review.author, review.state, review.body) for review in found.reviews] == [
        ("bob", "approved", ""),
        ("ann", "approved", "Now."),
    ]
    assert {review.commit for review in found.reviews} == {pull.head}
    assert [(comment.author, comment.state, comment.body) for comment in found.comments] == [
        ("ann", "commented", "One more thing.")
    ]


def test_comments(github: client.GitHub, pull: Pull) -> None:
    """Those on the diff with their place, those below, in the order they were written; bots say that they are."""
    pull.comment("cursor[bot]", "Bug found.", kind="Bot")
    pull.review_comment("ann", "Rename this.", "src/a.py", 7)

    bot, ann = look(github, pull).comments

    assert (bot.author, bot.is_bot, bot.path) == ("cursor[bot]", True, None)
    assert (ann.path, ann.line, ann.is_bot, ann.is_resolved) == ("src/a.py", 7, False, False)
    assert ann.url.startswith(f"{pull.url}#discussion_r")


def test_resolved_threads(github: client.GitHub, pull: Pull) -> None:
    """A resolved thread is resolved with its answers; another one is not."""
    first = pull.review_comment("ann", "Rename this.")
    pull.review_comment("dev", "Done.").replies_to = first.id
    pull.review_comment("ann", "And this.")
    first.is_resolved = True

    assert [comment.is_resolved for comment in look(github, pull).comments] == [True, True, False]


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_resolved_cannot_be_known(world: GitHub, github: client.GitHub, pull: Pull, status: int) -> None:
    """Where GraphQL may not be asked, nothing counts as resolved."""
    pull.review_comment("ann", "Rename this.").is_resolved = True
    world.fail(status, "graphql")

    assert not look(github, pull).comments[0].is_resolved


def test_resolved_is_not_known_now(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """When GraphQL is out of order for now, there is no answer now: a resolved thread must not seem open."""
    pull.review_comment("ann", "Rename this.").is_resolved = True
    world.fail(502, "graphql")

    answer = github.look(Look(pull.url))

    assert isinstance(answer, Failure)
    assert not answer.is_final


def test_why_a_job_failed(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """Step and end of the log of a failed job, from another host, which never sees the token."""
    steps = (("Set up job", "success"), ("Run pytest", "failure"), ("Post", "skipped"))
    log = "".join(f"2026-11-01T00:00:00.0000000Z \x1b[31mline {number}\x1b[0m\r\n" for number in range(90))
    log += "2026-11-01T00:00:01.0000000Z ##[error]Process completed with exit code 1.\n"
    made = pull.check("test", "failure", steps=steps, log=log + "2026-11-01T00:00:02.0000000Z Cleaning up orphans\n")
    pull.check("lint", "success", log="not asked for")

    failed = look(github, pull).checks[1]

    assert (failed.id, failed.step) == (str(made.id), "Run pytest")
    lines = (failed.log or "").splitlines()
    assert (lines[0], lines[-2:], len(lines)) == (
        "line 31",
        ["line 89", "##[error]Process completed with exit code 1."],
        60,
    )
    assert {each.token for each in world.requests if "_blob" in each.path} == {None}


def test_a_log_is_asked_for_once(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """Of a failure that is known nothing more is asked."""
    made = pull.check("test", "failure", log="it failed")

    found = look(github, pull, str(made.id))

    assert [(check.outcome, check.log) for check in found.checks] == [("failure", None)]
    assert world.count(path="/actions/jobs") == 0


def test_without_a_log(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """A log that has expired, or that may not be read, is no reason for no answer."""
    pull.check("gone", "failure", steps=(("Build", "failure"),))
    pull.check("hidden", "failure", log="secret", summary="See the log")
    world.fail(403, f"/jobs/{pull.checks[pull.head][1].id}", times=None)

    gone, hidden = look(github, pull).checks

    assert (gone.step, gone.log) == ("Build", None)
    assert (hidden.step, hidden.log) == (None, "See the log")


def test_a_check_of_another_app(github: client.GitHub, pull: Pull) -> None:
    """What is no job of Actions speaks by its output."""
    pull.check(
        "sonar", "failure", app="sonarcloud", title="Quality gate failed", summary="2 bugs", text="\x1b[1mB1\x1b[0m"
    )

    assert look(github, pull).checks[0].log == "Quality gate failed\n\n2 bugs\n\nB1"


def test_an_unchanged_one_costs_nothing(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """Everything is answered by 304, which GitHub does not count; a change is seen at once."""
    pull.check("build", "success")
    pull.review("ann")
    pull.comment("bob", "Nice.")
    first = look(github, pull)
    world.clear()

    assert look(github, pull) == first
    assert world.count() == world.count(status=304) == 6
    pull.check("build", "failure", app="ci")
    assert {check.outcome for check in look(github, pull).checks} == {"success", "failure"}


def test_a_renamed_repository(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """A look at the old URL finds it at its new place, again and again."""
    pull.review_comment("ann", "x").is_resolved = True
    world.move("acme/web", "acme/site")

    assert look(github, pull) == look(github, pull)
    assert look(github, pull).comments[0].is_resolved


def test_an_issue(github: client.GitHub) -> None:
    """A look may be at an issue."""
    answer = github.look(Look("acme/web#23"))

    assert isinstance(answer, Issue)
    assert answer.is_open


def test_an_author_who_has_gone(world: GitHub, github: client.GitHub, pull: Pull) -> None:
    """GitHub shows no user where the account was deleted."""
    pull.comment("", "I was here.")

    assert look(github, pull).comments[0].author == "ghost"
