"""The mission as a whole: under way, waiting for somebody, or at its end; and whom to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tinytown import ids
from tinytown.clock import stamp
from tinytown.domain.mission import Mission, MissionState
from tinytown.domain.watch import WatchKind, WatchStatus
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.missions import texts, watching
from tinytown.missions.decisions import Decision
from tinytown.missions.snapshot import MissionView

ASK_AGAIN_S = 1800  # doubled with each repetition
ASK_DOUBLINGS = 4


def conclude(view: MissionView, busy: int, now: datetime) -> list[Decision]:
    """What the mission becomes when nothing can be done for its items now. `busy`: items that are worked on."""
    run, at = view.run, stamp(now)
    open_items = [item for item in view.items.values() if not item.status.is_terminal]
    if not open_items:
        return [_completed(view, at)]
    needs = [Need(item, item.reason or "", item.remedy) for item in open_items if item.remedy is not None]
    needs += _in_vain(view, open_items)
    asked, asks = _asked(run, needs, now)
    state = MissionState.RUNNING if busy else MissionState.BLOCKED
    reason, remedy = (None, None) if busy else _why(view, open_items, needs)
    if (state, reason, remedy, asked) == (run.state, run.blocked_reason, run.remedy, run.asked):
        return []
    new = run.having(at, state=state, blocked_reason=reason, remedy=remedy, asked=asked, next_wake_at=_next_due(view))
    event, text = ("mission_running", "under way again") if busy else ("mission_blocked", str(reason))
    if state is run.state:
        event, text = "mission_waits", text if not asks else "asks for help"
    return [Decision(run.id, event, text, mission=new, asks=asks)]


@dataclass(frozen=True, slots=True)
class Need:
    """What somebody could do something about."""

    item: WorkItem
    reason: str
    remedy: str | None

    @property
    def general(self) -> str:
        """The remedy, for this item and others."""
        return (self.remedy or "").replace(ids.short(self.item.id), "ITEM")

    @property
    def key(self) -> str:
        """What is asked about once: what an item needs a person for, or what all items lack that wait for the same."""
        return f"{self.item.id if self.item.needs_person else self.general}: {self.reason}"[:200]


def _completed(view: MissionView, at: str) -> Decision:
    done = sum(item.status is WorkStatus.DONE for item in view.items.values())
    left = len(view.items) - done
    text = f"{done} items done" + (f", {left} cancelled" if left else "")
    new = view.run.having(
        at, state=MissionState.COMPLETED, blocked_reason=None, remedy=None, next_wake_at=None, ended_at=at, asked={}
    )
    open_watches = [
        w.having(status=WatchStatus.DONE) for w in view.watches.values() if w.status is not WatchStatus.DONE
    ]
    return Decision(view.run.id, "mission_completed", text, mission=new, watches=open_watches)


def _why(view: MissionView, open_items: Sequence[WorkItem], needs: Sequence[Need]) -> tuple[str, str | None]:
    """The reason that helps most: what a person can change, then what is waited for outside."""
    if needs:
        more = f" (and {len(needs) - 1} more)" if len(needs) > 1 else ""
        return f"{needs[0].item.source_ref}: {needs[0].reason}{more}", needs[0].remedy
    for item in open_items:
        if item.reason:
            return f"{item.source_ref}: {item.reason}", None
    for watch in view.watches.values():
        if watch.kind is WatchKind.ISSUE_CLOSED and watch.status is not WatchStatus.DONE:
            return f"waits for {watch.target_ref}: {watch.text or 'not looked at yet'}", None
    return "waits for an agent that is free", None


def _in_vain(view: MissionView, open_items: Sequence[WorkItem]) -> list[Need]:
    """Items that wait for one that was cancelled, or for an issue that cannot be read."""
    gone = {item.id: item for item in view.items.values() if item.status is WorkStatus.CANCELLED}
    unread = {w.target_ref: w for w in view.watches.values() if w.state == watching.UNREADABLE}
    found = []
    for item in open_items if gone or unread else ():
        if item.status is not WorkStatus.PENDING:
            continue
        leave = f"tt mission cancel {ids.short(item.id)}"
        for other in (gone[i] for i in item.depends_on if i in gone):
            remedy = f"tt mission retry {ids.short(other.id)}, or {leave}"
            found.append(Need(item, f"depends on {other.source_ref}, which was cancelled", remedy))
        found += [
            Need(item, f"depends on {ref}, which cannot be read: {unread[ref].text}", f"give access to it, or {leave}")
            for ref in item.outside
            if ref in unread
        ]
    return found


def _asked(run: Mission, needs: Sequence[Need], now: datetime) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What the conductor was asked for, with what is to be asked now: once for each reason, then ever more seldom.

    A reason that has passed is kept until it would be asked about again: it may come back sooner.
    """
    asked = {key: before for key, before in run.asked.items() if str(before.get("again", "")) > stamp(now)}
    asks = []
    alike: dict[str, list[Need]] = {}
    for need in needs:
        alike.setdefault(need.key, []).append(need)
    for key, found in alike.items():
        if key in asked:
            continue
        before = run.asked.get(key)
        count = int(before.get("count", 0)) + 1 if before is not None else 1
        pause = ASK_AGAIN_S * 2 ** min(count - 1, ASK_DOUBLINGS)
        asked[key] = {"at": stamp(now), "count": count, "again": stamp(now + timedelta(seconds=pause))}
        first = found[0].item
        refs = (
            f"{first.source_ref} ({first.title})" if len(found) == 1 else texts.some(n.item.source_ref for n in found)
        )
        remedy = found[0].remedy if len(found) == 1 else found[0].general
        asks.append(f"[Mission help] Mission {ids.short(run.id)}, {refs}: {found[0].reason}. Next: {remedy}")
    return asked, asks


def _next_due(view: MissionView) -> str | None:
    dues = [watch.next_due_at for watch in view.watches.values() if watch.status is not WatchStatus.DONE]
    return min(dues, default=None)
