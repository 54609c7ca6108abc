"""A tick of the scheduler: look, decide, and apply each decision as one step that all of it rests on.

A step is refused when somebody else was quicker, or another process holds the lease; what it was about is read and
decided again. A tick may end anywhere, and another one goes on from what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tinytown import clock, ids
from tinytown.domain.event import task_changed
from tinytown.domain.message import Priority
from tinytown.domain.pull_request import Answer, Failure, Look
from tinytown.domain.states import TaskState
from tinytown.domain.task import ITEM_TAG, JOB_TAG, MISSION_TAG, RUN_TAG, Task
from tinytown.domain.watch import Watch, WatchKind, WatchStatus
from tinytown.domain.work import WorkItem
from tinytown.errors import EpochLost
from tinytown.missions import decide as deciding
from tinytown.missions import watching
from tinytown.missions.decisions import Decision, Merge, NewTask, Plan
from tinytown.missions.snapshot import Snapshot
from tinytown.services import mail
from tinytown.services.missions import lease, steps
from tinytown.services.missions.memory import Known, Memory
from tinytown.store.transaction import Stale, Transaction
from tinytown.town import Town

PASSES = 10  # of look, decide, apply in one tick
Decide = Callable[[Snapshot, datetime], Plan]


@dataclass(slots=True)
class Tick:
    """What is left to do after a tick: questions to GitHub, merges, and when to come back.

    `wake_at` (wall time): something is due then. `again`: at once, not everything is decided.
    """

    looks: Sequence[Look] = ()
    merges: list[Merge] = field(default_factory=list)
    wake_at: datetime | None = None
    again: bool = False


class Ticker:
    """The missions of a town, worked on under this lease.

    Everything it stores expects the lease: EpochLost when somebody else has it.
    """

    def __init__(self, town: Town, held: lease.Lease, decide: Decide = deciding.decide) -> None:
        self.memory = Memory(town)
        self._town = town
        self._lease = held
        self._decide = decide

    def tick(self, carry_on: Callable[[], bool] = lambda: True) -> Tick:
        """Decide and apply until nothing is left to decide; `carry_on` is asked before each step."""
        merges: list[Merge] = []
        plan = Plan()
        for _ in range(PASSES):
            self.memory.refresh()
            plan = self._decide(self.memory.snapshot(), clock.now())
            for decision in plan.decisions:
                if not carry_on():
                    return Tick(merges=merges, again=True)
                if self._attempt(decision) and decision.merge is not None:
                    merges.append(decision.merge)
            if not plan.decisions:
                break
        self.memory.note_waiting()
        return Tick(plan.looks, merges, plan.wake_at, again=bool(plan.decisions))

    def learn(self, look: Look, answer: Answer) -> None:
        """Note what GitHub answered in the watches of the target. A change is an event, a mere look is none.

        It counts for what was handed in before the question; the rest stays due, and is asked for again.
        """
        for _ in range(PASSES):
            self.memory.refresh()
            if all(self._learn(known, look, answer) for known in list(self.memory.missions.values())):
                return

    def merged(self, ref: str, answer: Answer) -> None:
        """Note how a merge went. One that was refused is asked for again a while later, and somebody is told."""
        for _ in range(PASSES):
            self.memory.refresh()
            if all(self._merged(known, ref, answer) for known in list(self.memory.missions.values())):
                return

    # Steps

    def _attempt(self, decision: Decision) -> bool:
        """Apply it; False when somebody was quicker."""
        known = self.memory.missions.get(decision.mission_id)
        if known is None:
            return False
        try:
            self._apply(decision, known)
        except Stale as stale:
            self._refused(stale, known)
            return False
        return True

    def _refused(self, stale: Stale, known: Known) -> None:
        if stale.what == lease.NAME:
            raise EpochLost("The missions' lease is not ours any more.")
        self.memory.doubt_mission(known.view.run.id)

    def _apply(self, decision: Decision, known: Known) -> None:
        """All of the decision in one step, or nothing. Raises Stale, also when what it rests on has changed."""
        tx = self._town.store.transaction()
        self._lease.expect(tx)
        old_run, new_run = known.view.run, decision.mission
        old_item = known.view.items[decision.item.id] if decision.item is not None else None
        raws: list[Callable[[], None]] = []
        if new_run is None:
            steps.expect_mission(tx, known.raw, old_run)
        else:
            raw = steps.save_mission(tx, known.raw, new_run)
            raws.append(lambda: known.put_run(raw, new_run))
        if decision.item is not None and old_item is not None:
            item = decision.item
            self._expect_task(tx, old_item.task_id)
            item_raw = steps.save_item(tx, known.raws[item.id], item)
            raws.append(lambda: known.put_item(item_raw, item))
        task = self._give(tx, known, decision, decision.task) if decision.task is not None else None
        if decision.cancel is not None:
            steps.cancel_task(self._town, tx, decision.cancel, decision.text)
        for question in decision.asks:
            self._ask(tx, question)
        old = old_item.status if old_item is not None else old_run.state
        agent_id = task.assigned_to if task is not None else None
        run = new_run or old_run
        steps.log(tx, decision.event, decision.text, run, decision.item, old=old, agent_id=agent_id)
        self._commit(tx, known, decision.watches)
        for note in raws:
            note()
        if task is not None:
            self.memory.put_task(task)
        if decision.cancel is not None:
            self.memory.doubt_task(decision.cancel)
        if not run.is_active:
            self.memory.drop(run.id)

    def _commit(self, tx: Transaction, known: Known, watches: Sequence[Watch]) -> None:
        """With these watches."""
        raws = [steps.save_watch(tx, known.raws.get(watch.id), watch) for watch in watches]
        self._town.store.commit(tx)
        self.memory.applied(tx)
        for raw, watch in zip(raws, watches, strict=True):
            known.put_watch(raw, watch)

    def _expect_task(self, tx: Transaction, task_id: str | None) -> None:
        """What was decided rests on the item's task as it was read (None: that it is gone)."""
        if task_id is not None and task_id in self.memory.tasks:
            tx.expect(tx.keys.task(task_id), self.memory.tasks[task_id][0], f"task {task_id}")

    def _give(self, tx: Transaction, known: Known, decision: Decision, new: NewTask) -> Task:
        """Record, index, message, bell and event, as long as the agent is what it was taken for."""
        row = self.memory.agents[new.agent_id].row
        tx.expect(tx.keys.agent(row.agent.id), row.raw, f"agent {row.agent.name}")
        tx.expect_field(tx.keys.wanted, row.agent.id, row.wish_raw, f"wish {row.agent.id}")
        at = clock.stamp()
        item_id = decision.item.id if decision.item is not None else ""
        tags = [MISSION_TAG, f"{JOB_TAG}{new.job}", f"{RUN_TAG}{known.view.run.id}", f"{ITEM_TAG}{item_id}"]
        fresh = Task(id=new.id, description=new.description, created_at=at, updated_at=at, tags=tags)
        task = fresh.assigned(row.agent.id, ids.SUPERVISOR_ID, at)
        tx.save_task(None, task)
        tx.event(task_changed("task_assigned", f"assigned to '{row.agent.name}'", task, TaskState.PENDING, at))
        priority = Priority.HIGH if new.is_next else Priority.NORMAL
        lead = mail.compose(ids.SUPERVISOR_ID, row.agent.id, "task_assign", {"task_id": task.id}, priority=priority)
        mail.deliver(self._town, tx, lead)
        return task

    def _ask(self, tx: Transaction, question: str) -> None:
        sender = to = ids.SUPERVISOR_ID
        mail.deliver(self._town, tx, mail.compose(sender, to, "query", {"question": question}))

    # Answers of GitHub

    def _learn(self, known: Known, look: Look, answer: Answer) -> bool:
        """In one mission, item by item; False when somebody was quicker."""
        ref, submissions = look.ref, dict(look.submissions)
        by_item: dict[str, list[Watch]] = {}
        for watch in _watches(known, ref):
            by_item.setdefault(watch.work_item_id, []).append(watch)
        for item_id, watches in by_item.items():
            item = known.view.items.get(item_id)
            if item is not None and submissions.get(item_id, item.submitted_at or "") != (item.submitted_at or ""):
                continue
            learnt = watching.learn(answer, watches, item, known.view.run.policy, clock.now())
            changed = [watch for watch in learnt if watch != known.view.watches[watch.id]]
            news = [watch for watch in changed if _finding(watch) != _finding(known.view.watches[watch.id])]
            said = "; ".join(dict.fromkeys(watch.text or str(watch.state) for watch in news))
            if changed and not self._note(known, item, changed, ("watch_changed", f"{ref}: {said}") if news else None):
                return False
        return True

    def _merged(self, known: Known, ref: str, answer: Answer) -> bool:
        watches = [watch for watch in _watches(known, ref) if watch.status is not WatchStatus.DONE]
        if not watches:
            return True
        item = known.view.items.get(watches[0].work_item_id)
        if isinstance(answer, Failure):
            asked = [watch for watch in watches if watch.kind is WatchKind.MERGEABILITY]
            refused = [watching.merge_refused(answer, watch, clock.now()) for watch in asked]
            return self._note(known, item, refused, ("work_item_not_merged", f"{ref} was not merged: {answer.reason}"))
        return self._note(known, item, [watching.due_soon(watch, clock.now()) for watch in watches], None)

    def _note(
        self, known: Known, item: WorkItem | None, watches: Sequence[Watch], event: tuple[str, str] | None
    ) -> bool:
        """Store these watches of the item; False when somebody was quicker."""
        tx = self._town.store.transaction()
        self._lease.expect(tx)
        if event is not None:
            steps.log(tx, *event, known.view.run, item)
        try:
            self._commit(tx, known, watches)
        except Stale as stale:
            self._refused(stale, known)
            return False
        return True


def _watches(known: Known, ref: str) -> list[Watch]:
    return [watch for watch in known.view.watches.values() if watch.target_ref == ref]


def _finding(watch: Watch) -> tuple[object, ...]:
    """What a look has found, without when."""
    return watch.state, watch.text, watch.key, watch.status
