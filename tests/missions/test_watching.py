"""What an answer of GitHub means for the watches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.missions.builders import GREEN, NOW, RED, RUNNING, URL, a_comment, a_pull, after, at, handed_in, of_kind
from tinytown.clock import parse
from tinytown.domain.mission import Policy
from tinytown.domain.pull_request import Answer, Check, Failure, Issue
from tinytown.domain.watch import Watch, WatchKind, WatchStatus
from tinytown.domain.work import WorkItem
from tinytown.missions import watching

ITEM = handed_in(1, URL)
POLICY = Policy()


def looked(
    answer: Answer,
    item: WorkItem = ITEM,
    policy: Policy = POLICY,
    before: list[Watch] | None = None,
    seconds: float = 300,
) -> list[Watch]:
    """The watches after the answer."""
    watches = before if before is not None else watching.open_watches(item, URL, policy, NOW)
    return watching.learn(answer, watches, item, policy, after(seconds), lambda: 0.0)


def checks(answer: Answer, **more: object) -> Watch:
    return of_kind(looked(answer, **more), WatchKind.PR_CHECKS)  # type: ignore[arg-type]


def reviews(answer: Answer, **more: object) -> Watch:
    return of_kind(looked(answer, **more), WatchKind.REVIEW_COMMENTS)  # type: ignore[arg-type]


def merging(answer: Answer, **more: object) -> Watch:
    return of_kind(looked(answer, **more), WatchKind.MERGEABILITY)  # type: ignore[arg-type]


# Checks


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (GREEN, "passing"),
        (RED, "failing"),
        (RUNNING, "pending"),
        ((*GREEN, *RUNNING), "pending"),
        ((*RED, *RUNNING), "pending"),
        ((*GREEN, *RED), "failing"),
    ],
)
def test_running_checks_are_not_green_and_one_failure_is_red(found: tuple[Check, ...], state: str) -> None:
    """Running checks are not green and one failure is red."""
    assert checks(a_pull(checks=found)).state == state


def test_the_same_red_build_has_the_same_key_and_another_run_of_it_a_new_one() -> None:
    """The same red build has the same key and another run of it a new one."""
    first, again = checks(a_pull(checks=RED)), checks(a_pull(checks=RED), seconds=900)
    rerun = checks(a_pull(checks=(replace(RED[0], id="9"),)))
    pushed = checks(a_pull(checks=RED, head="sha2"))
    assert first.key == again.key
    assert len({first.key, rerun.key, pushed.key}) == 3


def test_a_red_build_carries_job_step_log_and_url() -> None:
    """A red build carries job step log and url."""
    report = checks(a_pull(checks=RED)).report or ""
    assert all(part in report for part in ("build", "pytest", "boom", "https://ci/1"))


def test_a_red_build_that_is_being_fixed_is_snoozed() -> None:
    """A red build that is being fixed is snoozed."""
    key = checks(a_pull(checks=RED)).key or ""
    assert checks(a_pull(checks=RED), item=replace(ITEM, fix_keys=[key])).status is WatchStatus.SNOOZED


def test_a_build_server_has_a_while_to_begin_then_there_are_no_checks() -> None:
    """A build server has a while to begin then there are no checks."""
    first = looked(a_pull(checks=()))
    assert of_kind(first, WatchKind.PR_CHECKS).state == "pending"
    assert of_kind(first, WatchKind.PR_CHECKS).next_due_at == at(300 + watching.NO_CHECKS_GRACE_S)
    assert checks(a_pull(checks=()), before=first, seconds=500).state == "none"
    assert checks(a_pull(checks=(), head="sha2"), before=first, seconds=500).state == "pending"


def test_where_checks_are_waited_for_their_absence_is_told_after_the_same_while() -> None:
    """Where checks are waited for their absence is told after the same while."""
    policy = Policy(no_checks="wait")
    first = looked(a_pull(checks=()), policy=policy)
    second = checks(a_pull(checks=()), policy=policy, before=first, seconds=500)
    assert of_kind(first, WatchKind.PR_CHECKS).state == "pending"
    assert (second.state, second.text) == ("none", "it has no checks, and the mission waits for one")


# Reviews and comments


def test_the_newest_review_decides() -> None:
    """The newest review decides."""
    assert reviews(a_pull()).state == "clean"
    assert reviews(a_pull(reviews=(a_comment("r1", state="changes_requested"),))).state == "changes_requested"
    assert reviews(a_pull(reviews=(a_comment("r1", state="approved", commit="sha1"),))).state == "approved"


def test_an_approval_of_an_older_head_or_of_a_bot_is_none() -> None:
    """An approval of an older head or of a bot is none."""
    assert reviews(a_pull(reviews=(a_comment("r1", state="approved", commit="sha0"),))).state == "clean"
    assert reviews(a_pull(reviews=(a_comment("r1", state="approved", commit="sha1", is_bot=True),))).state == "clean"


def test_words_of_the_author_and_resolved_ones_are_no_news() -> None:
    """Words of the author and resolved ones are no news."""
    found = (a_comment("c1", author="bot"), a_comment("c2", is_resolved=True))
    assert reviews(a_pull(comments=found)).key is None


def test_a_comment_is_handled_once_and_a_later_one_is_new() -> None:
    """A comment is handled once and a later one is new."""
    first = reviews(a_pull(comments=(a_comment("c1"),)))
    item = replace(ITEM, handled=(first.key or "").split("\n"))
    assert reviews(a_pull(comments=(a_comment("c1"),)), item=item).key is None
    both = reviews(a_pull(comments=(a_comment("c1", "old"), a_comment("c2", "new"))), item=item)
    assert both.key == "comment:c2"
    assert "new" in (both.report or "")
    assert "old" not in (both.report or "")


def test_a_comment_drafted_before_a_handled_one_but_shown_later_is_not_lost() -> None:
    """Those of a review bear the time when they were written, and are seen when the review is sent."""
    item = replace(ITEM, handled=["comment:c2"])
    drafted = replace(a_comment("c1"), at=at(-3600))
    assert reviews(a_pull(comments=(drafted, a_comment("c2"))), item=item).key == "comment:c1"


def test_comments_below_a_request_for_changes_are_handled_with_it() -> None:
    """Comments below a request for changes are handled with it."""
    pull = a_pull(reviews=(a_comment("r1", "no", state="changes_requested"),), comments=(a_comment("c1", "why?"),))
    found = reviews(pull)
    assert set((found.key or "").split("\n")) == {"review:r1", "comment:c1"}
    again = reviews(pull, item=replace(ITEM, handled=(found.key or "").split("\n")))
    assert (again.state, again.report, again.status) == ("changes_requested", None, WatchStatus.SNOOZED)


def test_a_comment_after_a_handled_request_for_changes_is_seen() -> None:
    """A comment after a handled request for changes is seen."""
    item = replace(ITEM, handled=["review:r1"])
    asked = (a_comment("r1", "no", state="changes_requested"),)
    found = reviews(a_pull(reviews=asked, comments=(a_comment("c1", "still missing"),)), item=item)
    assert "comment:c1" in (found.key or "")
    assert "still missing" in (found.report or "")
    assert found.status is WatchStatus.ACTIVE


def test_what_does_not_fit_a_report_is_left_for_the_next_fix() -> None:
    """What does not fit a report is left for the next fix."""
    many = tuple(a_comment(f"c{n}", "x" * 3000) for n in range(20))
    found = reviews(a_pull(comments=many))
    told = [c for c in many if f"comment:{c.id}" in (found.key or "").split("\n")]
    assert 0 < len(told) < 20
    assert all(c.url in (found.report or "") for c in told)
    assert len(found.report or "") <= watching.REPORT_CHARS
    rest = reviews(a_pull(comments=many), item=replace(ITEM, handled=(found.key or "").split("\n")))
    assert f"comment:{told[-1].id}" not in (rest.key or "").split("\n")
    assert rest.key is not None


def test_a_comment_that_is_being_fixed_is_still_found_should_the_fix_be_taken_back() -> None:
    """A comment that is being fixed is still found should the fix be taken back."""
    item = replace(ITEM, fix_keys=["comment:c1"])
    found = reviews(a_pull(comments=(a_comment("c1"),)), item=item)
    assert (found.key, found.status) == ("comment:c1", WatchStatus.SNOOZED)


def test_a_bot_speaks_on_the_diff_or_is_a_bugbot() -> None:
    """A bot speaks on the diff or is a bugbot."""

    def bots(*comments: object) -> Watch:
        return of_kind(looked(a_pull(comments=comments)), WatchKind.BUGBOT_COMMENTS)

    assert bots(a_comment("b1", author="ci[bot]", is_bot=True)).key is None
    assert bots(a_comment("b1", author="ci[bot]", is_bot=True, path="a.py", line=1)).key == "bot:b1"
    assert bots(a_comment("b1", author="cursor")).key == "bot:b1"
    assert bots(a_comment("c1", "bugbot says no")).key is None, "a person who speaks of one"


# Mergeability


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "clean"),
        ({"mergeable": False}, "conflicts"),
        ({"mergeable": None}, "unknown"),
        ({"is_draft": True}, "draft"),
    ],
)
def test_mergeability(fields: dict[str, Any], state: str) -> None:
    """Mergeability."""
    assert merging(a_pull(**fields)).state == state


def test_github_is_asked_again_soon_while_it_works_it_out() -> None:
    """GitHub is asked again soon while it works it out."""
    assert merging(a_pull(mergeable=None)).next_due_at == at(300 + watching.UNKNOWN_S)


def test_a_head_that_moves_after_an_approval_is_told() -> None:
    """A head that moves after an approval is told."""
    approved = replace(ITEM, reviewer_approved=True)
    before = looked(a_pull(), item=approved)
    assert merging(a_pull(head="sha2"), item=approved, before=before, seconds=600).state == "moved"
    assert merging(a_pull(), item=approved, before=before, seconds=600).state == "clean"
    assert merging(a_pull(head="sha2"), before=before, seconds=600).state == "clean", "nothing was approved"


def test_the_head_of_the_submission_itself_is_none_that_moved() -> None:
    """The head of the submission itself is none that moved."""
    before = looked(a_pull(), seconds=-300)
    approved = replace(ITEM, reviewer_approved=True)
    assert merging(a_pull(head="sha2"), item=approved, before=before).state == "clean"


def test_a_refused_merge_is_tried_ever_more_seldom() -> None:
    """A refused merge is tried ever more seldom."""
    watch, pauses = of_kind(looked(a_pull()), WatchKind.MERGEABILITY), []
    for n in range(1, 8):
        now = after(n * 10_000)
        watch = watching.merge_refused(Failure(URL, "a review is missing"), replace(watch, state="merging"), now)
        assert watch.state == "refused"
        pauses.append((parse(watch.next_due_at) - now).total_seconds())
        watch = of_kind(looked(a_pull(), before=[watch], seconds=n * 10_000 + 5_000), WatchKind.MERGEABILITY)
        assert watch.state == "clean"
    assert pauses[:3] == [180, 360, 720]
    assert pauses[-1] == pauses[-2]


# Ends, and no answers


def test_merged_or_closed_by_somebody_ends_all_watches() -> None:
    """Merged or closed by somebody ends all watches."""
    for merged, state in ((True, "merged"), (False, "closed")):
        found = looked(a_pull(is_open=False, is_merged=merged, ended_by="eve"))
        assert {(w.status, w.state, w.text) for w in found} == {(WatchStatus.DONE, state, f"{state} by eve")}


def test_an_ended_watch_learns_nothing() -> None:
    """An ended watch learns nothing."""
    done = [w.having(status=WatchStatus.DONE) for w in looked(a_pull())]
    assert looked(a_pull(checks=RED), before=done) == []


def test_an_unreadable_pull_request_ends_its_watches_with_the_reason() -> None:
    """An unreadable pull request ends its watches with the reason."""
    found = looked(Failure(URL, "no such thing", is_final=True))
    assert {(w.status, w.state, w.text) for w in found} == {(WatchStatus.DONE, "unreadable", "no such thing")}


def test_the_issue_of_that_number_is_no_pull_request() -> None:
    """The issue of that number is no pull request."""
    found = looked(Issue(URL, "t", "b", "u", is_open=True))
    assert {(w.status, w.state) for w in found} == {(WatchStatus.DONE, "unreadable")}


def test_failures_are_waited_for_longer_and_longer_and_never_for_ever() -> None:
    """Failures are waited for longer and longer and never for ever."""
    watches, pauses = watching.open_watches(ITEM, URL, POLICY, NOW)[:1], []
    for _ in range(6):
        watches = looked(Failure(URL, "503"), before=watches, seconds=0)
        pauses.append((parse(watches[0].next_due_at) - NOW).total_seconds())
    assert pauses == [60, 120, 300, 600, 600, 600]
    assert watches[0].status is WatchStatus.ACTIVE


def test_a_rate_limit_is_respected_and_nobody_s_failure() -> None:
    """A rate limit is respected and nobody's failure."""
    watch = checks(Failure(URL, "rate limit", retry_after_s=1234), seconds=0)
    assert (watch.next_due_at, watch.consecutive_failures) == (at(1234), 0)


