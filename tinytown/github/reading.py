"""GitHub's JSON as the values that a mission decides on. Pure; raises KeyError, TypeError and the like on garbage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinytown.domain.pull_request import Check, Comment, Issue, PullRequest

Json = dict[str, Any]

ACTIONS = "github-actions"
_GOOD = frozenset({"success", "neutral", "skipped"})
_UNDER_WAY = frozenset({"queued", "in_progress", "pending", "waiting", "requested"})
_JOB = re.compile(r"/actions/runs/\d+/jobs?/(\d+)")
_VERDICTS = {"APPROVED": "approved", "CHANGES_REQUESTED": "changes_requested"}


@dataclass(frozen=True, slots=True)
class SeenCheck:
    """A check with what helps to find its log: the Actions job behind it, or what it says itself."""

    check: Check
    job: int | None = None
    said: str = ""


def issue(ref: str, raw: Json) -> Issue:
    """An issue, or a pull request as the API of issues shows it."""
    return Issue(
        ref=ref,
        title=_text(raw["title"]),
        body=raw["body"] or "",
        url=_text(raw["html_url"]),
        is_open=raw["state"] == "open",
        is_pull="pull_request" in raw,
        labels=tuple(label if isinstance(label, str) else _text(label["name"]) for label in raw["labels"]),
    )


def pull(raw: Json) -> PullRequest:
    """A pull request without its checks, reviews and comments."""
    return PullRequest(
        url=_text(raw["html_url"]),
        head=_text(raw["head"]["sha"]),
        is_open=raw["state"] == "open",
        is_merged=bool(raw["merged"]),
        is_draft=bool(raw.get("draft")),
        ended_by=_login(raw["merged_by"]) if raw.get("merged_by") else None,
        author=_login(raw["user"]),
        branch=_text(raw["head"]["ref"]),
        mergeable=raw["mergeable"],
    )


def outcome(status: str, conclusion: str | None) -> str:
    """`success`, `failure` or `pending` of a check run. Without a conclusion it runs, whatever else is said."""
    if status in _UNDER_WAY or not conclusion:
        return "pending"
    return "success" if conclusion in _GOOD else "failure"


def checks(runs: Iterable[Json], statuses: Iterable[Json], workflows: Mapping[int, str]) -> list[SeenCheck]:
    """Of each name the newest check run, and the commit statuses, by name.

    Jobs of two workflows may have one name and are two checks: `workflows` says, for check suites, which workflow
    they are of. A suite that is not in it stands for itself.
    """
    newest: dict[tuple[str, str, str], Json] = {}
    for run in runs:
        app = (run.get("app") or {}).get("slug") or ""
        suite = (run.get("check_suite") or {}).get("id", 0)
        whose = workflows.get(suite, str(suite)) if app == ACTIONS else ""
        key = (_text(run["name"]), app, whose)
        if key not in newest or run["id"] > newest[key]["id"]:
            newest[key] = run
    found = [_run(run) for run in newest.values()]
    states: dict[str, Json] = {}
    for status in statuses:
        name = _text(status["context"])
        if name not in states or status["id"] > states[name]["id"]:
            states[name] = status
    found += [_status(status) for status in states.values()]
    return sorted(found, key=lambda seen: (seen.check.name, seen.check.id))


def ambiguous(runs: Iterable[Json]) -> bool:
    """Two check runs of Actions have one name and are of two suites: workflows tell whether they are the same."""
    suites: dict[str, int] = {}
    for run in runs:
        if (run.get("app") or {}).get("slug") == ACTIONS:
            suite = (run.get("check_suite") or {}).get("id", 0)
            if suites.setdefault(_text(run["name"]), suite) != suite:
                return True
    return False


def workflows(raw: Iterable[Json]) -> dict[int, str]:
    """Workflow and event for each check suite, out of workflow runs."""
    return {run["check_suite_id"]: f"{run['workflow_id']} {run['event']}" for run in raw}


def failed_step(job: Json) -> str | None:
    """The first step of an Actions job that failed."""
    steps = job.get("steps") or []
    return next((_text(s["name"]) for s in steps if s["conclusion"] not in {*_GOOD, None}), None)


def reviews(raw: Iterable[Json]) -> list[Comment]:
    """Each reviewer's verdict that counts, oldest first: a newer one replaces it, a dismissal takes it away."""
    verdicts: dict[str, Comment | None] = {}
    for each in raw:
        if each["state"] in _VERDICTS or each["state"] == "DISMISSED":
            review = _review(each)
            verdicts.pop(review.author, None)
            verdicts[review.author] = review if each["state"] in _VERDICTS else None
    return sorted((v for v in verdicts.values() if v is not None), key=lambda review: (review.at, review.id))


