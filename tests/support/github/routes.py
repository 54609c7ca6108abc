"""What the scripted GitHub answers to which request."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import sha1
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.support.github import shapes
from tests.support.github.state import Check, Pull, a_sha

if TYPE_CHECKING:
    from tests.support.github.server import GitHub

_PAGE = 30  # elements, where a request does not say


@dataclass
class Answer:
    """A status, headers and JSON (or a text as it is)."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """What goes over the wire."""
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Asked:
    """A request to a repository: `rest` is its path below it."""

    github: GitHub
    method: str
    repo: str
    rest: str
    query: dict[str, str]
    body: Any

    @property
    def api(self) -> str:
        """Where the API is."""
        return self.github.api_url


NOT_FOUND = {"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"}


def route(github: GitHub, method: str, path: str, headers: dict[str, str], token: str | None, body: Any) -> Answer:
    """The answer, conditional: 304 without a body where the client has it already."""
    split = urlsplit(path)
    where = split.path.removeprefix("/api/v3").removeprefix("/api")
    if where.startswith("/_blob/"):
        return _blob(github, where, headers)
    if token is not None and github.tokens is not None and token not in github.tokens:
        return Answer({"message": "Bad credentials", "documentation_url": ""}, 401)
    if where == "/graphql":
        return _graphql(github, token, body)
    query = {name: texts[-1] for name, texts in parse_qs(split.query).items()}
    answer = _of_repository(github, method, where, query, body, token)
    if method == "GET" and answer.status == 200:
        etag = f'W/"{sha1(answer.content, usedforsecurity=False).hexdigest()}"'
        left = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4000", "x-ratelimit-reset": "1800000000"}
        answer.headers |= {"etag": etag, "cache-control": "private, max-age=60, s-maxage=60"} | left
        answer.headers["vary"] = "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With"
        if headers.get("if-none-match") == etag:
            return Answer("", 304, answer.headers)
    return answer


def _of_repository(
    github: GitHub, method: str, where: str, query: dict[str, str], body: Any, token: str | None
) -> Answer:
    by_name = re.fullmatch(r"/repos/([^/]+/[^/]+)(/.*)", where)
    by_id = re.fullmatch(r"/repositories/(\d+)(/.*)", where)
    if by_name and by_name[1] in github.moved:
        number = github.repositories[github.moved[by_name[1]]]
        target = f"{github.api_url}/repositories/{number}{by_name[2]}"
        status = 301 if method == "GET" else 307
        return Answer({"message": "Moved Permanently", "url": target}, status, {"location": target})
    if by_id:
        names = {number: name for name, number in github.repositories.items()}
        repo, rest = names.get(int(by_id[1]), ""), by_id[2]
    elif by_name:
        repo, rest = by_name[1], by_name[2]
    else:
        return Answer(NOT_FOUND, 404)
    is_visible = github.tokens is None or token in github.tokens
    if repo not in github.repositories or repo in github.hidden or not is_visible:
        return Answer(NOT_FOUND, 404)
    asked = Asked(github, method, repo, rest, query, body)
    for wanted, pattern, serve in _ROUTES:
        match = re.fullmatch(pattern, rest)
        if match and wanted == method:
            return serve(asked, *match.groups())
    return Answer(NOT_FOUND, 404)


def _issue(asked: Asked, number: str) -> Answer:
    issue = asked.github.issues.get((asked.repo, int(number)))
    if issue is not None:
        return Answer(shapes.issue(issue, asked.github.web_url, asked.api))
    pull = asked.github.pulls.get((asked.repo, int(number)))
    return Answer(shapes.pull_as_issue(pull, asked.github.web_url, asked.api)) if pull else Answer(NOT_FOUND, 404)


def _pull(asked: Asked, number: str) -> Answer:
    pull = asked.github.pulls.get((asked.repo, int(number)))
    return Answer(shapes.pull(pull, asked.api)) if pull else Answer(NOT_FOUND, 404)


def _comments(asked: Asked, number: str) -> Answer:
    pull = asked.github.pulls.get((asked.repo, int(number)))
    if pull is None:
        known = (asked.repo, int(number)) in asked.github.issues
        return _paged(asked, []) if known else Answer(NOT_FOUND, 404)
    return _paged(asked, [shapes.comment(each, pull) for each in pull.comments])


def _reviews(asked: Asked, number: str) -> Answer:
    pull = asked.github.pulls.get((asked.repo, int(number)))
    return _paged(asked, [shapes.review(each, pull) for each in pull.reviews]) if pull else Answer(NOT_FOUND, 404)


def _review_comments(asked: Asked, number: str) -> Answer:
    pull = asked.github.pulls.get((asked.repo, int(number)))
    if pull is None:
        return Answer(NOT_FOUND, 404)
    return _paged(asked, [shapes.review_comment(each, pull) for each in pull.review_comments])


def _checks(asked: Asked, sha: str) -> Answer:
    found = [check for pull in _of(asked) for check in pull.checks.get(sha, [])]
    web = asked.github.web_url
    return _paged(asked, [shapes.check(each, asked.repo, sha, web, asked.api) for each in found], "check_runs")


def _status(asked: Asked, sha: str) -> Answer:
    """The combined status: of each context the newest."""
    newest = {status.context: status for pull in _of(asked) for status in pull.statuses.get(sha, [])}
    states = {status.state for status in newest.values()}
    state = "failure" if states & {"failure", "error"} else "success" if states == {"success"} else "pending"
    paged = _paged(asked, [shapes.status(each) for each in newest.values()], "statuses")
    paged.body |= {"state": state, "sha": sha}
    return paged


def _workflow_runs(asked: Asked) -> Answer:
    sha, web = asked.query.get("head_sha", ""), asked.github.web_url
    checks = [each for pull in _of(asked) for each in pull.checks.get(sha, []) if each.app == "github-actions"]
    runs = {shapes.suite(each, sha): shapes.workflow_run(each, asked.repo, sha, web) for each in checks}
    return _paged(asked, list(runs.values()), "workflow_runs")


def _job(asked: Asked, number: str) -> Answer:
    found = _check_of(asked.github, asked.repo, int(number))
    if found is None or found[0].app != "github-actions":
        return Answer(NOT_FOUND, 404)
    return Answer(shapes.job(found[0], asked.repo, found[1], asked.github.web_url, asked.api))


def _logs(asked: Asked, number: str) -> Answer:
    found = _check_of(asked.github, asked.repo, int(number))
    if found is None or not found[0].log:
        return Answer(NOT_FOUND, 404)
    # Another host, as in life; it refuses what carries GitHub's token.
    return Answer("", 302, {"location": f"http://localhost:{asked.github.port}/_blob/{asked.repo}/{number}?sig=abc"})


def _blob(github: GitHub, where: str, headers: dict[str, str]) -> Answer:
    if "authorization" in headers:
        return Answer("<Error><Code>InvalidAuthenticationInfo</Code></Error>", 400)
    repo, _, number = where.removeprefix("/_blob/").rpartition("/")
    found = _check_of(github, repo, int(number))
    return Answer(found[0].log) if found else Answer("<Error><Code>BlobNotFound</Code></Error>", 404)


def _merge(asked: Asked, number: str) -> Answer:
    pull = asked.github.pulls.get((asked.repo, int(number)))
    if pull is None:
        return Answer(NOT_FOUND, 404)
    if pull.state == "closed" or pull.is_draft or not pull.mergeable:
        return Answer({"message": "Pull Request is not mergeable", "documentation_url": ""}, 405)
    if pull.refusal:
        return Answer({"message": pull.refusal, "documentation_url": ""}, 405)
    if (asked.body or {}).get("sha", pull.head) != pull.head:
        message = "Head branch was modified. Review and try the merge again."
        return Answer({"message": message, "documentation_url": ""}, 409)
    pull.merge(by=asked.github.owner)
    done = {"sha": a_sha(f"{pull.head} merged"), "merged": True, "message": "Pull Request successfully merged"}
    return Answer(done)


def _graphql(github: GitHub, token: str | None, body: Any) -> Answer:
    """The one query that is used: review threads. The others get an error in an answer 200, as GraphQL does."""
    if token is None:
        return Answer({"message": "This endpoint requires you to be authenticated."}, 401)
    asked = (body or {}).get("variables", {})
    pull = github.pulls.get((f"{asked.get('owner')}/{asked.get('name')}", asked.get("number", 0)))
    if "reviewThreads" not in (body or {}).get("query", "") or pull is None:
        error = {"type": "NOT_FOUND", "message": "Could not resolve to a PullRequest"}
        return Answer({"data": {"repository": None}, "errors": [error]})
    return Answer(shapes.threads(pull))


def _paged(asked: Asked, found: list[Any], inside: str | None = None) -> Answer:
    size = min(int(asked.query.get("per_page", _PAGE)), asked.github.page_limit)
    page = int(asked.query.get("page", 1))
    part = found[(page - 1) * size : page * size]
    last = max(1, -(-len(found) // size))
    base = f"{asked.api}/repositories/{asked.github.repositories[asked.repo]}{asked.rest}"
    more = "".join(f"{name}={text}&" for name, text in asked.query.items() if name != "page")
    links = {"prev": page - 1, "first": 1} if page > 1 else {}
    links |= {"next": page + 1, "last": last} if page < last else {}
    shown = [f'<{base}?{more}page={number}>; rel="{name}"' for name, number in links.items()]
    body = part if inside is None else {"total_count": len(found), inside: part}
    return Answer(body, 200, {"link": ", ".join(shown)} if shown else {})


def _of(asked: Asked) -> list[Pull]:
    return [pull for (repo, _), pull in asked.github.pulls.items() if repo == asked.repo]


def _check_of(github: GitHub, repo: str, number: int) -> tuple[Check, str] | None:
    return next(
        (
            (check, sha)
            for (name, _), pull in github.pulls.items()
            for sha, checks in pull.checks.items()
            for check in checks
            if name == repo and check.id == number
        ),
        None,
    )


_ROUTES = (
    ("GET", r"/issues/(\d+)", _issue),
    ("GET", r"/issues/(\d+)/comments", _comments),
    ("GET", r"/pulls/(\d+)", _pull),
    ("GET", r"/pulls/(\d+)/reviews", _reviews),
    ("GET", r"/pulls/(\d+)/comments", _review_comments),
    ("PUT", r"/pulls/(\d+)/merge", _merge),
    ("GET", r"/commits/(\w+)/check-runs", _checks),
    ("GET", r"/commits/(\w+)/status", _status),
    ("GET", r"/actions/runs", _workflow_runs),
    ("GET", r"/actions/jobs/(\d+)", _job),
    ("GET", r"/actions/jobs/(\d+)/logs", _logs),
)
