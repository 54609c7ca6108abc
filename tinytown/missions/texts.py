"""What the agents are told: the descriptions of a mission's tasks, and where a result names pull requests."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from tinytown import ids
from tinytown.domain.work import Job, WorkItem

RESULT_CHARS = 2_000
SUBMISSION_CHARS = 4_000
_PULL = re.compile(r"https?://[^\s/<>\"'()\[\]]+/([\w.-]+/[\w.-]+)/pull/([1-9][0-9]{0,8})\b")


def pulls_in(text: str, repositories: Collection[str]) -> list[str]:
    """The URLs of pull requests of these repositories (`owner/repo`, lower case; empty: of any), each once."""
    found = [m[0] for m in _PULL.finditer(text) if not repositories or m[1].lower() in repositories]
    return list(dict.fromkeys(found))


def of_task(
    job: Job, item: WorkItem, items: Mapping[str, WorkItem], report: str = "", notes: Sequence[str] = ()
) -> str:
    """The whole text of a task. `notes` are what people left for those who work on the mission."""
    if job is Job.VERIFY:
        return "\n".join([f"Verify: {one_line(item.title)}", *item.verify])
    parts = {Job.WORK: _work, Job.FIX: _fix, Job.REVIEW: _review}[job](item, report)
    told = ["\n".join(["Notes on the mission:", *(f"- {one_line(note)}" for note in notes)])] if notes else []
    return "\n\n".join([*parts, _about(item, items), *told, _how(job, item)])


def _work(item: WorkItem, _report: str) -> list[str]:
    return [f"[Mission work item] {item.title}", *_body(item)]


def _fix(item: WorkItem, report: str) -> list[str]:
    pulls = [f"Pull request: {url}" for url in item.artifact_refs]
    return [
        f"[Mission fix] {item.title}",
        "Your work on this item was handed in, and something is to be put right:",
        report.strip(),
        *pulls,
        *_body(item),
    ]


def _review(item: WorkItem, _report: str) -> list[str]:
    return [
        f"[Mission review] {item.title}",
        "Review the work that was handed in for this item. Change nothing yourself.",
        *(f"Pull request: {url}" for url in item.artifact_refs),
        f"What its author said when handing it in:\n\n{(item.result or '').strip()[-SUBMISSION_CHARS:]}",
        *_body(item),
    ]


def _body(item: WorkItem) -> list[str]:
    return [item.body.strip()] if item.body.strip() else []


def _about(item: WorkItem, items: Mapping[str, WorkItem]) -> str:
    lines = [f"---\nMission {ids.short(item.mission_id)}, item {item.number} of {len(items)}: {item.source_ref}"]
    lines += [item.source_url] if item.source_url else []
    lines += [_told(other) for i in item.depends_on if (other := items.get(i)) is not None]
    return "\n".join(lines)


def _told(other: WorkItem) -> str:
    result = one_line(other.result or "")[:RESULT_CHARS]
    return f"It builds on item {other.number}, {other.title} ({other.source_ref}), which is done" + (
        f": {result}" if result else "."
    )


def _how(job: Job, item: WorkItem) -> str:
    item_ref = f"{ids.short(item.id)} --run {ids.short(item.mission_id)}"
    if job is Job.REVIEW:
        return (
            "Your verdict is a command; nothing else counts as one, neither silence nor prose:\n"
            f"  tt mission approve {item_ref}\n"
            f"  tt mission reject {item_ref} --reason '<what must change, in full>'"
        )
    verify = "\nThe town then runs, where you worked: " + "; ".join(item.verify) if item.verify else ""
    return (
        "When you are done, say what you did. If there is a pull request, the result must hold its whole URL "
        "(https://.../owner/repo/pull/N), and no other's: the town watches its checks and reviews, and comes back to "
        "you." + verify
    )


def one_line(text: str) -> str:
    """Without line ends and repeated blanks."""
    return " ".join(text.split())


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few of these, and how many more there are."""
    found = list(names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
