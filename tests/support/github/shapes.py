"""The JSON of GitHub's REST API (version 2022-11-28), field for field as documented, for the fields that matter."""

from __future__ import annotations

from typing import Any

from tests.support.github.state import Check, Comment, Issue, Pull, Status, User

Json = dict[str, Any]


def user(of: User) -> Json | None:
    """A simple user; null when the account was deleted (no login)."""
    if not of.login:
        return None
    return {
        "login": of.login,
        "id": sum(of.login.encode()),
        "node_id": "U_1",
        "avatar_url": "",
        "html_url": f"https://github.com/{of.login}",
        "type": of.kind,
        "site_admin": False,
    }


def issue(of: Issue, web: str, api: str) -> Json:
    """An issue."""
    return {
        "id": of.number + 500,
        "node_id": "I_1",
        "url": f"{api}/repos/{of.repo}/issues/{of.number}",
        "repository_url": f"{api}/repos/{of.repo}",
        "html_url": f"{web}/{of.repo}/issues/{of.number}",
        "number": of.number,
        "title": of.title,
        "user": user(User(of.author)),
        "labels": [{"id": 1, "name": name, "color": "ededed", "default": False} for name in of.labels],
        "state": of.state,
        "state_reason": "completed" if of.state == "closed" else None,
        "locked": False,
        "assignees": [],
        "milestone": None,
        "comments": 0,
        "created_at": "2026-11-01T00:00:00Z",
        "updated_at": "2026-11-01T00:00:00Z",
        "closed_at": None,
        "author_association": "NONE",
        "body": of.body,
        "closed_by": None,
    }


def pull_as_issue(of: Pull, web: str, api: str) -> Json:
    """A pull request where the API of issues shows it."""
    seen = Issue(of.repo, of.number, of.title, of.body, of.state, author=of.author)
    return issue(seen, web, api) | {
        "html_url": of.url,
        "closed_by": user(User(of.closed_by)) if of.closed_by else None,
        "pull_request": {"url": f"{api}/repos/{of.repo}/pulls/{of.number}", "html_url": of.url},
    }


def pull(of: Pull, api: str) -> Json:
    """A pull request."""
    state = {None: "unknown", True: "clean", False: "dirty"}[of.mergeable]
    return {
        "id": of.number + 900,
        "url": f"{api}/repos/{of.repo}/pulls/{of.number}",
        "html_url": of.url,
        "number": of.number,
        "state": of.state,
        "locked": False,
        "title": of.title,
        "body": of.body,
        "user": user(User(of.author)),
        "draft": of.is_draft,
        "head": {
            "label": f"{of.repo.split('/')[0]}:{of.branch}",
            "ref": of.branch,
            "sha": of.head,
            "repo": {"full_name": of.repo},
        },
        "base": {"label": "main", "ref": "main", "sha": "0" * 40, "repo": {"full_name": of.repo}},
        "created_at": "2026-11-01T00:00:00Z",
        "updated_at": "2026-11-01T00:00:00Z",
        "closed_at": "2026-11-02T00:00:00Z" if of.state == "closed" else None,
        "merged_at": "2026-11-02T00:00:00Z" if of.is_merged else None,
        "merge_commit_sha": None,
        "merged": of.is_merged,
        "mergeable": None if of.state == "closed" else of.mergeable,
        "rebaseable": None if of.state == "closed" else of.mergeable,
        "mergeable_state": "draft" if of.is_draft else state,
        "merged_by": user(User(of.merged_by)) if of.merged_by else None,
        "comments": len(of.comments),
        "review_comments": len(of.review_comments),
        "maintainer_can_modify": False,
        "commits": 1,
        "additions": 1,
        "deletions": 0,
        "changed_files": 1,
    }


def review(of: Comment, pull: Pull) -> Json:
    """A review."""
    return {
        "id": of.id,
        "node_id": "PRR_1",
        "user": user(of.author),
        "body": of.body,
        "state": of.state,
        "html_url": f"{pull.url}#pullrequestreview-{of.id}",
        "pull_request_url": "",
        "author_association": "MEMBER",
        "submitted_at": of.at,
        "commit_id": of.commit,
    }


def review_comment(of: Comment, pull: Pull) -> Json:
    """A comment on the diff."""
    return {
        "id": of.id,
        "node_id": "PRRC_1",
        "pull_request_review_id": None,
        "diff_hunk": "@@ -1 +1 @@",
        "path": of.path,
        "line": of.line,
        "original_line": of.line,
        "side": "RIGHT",
        "commit_id": of.commit,
        "original_commit_id": of.commit,
        "user": user(of.author),
        "body": of.body,
        "created_at": of.at,
        "updated_at": of.at,
        "html_url": f"{pull.url}#discussion_r{of.id}",
    } | ({"in_reply_to_id": of.replies_to} if of.replies_to else {})


