"""A world for the planner: agents, GitHub and people by dice, a clock that jumps, and a scheduler that may be killed.

It checks with each step that no gate is skipped, that nothing is done or fixed twice, that fixes are bounded, that no
comment is lost, and that nobody reviews own work.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from tinytown import ids
from tinytown.clock import parse, stamp
from tinytown.domain.mission import Mission, MissionState, Policy
from tinytown.domain.pull_request import Check, Comment, Failure, Issue, Look, PullRequest
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.missions import verdicts, watching
from tinytown.missions.decide import FRESH_S, decide
from tinytown.missions.decisions import Decision
from tinytown.missions.snapshot import MissionView, Snapshot, Worker

START = datetime(2026, 1, 1, tzinfo=UTC)
ROLES = (None, None, None, "backend", "tester", "reviewer", "designer")


@dataclass
class Pull:
    """A pull request of the world."""

    url: str
    head: int = 0
    build: str = "pending"  # pending, failure, success, none
    run: int = 0
    is_open: bool = True
    is_merged: bool = False
    mergeable: bool | None = None
    reviews: list[Comment] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    is_protected: bool = False  # GitHub lets nobody but a person merge it
    approved_head: int | None = None  # that a reviewer of the town has approved

    @property
    def sha(self) -> str:
        """Of its head: no two requests have the same."""
        return f"sha{self.url.rpartition('/')[2]}.{self.head}"

    def seen(self) -> PullRequest:
        checks = () if self.build == "none" else (Check(f"{self.sha}.{self.run}", "build", self.build, log="boom"),)
        return PullRequest(
            self.url, self.sha, self.is_open, self.is_merged, author="bot", mergeable=self.mergeable,
            checks=checks, reviews=tuple(self.reviews), comments=tuple(self.comments),
        )  # fmt: skip


@dataclass(frozen=True)
class Said(Comment):
    """A comment, and when it could be seen: later than it was written, if a review held it back."""

    shown: str = ""


class World:
    """`step` lets something happen and the scheduler look; `violations` is what must stay empty."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311  no secret
        self.now = START
        self.missions: dict[str, MissionView] = {}
        self.tasks: dict[str, Task] = {}
        self.agents: dict[str, Worker] = {}
        self.pulls: dict[str, Pull] = {}
        self.outside: dict[str, bool] = {}
        self.queues: dict[str, list[str]] = {}
        self.log: list[str] = []
        self.violations: list[str] = []
        self.given: Counter[tuple[str, Job]] = Counter()
        self.merged_by_town: set[str] = set()
        self.told: dict[str, set[str]] = {}  # pull request -> comments that a fix was given for
        self.fixes: dict[str, list[str]] = {}  # item -> keys of fixes handed in since a person looked
        self.rounds: Counter[str] = Counter()
        self.in_flight: dict[str, tuple[str, PullRequest | Issue | Failure]] = {}  # asked (when), and not answered
        self.seen: dict[str, tuple[str, PullRequest]] = {}  # the newest look that was answered, and when it was asked
        self.is_calm = False  # GitHub answers
        self.shares_folder = self.dice.random() < 0.5
        for number in range(self.dice.randint(1, 5)):
            self.spawn(self.dice.choice(ROLES), number)
        for number in range(self.dice.randint(1, 3)):
            self.add_mission(number)

    # Making

    def spawn(self, role: str | None, number: int) -> None:
        agent = Worker(ids.derived_id("agent", str(len(self.agents))), f"{role or 'agent'}-{number}", role)
        self.agents[agent.id] = agent
        self.queues[agent.id] = []

    def add_mission(self, number: int) -> None:
        dice, at = self.dice, stamp(self.now)
        policy = Policy(
            max_parallel_items=dice.randint(1, 4), reviewer_required=dice.random() < 0.6,
            auto_merge=dice.random() < 0.5, max_rounds=dice.randint(1, 4), no_checks=dice.choice(("pass", "wait")),
        )  # fmt: skip
        run = Mission(
            id=ids.derived_id("mission", str(number)), objectives=["o/r#1"], created_at=at, updated_at=at,
            state=MissionState.RUNNING, policy=policy,
        )  # fmt: skip
        view = MissionView(run)
        made: list[WorkItem] = []
        for n in range(1, dice.randint(1, 12) + 1):
            outside = [f"o/r#{900 + dice.randint(0, 3)}"] if dice.random() < 0.1 else []
            self.outside.update(dict.fromkeys(outside, True))
            item = WorkItem(
                id=ids.derived_id(run.id, str(n)), mission_id=run.id, number=n, title=f"item {n}",
                source_ref=f"o/r#{n}", created_at=at, updated_at=at, outside=outside,
                depends_on=[other.id for other in made if dice.random() < 0.2],
                owner_role=dice.choice((None, None, None, "backend", "tester")),
                is_role_strict=dice.random() < 0.3, priority=dice.choice((0, 0, 0, 5)),
                verify=["pytest -q"] if dice.random() < 0.3 else [],
            )  # fmt: skip
            made.append(item)
            view.items[item.id] = item
        self.missions[run.id] = view

    # The scheduler

    def snapshot(self) -> Snapshot:
        views = [replace(v, items=dict(v.items), watches=dict(v.watches)) for v in self.missions.values()]
        workers = [self._worker(agent) for agent in self.agents.values()]
        named = {item.task_id for view in views for item in view.items.values()}
        tasks = {i: task for i, task in self.tasks.items() if i in named}
        active = [view for view in views if view.run.is_active]
        return Snapshot(active, tasks, workers, shares_folder=self.shares_folder)

    def _worker(self, agent: Worker) -> Worker:
        queue = [t for t in self.queues[agent.id] if not self.tasks[t].state.is_terminal]
        return replace(agent, load=len(queue), is_free=agent.takes_work and not agent.is_ended and not queue)

    def tick(self, *, deadly: bool = True) -> None:
        """As the actor: decide and apply until nothing is left; `deadly`: it may be killed between two steps."""
        for ref in list(self.in_flight):
            self._learn(ref, *self.in_flight.pop(ref))
        for _ in range(200):
            snapshot = self.snapshot()
            plan = decide(snapshot, self.now)
            if self.dice.random() < 0.1:
                assert decide(self.snapshot(), self.now) == plan, "the same snapshot, another plan"
            looks = [look for look in plan.looks if look.ref not in self.in_flight]
            if not plan.decisions and not looks:
                return
            for decision in plan.decisions:
                if deadly and self.dice.random() < 0.02:
                    return  # killed: what was not done is decided again
                self.apply(decision)
            for look in looks:
                self._look(look, is_slow=deadly and self.dice.random() < 0.2)
        self.violations.append(f"no end of decisions: {self.log[-3:]}")

    def apply(self, decision: Decision) -> None:
        view = self.missions[decision.mission_id]
        self.log.append(f"{(self.now - START).total_seconds():.0f} {decision.event} {decision.text}")
        if decision.cancel in self.tasks and not self.tasks[decision.cancel].state.is_terminal:
            self.end_task(decision.cancel, TaskState.CANCELLED, "taken back")
        if decision.item is not None:
            self._check(view, view.items[decision.item.id], decision.item, decision)
            view.items[decision.item.id] = decision.item
        view.watches.update({watch.id: watch for watch in decision.watches})
        if decision.mission is not None:
            view.run = decision.mission
        if decision.task is not None:
            new = decision.task
            if new.id in self.tasks:
                self.violations.append(f"task given twice: {decision.text}")
            at = stamp(self.now)
            state = TaskState.ASSIGNED
            self.tasks[new.id] = Task(
                id=new.id, description=new.description, created_at=at, updated_at=at, state=state,
                assigned_to=new.agent_id,
            )  # fmt: skip
            self.queues[new.agent_id].append(new.id)
        if decision.merge is not None:
            self._merge(view, decision)

    def _check(self, view: MissionView, old: WorkItem, new: WorkItem, decision: Decision) -> None:
        if decision.task is not None:
            self._check_given(view, old, decision)
            if decision.task.job is Job.FIX:
                self._check_fix(view, new, decision.task.description)
        if new.rounds > old.rounds:
            self.fixes.setdefault(new.id, []).extend(old.fix_keys)
            self.rounds[new.id] += 1
        if new.status is WorkStatus.DONE:
            self._check_done(view, old, new)

    def _check_given(self, view: MissionView, old: WorkItem, decision: Decision) -> None:
        assert decision.task is not None
        agent, job = self.agents[decision.task.agent_id], decision.task.job
        if old.task_id is not None and not self.tasks[old.task_id].state.is_terminal:
            self.violations.append(f"a second open task: {decision.text}")
        if agent.is_ended:
            self.violations.append(f"given to one that has ended: {decision.text}")
        if job is Job.REVIEW and (agent.id == old.author or agent.name in old.authors):
            self.violations.append(f"reviews own work: {decision.text}")
        if job is Job.WORK:
            busy = [i for i in view.items.values() if i.status.has_task and i.job is not Job.REVIEW]
            if len(busy) >= view.run.policy.max_parallel_items:
                self.violations.append(f"too many at once: {decision.text}")
            if any(view.items[i].status is not WorkStatus.DONE for i in old.depends_on):
                self.violations.append(f"before what it depends on: {decision.text}")
            if any(self.outside[ref] for ref in old.outside):
                self.violations.append(f"before what it depends on outside: {decision.text}")
            if agent.role == "reviewer":
                self.violations.append(f"work for a reviewer: {decision.text}")

    def _check_fix(self, view: MissionView, new: WorkItem, description: str) -> None:
        """Not for what a fix was handed in for since a person looked, and only so many."""
        again = set(new.fix_keys) & set(self.fixes.get(new.id, ()))
        if again:
            self.violations.append(f"fixed twice: {new.source_ref} {again}")
        if self.rounds[new.id] >= view.run.policy.max_rounds:
            self.violations.append(f"fixed more often than {view.run.policy.max_rounds} times: {new.source_ref}")
        for url in new.artifact_refs:
            told = (c.id for c in self.pulls[url].comments if c.body in description)
            self.told.setdefault(f"{new.id} {url}", set()).update(told)

    def _check_done(self, view: MissionView, old: WorkItem, new: WorkItem) -> None:
        policy, pulls = view.run.policy, [self.pulls[url] for url in old.artifact_refs]
        if old.status.is_terminal:
            self.violations.append(f"done twice: {old.source_ref}")
        for other in view.items.values():
            if other.id in old.depends_on and set(other.artifact_refs) & set(old.artifact_refs):
                self.violations.append(f"done by the pull request of another: {old.source_ref}")
        closed = {
            w.target_ref for w in view.watches.values() if w.work_item_id == old.id and w.state == watching.CLOSED
        }
        open_pulls = [pull for pull in pulls if pull.is_open and pull.url not in closed]  # it may be open again
        if open_pulls or (pulls and not any(pull.is_merged for pull in pulls)):
            self.violations.append(f"done, and not merged: {old.source_ref}")
        if pulls:
            return  # merged: by a human, or by the town, which is checked there
        if old.verify and not new.is_verified:
            self.violations.append(f"done unverified: {old.source_ref}")
        if policy.reviewer_required and not old.reviewer_approved:
            self.violations.append(f"done without approval: {old.source_ref}")

    def _merge(self, view: MissionView, decision: Decision) -> None:
        assert decision.merge is not None
        pull, item = self.pulls[decision.merge.url], view.items[next(iter(decision.watches)).work_item_id]
        watch = decision.watches[0]
        if not view.run.policy.auto_merge:
            self.violations.append(f"merged without being told to: {decision.text}")
        is_other = pull.sha != decision.merge.head
        if (self.now - parse(watch.last_check_at or "")).total_seconds() > FRESH_S:
            self.violations.append(f"merged by an old look: {decision.text}")
        if not pull.is_open or is_other or pull.mergeable is False or pull.is_protected:
            refused = Failure(pull.url, "the head has moved" if is_other else "a review is missing")
            view.watches[watch.id] = watching.merge_refused(refused, watch, self.now)
            return
        head = pull.sha
        looked, answer = self.seen[pull.url]
        by_person = any(review.state == "approved" and review.commit == head for review in answer.reviews)
        approved = by_person or (item.reviewer_approved and pull.approved_head == pull.head)
        if view.run.policy.reviewer_required and not approved:
            self.violations.append(f"merged without approval of this head: {decision.text}")
        told = self.told.get(f"{item.id} {pull.url}", set())
        if lost := [c.id for c in pull.comments if c.shown < looked and c.id not in told]:  # type: ignore[attr-defined]
            self.violations.append(f"merged, and comments were lost: {lost} {decision.text}")
        if item.verify and not item.is_verified:
            self.violations.append(f"merged unverified: {decision.text}")
        pull.is_open, pull.is_merged = False, True
        self.merged_by_town.add(pull.url)
        self._look(Look(pull.url))

    def _look(self, look: Look, *, is_slow: bool = False) -> None:
        answer: PullRequest | Issue | Failure
        chance = 1.0 if self.is_calm else self.dice.random()
        if chance < 0.1:
            answer = Failure(look.ref, "503", retry_after_s=self.dice.choice((None, 600.0)))
        elif look.ref in self.pulls:
            answer = self.pulls[look.ref].seen()
        elif chance < 0.2:
            answer = Failure(look.ref, "no access", is_final=True)
        else:
            answer = Issue(look.ref, "t", "b", "u", self.outside[look.ref])
        if is_slow:
            self.in_flight[look.ref] = (stamp(self.now), answer)
        else:
            self._learn(look.ref, stamp(self.now), answer)

    def _learn(self, ref: str, asked_at: str, answer: PullRequest | Issue | Failure) -> None:
        if isinstance(answer, PullRequest):
            self.seen[ref] = (asked_at, answer)
        for view in self.missions.values():
            for item in view.items.values():
                watches = [w for w in view.watches.values() if (w.target_ref, w.work_item_id) == (ref, item.id)]
                for watch in watching.learn(answer, watches, item, view.run.policy, self.now, lambda: 0.0):
                    view.watches[watch.id] = watch

    # The world

    def end_task(self, task_id: str, state: TaskState, result: str) -> None:
        self.tasks[task_id] = replace(self.tasks[task_id], state=state, result=result)

    def happen(self, *, kind: bool = False) -> None:
        """Something. `kind`: nothing that needs a person, and people help."""
        dice = self.dice
        for agent in list(self.agents.values()):
            if not agent.is_ended and dice.random() < 0.7:
                self._work(agent, kind=kind)
        for pull in self.pulls.values():
            if pull.is_open and dice.random() < 0.5:
                self._on_github(pull, kind=kind)
            elif not pull.is_open and not pull.is_merged and dice.random() < 0.1:
                pull.is_open = True
        for ref in self.outside:
            if dice.random() < (0.5 if kind else 0.1):
                self.outside[ref] = False
        if not kind and dice.random() < 0.05:
            self._agents_change()
        if kind or dice.random() < 0.1:
            self._person(kind=kind)

    def _work(self, agent: Worker, *, kind: bool) -> None:
        queue = [t for t in self.queues[agent.id] if not self.tasks[t].state.is_terminal]
        if not queue or not agent.takes_work:
            return
        task = self.tasks[queue[0]]
        if task.state is TaskState.ASSIGNED:
            self.tasks[task.id] = replace(task, state=TaskState.RUNNING)
            return
        found = [
            (view, item) for view in self.missions.values() for item in view.items.values() if item.task_id == task.id
        ]
        if not found:
            self.end_task(task.id, TaskState.COMPLETED, "nobody waits for it")
            return
        view, item = found[0]
        bad = 0.05 if kind else 0.3
        if self.dice.random() < bad / 4:
            self.end_task(task.id, TaskState.FAILED, "crashed three times")
        elif item.job is Job.VERIFY:
            ok = self.dice.random() > bad
            told = '{"ok": %s, "command": "pytest -q", "exit": 1, "output": "E"}' % ("true" if ok else "false")
            self.end_task(task.id, TaskState.COMPLETED, told)
        elif item.job is Job.REVIEW:
            self._review(view, item, agent, bad)
            self.end_task(task.id, TaskState.COMPLETED, "looks good to me, approved")
        else:
            self.end_task(task.id, TaskState.COMPLETED, self._hand_in(item))

    def _review(self, view: MissionView, item: WorkItem, agent: Worker, bad: float) -> None:
        at = stamp(self.now)
        if self.dice.random() < bad:
            view.items[item.id] = verdicts.rejected(item, "no tests", at)
        elif self.dice.random() < 0.8:
            view.items[item.id] = verdicts.approved(item, agent.name, at)
            for pull in (self.pulls[url] for url in item.artifact_refs):
                pull.approved_head = pull.head

    def _hand_in(self, item: WorkItem) -> str:
        if item.artifact_refs:
            pull = self.pulls[item.artifact_refs[-1]]
            if pull.is_open and self.dice.random() < 0.9:
                pull.head, pull.run, pull.build, pull.mergeable = pull.head + 1, pull.run + 1, "pending", None
            return "fixed"
        before = [url for i in self.missions[item.mission_id].items.values() if i.id in item.depends_on
                  for url in i.artifact_refs]  # fmt: skip
        more = f"it builds on {before[0]}; " if before and self.dice.random() < 0.3 else ""
        if self.dice.random() < 0.6:
            urls = [
                f"https://github.com/o/r/pull/{len(self.pulls) + 100 + n}" for n in range(self.dice.choice((1, 1, 2)))
            ]
            for url in urls:
                build = self.dice.choice(("pending", "pending", "none"))
                self.pulls[url] = Pull(url, build=build, is_protected=self.dice.random() < 0.2)
            return f"{more}done, see {' and '.join(urls)}."
        if more:
            return more
        return "done; no need for a pull request, unlike https://github.com/o/r/issues/3"

    def _on_github(self, pull: Pull, *, kind: bool) -> None:
        dice, at = self.dice, stamp(self.now)
        if pull.build == "pending":
            pull.build = "failure" if dice.random() < (0.1 if kind else 0.4) else "success"
        elif pull.build == "failure" and dice.random() < 0.2:  # flaky: somebody started it again
            pull.build, pull.run = "pending", pull.run + 1
        elif pull.build == "none" and kind:
            pull.build = "success"
        pull.mergeable = dice.random() > (0.02 if kind else 0.2) if dice.random() < 0.8 else None
        if not kind and dice.random() < 0.1:
            bot = dice.random() < 0.5
            name, number = "bugbot[bot]" if bot else "ann", f"{pull.sha}-{len(pull.comments)}"
            written = stamp(self.now - timedelta(seconds=dice.choice((0, 0, 900))))  # in a review sent only now
            text = f"<{number}>" + "x" * dice.choice((10, 1400))
            pull.comments.append(Said(number, name, text, "u", written, is_bot=bot, path="a", line=1, shown=at))
        if dice.random() < 0.03:  # somebody pushes, and nothing is handed in
            pull.head, pull.run, pull.build, pull.mergeable = pull.head + 1, pull.run + 1, "pending", None
        if not kind and dice.random() < 0.05:
            pull.reviews = [Comment("r", "ann", "no", "u", at, state="changes_requested")]
        elif pull.reviews and dice.random() < 0.5:
            pull.reviews = [Comment("s", "ann", "yes", "u", at, state="approved", commit=pull.sha)]
        if dice.random() < (0.2 if kind else 0.03):
            pull.is_open, pull.is_merged = False, kind or dice.random() < 0.5

    def _agents_change(self) -> None:
        agent = self.dice.choice(list(self.agents.values()))
        change = self.dice.random()
        if change < 0.4:
            self.agents[agent.id] = replace(agent, is_ended=True, takes_work=False)
            for task_id in self.queues[agent.id]:
                if self.tasks[task_id].state is TaskState.RUNNING:  # its actor is gone, and the work is put back
                    self.tasks[task_id] = replace(self.tasks[task_id], state=TaskState.ASSIGNED)
        elif change < 0.7:
            self.agents[agent.id] = replace(agent, takes_work=not agent.takes_work and not agent.is_ended)
        elif change < 0.9:
            self.agents[agent.id] = replace(agent, is_ended=False, takes_work=True)
        else:
            self.spawn(self.dice.choice(ROLES), len(self.agents))
        for view in self.missions.values():
            if not view.run.state.is_terminal and self.dice.random() < 0.1:
                self._stop_or_resume(view)
        if self.tasks and self.dice.random() < 0.3:
            self._meddle(self.dice.choice(list(self.tasks.values())))

    def _stop_or_resume(self, view: MissionView) -> None:
        """As the commands: tasks that nobody has begun are taken back."""
        at = stamp(self.now)
        if view.run.stopped_at is not None:
            view.run = view.run.having(
                at, state=MissionState.RUNNING, stopped_at=None, blocked_reason=None, remedy=None
            )
            return
        view.run = view.run.having(
            at, state=MissionState.BLOCKED, stopped_at=at, blocked_reason="stopped", remedy="resume"
        )
        for item in view.items.values():
            task = self.tasks.get(item.task_id or "")
            if task is not None and task.state is TaskState.ASSIGNED:
                self.end_task(task.id, TaskState.CANCELLED, "stopped")
                status = WorkStatus.BLOCKED if item.is_submitted else WorkStatus.READY
                view.items[item.id] = item.having(
                    at, status=status, job=None, task_id=None, assigned_to=None, fix_keys=[]
                )

    def _meddle(self, task: Task) -> None:
        """Somebody moves a task that nobody has begun to another agent, cancels one, or throws one away."""
        change = self.dice.random()
        if task.state is TaskState.ASSIGNED and change < 0.5:
            other = self.dice.choice(list(self.agents.values()))
            self.queues[task.assigned_to or ""].remove(task.id)
            self.queues[other.id].append(task.id)
            self.tasks[task.id] = replace(task, assigned_to=other.id)
        elif task.state is TaskState.ASSIGNED and change < 0.8:
            self.end_task(task.id, TaskState.CANCELLED, "not now")
        elif not task.state.is_terminal and task.assigned_to is not None:
            self.queues[task.assigned_to].remove(task.id)
            del self.tasks[task.id]

    def _person(self, *, kind: bool) -> None:
        """Somebody reads what the town asks for, and does it."""
        if kind:
            for agent in list(self.agents.values()):
                self.agents[agent.id] = replace(agent, is_ended=False, takes_work=True)
            names = {agent.role for agent in self.agents.values()}
            for role in (role for role in (None, "backend", "tester", "reviewer") if role not in names):
                self.spawn(role, len(self.agents))
        self._decide_for_people(kind=kind)

    def _decide_for_people(self, *, kind: bool) -> None:
        at = stamp(self.now)
        for view in self.missions.values():
            if kind and view.run.stopped_at is not None:
                self._stop_or_resume(view)
            for item in list(view.items.values()):
                if item.needs_person and self.dice.random() < 0.5:
                    self.fixes.pop(item.id, None)
                    self.rounds[item.id] = 0
                    closed = self._is_closed(view, item)
                    view.items[item.id] = verdicts.retried(item, at, is_closed=closed)
                elif kind and any(view.items[i].status is WorkStatus.CANCELLED for i in item.depends_on):
                    if not item.status.is_terminal:
                        view.items[item.id] = verdicts.cancelled(item, at)
                elif item.needs_person and item.is_submitted and item.job is None and self.dice.random() < 0.1:
                    view.items[item.id] = verdicts.cancelled(item, at)

    @staticmethod
    def _is_closed(view: MissionView, item: WorkItem) -> bool:
        """As the command knows it: what the watches ended with."""
        ends = {
            w.target_ref: w.state for w in view.watches.values() if w.work_item_id == item.id and w.status == "done"
        }
        states = [ends.get(url) for url in item.artifact_refs]
        return watching.UNREADABLE in states or (bool(states) and set(states) == {watching.CLOSED})

    def restless(self) -> list[str]:
        """What is written although nothing happens: everything was decided, and GitHub tells the same."""
        self.is_calm = True
        self.tick(deadly=False)
        before = 0
        for _ in range(12):
            self.now += timedelta(seconds=400)
            before = len(self.log)
            self.tick(deadly=False)
        self.is_calm = False
        return [line for line in self.log[before:] if "asks for help" not in line and "merg" not in line]

    def pass_time(self) -> None:
        self.now += timedelta(seconds=self.dice.choice((1, 5, 30, 200)))

    # At rest

    def stuck(self) -> list[str]:
        """Missions that neither ended, nor are worked on, nor say what they wait for."""
        found = []
        for view in self.missions.values():
            run = view.run
            if run.state.is_terminal:
                continue
            busy = any(item.status.has_task and self._begins(item) for item in view.items.values())
            found += [
                f"{item.source_ref} lies at an agent that rests, and does not say so"
                for item in view.items.values()
                if item.status.has_task and not self._begins(item) and item.reason is None and run.is_active
            ]
            due = [w for w in view.watches.values() if w.status != "done"]
            if not busy and run.blocked_reason is None:
                found.append(f"mission {run.id} says nothing")
            if not busy and not due and run.remedy is None and "agent" not in (run.blocked_reason or ""):
                found.append(f"mission {run.id} waits for nothing: {run.blocked_reason}")
        return found

    def _begins(self, item: WorkItem) -> bool:
        task = self.tasks.get(item.task_id or "")
        return task is None or task.state is not TaskState.ASSIGNED or self.agents[task.assigned_to or ""].takes_work

    @property
    def is_over(self) -> bool:
        return all(view.run.state.is_terminal for view in self.missions.values())
