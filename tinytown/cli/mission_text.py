"""How missions, work items and watches look."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinytown import clock, ids
from tinytown.cli import mission_graph, render
from tinytown.domain.mission import Mission, MissionState
from tinytown.domain.watch import Watch, WatchKind, WatchStatus
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.missions import references

if TYPE_CHECKING:
    from tinytown.services.missions.starting import Prepared
    from tinytown.services.missions.status import Report

FEW_ITEMS = 5  # are listed unasked
_TITLE = 70
_REASON = 200
_STATES = {"planning": "📝", "running": "🚀", "blocked": "🚧", "completed": "✅", "failed": "❌"}
_ITEMS = {
    "pending": "⏳", "ready": "🔡", "assigned": "📌", "running": "🔄", "blocked": "🚧", "done": "✅", "cancelled": "🚫",
}  # fmt: skip
_WATCHES = {"active": "🟢", "snoozed": "😴", "done": "✅"}
_LOOKS_AT = {
    WatchKind.PR_CHECKS: "CI check", WatchKind.REVIEW_COMMENTS: "reviews", WatchKind.BUGBOT_COMMENTS: "bot comments",
    WatchKind.MERGEABILITY: "merge", WatchKind.ISSUE_CLOSED: "issue",
}  # fmt: skip


def summary(report: Report) -> None:
    """A mission in a line or two."""
    run, counts = report.run, report.counts
    done = f"{counts[WorkStatus.DONE]}/{len(report.file.items)} done"
    age = render.duration(clock.seconds_since(run.created_at))
    refs = render.clean(", ".join(run.objectives[:3]), 80) + (" ..." if len(run.objectives) > 3 else "")
    render.out(f"   {_state_icon(run)}{ids.short(run.id)} ({_state(run)}) - {refs} - {done} - {age} ago")
    if run.blocked_reason:
        _hint(run.blocked_reason, run.remedy, "      ")


def detail(report: Report, *, work: bool, watch: bool) -> None:
    """All of a mission; items and watches one by one where asked for (a few items always)."""
    run, file = report.run, report.file
    render.out(f"{render.icon('🎯')}Mission Status")
    render.out(f"   ID: {run.id}")
    render.out(f"   State: {_state_icon(run)}{_state(run)}")
    times = (("Created", run.created_at), ("Updated", run.updated_at), ("Stopped", run.stopped_at))
    for name, at in (*times, ("Ended", run.ended_at)):
        if at:
            render.out(f"   {name}: {when(at)}")
    if run.blocked_reason:
        render.out(f"\n{render.icon('🚧')}Blocked Reason: {render.clean(run.blocked_reason, _REASON)}")
        if run.remedy:
            render.out(f"   {render.clean(run.remedy, _REASON)}")
    if due := report.next_wake:
        render.out(f"\n{render.icon('⏰')}Next Wake: {when(due)}")
    render.out(f"\n{render.icon('📋')}Objectives: {len(run.objectives)}")
    for ref in run.objectives:
        render.out(f"   - {render.clean(ref)}")
    _policy(run)
    _items(report, listed=work or len(file.items) <= FEW_ITEMS)
    if file.watches or watch:
        _watches(report, listed=watch)
    _lines("📜", "Recent Events", [(line.get("at"), line.get("text")) for line in report.events])
    _lines("📝", "Notes", [(line.get("at"), f"{line.get('by')}: {line.get('text')}") for line in report.notes])
    if file.unreadable:
        render.talk(f"Warning: {len(file.unreadable)} record(s) of this mission cannot be read.")


def started(prepared: Prepared, *, dry_run: bool) -> None:
    """What a start did, or would do."""
    run = prepared.run
    head = "Mission (dry run, nothing was changed)" if dry_run else f"Mission started: {run.id}"
    render.out(f"{render.icon('🚀')}{head}")
    render.out(f"{render.icon('📋')}Objectives: {_objectives(run)}")
    render.out(f"{render.icon('📦')}Work items: {len(prepared.items)}")
    if not dry_run:
        for item in prepared.items:
            render.out(f"   {item_icon(item)}{name(item, run)}")
        render.out(f"   Max parallel: {run.policy.max_parallel_items}")
        render.out(f"   Reviewer required: {_yes(run.policy.reviewer_required)}")


def graph(run: Mission, items: Sequence[WorkItem], behind: dict[str, str] | None = None) -> None:
    """The items below what they wait for; `behind`: item id -> what else stands in its line."""
    nodes = []
    for item in items:
        text = f"{item_icon(item)}{item.number} {name(item, run)}  {item.status}"
        text += f"  -> {render.clean(behind[item.id], 80)}" if behind and item.id in behind else ""
        text += f"  (waits for {render.clean(', '.join(item.outside))})" if item.outside else ""
        nodes.append(mission_graph.Node(item.id, item.number, text, item.depends_on))
    is_shown = render.is_terminal(sys.stdout)
    width = shutil.get_terminal_size((80, 24)).columns if is_shown else 160
    for line in mission_graph.draw(nodes, width, boxes=mission_graph.can_draw_boxes()):
        render.out(line)


def name(item: WorkItem, run: Mission) -> str:
    """`Issue #23: Title` in a mission of one repository, else `owner/repo#23: Title`; of documents `path#part: ...`."""
    ref = item.source_ref
    if references.is_reference(ref) and len(run.repositories) == 1:
        ref = f"Issue {references.short(ref, run.repositories[0])}"
    return render.clean(f"{ref}: {item.title}", _TITLE)


def item_icon(item: WorkItem) -> str:
    """On a terminal."""
    return render.icon(_ITEMS[item.status])


def when(at: str) -> str:
    """A record's time for people: `2024-01-15 10:30:00 UTC`."""
    return f"{at[:19].replace('T', ' ')} UTC"