def test_a_finding_keeps_its_text_while_github_is_away() -> None:
    """A finding keeps its text while GitHub is away."""
    before = looked(a_pull(checks=RED))
    kept = checks(Failure(URL, "503"), before=before)
    assert (kept.state, kept.text) == ("failing", "1 of 1 checks failed: build")


def test_looks_are_jittered() -> None:
    """Looks are jittered."""
    watches = watching.open_watches(ITEM, URL, POLICY, NOW)
    late = watching.learn(a_pull(), watches, ITEM, POLICY, NOW, lambda: 1.0)[0]
    assert late.next_due_at == at(180 * (1 + watching.JITTER))


# An issue outside the mission


def issue_watch() -> list[Watch]:
    return [watching.open_issue_watch(ITEM, "o/r#9", POLICY, NOW)]


def test_an_issue_is_watched_until_it_is_closed() -> None:
    """An issue is watched until it is closed."""
    is_open = looked(Issue("o/r#9", "t", "b", "u", is_open=True), before=issue_watch())[0]
    closed = looked(Issue("o/r#9", "t", "b", "u", is_open=False), before=issue_watch())[0]
    assert (is_open.state, is_open.status) == ("open", WatchStatus.ACTIVE)
    assert (closed.state, closed.status) == ("closed", WatchStatus.DONE)


