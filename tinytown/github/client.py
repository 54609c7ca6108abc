"""Questions to GitHub: an issue, all that matters of a pull request, a merge. Synchronous; nothing waits or repeats."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tinytown.domain.pull_request import Answer, Check, Comment, Failure, Issue, Look, PullRequest
from tinytown.errors import Forbidden, Invalid, NotFound, TinytownError, Unavailable
from tinytown.github import logs, reading
from tinytown.github.cache import Cache
from tinytown.github.credentials import find_token
from tinytown.github.places import Place, place, web_url
from tinytown.github.refusals import BadToken, Limited, Refused

if TYPE_CHECKING:
    from tinytown.github.access import Access

LOGS = 8  # of failed checks, for each look
LOG_BYTES = 200_000
METHODS = ("merge", "squash", "rebase")
THREADS = 10  # pages
_THREADS = """query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) {
    reviewThreads(first: 100, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes { isResolved comments(first: 1) { nodes { url } } } } } } }"""
T = TypeVar("T")


@contextlib.contextmanager
def connect(api_url: str, cache: Path | None = None, token: str | None = None) -> Iterator[GitHub]:
    """GitHub at this API, for as long as the context lasts. `cache`: a folder for unchanged answers.

    Without a `token` it is looked for (credentials.py), which may take five seconds. Raises Unavailable when githubkit
    is not installed, Invalid when the token cannot be one.
    """
    try:
        from tinytown.github.access import Access  # noqa: PLC0415  a quarter of a second, and an extra
    except ImportError as error:
        raise Unavailable(
            f"GitHub needs a package that is not here: {error.name}.", "Install it: pip install 'tinytown[github]'"
        ) from error
    token = token or find_token(api_url)
    kept = Cache(cache, token) if cache is not None else None
    with Access(api_url, token, kept) as access:
        yield GitHub(access, web_url(api_url))


class GitHub:
    """What can be asked. `web` is where browsers see what it answers about."""

    def __init__(self, access: Access, web: str) -> None:
        self._access = access
        self.web = web

    def issue(self, ref: str) -> Issue:
        """The issue `owner/repo#N`, or at this URL; also a pull request, as an issue.

        Raises Invalid, NotFound, Forbidden, Unavailable (Limited: a rate limit), TimedOut.
        """
        where = self._begin(ref)
        raw = self._access.get(f"/repos/{where.repository}/issues/{where.number}")
        return self._read(lambda: reading.issue(f"{where.repository}#{where.number}", raw))

    def issues(self, refs: Iterable[str]) -> dict[str, Issue]:
        """Several issues, one after the other, by what was asked for. Raises at the first that cannot be had."""
        return {ref: self.issue(ref) for ref in refs}

    def look(self, look: Look) -> Answer:
        """The pull request, or the issue, as it is now. Never raises; `Failure` says why there is no answer.

        Of a pull request that has ended, who ended it, and no more.
        """
        try:
            where = place(look.ref, self.web)
            return self._pull(look, where) if where.is_pull else self.issue(look.ref)
        except TinytownError as error:
            return failure(look.ref, error)

    def merge(self, url: str, head: str) -> PullRequest | Failure:
        """Merge the pull request at `url` if `head` is still its last commit. Never raises, asks once.

        By a merge commit, where the repository does not allow it squashed or rebased. One that was merged already is
        a success.
        """
        try:
            return self._merge(self._begin(url), url, head)
        except TinytownError as error:
            return failure(url, error)

    def _begin(self, ref: str) -> Place:
        self._access.subject = ref
        return place(ref, self.web)

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise self._access.garbled() from None

    def _pull(self, look: Look, where: Place) -> PullRequest:
        self._access.subject = look.ref
        at = f"/repos/{where.repository}/pulls/{where.number}"
        raw = self._access.get(at)
        pull = self._read(lambda: reading.pull(raw))
        below = f"/repos/{where.repository}/issues/{where.number}"
        if not pull.is_open:
            return pull if pull.ended_by else replace(pull, ended_by=self._closer(below))
        said = self._access.pages(f"{at}/reviews")
        on_diff = self._access.pages(f"{at}/comments")
        comments = self._read(lambda: reading.comments(said, on_diff, self._access.pages(f"{below}/comments")))
        if on_diff and self._access.has_token:
            comments = self._resolved(raw, comments, on_diff)
        return replace(
            pull,
            checks=tuple(self._checks(where.repository, pull.head, look.known)),
            reviews=tuple(self._read(lambda: reading.reviews(said))),
            comments=tuple(comments),
        )

    def _closer(self, below: str) -> str | None:
        raw = self._access.get(below)
        return self._read(lambda: raw["closed_by"]["login"] if raw.get("closed_by") else None)

    def _checks(self, repository: str, head: str, known: tuple[str, ...]) -> list[Check]:
        at = f"/repos/{repository}/commits/{head}"
        try:
            runs = self._access.pages(f"{at}/check-runs?filter=latest", "check_runs")
            statuses = self._access.pages(f"{at}/status", "statuses")
        except Refused as error:  # 422: a commit that has just been pushed is not everywhere yet
            raise Unavailable(str(error)) from error
        except NotFound as error:
            raise Unavailable(f"GitHub does not know the commit {head[:12]} yet.") from error
        flows = self._workflows(repository, head) if self._read(lambda: reading.ambiguous(runs)) else {}
        seen = self._read(lambda: reading.checks(runs, statuses, flows))
        wanted = [each for each in seen if each.check.outcome == "failure" and each.check.id not in known][:LOGS]
        return [self._with_log(repository, each) if each in wanted else each.check for each in seen]

    def _workflows(self, repository: str, head: str) -> dict[int, str]:
        """Nothing where the token may not see them: then checks of one name all count."""
        try:
            raw = self._access.pages(f"/repos/{repository}/actions/runs?head_sha={head}", "workflow_runs")
        except (Forbidden, NotFound):
            return {}
        return self._read(lambda: reading.workflows(raw))

    def _with_log(self, repository: str, seen: reading.SeenCheck) -> Check:
        """A log is a help, no fact: where it has expired or may not be read, the check says what it can."""
        step, text = None, ""
        if seen.job is not None:
            at = f"/repos/{repository}/actions/jobs/{seen.job}"
            with contextlib.suppress(Forbidden, NotFound, Refused, KeyError, TypeError, AttributeError):
                step = reading.failed_step(self._access.get(at))
            with contextlib.suppress(TinytownError):
                text = self._access.tail(f"{at}/logs", LOG_BYTES)
        return replace(seen.check, step=step, log=logs.trimmed(text or seen.said) or None)

    def _resolved(self, raw: Any, comments: list[Comment], on_diff: list[Any]) -> list[Comment]:
        """Only GraphQL knows; where it may not be asked, nothing counts as resolved."""
        found: list[Any] = []
        try:
            owner, _, name = raw["base"]["repo"]["full_name"].partition("/")
            asked: dict[str, Any] = {"owner": owner, "name": name, "number": raw["number"], "after": None}
            for _page in range(THREADS):
                threads = self._access.query(_THREADS, asked)["repository"]["pullRequest"]["reviewThreads"]
                found += threads["nodes"]
                if not threads["pageInfo"]["hasNextPage"]:
                    break
                asked["after"] = threads["pageInfo"]["endCursor"]
        except (Forbidden, NotFound, Refused, KeyError, TypeError):
            return comments
        return self._read(lambda: reading.with_resolved(comments, on_diff, reading.resolved(found)))

    def _merge(self, where: Place, url: str, head: str) -> PullRequest:
        if not where.is_pull:
            raise Invalid(f"{url} is no pull request.")
        at = f"/repos/{where.repository}/pulls/{where.number}"
        refused: Refused | None = None
        for method in METHODS:
            try:
                self._access.put(f"{at}/merge", {"sha": head, "merge_method": method})
            except Refused as error:
                refused = error
                if "not allowed" not in str(error):
                    break
            else:
                return PullRequest(url=url, head=head, is_open=False, is_merged=True)
        raw = self._access.get(at)
        pull = self._read(lambda: reading.pull(raw))
        if pull.is_merged or refused is None:
            return pull
        raise refused


def failure(ref: str, error: TinytownError) -> Failure:
    """Why there is no answer, in a line. Final: what was asked for is not there, or not for us."""
    reason = f"{error} {error.remedy}" if error.remedy else str(error)
    is_final = isinstance(error, NotFound | Forbidden | Invalid) and not isinstance(error, BadToken)
    return Failure(ref, reason, is_final, error.retry_after_s if isinstance(error, Limited) else None)