def comments(reviews_raw: Iterable[Json], on_diff: Iterable[Json], below: Iterable[Json]) -> list[Comment]:
    """Everything else that people say: on the diff, below the request, and in reviews without a verdict."""
    found = [_review(each) for each in reviews_raw if each["state"] == "COMMENTED" and each["body"]]
    found += [
        replace(
            _comment("d", each),
            commit=each.get("commit_id"),
            path=each.get("path"),
            line=each.get("line") or each.get("original_line"),
        )
        for each in on_diff
    ]
    found += [_comment("c", each) for each in below]
    return sorted(found, key=lambda comment: (comment.at, comment.id))


def resolved(threads: Iterable[Json]) -> set[str]:
    """Ids of the comments that begin resolved threads, out of GraphQL's review threads."""
    firsts = [thread["comments"]["nodes"][0]["url"] for thread in threads if thread["isResolved"]]
    return {"d" + url.rpartition("#discussion_r")[2] for url in firsts}


def with_resolved(found: Iterable[Comment], on_diff: Iterable[Json], firsts: set[str]) -> list[Comment]:
    """The comments, those of resolved threads marked."""
    heads = {f"d{each['id']}": f"d{each.get('in_reply_to_id') or each['id']}" for each in on_diff}
    return [replace(each, is_resolved=heads.get(each.id) in firsts) for each in found]


def _run(raw: Json) -> SeenCheck:
    details = raw.get("details_url") or ""
    output = raw.get("output") or {}
    said = [output.get(part) for part in ("title", "summary", "text")]
    job = _JOB.search(details) if (raw.get("app") or {}).get("slug") == ACTIONS else None
    check = Check(
        id=str(raw["id"]),
        name=_text(raw["name"]),
        outcome=outcome(raw["status"], raw["conclusion"]),
        url=raw.get("html_url") or details or None,
    )
    return SeenCheck(check, int(job[1]) if job else None, "\n\n".join(part for part in said if part))


def _status(raw: Json) -> SeenCheck:
    """A commit status; its states are pending, success, failure and error."""
    check = Check(
        id=f"s{raw['id']}",
        name=_text(raw["context"]),
        outcome=outcome("completed" if raw["state"] != "pending" else "pending", raw["state"]),
        url=raw.get("target_url") or None,
    )
    return SeenCheck(check, None, raw.get("description") or "")


def _review(raw: Json) -> Comment:
    made = _comment("r", raw | {"created_at": raw["submitted_at"]})
    return replace(made, state=_VERDICTS.get(raw["state"], "commented"), commit=raw.get("commit_id"))


def _comment(kind: str, raw: Json) -> Comment:
    who = raw["user"] or {}
    return Comment(
        id=f"{kind}{raw['id']}",
        author=_login(who),
        body=raw["body"] or "",
        url=_text(raw["html_url"]),
        at=_text(raw["created_at"]),
        is_bot=who.get("type") == "Bot",
    )


def _login(user: Json | None) -> str:
    """`ghost` is what GitHub calls the author whose account was deleted."""
    return _text(user["login"]) if user else "ghost"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, not {type(value).__name__}")
    return value