def _policy(run: Mission) -> None:
    policy = run.policy
    render.out(f"\n{render.icon('⚙️ ')}Policy:")
    render.out(f"   Max parallel: {policy.max_parallel_items}")
    render.out(f"   Reviewer required: {_yes(policy.reviewer_required)}")
    render.out(f"   Auto-merge: {_yes(policy.auto_merge)}")
    render.out(f"   Watch interval: {policy.watch_interval_secs}s")


def _items(report: Report, *, listed: bool) -> None:
    from tinytown.services.missions.status import busy, why  # noqa: PLC0415  not for a start

    counts = ", ".join(f"{count} {status}" for status in WorkStatus if (count := report.counts[status]))
    render.out(f"\n{render.icon('📦')}Work Items: {len(report.file.items)} ({counts})")
    at_work = busy(report.file)
    for item in report.file.items.values() if listed else ():
        agent = report.names.get(item.assigned_to or "")
        who = f" (→ {agent}: {item.job})" if item.status.has_task else ""
        status = item.status.value.ljust(9)
        render.out(
            f"   {item_icon(item)}{status} {item.number:>2}  {name(item, report.run)}{who}  {ids.short(item.id)}"
        )
        reason, remedy = why(report.file, item, at_work)
        if reason and item.status is not WorkStatus.DONE and reason != report.run.blocked_reason:
            _hint(reason, remedy, "      ")
        for url in item.artifact_refs:
            render.out(f"      └─ {render.clean(url)}")


def _watches(report: Report, *, listed: bool) -> None:
    counts = Counter(one.status for one in report.file.watches.values())
    told = ", ".join(f"{counts[status]} {status}" for status in WatchStatus if counts[status])
    render.out(f"\n{render.icon('👁️ ')}Watch Items: {len(report.file.watches)}" + (f" ({told})" if told else ""))
    for one in report.file.watches.values() if listed else ():
        render.out(f"   {render.icon(_WATCHES[one.status])}{one.status.value.ljust(7)} {_watch(one)}")


def _watch(one: Watch) -> str:
    said = one.text or one.state or "not looked at yet"
    line = f"{one.target_ref} {_LOOKS_AT[one.kind]}: {said}"
    if one.status is not WatchStatus.DONE:
        due = (clock.parse(one.next_due_at) - clock.now()).total_seconds()
        line += f" (next look in {render.duration(due)})" if due > 0 else " (next look now)"
    return render.clean(line, _REASON)


def _lines(icon: str, head: str, rows: list[tuple[Any, Any]]) -> None:
    if rows:
        render.out(f"\n{render.icon(icon)}{head}:")
    for at, text in rows:
        render.out(f"   {when(str(at))}  {render.clean(str(text), _REASON)}")


def _hint(reason: str, remedy: str | None, indent: str) -> None:
    render.out(f"{indent}└─ {render.clean(reason, _REASON)}")
    if remedy:
        render.out(f"{indent}   {render.clean(remedy, _REASON)}")


def _state(run: Mission) -> str:
    return "Stopped" if run.state is MissionState.BLOCKED and run.stopped_at else run.state.label


def _state_icon(run: Mission) -> str:
    return render.icon(_STATES[run.state])


def _objectives(run: Mission) -> str:
    issues = sum(map(references.is_reference, run.objectives))
    counted = ((issues, "issue"), (len(run.objectives) - issues, "document"))
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counted if count)


def _yes(value: bool) -> str:  # noqa: FBT001  what is shown
    return "true" if value else "false"
