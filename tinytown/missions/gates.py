"""What stands between a submission and its end. Gates are asked in order; the first that is shut decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

from tinytown.clock import parse, stamp
from tinytown.domain.mission import Policy
from tinytown.domain.watch import Watch, WatchKind, WatchStatus
from tinytown.domain.work import Job, WorkItem
from tinytown.missions import watching
from tinytown.missions.decisions import Merge

SILENT_REVIEWS = 3  # without a verdict, in a row
NOT_YET = "not looked at yet"
SETTLED_S = 60  # after a submission, until what GitHub shows is sure to be of it


@dataclass(frozen=True, slots=True)
class Passed:
    """All gates hold, or a human merged it."""

    text: str


@dataclass(frozen=True, slots=True)
class Needs:
    """A task is due. `key` names what a fix is for, `report` is what it carries."""

    job: Job
    text: str
    key: str | None = None
    report: str = ""


@dataclass(frozen=True, slots=True)
class Waits:
    """For something outside, or (`for_person`) for a person. With a `remedy` the conductor is told."""

    text: str
    remedy: str | None = None
    for_person: bool = False


@dataclass(frozen=True, slots=True)
class Mergeable:
    """Nothing but the merge is left, and the policy lets the town do it."""

    merge: Merge


Gate = Passed | Needs | Waits | Mergeable


def judge(item: WorkItem, watches: Sequence[Watch], policy: Policy) -> Gate:
    """What the submitted item needs next. `watches` are those of its pull requests."""
    for gate in (_ended(item, watches), _rejected(item), _verified(item), _found(item, watches)):
        if gate is not None:
            return _bounded(item, gate, policy)
    if policy.reviewer_required and not is_approved(item, watches):
        return _unseen(watches) or _review(item)
    return _outside(item, watches, policy)


def is_merged(item: WorkItem, watches: Sequence[Watch]) -> Passed | None:
    """Its pull requests were merged, by whomever: a human's merge needs no other gate."""
    ends = {watch.target_ref: watch for watch in watches if watch.status is WatchStatus.DONE}
    live = [url for url in item.artifact_refs if not (url in ends and ends[url].state == watching.CLOSED)]
    if live and all(url in ends and ends[url].state == watching.MERGED for url in live):
        return Passed(f"{live[-1]} was {ends[live[-1]].text}")
    return None


def is_approved(item: WorkItem, watches: Sequence[Watch]) -> bool:
    """By a reviewer of the town, or on GitHub by a person: each of its pull requests that is open."""
    reviews = [w for w in watches if w.kind is WatchKind.REVIEW_COMMENTS and w.status is not WatchStatus.DONE]
    return item.reviewer_approved or (bool(reviews) and all(watch.state == watching.APPROVED for watch in reviews))


def has_moved(watch: Watch) -> bool:
    """Commits came after it was handed in: neither approval nor verification is of what would be merged."""
    return watch.state == watching.MOVED and watch.status is not WatchStatus.DONE


def _ended(item: WorkItem, watches: Sequence[Watch]) -> Gate | None:
    """Its pull requests: merged, closed by somebody, or not to be read. A closed one counts if there is no other."""
    ends = {watch.target_ref: watch for watch in watches if watch.status is WatchStatus.DONE}
    if not ends:
        return None
    if merged := is_merged(item, watches):
        return merged
    again = f"To work on it again: tt mission retry {_short(item)}; to leave it: tt mission cancel {_short(item)}"
    for url in item.artifact_refs:
        if url in ends and ends[url].state == watching.UNREADABLE:
            return Waits(f"{url} cannot be watched: {ends[url].text}", again, for_person=True)
    if item.artifact_refs and all(url in ends and ends[url].state == watching.CLOSED for url in item.artifact_refs):
        url = item.artifact_refs[-1]
        return Waits(f"{url} was {ends[url].text} without a merge", again, for_person=True)
    return None


def _rejected(item: WorkItem) -> Gate | None:
    key = f"reject:{len(item.rejections)}"
    if item.rejections and key not in item.handled:
        return Needs(Job.FIX, "was rejected", key, f"The review rejected it:\n\n{item.rejections[-1]}")
    return None


def _unseen(watches: Sequence[Watch]) -> Gate | None:
    """A head that was not looked at since the submission could move under the review, and nobody would know."""
    for watch in watches:
        if watch.kind is WatchKind.MERGEABILITY and watch.status is not WatchStatus.DONE and watch.state is None:
            return Waits(f"{watch.target_ref}: {watch.text or NOT_YET}")
    return None


