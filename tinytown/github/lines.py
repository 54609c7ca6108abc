"""Questions and answers between the scheduler and the process that asks GitHub: JSON, a line each. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from tinytown.domain.pull_request import Answer, Check, Comment, Failure, Issue, Look, PullRequest

TEXT, LOG, BODY = 2_000, 8_000, 8_000  # characters
CHECKS, REVIEWS, COMMENTS = 500, 100, 200


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """A wish: merge the pull request at `url` while `head` is its last commit."""

    url: str
    head: str


Question = Look | MergeRequest


def ref_of(question: Question) -> str:
    """What it is about, as the answer repeats it."""
    return question.ref if isinstance(question, Look) else question.url


def encode_question(question: Question) -> str:
    """One line, without its end."""
    if isinstance(question, Look):
        return json.dumps({"ref": question.ref, "known": list(question.known)})
    return json.dumps({"merge": question.url, "head": question.head})


def decode_question(line: str | bytes) -> Question:
    """The question in a line. Raises ValueError."""
    given = _object(line)
    try:
        if "merge" in given:
            return MergeRequest(_text(given["merge"]), _text(given["head"]))
        return Look(_text(given["ref"]), tuple(_text(known) for known in given.get("known", [])))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no question: {error}") from error


def encode_answer(ref: str, answer: Answer) -> str:
    """One line without its end, cut to a bounded length. `ref`: what was asked."""
    kind = {PullRequest: "pull", Issue: "issue", Failure: "failure"}[type(answer)]
    return json.dumps({"ref": ref, kind: asdict(bounded(answer))})


def decode_answer(line: str | bytes) -> tuple[str, Answer]:
    """What was asked, and the answer. Raises ValueError."""
    given = _object(line)
    try:
        ref = _text(given["ref"])
        if "issue" in given:
            issue = given["issue"]
            return ref, Issue(**issue | {"labels": tuple(issue["labels"])})
        if "failure" in given:
            return ref, Failure(**given["failure"])
        pull = given["pull"]
        parts = {
            "checks": tuple(Check(**each) for each in pull["checks"]),
            "reviews": tuple(Comment(**each) for each in pull["reviews"]),
            "comments": tuple(Comment(**each) for each in pull["comments"]),
        }
        return ref, PullRequest(**pull | parts)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no answer: {error}") from error


def bounded(answer: Answer) -> Answer:
    """The answer with shortened texts, and of what is too much the part that says least left out."""
    if isinstance(answer, Failure):
        return replace(answer, ref=answer.ref[:TEXT], reason=answer.reason[:TEXT])
    if isinstance(answer, Issue):
        labels = tuple(label[:TEXT] for label in answer.labels[:COMMENTS])
        return replace(answer, title=answer.title[:TEXT], body=answer.body[:BODY], labels=labels)
    worst = sorted(answer.checks, key=lambda check: ("failure", "pending", "success").index(check.outcome))
    kept = {check.id for check in worst[:CHECKS]}
    last = sorted(answer.comments, key=lambda comment: (not comment.is_resolved, comment.at))[-COMMENTS:]
    ids = {comment.id for comment in last}
    return replace(
        answer,
        checks=tuple(_check(check) for check in answer.checks if check.id in kept),
        reviews=tuple(replace(review, body=review.body[:TEXT]) for review in answer.reviews[-REVIEWS:]),
        comments=tuple(replace(each, body=each.body[:TEXT]) for each in answer.comments if each.id in ids),
    )


def _check(check: Check) -> Check:
    return replace(check, name=check.name[:TEXT], log=check.log[-LOG:] if check.log else check.log)


def _object(line: str | bytes) -> dict[str, Any]:
    given = json.loads(line)
    if not isinstance(given, dict):
        raise ValueError("no object")  # noqa: TRY004  what json raises for a bad line
    return given


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of a text")
    return value
