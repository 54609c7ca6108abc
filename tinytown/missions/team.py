"""The agents while tasks are shared out: who fits, who is free, who has had least."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinytown import ids
from tinytown.domain.work import Job, WorkItem
from tinytown.missions import matching, texts
from tinytown.missions.snapshot import Snapshot, Worker


@dataclass(frozen=True, slots=True)
class Choice:
    """The agent for a task; None: nobody now. `reason` and `remedy` say why when it is not just a matter of time."""

    agent: Worker | None
    reason: str | None = None
    remedy: str | None = None


LATER = Choice(None)


class Team:
    """Counts down the free agents as tasks are given."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._all = sorted(snapshot.agents, key=lambda worker: worker.name)
        self._by_id = {worker.id: worker for worker in self._all}
        self._by_name = {worker.name: worker for worker in self._all if not worker.is_ended}
        self._free = {worker.id for worker in self._all if worker.is_free}
        self._shares_folder = snapshot.shares_folder
        self._fitting: dict[tuple[str | None, str, bool], list[tuple[int, Worker]]] = {}
        self._given: Counter[str] = Counter()
        self._engaged: set[str] = set()  # have a task of a mission already
        for view in snapshot.missions:
            self._given.update(item.author for item in view.items.values() if item.author is not None)
            for item in view.items.values():
                if item.status.has_task and (task := snapshot.tasks.get(item.task_id or "")) is not None:
                    self._engaged.add(task.assigned_to or "")

    def has_ended(self, agent_id: str) -> bool:
        """No process stands behind it, nor will one: it is gone, stopped or given up."""
        worker = self._by_id.get(agent_id)
        return worker is None or worker.is_ended

    def name_of(self, agent_id: str | None) -> str:
        """Its name, or what is known of it."""
        worker = self._by_id.get(agent_id or "")
        return worker.name if worker is not None else ids.short(agent_id or "nobody")

    def rests(self, agent_id: str | None) -> Choice:
        """LATER, or with a reason: a task that lies at this agent is not begun until somebody does something."""
        worker = self._by_id.get(agent_id or "")
        if worker is None or worker.takes_work:
            return LATER
        if worker.is_leaving:
            return Choice(None, f"{worker.name} is about to end")
        return Choice(None, f"{worker.name} takes no work now", _wake(worker))

    def choose(self, item: WorkItem, job: Job, *, has_slot: bool) -> Choice:
        """The best agent that is free, who is then taken. Fixes and verifications go to the author, free or not.

        When none is free, the task may lie behind work that is not a mission's: a busy town holds up no mission.
        """
        if job is Job.WORK and not has_slot:
            return LATER
        if job in {Job.FIX, Job.VERIFY} and (author := self._author(item)) is not None:
            return self._take(author)
        if job is Job.VERIFY and not self._shares_folder:
            name = texts.some(item.authors[-1:]) or "gone"
            return Choice(None, f"its author ({name}) has ended, in whose worktree it lies", f"tt restart {name}")
        fitting = self._fits(item, job)
        if best := self._best(fitting):
            return self._take(best)
        if any(worker.takes_work for _score, worker in fitting):
            return LATER
        return self._nobody(item, job, [worker for _score, worker in fitting])

    def _best(self, fitting: Sequence[tuple[int, Worker]]) -> Worker | None:
        """Of the free ones who fits best and has had least, else who has least to do before it."""
        free = [row for row in fitting if row[1].id in self._free]
        if free:
            return max(free, key=lambda row: (row[0], -self._given[row[1].id], -row[1].load))[1]
        busy = [row for row in fitting if row[1].takes_work and row[1].id not in self._engaged]
        return max(busy, key=lambda row: (-row[1].load, row[0], -self._given[row[1].id]))[1] if busy else None

    def _take(self, chosen: Worker) -> Choice:
        self._free.discard(chosen.id)
        self._engaged.add(chosen.id)
        self._given[chosen.id] += 1
        return Choice(chosen)

    def _author(self, item: WorkItem) -> Worker | None:
        """Who handed it in last; an agent that took over the name is as good."""
        worker = self._by_id.get(item.author or "")
        if worker is None or worker.is_ended:
            worker = self._by_name.get(item.authors[-1]) if item.authors else None
        return worker

    def _fits(self, item: WorkItem, job: Job) -> list[tuple[int, Worker]]:
        if job in {Job.REVIEW, Job.VERIFY}:
            scores = ((matching.fit(worker, item, job), worker) for worker in self._living())
            return [(score, worker) for score, worker in scores if score > matching.UNFIT]
        key = (item.owner_role, item.kind.value, item.is_role_strict)
        if key not in self._fitting:
            scores = ((matching.fit(worker, item, Job.WORK), worker) for worker in self._living())
            self._fitting[key] = [(score, worker) for score, worker in scores if score > matching.UNFIT]
        return self._fitting[key]

    def _living(self) -> Iterable[Worker]:
        return (worker for worker in self._all if not worker.is_ended)

    def _nobody(self, item: WorkItem, job: Job, fitting: list[Worker]) -> Choice:
        if resting := [worker for worker in fitting if not worker.is_leaving]:
            return Choice(None, _but(resting, "takes no work now", "take no work now"), _wake(resting[0]))
        if fitting:
            return Choice(None, _but(fitting, "is about to end", "are about to end"))
        return self._after_their_end(item, job) or self._none_known(item, job)

    def _after_their_end(self, item: WorkItem, job: Job) -> Choice | None:
        """Agents that would fit had they not ended: one of them can be started again."""
        kind = Job.REVIEW if job is Job.REVIEW else Job.WORK
        scores = [(matching.fit(worker, item, kind), worker) for worker in self._all if worker.is_ended]
        best = max((score for score, _worker in scores), default=matching.UNFIT)
        if best == matching.UNFIT:
            return None
        ended = [worker for score, worker in scores if score == best]
        return Choice(None, _but(ended, "has ended", "have ended"), f"tt restart {ended[0].name}")

    def _none_known(self, item: WorkItem, job: Job) -> Choice:
        if job is Job.REVIEW:
            remedy = f"tt spawn reviewer --role reviewer (or decide yourself: tt mission approve {ids.short(item.id)})"
            return Choice(None, "no agent may review it: its author does not", remedy)
        role = matching.wanted(item)
        if not any(True for _ in self._living()):
            return Choice(None, "no agent runs", f"tt spawn {role or 'worker'}")
        if role:
            return Choice(None, f"no agent has the role '{role}'", f"tt spawn {role} --role {role}")
        return Choice(None, "no agent takes such work", "tt spawn worker")


def _but(workers: Sequence[Worker], one: str, several: str) -> str:
    return f"{texts.some(w.name for w in workers)} would fit, but {one if len(workers) == 1 else several}"


def _wake(worker: Worker) -> str:
    return f"tt resume {worker.name} (why it rests: tt why {worker.name})"
