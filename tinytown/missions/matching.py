"""Who fits a work item: role first, then an agent without one, then any other that does no special work."""

from __future__ import annotations

import re

from tinytown.domain.work import Job, WorkItem, WorkKind
from tinytown.missions.snapshot import Worker

REVIEWER = "reviewer"
# Other words for a role; "worker" and the like are none.
_ALIASES: dict[str, str] = {
    "test": "tester", "tests": "tester", "testing": "tester", "qa": "tester",
    "review": REVIEWER, "audit": REVIEWER, "auditor": REVIEWER,
    "infra": "devops", "infrastructure": "devops", "ops": "devops", "deploy": "devops",
    "api": "backend", "server": "backend", "ui": "frontend", "web": "frontend", "client": "frontend",
    "design": "designer", "architect": "designer", "researcher": "designer", "research": "designer",
    "docs": "writer", "documentation": "writer",
    "default": "", "worker": "", "agent": "", "generalist": "", "runner": "",
}  # fmt: skip
_KNOWN = {role for role in _ALIASES.values() if role}
_OF_KIND = {WorkKind.DESIGN: "designer", WorkKind.TEST: "tester", WorkKind.REVIEW: REVIEWER}
_SPECIAL = frozenset({REVIEWER})
_TOKEN = re.compile(r"[a-z]+")

EXACT, GENERIC, OTHER, UNFIT = 3, 2, 1, 0


def lane(role: str | None, name: str = "") -> str:
    """The role in this module's words: as given, else by a whole word of the agent's name; empty: for any work."""
    if role is not None:
        word = role.strip().lower()
        return _ALIASES.get(word, word)
    for token in _TOKEN.findall(name.lower()):
        word = _ALIASES.get(token, str(token))
        if word in _KNOWN:
            return word
    return ""


def wanted(item: WorkItem) -> str:
    """The role that the item asks for, or that its kind suggests; empty: any."""
    return lane(item.owner_role) if item.owner_role else _OF_KIND.get(item.kind, "")


def fit(worker: Worker, item: WorkItem, job: Job) -> int:
    """How well the agent fits: EXACT, GENERIC, OTHER or UNFIT. Whether it is free is not asked here."""
    own = lane(worker.role, worker.name)
    if job is Job.REVIEW:
        if worker.id == item.author or worker.name in item.authors:
            return UNFIT
        return EXACT if own == REVIEWER else (OTHER if own else GENERIC)
    role = wanted(item)
    if own == role or (item.owner_role and worker.name.lower() == item.owner_role.strip().lower()):
        return EXACT
    if not own:
        return GENERIC
    if own in _SPECIAL or (item.is_role_strict and role):
        return UNFIT
    return OTHER
