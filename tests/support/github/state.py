"""What the scripted GitHub holds: plain objects that a test changes between two requests."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from hashlib import sha1

_ids = itertools.count(1001)
_minutes = itertools.count()


def new_id() -> int:
    """An id that nothing else here has; later ones are larger."""
    return next(_ids)


def next_time() -> str:
    """A time as GitHub writes it, a minute after the last one."""
    minute = next(_minutes)
    return f"2026-11-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00Z"


def a_sha(text: str) -> str:
    """A commit's id, the same for the same text."""
    return sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass
class User:
    """An account. `kind`: `User` or `Bot`."""

    login: str
    kind: str = "User"


@dataclass
class Issue:
    """An issue. `state`: `open` or `closed`."""

    repo: str
    number: int
    title: str = "A title"
    body: str | None = "A body"
    state: str = "open"
    labels: tuple[str, ...] = ()
    author: str = "reporter"


@dataclass
class Check:
    """A check run of a commit.

    `status`: queued, in_progress, completed, waiting, requested, pending. `conclusion` is None until it is completed.
    `steps`: (name, conclusion) of the job. `log`: of the job, as it was printed. `app`: `github-actions`, or another
    one, which has no job but `summary`. `suite`: where it is not that of the workflow's first run for the commit.
    """

    name: str
    status: str = "completed"
    conclusion: str | None = "success"
    steps: tuple[tuple[str, str], ...] = ()
    log: str = ""
    app: str = "github-actions"
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    workflow: str = "CI"
    event: str = "pull_request"
    suite: int | None = None
    id: int = field(default_factory=new_id)
    at: str = field(default_factory=next_time)


@dataclass
class Status:
    """A commit status. `state`: pending, success, failure, error."""

    context: str
    state: str = "success"
    description: str | None = None
    target_url: str | None = "https://ci.example.com/1"
    id: int = field(default_factory=new_id)
    at: str = field(default_factory=next_time)


@dataclass
class Comment:
    """A review (`state`: APPROVED, CHANGES_REQUESTED, COMMENTED, DISMISSED, PENDING), or a comment.

    One on the diff has a `path` and a `line`; `is_resolved`: its thread is. `replies_to`: the first of its thread.
    """

    author: User
    body: str
    state: str | None = None
    commit: str | None = None
    path: str | None = None
    line: int | None = None
    is_resolved: bool = False
    replies_to: int | None = None
    id: int = field(default_factory=new_id)
    at: str = field(default_factory=next_time)


@dataclass
class Pull:
    """A pull request. `url` as browsers open it. `head`: the sha of its last commit; checks belong to a sha.

    `mergeable` None: GitHub is working it out. `refusal`: what a merge answers (405), for a branch rule.
    """

    repo: str
    number: int
    url: str
    title: str = "A pull request"
    body: str | None = "What it does"
    state: str = "open"
    author: str = "dev"
    branch: str = "topic"
    head: str = ""
    is_draft: bool = False
    mergeable: bool | None = True
    merged_by: str | None = None
    closed_by: str | None = None
    refusal: str | None = None
    checks: dict[str, list[Check]] = field(default_factory=dict)
    statuses: dict[str, list[Status]] = field(default_factory=dict)
    reviews: list[Comment] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    review_comments: list[Comment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.head = self.head or a_sha(f"{self.repo}#{self.number}")

    @property
    def is_merged(self) -> bool:
        """Somebody merged it."""
        return self.merged_by is not None

    def push(self, head: str | None = None) -> str:
        """A new commit, without checks; returns its sha."""
        self.head = head or a_sha(f"{self.head}+")
        return self.head

    def check(self, name: str, conclusion: str | None = "success", **more: object) -> Check:
        """A check run of the present head; no conclusion: it runs. Another one of the same name is a newer run."""
        status = "completed" if conclusion else "in_progress"
        made = Check(name, conclusion=conclusion, **({"status": status} | more))  # type: ignore[arg-type]
        self.checks[self.head] = [*self.checks.get(self.head, []), made]
        return made

    def status(self, context: str, state: str = "success", **more: object) -> Status:
        """A commit status of the present head."""
        made = Status(context, state, **more)  # type: ignore[arg-type]
        self.statuses[self.head] = [*self.statuses.get(self.head, []), made]
        return made

    def review(self, author: str, state: str = "APPROVED", body: str = "", *, kind: str = "User") -> Comment:
        """A review of the present head."""
        made = Comment(User(author, kind), body, state, self.head)
        self.reviews = [*self.reviews, made]
        return made

    def comment(self, author: str, body: str, *, kind: str = "User") -> Comment:
        """A comment below the pull request."""
        made = Comment(User(author, kind), body)
        self.comments = [*self.comments, made]
        return made

    def review_comment(
        self, author: str, body: str, path: str = "app.py", line: int = 1, *, kind: str = "User"
    ) -> Comment:
        """A comment on the diff, in a thread of its own."""
        made = Comment(User(author, kind), body, None, self.head, path, line)
        self.review_comments = [*self.review_comments, made]
        return made

    def merge(self, by: str = "maintainer") -> None:
        """Somebody merges it on the web."""
        self.state, self.merged_by, self.closed_by = "closed", by, by

    def close(self, by: str = "maintainer") -> None:
        """Somebody closes it without merging."""
        self.state, self.closed_by = "closed", by

    def reopen(self) -> None:
        """Somebody opens it again."""
        self.state, self.closed_by = "open", None
