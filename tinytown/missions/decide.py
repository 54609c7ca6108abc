"""`decide(snapshot, now)`: what happens next in all missions. Pure; the same snapshot gives the same plan.

At most one decision for each item and mission in a plan; what follows from it is decided with the next snapshot.
A tick may end anywhere: every decision is a whole step, and what was not done is decided again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tinytown import ids
from tinytown.clock import parse, stamp
from tinytown.domain.pull_request import Look
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.domain.watch import Watch, WatchKind, WatchStatus
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.missions import gates, submissions, texts, watching
from tinytown.missions.concluding import conclude
from tinytown.missions.decisions import Decision, Merge, NewTask, Plan
from tinytown.missions.snapshot import MissionView, Snapshot
from tinytown.missions.team import LATER, Choice, Team

FRESH_S = 30  # the age of a look that a merge may rest on


def decide(snapshot: Snapshot, now: datetime) -> Plan:
    """Everything that can be done now. `now` is aware; times in records are UTC."""
    plan = Plan()
    team = Team(snapshot)
    tables = [_Table(view, snapshot, team, now) for view in snapshot.missions if view.run.is_active]
    for table in tables:
        table.advance()
    wants = [want for table in tables for want in table.wants]
    for want in sorted(wants, key=_rank):
        want.table.settle(want, team.choose(want.item, want.job, has_slot=want.table.slots > 0))
    for table in tables:
        plan.decisions += table.decisions or conclude(table.view, table.busy, now)
    _look(plan, snapshot, stamp(now))
    return plan


@dataclass(frozen=True, slots=True)
class Want:
    """An item that a task is due for. `gate`: what it is due for, if it was handed in."""

    item: WorkItem
    job: Job
    table: _Table
    gate: gates.Needs | None = None


_ORDER = {Job.VERIFY: 0, Job.FIX: 1, Job.REVIEW: 2, Job.WORK: 3}  # what finishes begun work comes first


def _rank(want: Want) -> tuple[int, int, int, str, int]:
    """Urgent items first, then those of the mission that has least under way, then of the oldest."""
    run = want.table.view.run
    return _ORDER[want.job], -want.item.priority, want.table.busy, run.created_at, want.item.number


def _look(plan: Plan, snapshot: Snapshot, at: str) -> None:
    """Which targets are to be looked at now, each once, and when something is due next."""
    dues: list[str] = []
    known: dict[str, set[str]] = {}
    submissions: dict[str, set[tuple[str, str]]] = {}
    for view in snapshot.missions:
        if not view.run.is_active:
            continue
        dues += [again for asked in view.run.asked.values() if (again := str(asked.get("again", "")))]
        for watch in view.watches.values():
            if watching.is_due(watch, at):
                item = view.items.get(watch.work_item_id)
                checks = _known_checks(item)
                if item is not None:
                    submissions.setdefault(watch.target_ref, set()).add((item.id, item.submitted_at or ""))
                known[watch.target_ref] = known.get(watch.target_ref, checks) & checks  # none that one still needs
            elif watch.status is not WatchStatus.DONE:
                dues.append(watch.next_due_at)
    plan.looks += [
        Look(ref, tuple(sorted(checks)), tuple(sorted(submissions.get(ref, ())))) for ref, checks in known.items()
    ]
    plan.wake_at = parse(min(dues)) if dues else None


def _known_checks(item: WorkItem | None) -> set[str]:
    """Ids of failed checks that a fix was made for: their logs are not needed again."""
    keys = [*item.handled, *item.fix_keys] if item is not None else []
    return {check for key in keys if key.startswith("checks:") for check in key.split(":", 2)[2].split(",")}


class _Table:
    """One mission while it is decided on."""

    def __init__(self, view: MissionView, snapshot: Snapshot, team: Team, now: datetime) -> None:
        self.view, self.now, self.at = view, now, stamp(now)
        self.decisions: list[Decision] = []
        self.wants: list[Want] = []
        self.busy = 0  # items with a task that an agent works on, or will
        self.slots = view.run.policy.max_parallel_items  # for work that is not begun; reviews take none
        self._tasks, self._team = snapshot.tasks, team
        self._watches: dict[str, list[Watch]] = {}
        self._issues: dict[str, Watch] = {}  # outside the mission, by reference
        for watch in view.watches.values():
            if watch.kind is WatchKind.ISSUE_CLOSED:
                self._issues[watch.target_ref] = watch
            else:
                self._watches.setdefault(watch.work_item_id, []).append(watch)

    def advance(self) -> None:
        """Each item as far as no agent has to be chosen for it."""
        ready = []
        for item in self.view.items.values():
            status = item.status
            if status is WorkStatus.DONE or status is WorkStatus.CANCELLED:
                continue
            if status is WorkStatus.PENDING:
                if self._is_startable(item):
                    ready.append(item)
            elif status is WorkStatus.READY:
                ready.append(item)
            elif status.has_task:
                self._follow(item)
            else:
                self._judge(item)
        self.slots -= sum(want.job is not Job.REVIEW for want in self.wants)
        self.wants += [Want(item, Job.WORK, self) for item in sorted(ready, key=lambda i: (-i.priority, i.number))]

    # Waiting for others

    def _is_startable(self, item: WorkItem) -> bool:
        items = self.view.items
        for i in item.depends_on:
            other = items.get(i)
            if other is not None and other.status is not WorkStatus.DONE:
                return False
        return not item.outside or self._outside_is_done(item)

    def _outside_is_done(self, item: WorkItem) -> bool:
        """All issues outside the mission are closed; those that nobody watches yet are watched."""
        missing = dict.fromkeys(ref for ref in item.outside if ref not in self._issues)
        if missing:
            new = [watching.open_issue_watch(item, ref, self.view.run.policy, self.now) for ref in missing]
            self._issues |= {watch.target_ref: watch for watch in new}
            self._say(item, "watch_opened", f"watches {texts.some(missing)}", watches=new)
        return all(self._issues[ref].state == watching.CLOSED for ref in item.outside)

    # With a task

    def _follow(self, item: WorkItem) -> None:
        task = self._tasks.get(item.task_id or "")
        merged = gates.is_merged(item, self._watches_of(item))
        if merged is not None:
            self._end(item, merged.text, cancel=item.task_id if task and task.state is TaskState.ASSIGNED else None)
        elif task is None:
            self._take_back(item, "its task is gone")
        elif task.state.is_terminal:
            self._ended(item, task)
        elif task.state is TaskState.PENDING or task.assigned_to is None:
            self._take_back(item, "its task was taken from its agent")
        elif self._team.has_ended(task.assigned_to):
            self._take_back(item, f"{self._team.name_of(task.assigned_to)} has ended")
        elif submissions.is_needless(item, task, self._watches_of(item)):
            self._take_back(item, "the fix is no longer needed: all checks pass")
        else:
            self.slots -= item.job is not Job.REVIEW
            self._mirror(item, task)

    def _mirror(self, item: WorkItem, task: Task) -> None:
        """Its status is its task's; somebody may have moved that to another agent, or sent the agent to rest."""
        status = WorkStatus.RUNNING if task.state is TaskState.RUNNING else WorkStatus.ASSIGNED
        lies = self._team.rests(task.assigned_to) if status is WorkStatus.ASSIGNED else LATER
        self.busy += lies.reason is None
        if status is not item.status or task.assigned_to != item.assigned_to:
            new = item.having(
                self.at, status=status, assigned_to=task.assigned_to, reason=lies.reason, remedy=lies.remedy
            )
            name = self._team.name_of(task.assigned_to)
            self._say(new, f"work_item_{status}", f"{item.job} {status} at {name}")
        else:
            self._wait(item, lies.reason, lies.remedy)

    def _take_back(self, item: WorkItem, why: str) -> None:
        """Its task leads nowhere: another one is given in the next pass."""
        status = WorkStatus.BLOCKED if item.is_submitted else WorkStatus.READY
        new = item.having(
            self.at, status=status, job=None, task_id=None, assigned_to=None, reason=None, remedy=None,
            fix_keys=[],
        )  # fmt: skip
        task = self._tasks.get(item.task_id or "")
        cancel = item.task_id if task is not None and not task.state.is_terminal else None
        self._say(new, "work_item_taken_back", why, cancel=cancel)

    def _ended(self, item: WorkItem, task: Task) -> None:
        """Its task has ended: handed in, or not. What has no gate before it is done in the same step."""
        new, text, watches = submissions.after(item, task, self.view, self._team, self.now)
        if new.is_submitted and not (new.needs_person or new.artifact_refs):
            gate = gates.judge(new, (), self.view.run.policy)
            if isinstance(gate, gates.Passed):
                self._end(new, f"{text}; {gate.text}")
                return
        self._say(new, f"work_item_{new.status}" if new.needs_person else "work_item_handed_in", text, watches=watches)

    # Before its gates

    def _judge(self, item: WorkItem) -> None:
        watches = self._watches_of(item)
        if not item.is_submitted or (item.needs_person and item.job is not None):
            merged = gates.is_merged(item, watches)
            if merged is not None:
                self._end(item, merged.text)
            return
        if moved := [watch for watch in watches if gates.has_moved(watch)]:
            new = item.having(self.at, is_verified=False, reviewer_approved=False, approved_by=None)
            soon = [watching.due_soon(watch, self.now) for watch in moved]
            self._say(new, "work_item_moved", f"{moved[0].target_ref}: {moved[0].text}", watches=soon)
            return
        gate = gates.judge(item, watches, self.view.run.policy)
        if isinstance(gate, gates.Passed):
            self._end(item, gate.text)
        elif isinstance(gate, gates.Needs):
            self.wants.append(Want(item, gate.job, self, gate))
        elif isinstance(gate, gates.Mergeable):
            self._merge(item, gate.merge, watches)
        else:
            self._wait(item, gate.text, gate.remedy, needs_person=gate.for_person)

    def _merge(self, item: WorkItem, merge: Merge, watches: Sequence[Watch]) -> None:
        """On a fresh look: somebody may have said no since."""
        live = [watch for watch in watches if watch.status is not WatchStatus.DONE]
        if min(watch.last_check_at or "" for watch in live) < stamp(self.now - timedelta(seconds=FRESH_S)):
            soon = [watching.due_soon(watch, self.now) for watch in live]
            self._say(item, "work_item_waits", f"looks at {merge.url} once more, to merge it", watches=soon)
            return
        target = next(w for w in live if w.kind is WatchKind.MERGEABILITY and w.target_ref == merge.url)
        merging = target.having(state=watching.MERGING, text="is being merged")
        self._say(item, "work_item_merging", f"merges {merge.url}", watches=[merging], merge=merge)

    def _watches_of(self, item: WorkItem) -> Sequence[Watch]:
        return self._watches.get(item.id, ())

    # With an agent chosen, or none

    def settle(self, want: Want, choice: Choice) -> None:
        """Give the task, or say why nobody gets it."""
        item = want.item
        if choice.agent is None:
            if item.status is WorkStatus.PENDING:
                item = item.having(self.at, status=WorkStatus.READY)
                self._say(replace(item, reason=choice.reason, remedy=choice.remedy), "work_item_ready", "can start")
            else:
                self.slots += choice.reason is not None and want.job in {Job.FIX, Job.VERIFY}  # others may go on
                why = choice.reason if want.gate is None else f"{want.gate.text}: {choice.reason or 'no agent is free'}"
                self._wait(item, why, choice.remedy)
            return
        if item.status is WorkStatus.PENDING:
            item = item.having(self.at, status=WorkStatus.READY)
        gate = want.gate
        task_id = ids.derived_id(item.mission_id, item.id, str(item.tries))
        given = item.having(
            self.at, status=WorkStatus.ASSIGNED, job=want.job, task_id=task_id, assigned_to=choice.agent.id,
            tries=item.tries + 1, reason=None, remedy=None, needs_person=False,
        )  # fmt: skip
        if gate is not None and gate.key is not None:
            given = replace(given, fix_keys=gate.key.split("\n"))
        report = gate.report if gate is not None else ""
        text = texts.of_task(want.job, item, self.view.items, report, self.view.notes)
        new_task = NewTask(task_id, choice.agent.id, want.job, text, is_next=want.job is not Job.WORK)
        why = f" ({gate.text})" if gate is not None and want.job is Job.FIX else ""
        self._say(given, "work_item_assigned", f"{want.job} given to {choice.agent.name}{why}", task=new_task)
        self.busy += 1
        self.slots -= want.job is Job.WORK  # the others have theirs

    # Decisions

    def _end(self, item: WorkItem, text: str, cancel: str | None = None) -> None:
        done = item.having(
            self.at, status=WorkStatus.DONE, job=None, task_id=None, reason=None, remedy=None, needs_person=False,
            ended_at=self.at,
        )  # fmt: skip
        closed = [w.having(status=WatchStatus.DONE) for w in self._watches_of(item) if w.status is not WatchStatus.DONE]
        self._say(done, "work_item_done", text, watches=closed, cancel=cancel)

    def _wait(self, item: WorkItem, reason: str | None, remedy: str | None, *, needs_person: bool = False) -> None:
        if (item.reason, item.remedy, item.needs_person) == (reason, remedy, needs_person):
            return
        new = item.having(self.at, reason=reason, remedy=remedy, needs_person=needs_person)
        self._say(new, "work_item_waits", reason or "its turn comes")

    def _say(self, item: WorkItem, event: str, text: str, **more: object) -> None:
        line = f"{item.source_ref}: {text}"
        old = self.view.items[item.id]
        record = item if item is not old else None
        self.decisions.append(Decision(self.view.run.id, event, line, item=record, **more))  # type: ignore[arg-type]
