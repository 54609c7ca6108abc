"""A world for the planner: agents, GitHub and people by dice, a clock that jumps, and a scheduler that may be killed.

It checks with each step that no gate is skipped, that nothing is done twice, and that nobody reviews own work.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from tinytown import ids
from tinytown.clock import stamp
from tinytown.domain.mission import Mission, MissionState, Policy
from tinytown.domain.pull_request import Check, Comment, Failure, Issue, PullRequest
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.missions import verdicts, watching
from tinytown.missions.decide import decide
from tinytown.missions.decisions import Decision, Look
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

    def seen(self) -> PullRequest:
        checks = () if self.build == "none" else (Check(f"{self.run}", "build", self.build, log="boom"),)
        return PullRequest(
            self.url, f"sha{self.head}", self.is_open, self.is_merged, author="bot", mergeable=self.mergeable,
            checks=checks, reviews=tuple(self.reviews), comments=tuple(self.comments),
        )  # fmt: skip


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
        for number in range(self.dice.randint(1, 5)):
            self.spawn(self.dice.choice(ROLES), number)
        for number in range(self.dice.randint(1, 3)):
            self.add_mission(number)

    # Making

    def spawn(self, role: str | None, number: int) -> None:
        agent = Worker(ids.new_id(), f"{role or 'agent'}-{number}", role)
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
        return Snapshot([view for view in views if view.run.is_active], dict(self.tasks), workers)

    def _worker(self, agent: Worker) -> Worker:
        queue = [t for t in self.queues[agent.id] if not self.tasks[t].state.is_terminal]
        return replace(agent, load=len(queue), is_free=agent.takes_work and not agent.is_ended and not queue)

    def tick(self, *, deadly: bool = True) -> None:
        """As the actor: decide and apply until nothing is left; `deadly`: it may be killed between two steps."""
        for _ in range(200):
            snapshot = self.snapshot()
            plan = decide(snapshot, self.now)
            if self.dice.random() < 0.1:
                assert decide(self.snapshot(), self.now) == plan, "the same snapshot, another plan"
            if not plan.decisions and not plan.looks:
                return
            for decision in plan.decisions:
                if deadly and self.dice.random() < 0.02:
                    return  # killed: what was not done is decided again
                self.apply(decision)
            for look in plan.looks:
                self._look(look)
        self.violations.append(f"no end of decisions: {self.log[-3:]}")

    def apply(self, decision: Decision) -> None:
        view = self.missions[decision.mission_id]
        self.log.append(f"{(self.now - START).total_seconds():.0f} {decision.event} {decision.text}")
        if decision.cancel is not None and not self.tasks[decision.cancel].state.is_terminal:
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
        if new.status is WorkStatus.DONE:
            self._check_done(view, old)

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

    def _check_done(self, view: MissionView, old: WorkItem) -> None:
        policy, pulls = view.run.policy, [self.pulls[url] for url in old.artifact_refs]
        if old.status.is_terminal:
            self.violations.append(f"done twice: {old.source_ref}")
        open_pulls = [pull for pull in pulls if pull.is_open]
        if open_pulls or (pulls and not any(pull.is_merged for pull in pulls)):
            self.violations.append(f"done, and not merged: {old.source_ref}")
        if pulls:
            return  # merged: by a human, or by the town, which is checked there
        if old.verify and not old.is_verified:
            self.violations.append(f"done unverified: {old.source_ref}")
        if policy.reviewer_required and not old.reviewer_approved:
            self.violations.append(f"done without approval: {old.source_ref}")

    def _merge(self, view: MissionView, decision: Decision) -> None:
        assert decision.merge is not None
        pull, item = self.pulls[decision.merge.url], view.items[next(iter(decision.watches)).work_item_id]
        watch = decision.watches[0]
        if not view.run.policy.auto_merge:
            self.violations.append(f"merged without being told to: {decision.text}")
        if not pull.is_open or f"sha{pull.head}" != decision.merge.head or pull.mergeable is False:
            answer = Failure(pull.url, "the head has moved")
            view.watches[watch.id] = watching.merge_refused(answer, watch, self.now)
            return
        approved = item.reviewer_approved or any(review.state == "approved" for review in pull.reviews)
        if view.run.policy.reviewer_required and not approved:
            self.violations.append(f"merged without approval: {decision.text}")
        if item.verify and not item.is_verified:
            self.violations.append(f"merged unverified: {decision.text}")
        pull.is_open, pull.is_merged = False, True
        self.merged_by_town.add(pull.url)
        self._look(Look(pull.url))

    def _look(self, look: Look) -> None:
        for view in self.missions.values():
            watches = [w for w in view.watches.values() if w.target_ref == look.ref]
            if not watches:
                continue
            item = view.items.get(watches[0].work_item_id)
            answer: PullRequest | Issue | Failure
            if self.dice.random() < 0.1:
                answer = Failure(look.ref, "503", retry_after_s=self.dice.choice((None, 600.0)))
            elif look.ref in self.pulls:
                answer = self.pulls[look.ref].seen()
            else:
                answer = Issue(look.ref, "t", "b", "u", self.outside[look.ref])
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

    def _hand_in(self, item: WorkItem) -> str:
        if item.artifact_refs:
            pull = self.pulls[item.artifact_refs[-1]]
            if pull.is_open and self.dice.random() < 0.9:
                pull.head, pull.run, pull.build, pull.mergeable = pull.head + 1, pull.run + 1, "pending", None
            return "fixed"
        if self.dice.random() < 0.6:
            url = f"https://github.com/o/r/pull/{len(self.pulls) + 100}"
            self.pulls[url] = Pull(url, build=self.dice.choice(("pending", "pending", "none")))
            return f"done, see {url}."
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
            name = "bugbot[bot]" if bot else "ann"
            pull.comments.append(Comment(f"{len(pull.comments)}", name, "a bug", "u", at, is_bot=bot, path="a", line=1))
        if not kind and dice.random() < 0.05:
            pull.reviews = [Comment("r", "ann", "no", "u", at, state="changes_requested")]
        elif pull.reviews and dice.random() < 0.5:
            pull.reviews = [Comment("s", "ann", "yes", "u", at, state="approved", commit=f"sha{pull.head}")]
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

    def _person(self, *, kind: bool) -> None:
        """Somebody reads what the town asks for, and does it."""
        if kind:
            for agent in list(self.agents.values()):
                self.agents[agent.id] = replace(agent, is_ended=False, takes_work=True)
            names = {agent.role for agent in self.agents.values()}
            for role in {None, "backend", "tester", "reviewer"} - names:
                self.spawn(role, len(self.agents))
        at = stamp(self.now)
        for view in self.missions.values():
            for item in list(view.items.values()):
                if item.needs_person and self.dice.random() < 0.5:
                    pulls = [self.pulls[url] for url in item.artifact_refs]
                    closed = bool(pulls) and not any(p.is_open or p.is_merged for p in pulls)
                    view.items[item.id] = verdicts.retried(item, at, is_closed=closed)
                elif kind and any(view.items[i].status is WorkStatus.CANCELLED for i in item.depends_on):
                    if not item.status.is_terminal:
                        view.items[item.id] = verdicts.cancelled(item, at)
                elif item.needs_person and item.is_submitted and item.job is None and self.dice.random() < 0.1:
                    view.items[item.id] = verdicts.cancelled(item, at)

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
            busy = any(item.status.has_task for item in view.items.values())
            due = [w for w in view.watches.values() if w.status != "done"]
            if not busy and run.blocked_reason is None:
                found.append(f"mission {run.id} says nothing")
            if not busy and not due and run.remedy is None and "agent" not in (run.blocked_reason or ""):
                found.append(f"mission {run.id} waits for nothing: {run.blocked_reason}")
        return found

    @property
    def is_over(self) -> bool:
        return all(view.run.state.is_terminal for view in self.missions.values())
