"""What GitHub says of pull requests and issues: the facts that a mission decides on. Plain values, made by `github`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue. `ref` is `owner/repo#N`; `is_pull`: the number is that of a pull request."""

    ref: str
    title: str
    body: str
    url: str
    is_open: bool
    is_pull: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A check run or commit status of the head commit. `outcome`: `success`, `failure` or `pending`.

    `id` is new for each run of it. Of a failed one: `step` that failed and `log`, its trimmed end, where known.
    """

    id: str
    name: str
    outcome: str
    url: str | None = None
    step: str | None = None
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Comment:
    """A review or comment. `state` of a review: `approved`, `changes_requested`, `commented`; None for a comment."""

    id: str
    author: str
    body: str
    url: str
    at: str
    is_bot: bool = False
    state: str | None = None
    commit: str | None = None
    path: str | None = None
    line: int | None = None
    is_resolved: bool = False


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request with everything that a mission watches. `url` as browsers open it.

    `mergeable`: None while GitHub has not worked it out. `checks` are those of `head`, each name's newest run;
    `reviews` each reviewer's newest that says something, `comments` those on the diff and below the request.
    """

    url: str
    head: str
    is_open: bool
    is_merged: bool = False
    is_draft: bool = False
    ended_by: str | None = None
    author: str | None = None
    branch: str | None = None
    mergeable: bool | None = None
    checks: tuple[Check, ...] = ()
    reviews: tuple[Comment, ...] = ()
    comments: tuple[Comment, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """GitHub gave no answer about `ref`. `is_final`: it will not either (no such thing, no right to see it).

    `retry_after_s`: seconds that GitHub wants to be left alone for, for every request (a rate limit).
    """

    ref: str
    reason: str
    is_final: bool = False
    retry_after_s: float | None = None


Answer = PullRequest | Issue | Failure


@dataclass(frozen=True, slots=True)
class Look:
    """A question: the pull request at this URL, or the issue `owner/repo#N`.

    `known`: ids of failed checks whose logs are not needed any more. `submissions`: (work item id, when it was handed
    in) of those that it is asked for; an answer says nothing of what was handed in after the question.
    """

    ref: str
    known: tuple[str, ...] = field(default=())
    submissions: tuple[tuple[str, str], ...] = field(default=())