def comment(of: Comment, pull: Pull) -> Json:
    """A comment below a pull request."""
    return {
        "id": of.id,
        "node_id": "IC_1",
        "html_url": f"{pull.url}#issuecomment-{of.id}",
        "user": user(of.author),
        "created_at": of.at,
        "updated_at": of.at,
        "author_association": "MEMBER",
        "body": of.body,
    }


def check(of: Check, repo: str, sha: str, web: str, api: str) -> Json:
    """A check run; that of an Actions job has the id of the job."""
    is_actions = of.app == "github-actions"
    details = f"{web}/{repo}/actions/runs/{of.id + 1}/job/{of.id}" if is_actions else f"https://ci.example.com/{of.id}"
    return {
        "id": of.id,
        "name": of.name,
        "node_id": "CR_1",
        "head_sha": sha,
        "external_id": "",
        "url": f"{api}/repos/{repo}/check-runs/{of.id}",
        "html_url": details if is_actions else f"{web}/{repo}/runs/{of.id}",
        "details_url": details,
        "status": of.status,
        "conclusion": of.conclusion,
        "started_at": of.at,
        "completed_at": of.at if of.status == "completed" else None,
        "output": {
            "title": of.title,
            "summary": of.summary,
            "text": of.text,
            "annotations_count": 0,
            "annotations_url": "",
        },
        "check_suite": {"id": suite(of, sha)},
        "app": {"id": 15368 if is_actions else 7, "slug": of.app, "name": of.app},
        "pull_requests": [],
    }


def suite(of: Check, sha: str) -> int:
    """The check suite of a run: a second run of the same job is in the same one, another trigger has its own."""
    return of.suite or 8_000_000_000 + sum(f"{of.workflow} {of.app} {sha}".encode())


def workflow_run(of: Check, repo: str, sha: str, web: str) -> Json:
    """The workflow run that a job of Actions is part of."""
    return {
        "id": of.id + 1,
        "name": of.workflow,
        "head_branch": "topic",
        "head_sha": sha,
        "run_number": 1,
        "event": of.event,
        "status": of.status,
        "conclusion": of.conclusion,
        "workflow_id": 40_000 + sum(of.workflow.encode()),
        "check_suite_id": suite(of, sha),
        "html_url": f"{web}/{repo}/actions/runs/{of.id + 1}",
        "created_at": of.at,
        "run_attempt": 1,
    }


def status(of: Status) -> Json:
    """A commit status."""
    return {
        "id": of.id,
        "node_id": "SC_1",
        "url": "",
        "avatar_url": "",
        "state": of.state,
        "description": of.description,
        "target_url": of.target_url,
        "context": of.context,
        "created_at": of.at,
        "updated_at": of.at,
    }


def job(of: Check, repo: str, sha: str, web: str, api: str) -> Json:
    """The Actions job behind a check run."""
    return {
        "id": of.id,
        "run_id": of.id + 1,
        "run_url": f"{api}/repos/{repo}/actions/runs/{of.id + 1}",
        "head_sha": sha,
        "url": f"{api}/repos/{repo}/actions/jobs/{of.id}",
        "html_url": f"{web}/{repo}/actions/runs/{of.id + 1}/job/{of.id}",
        "status": of.status,
        "conclusion": of.conclusion,
        "created_at": of.at,
        "started_at": of.at,
        "completed_at": of.at,
        "name": of.name,
        "steps": [
            {"name": name, "status": "completed", "conclusion": conclusion, "number": number}
            for number, (name, conclusion) in enumerate(of.steps, 1)
        ],
        "check_run_url": f"{api}/repos/{repo}/check-runs/{of.id}",
        "labels": ["ubuntu-latest"],
        "runner_name": "GitHub Actions 1",
        "workflow_name": "CI",
        "head_branch": "topic",
    }


def threads(of: Pull) -> Json:
    """GraphQL: the review threads of a pull request, one page."""
    nodes = [
        {
            "isResolved": first.is_resolved,
            "comments": {
                "nodes": [
                    {"url": f"{of.url}#discussion_r{each.id}"}
                    for each in of.review_comments
                    if first.id in {each.id, each.replies_to}
                ]
            },
        }
        for first in of.review_comments
        if first.replies_to is None
    ]
    found = {"nodes": nodes, "pageInfo": {"hasNextPage": False, "endCursor": None}}
    return {"data": {"repository": {"pullRequest": {"reviewThreads": found}}}}