def test_a_pull_request_may_be_waited_for_like_an_issue() -> None:
    """A pull request may be waited for like an issue."""
    assert looked(a_pull("o/r#9"), before=issue_watch())[0].state == "open"
    merged = looked(a_pull("o/r#9", is_open=False, is_merged=True), before=issue_watch())[0]
    assert (merged.state, merged.status) == ("closed", WatchStatus.DONE)


def test_an_unreadable_issue_is_looked_at_again_for_an_item_waits_for_it() -> None:
    """An unreadable issue is looked at again for an item waits for it."""
    found = looked(Failure("o/r#9", "no access", is_final=True), before=issue_watch(), seconds=0)[0]
    assert (found.state, found.text, found.status) == ("unreadable", "no access", WatchStatus.ACTIVE)
    assert found.next_due_at == at(watching.BACKOFF_S[-1])


# Looked at soon


def test_what_was_found_before_a_submission_is_forgotten_with_it() -> None:
    """Else an approval, or a green build, of the head before it would count."""
    for watch in looked(a_pull(checks=RED, reviews=(a_comment("r", state="approved", commit="sha1"),))):
        soon = watching.due_soon(watch, after(500))
        assert (soon.state, soon.key, soon.report, soon.next_due_at) == (None, None, None, at(500))
        assert soon.head == "sha1"


def test_the_same_pull_request_and_item_give_the_same_watches() -> None:
    """The same pull request and item give the same watches."""
    first, second = watching.open_watches(ITEM, URL, POLICY, NOW), watching.open_watches(ITEM, URL, POLICY, after(5))
    assert [w.id for w in first] == [w.id for w in second]
    assert len({w.id for w in first}) == 4
