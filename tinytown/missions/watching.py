"""What an answer of GitHub means for the watches of a pull request or an issue. Level-triggered: state, not change."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from tinytown import ids
from tinytown.clock import parse, stamp
from tinytown.domain.mission import Policy
from tinytown.domain.pull_request import Answer, Check, Comment, Failure, Issue, PullRequest
from tinytown.domain.watch import OF_PULL_REQUEST, Trigger, Watch, WatchKind, WatchStatus
from tinytown.domain.work import WorkItem

JITTER = 0.1  # of the interval
BACKOFF_S = (60, 120, 300, 600)
UNKNOWN_S = 15  # until GitHub has worked out whether a request can be merged
NO_CHECKS_GRACE_S = 120  # a build server needs a while to say that it has begun
REPORT_CHARS = 8_000
COMMENT_CHARS = 1_500
BUGBOT = ("bugbot", "cursor")  # in the name of an account that is marked as no bot
MERGED, CLOSED, UNREADABLE, PASSING, FAILING = "merged", "closed", "unreadable", "passing", "failing"
PENDING, NONE, CLEAN, CONFLICTS, UNKNOWN, DRAFT = "pending", "none", "clean", "conflicts", "unknown", "draft"
APPROVED, CHANGES, COMMENTS, MERGING, OPEN = "approved", "changes_requested", "comments", "merging", "open"
REFUSED, MOVED = "refused", "moved"
MERGE_DOUBLINGS = 4  # of the interval, while GitHub refuses to merge
FINISHED = frozenset({MERGED, CLOSED})


def open_watches(item: WorkItem, url: str, policy: Policy, now: datetime) -> list[Watch]:
    """The four watches of a pull request, due at once. The same request and item give the same ids."""
    return [
        Watch(
            id=ids.derived_id(item.id, kind, url),
            mission_id=item.mission_id,
            work_item_id=item.id,
            kind=kind,
            target_ref=url,
            next_due_at=stamp(now),
            interval_secs=policy.watch_interval_secs,
            on_trigger=Trigger.ADVANCE_PIPELINE if kind is WatchKind.MERGEABILITY else Trigger.CREATE_FIX_TASK,
        )
        for kind in OF_PULL_REQUEST
    ]


def open_issue_watch(item: WorkItem, ref: str, policy: Policy, now: datetime) -> Watch:
    """The watch of an issue outside the mission, due at once. One for all items of the mission that wait for it."""
    return Watch(
        id=ids.derived_id(item.mission_id, WatchKind.ISSUE_CLOSED, ref),
        mission_id=item.mission_id,
        work_item_id=item.id,
        kind=WatchKind.ISSUE_CLOSED,
        target_ref=ref,
        next_due_at=stamp(now),
        interval_secs=policy.watch_interval_secs,
        on_trigger=Trigger.ADVANCE_PIPELINE,
    )


def is_due(watch: Watch, at: str) -> bool:
    """It is to be looked at now. `at` as records hold it."""
    return watch.status is not WatchStatus.DONE and watch.next_due_at <= at


def due_soon(watch: Watch, now: datetime) -> Watch:
    """Looked at as soon as possible; what it found before counts no more."""
    return watch.having(
        next_due_at=stamp(now), status=WatchStatus.ACTIVE, consecutive_failures=0,
        state=None, text=None, key=None, report=None,
    )  # fmt: skip


def learn(
    answer: Answer, watches: Sequence[Watch], item: WorkItem | None, policy: Policy, now: datetime,
    jitter: Callable[[], float] = random.random,
) -> list[Watch]:  # fmt: skip
    """The watches after this answer about their target. `item` is that of the pull request."""
    return [_learnt(answer, watch, item, policy, now, jitter()) for watch in watches if watch.status != "done"]


def merge_refused(failure: Failure, watch: Watch, now: datetime) -> Watch:
    """The mergeability watch after GitHub did not merge: tried again with the next look that finds every gate open.

    Each time in a row that it does not, the next look is twice as far away, up to a limit.
    """
    count = watch.consecutive_failures
    pause = failure.retry_after_s or watch.interval_secs * 2 ** min(count, MERGE_DOUBLINGS)
    again = stamp(now + timedelta(seconds=pause))
    text = f"GitHub did not merge it: {failure.reason}"
    return watch.having(state=REFUSED, text=text, next_due_at=again, consecutive_failures=count + 1)


def _learnt(answer: Answer, watch: Watch, item: WorkItem | None, policy: Policy, now: datetime, jitter: float) -> Watch:
    if isinstance(answer, Failure):
        return _failed(answer, watch, now)
    pause = watch.interval_secs * (1 + JITTER * jitter)
    seen = watch.having(
        last_check_at=stamp(now), next_due_at=stamp(now + timedelta(seconds=pause)),
        consecutive_failures=watch.consecutive_failures if watch.state in {REFUSED, MERGING} else 0,
        state=None, text=None, key=None, report=None,
    )  # fmt: skip
    if watch.kind is WatchKind.ISSUE_CLOSED:
        state = OPEN if answer.is_open else CLOSED
        status = WatchStatus.ACTIVE if answer.is_open else WatchStatus.DONE
        return seen.having(state=state, status=status, text=f"{watch.target_ref} is {state}")
    if isinstance(answer, Issue):
        return _unreadable(seen, f"{watch.target_ref} is an issue, not a pull request")
    if not answer.is_open:
        who = f" by {answer.ended_by}" if answer.ended_by else ""
        state = MERGED if answer.is_merged else CLOSED
        return seen.having(state=state, status=WatchStatus.DONE, text=f"{state}{who}", head=answer.head)
    look: dict[WatchKind, Callable[[], Watch]] = {
        WatchKind.PR_CHECKS: lambda: _checks(seen, answer, policy, now, is_new=watch.head != answer.head),
        WatchKind.REVIEW_COMMENTS: lambda: _reviews(seen, answer, item),
        WatchKind.BUGBOT_COMMENTS: lambda: _bots(seen, answer, item),
        WatchKind.MERGEABILITY: lambda: _mergeability(seen, answer, has_moved=_has_moved(watch, answer, item)),
    }
    found = look[watch.kind]().having(head=answer.head)
    known = {*item.handled, *item.fix_keys} if item is not None else set()
    is_known = bool(found.key) and known.issuperset(keys_of(found))
    return found.having(status=WatchStatus.SNOOZED if is_known else WatchStatus.ACTIVE)


def keys_of(watch: Watch) -> list[str]:
    """What it has found, each by its name: a red build is one, and so is every comment."""
    return watch.key.split("\n") if watch.key else []


def _failed(failure: Failure, watch: Watch, now: datetime) -> Watch:
    if failure.is_final and watch.kind is WatchKind.ISSUE_CLOSED:  # an item waits: somebody may open the door
        again = stamp(now + timedelta(seconds=max(watch.interval_secs, BACKOFF_S[-1])))
        return watch.having(last_check_at=stamp(now), state=UNREADABLE, text=failure.reason, next_due_at=again)
    if failure.is_final:
        return _unreadable(watch.having(last_check_at=stamp(now)), failure.reason)
    pause: float = BACKOFF_S[min(watch.consecutive_failures, len(BACKOFF_S) - 1)]
    count, text = watch.consecutive_failures + 1, f"cannot be looked at: {failure.reason}"
    if failure.retry_after_s is not None:  # GitHub said when; nobody's failure
        count, text, pause = count - 1, failure.reason, failure.retry_after_s
    return watch.having(
        consecutive_failures=count,
        next_due_at=stamp(now + timedelta(seconds=pause)),
        text=watch.text if watch.key else text,  # of what was found a fix is told
    )


def _unreadable(watch: Watch, why: str) -> Watch:
    return watch.having(state=UNREADABLE, text=why, status=WatchStatus.DONE, key=None, report=None)


def _checks(watch: Watch, pull: PullRequest, policy: Policy, now: datetime, *, is_new: bool) -> Watch:
    """`is_new`: this head was not looked at before, and whatever builds it may not have begun."""
    failed = sorted((c for c in pull.checks if c.outcome == "failure"), key=lambda c: (c.name, c.id))
    running = [c for c in pull.checks if c.outcome == "pending"]
    if running:  # also beside a failed one: a fix is asked for once, with all of it
        names = _some(c.name for c in running)
        return watch.having(state=PENDING, text=f"{len(running)} of {len(pull.checks)} checks are running: {names}")
    if failed:
        return watch.having(
            state=FAILING,
            text=f"{len(failed)} of {len(pull.checks)} checks failed: {_some(c.name for c in failed)}",
            key=f"checks:{pull.head[:12]}:{','.join(c.id for c in failed)}"[:300],
            report="\n\n".join(_of_check(check) for check in failed)[:REPORT_CHARS],
        )
    if pull.checks:
        return watch.having(state=PASSING, text=f"{len(pull.checks)} checks passed")
    if is_new:
        soon = stamp(now + timedelta(seconds=min(NO_CHECKS_GRACE_S, watch.interval_secs)))
        return watch.having(state=PENDING, text="no checks yet", next_due_at=soon)
    waits = ", and the mission waits for one" if policy.no_checks == "wait" else ""
    return watch.having(state=NONE, text=f"it has no checks{waits}")


def _of_check(check: Check) -> str:
    lines = [f"Check '{check.name}' failed" + (f" in step '{check.step}'" if check.step else "")]
    lines += [check.url] if check.url else []
    lines += ["```", check.log.strip(), "```"] if check.log else []
    return "\n".join(lines)


def _reviews(watch: Watch, pull: PullRequest, item: WorkItem | None) -> Watch:
    asked = [review for review in pull.reviews if review.state == "changes_requested"]
    said = _unhandled([c for c in pull.comments if not _is_bot(c) and c.author != pull.author], "comment", item)
    told, report = _report([*((f"review:{r.id}", r) for r in asked), *((f"comment:{c.id}", c) for c in said)], item)
    if told:
        texts = [f"changes were requested by {_some(r.author for r in asked)}"] if asked else []
        texts += [f"{len(said)} new comments"] if said else []
        state = CHANGES if asked else COMMENTS
        return watch.having(state=state, text="; ".join(texts), key="\n".join(told), report=report)
    by = [r for r in pull.reviews if r.state == "approved" and r.commit in {None, pull.head} and not r.is_bot]
    if by:
        return watch.having(state=APPROVED, text="approved by " + _some(sorted({review.author for review in by})))
    return watch.having(state=CLEAN, text="no comments")


def _bots(watch: Watch, pull: PullRequest, item: WorkItem | None) -> Watch:
    fresh = _unhandled([c for c in pull.comments if _is_bot(c) and (c.path or _is_bugbot(c))], "bot", item)
    if not fresh:
        return watch.having(state=CLEAN, text="no reports")
    told, report = _report([(f"bot:{c.id}", c) for c in fresh], item)
    names = _some(dict.fromkeys(c.author for c in fresh))
    return watch.having(state=COMMENTS, text=f"{len(fresh)} reports of {names}", key="\n".join(told), report=report)


def _has_moved(watch: Watch, pull: PullRequest, item: WorkItem | None) -> bool:
    """Commits came after the submission that was verified or approved: what was looked at is not what would merge."""
    if item is None or not (item.reviewer_approved or item.is_verified):
        return False
    if watch.state == MOVED or watch.head in {None, pull.head}:
        return watch.state == MOVED  # until the item has lost its approval
    return (watch.last_check_at or "") >= (item.submitted_at or "")  # the head before was that of the submission


def _mergeability(watch: Watch, pull: PullRequest, *, has_moved: bool) -> Watch:
    if has_moved:
        return watch.having(state=MOVED, text="commits came after it was handed in")
    if pull.is_draft:
        return watch.having(state=DRAFT, text="it is a draft")
    if pull.mergeable is None:
        soon = parse(watch.last_check_at or watch.next_due_at) + timedelta(seconds=min(UNKNOWN_S, watch.interval_secs))
        text = "GitHub is working out whether it can be merged"
        return watch.having(state=UNKNOWN, text=text, next_due_at=stamp(soon))
    if pull.mergeable:
        return watch.having(state=CLEAN, text="can be merged")
    report = f"The branch {pull.branch or ''} has conflicts with its base: bring it up to date, and push."
    return watch.having(state=CONFLICTS, text="it has conflicts", key=f"conflict:{pull.head[:12]}", report=report)


def _is_bot(comment: Comment) -> bool:
    return comment.is_bot or _is_bugbot(comment)


def _is_bugbot(comment: Comment) -> bool:
    return any(name in comment.author.lower() for name in BUGBOT)


def _unhandled(comments: Iterable[Comment], sort: str, item: WorkItem | None) -> list[Comment]:
    """Those that are open, and that no fix was handed in for. By id: those of a review are older than they show."""
    handled = set(item.handled) if item is not None else set()
    return [c for c in comments if not c.is_resolved and f"{sort}:{c.id}" not in handled]


def _report(found: Sequence[tuple[str, Comment]], item: WorkItem | None) -> tuple[list[str], str | None]:
    """The keys of these, and the text of those that are new. What does not fit is left out of both, and comes next."""
    handled = set(item.handled) if item is not None else set()
    keys: list[str] = []
    report = ""
    for key, comment in found:
        text = "" if key in handled else _of_comment(comment) + "\n\n"
        if report and len(report) + len(text) > REPORT_CHARS:
            break
        keys.append(key)
        report += text
    return keys, report.strip() or None


def _of_comment(comment: Comment) -> str:
    place = f" at {comment.path}:{comment.line}" if comment.path and comment.line else ""
    return f"{comment.author}{place} ({comment.url}):\n{comment.body.strip()[:COMMENT_CHARS]}"


def _some(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