def _review(item: WorkItem) -> Gate:
    """A task for a reviewer; after some that ended without a verdict, a person."""
    if item.silent_reviews < SILENT_REVIEWS:
        return Needs(Job.REVIEW, "waits for a review")
    remedy = f"tt mission approve {_short(item)}, or tt mission reject {_short(item)} --reason ..."
    return Waits(f"{item.silent_reviews} reviews ended without a verdict", remedy, for_person=True)


def _verified(item: WorkItem) -> Gate | None:
    return Needs(Job.VERIFY, "waits for its verification") if item.verify and not item.is_verified else None


def _found(item: WorkItem, watches: Sequence[Watch]) -> Gate | None:
    """What a watch has found and no fix was made for: all of it goes into one fix."""
    found = [w for w in watches if w.key and w.report and w.status is not WatchStatus.DONE]
    handled = set(item.handled)
    keys = [[key for key in watching.keys_of(watch) if key not in handled] for watch in found]
    fresh = [watch for watch, new in zip(found, keys, strict=True) if new]
    if fresh:
        report = "\n\n".join(f"{watch.target_ref}: {watch.text}\n\n{watch.report}" for watch in fresh)
        return Needs(Job.FIX, "; ".join(watch.text or "" for watch in fresh), "\n".join(chain(*keys)), report)
    if not found or item.submitted_at is None:
        return None
    settled = stamp(parse(item.submitted_at) + timedelta(seconds=SETTLED_S))
    for watch in found:
        is_state = watch.kind in {WatchKind.PR_CHECKS, WatchKind.MERGEABILITY}
        if is_state and (watch.last_check_at or "") >= settled:
            text = f"a fix was reported done, but of {watch.target_ref} {watch.text} still"
            return Waits(text, f"To try again: tt mission retry {_short(item)}", for_person=True)
    return None


def _outside(item: WorkItem, watches: Sequence[Watch], policy: Policy) -> Gate:
    """Checks, reviews and mergeability of its pull requests; then the merge."""
    if not item.artifact_refs:
        return Passed("verified and approved" if policy.reviewer_required else "its task was completed")
    waiting = [watch for watch in watches if watch.status is not WatchStatus.DONE and not _is_clear(watch, policy)]
    if waiting:
        watch = min(waiting, key=lambda w: list(WatchKind).index(w.kind))
        by_hand = watch.state in {watching.REFUSED, watching.NONE}  # it does not change by itself
        remedy = f"Merge it: {watch.target_ref}" if by_hand else None
        return Waits(f"{watch.target_ref}: {watch.text or NOT_YET}", remedy)
    target = next((w for w in watches if w.kind is WatchKind.MERGEABILITY and w.status is not WatchStatus.DONE), None)
    if target is None:
        return Waits("none of its pull requests is watched", f"tt mission retry {_short(item)}", for_person=True)
    if policy.auto_merge:
        if target.state == watching.MERGING:
            return Waits(f"{target.target_ref} is being merged")
        return Mergeable(Merge(target.target_ref, target.head or ""))
    return Waits("every gate holds, and it waits for its merge", f"Merge it: {target.target_ref}")


def _is_clear(watch: Watch, policy: Policy) -> bool:
    if watch.kind is WatchKind.PR_CHECKS:
        return watch.state == watching.PASSING or (watch.state == watching.NONE and policy.no_checks == "pass")
    if watch.kind is WatchKind.MERGEABILITY:
        return watch.state in {watching.CLEAN, watching.MERGING}
    if watch.kind is WatchKind.BUGBOT_COMMENTS:
        return watch.state in {watching.CLEAN, watching.COMMENTS}  # those that are left were handled
    return watch.state in {watching.CLEAN, watching.APPROVED, watching.COMMENTS}


def _bounded(item: WorkItem, gate: Gate, policy: Policy) -> Gate:
    """Only so many fixes until a person has looked."""
    if isinstance(gate, Needs) and gate.job is Job.FIX and item.rounds >= policy.max_rounds:
        text = f"{gate.text} after {item.rounds} fixes"
        return Waits(text, f"To try again: tt mission retry {_short(item)}", for_person=True)
    return gate


def _short(item: WorkItem) -> str:
    return item.id[:8]
