"""Any order of verbs, from two connections: what must hold holds after each step."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.support import invariants
from tests.support.builders import QUICK
from tests.support.interleaving import visited
from tests.support.redis_server import TestRedis
from tests.support.town import all_tasks, events, fresh_town, mailroom, register, same_town, snapshot, texts
from tests.support.verbs import CHOICES, VERBS, Choice, Operation
from tinytown import ids
from tinytown.actors.mailroom import Look
from tinytown.domain.agent import Agent
from tinytown.domain.message import parse
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import TASK_RESET, TASK_TRANSITIONS, AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, EpochLost, NotFound, TinytownError
from tinytown.services import agents, backlog, messages, reclaiming, recovery, tasks
from tinytown.services.caller import Caller
from tinytown.services.settlement import Round, settle
from tinytown.store.agents import save_wish
from tinytown.store.transaction import Stale
from tinytown.town import Town, change

pytestmark = pytest.mark.slow

USER = Caller()
# Not shrunk: that takes minutes. To look into a failure, run it with all phases.
STEPS = settings(QUICK, max_examples=25, stateful_step_count=25, phases=[Phase.generate])
WHO = st.integers(0, 1)
DOOR = st.integers(0, 1)
NTH = st.integers(0, 5)
DOINGS = st.tuples(st.sampled_from(sorted(VERBS.keys() - {"reset"})), CHOICES)
STORM = settings(STEPS, max_examples=15, stateful_step_count=30)
ENDED = ("task_completed", "task_failed", "task_cancelled")
ACCOUNTED = {"message_acked", "message_dropped", "message_expired"}


class World(RuleBasedStateMachine):
    """Two agents, two doors into one town."""

    server: TestRedis

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="tt-world-"))
        first = fresh_town(self.server, self.folder)
        self.doors: list[Town] = [first, same_town(first)]
        self.agents: list[Agent] = [register(first, name) for name in ("one", "two")]
        self.epochs = [1, 1]
        self.looks: dict[int, tuple[Town, Look]] = {}
        self.history: list[dict[str, Any]] = []
        self.mail: list[tuple[str, str, str]] = []
        self.tasks: dict[str, Task] = {}

    def teardown(self) -> None:
        self.town.store.redis.flushdb()
        for town in self.doors:
            town.store.close()
        shutil.rmtree(self.folder)

    @property
    def town(self) -> Town:
        return self.doors[0]

    def nth_task(self, n: int) -> str | None:
        known = sorted(all_tasks(self.town).values(), key=lambda task: task.created_at)
        return known[n % len(known)].id if known else None

    # Verbs

    @rule(door=DOOR, who=WHO, by=st.sampled_from([None, 0, 1]))
    def assign(self, door: int, who: int, by: int | None) -> None:
        caller = USER if by is None else Caller(self.agents[by].id, "run")
        tasks.assign(self.doors[door], self.agents[who].name, "build it", caller)

    @rule(door=DOOR, who=WHO, kind=st.sampled_from(messages.KINDS), urgent=st.booleans())
    def send(self, door: int, who: int, kind: str, *, urgent: bool) -> None:
        messages.send(self.doors[door], self.agents[who].name, "hello", USER, kind=kind, urgent=urgent)

    @rule(door=DOOR)
    def park(self, door: int) -> None:
        backlog.add(self.doors[door], "someday", [], USER)

    @rule(door=DOOR, who=WHO, n=NTH)
    def take_from_backlog(self, door: int, who: int, n: int) -> None:
        parked = self.town.store.tasks.backlog_ids()
        if parked:
            backlog.claim(self.doors[door], parked[n % len(parked)], self.agents[who].name, USER)

    @rule(door=DOOR, who=WHO)
    def look(self, door: int, who: int) -> None:
        if not texts(self.town, "claimed", self.agents[who].id):
            town = self.doors[door]
            self.looks[who] = (town, mailroom(town, self.agents[who], self.epochs[who]).look("true", {}))

    @rule(who=WHO)
    def claim(self, who: int) -> None:
        """With the look of some steps ago: refused as a whole when anything it saw has changed."""
        if who not in self.looks or not self.looks[who][1].batch.is_actionable:
            return
        town, look = self.looks.pop(who)
        before = snapshot(self.town)
        try:
            mailroom(town, self.agents[who], self.epochs[who]).claim(look)
        except Stale:
            assert snapshot(self.town) == before

    @rule(door=DOOR, who=WHO, kind=st.sampled_from(OutcomeKind))
    def settle(self, door: int, who: int, kind: OutcomeKind) -> None:
        ended = Round(Outcome(kind, "why"), run="the run", number=1)
        settle(self.doors[door], self.agents[who].id, self.epochs[who], ended)
        assert texts(self.town, "claimed", self.agents[who].id) == []

    @rule(door=DOOR, who=WHO)
    def die(self, door: int, who: int) -> None:
        """The next spawn takes the agent, and takes back what the dead one held."""
        town, agent = self.doors[door], self.agents[who]
        row = town.store.agents.row(agent.id)
        assert row is not None
        assert row.wish is not None
        wish, raw = row.wish, row.wish_raw
        self.epochs[who] += 1
        change(town.store, lambda tx: save_wish(tx, agent.id, raw, wish.having(epoch=self.epochs[who])))
        before = snapshot(self.town)
        for late in (lambda: settle(town, agent.id, self.epochs[who] - 1, Round(Outcome(OutcomeKind.OK))),
                     lambda: mailroom(town, agent, self.epochs[who] - 1).look("true", {})):  # fmt: skip
            try:
                late()
            except EpochLost:
                continue
            raise AssertionError("an old epoch was let in")
        assert snapshot(self.town) == before
        recovery.take_back(town, agent, self.epochs[who], AgentState.IDLE)

    @rule(door=DOOR, n=NTH, verb=st.sampled_from(["complete", "fail", "cancel"]))
    def end(self, door: int, n: int, verb: str) -> None:
        task_id = self.nth_task(n)
        if task_id is None:
            return
        was_ended = all_tasks(self.town)[task_id].state.is_terminal
        try:
            getattr(tasks, verb)(self.doors[door], task_id, "by hand", USER)
            assert not was_ended
        except Conflict:
            assert was_ended

    @rule(door=DOOR, n=NTH, to=st.sampled_from([None, "one", "two"]))
    def retry(self, door: int, n: int, to: str | None) -> None:
        task_id = self.nth_task(n)
        if task_id is None:
            return
        can = all_tasks(self.town)[task_id].state in {TaskState.FAILED, TaskState.CANCELLED}
        try:
            tasks.retry(self.doors[door], task_id, USER, to)
            assert can
        except Conflict:
            assert not can

    @rule(door=DOOR, n=NTH, again=st.booleans())
    def dead_letter(self, door: int, n: int, *, again: bool) -> None:
        letters = messages.dead_letters(self.town)
        if not letters:
            return
        message_id = messages.letter_id(letters[n % len(letters)][1])
        try:
            (messages.retry_dead if again else messages.drop_dead)(self.doors[door], message_id)
        except (Conflict, NotFound):
            assert again

    @rule(door=DOOR, who=WHO)
    def give_up(self, door: int, who: int) -> None:
        """Its work goes to the backlog; then somebody starts it again."""
        town, agent = self.doors[door], self.agents[who]
        row = town.store.agents.row(agent.id)
        assert row is not None
        recovery.finish(town, row, AgentState.ERROR, "given up")
        reclaiming.park_work(town, agent.id)
        agents.restart(town, agent.id, foreground=True)
        self.epochs[who] += 1

    # Invariants

    def lying(self) -> list[tuple[str, str, str]]:
        """(mailbox, list, text) of every message in the town."""
        boxes = [*(a.id for a in self.agents), ids.SUPERVISOR_ID]
        found = [(box, kind, text) for box in boxes for kind in ("inbox", "urgent", "claimed")
                 for text in texts(self.town, kind, box)]  # fmt: skip
        return found + [(box, "dead", letter.text) for box in boxes for letter in self.town.store.inboxes.dead(box)]

    @invariant()
    def holds(self) -> None:
        """All of design's invariants that are about records; one method, so that a failing story stays readable."""
        self.history, self.mail, self.tasks = events(self.town), self.lying(), all_tasks(self.town)
        self.every_message_is_in_one_place_or_accounted_for()
        self.every_task_has_one_end()
        self.every_open_task_has_one_way()
        self.the_index_is_right()
        self.attempts_are_bounded()

    def every_message_is_in_one_place_or_accounted_for(self) -> None:
        history = self.history
        accepted = {e["message_id"] for e in history if e["event_type"] == "message_sent"}
        places = Counter(parse(text).id for _box, _kind, text in self.mail)
        moved = {e["message_id"] for e in history if e["event_type"] == "message_moved"}
        gone = {e["message_id"] for e in history if e["event_type"] in ACCOUNTED} | moved
        assert all(count == 1 for count in places.values())
        assert set(places) <= accepted
        assert accepted - set(places) <= gone

    def every_task_has_one_end(self) -> None:
        history = self.history
        ends = Counter(e["task_id"] for e in history if e["event_type"] in ENDED)
        lives = Counter(e["task_id"] for e in history if e["event_type"] in {"task_retried", "message_retried"})
        for task in self.tasks.values():
            assert ends[task.id] == lives[task.id] + task.state.is_terminal
            assert (task.completed_at is not None) == task.state.is_terminal

    def every_open_task_has_one_way(self) -> None:
        leads: Counter[tuple[Any, ...]] = Counter()
        for box, kind, text in self.mail:
            message = parse(text)
            if message.task_id and kind != "dead":
                leads[box, message.task_id] += 1
                if kind == "claimed":
                    leads["claimed", message.task_id] += 1
        parked = Counter(self.town.store.tasks.backlog_ids())
        for task in self.tasks.values():
            assert parked[task.id] == (task.state is TaskState.PENDING)
            if task.state in {TaskState.ASSIGNED, TaskState.RUNNING}:
                assert leads[task.assigned_to, task.id] == 1, (
                    f"{task.state} task with {leads[task.assigned_to, task.id]} messages"
                )
            if task.state is TaskState.RUNNING:
                assert leads["claimed", task.id] >= 1

    def the_index_is_right(self) -> None:
        known = self.tasks
        indexed = {task_id: state for state in TaskState for task_id in self.town.store.tasks.ids([state])}
        assert indexed == {task.id: task.state for task in known.values()}

    def attempts_are_bounded(self) -> None:
        for agent in self.agents:
            counted = self.town.store.redis.hgetall(self.town.store.keys.attempts(agent.id))
            alive = {parse(text).id for box, kind, text in self.mail if box == agent.id and kind != "dead"}
            assert all(int(n) < 3 for n in counted.values())
            assert set(counted) <= alive, "attempts of a message that is gone"


class Storm(RuleBasedStateMachine):
    """Every operation that moves work, each perhaps with another inside of it; the transition tables hold."""

    server: TestRedis

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="tt-storm-"))
        self.town = fresh_town(self.server, self.folder)
        register(self.town, "one", role_id="dev")
        register(self.town, "two")
        self.before = invariants.look(self.town)

    def teardown(self) -> None:
        self.town.store.redis.flushdb()
        self.town.store.close()
        shutil.rmtree(self.folder)

    @rule(doing=DOINGS, inside=st.none() | st.tuples(st.integers(0, 8), DOINGS))
    def do(self, doing: tuple[str, Choice], inside: tuple[int, tuple[str, Choice]] | None) -> None:
        operation = VERBS[doing[0]](self.town, doing[1])
        visits = {}
        if inside is not None and (other := VERBS[inside[1][0]](self.town, inside[1][1])) is not None:
            visits[inside[0]] = lambda: self.attempt(other, self.town)
        with visited(self.town, visits) as (client, _store):
            if operation is not None:
                self.attempt(operation, client)

    def attempt(self, operation: Operation, town: Town) -> None:
        with contextlib.suppress(TinytownError):
            operation(town)
        self.look()

    @invariant()
    def look(self) -> None:
        """Every stored change of state is told by events, step by step, and each step is one that the table allows."""
        now, before = invariants.look(self.town), self.before
        self.before = now
        assert invariants.of_records(now) == []
        told = now.events[len(before.events) :]
        for task_id, task in now.tasks.items():
            steps = [e for e in told if e.get("task_id") == task_id and "new_state" in e and not is_agents(e)]
            was = before.tasks.get(task_id)
            self.follow(was.state if was else None, task.state, steps)
            for event in steps:
                if "old_state" in event and event["old_state"] != event["new_state"]:
                    table = TASK_RESET if event["event_type"] == "task_retried" else TASK_TRANSITIONS
                    assert event["new_state"] in table[TaskState(event["old_state"])], event
        for agent_id, agent in now.agents.items():
            steps = [e for e in told if e.get("agent_id") == agent_id and "new_state" in e and is_agents(e)]
            known = before.agents.get(agent_id)
            if known is not None:
                self.follow(known.state, agent.state, steps)
                woken = {event["event_type"] for event in steps}
                assert not known.state.is_terminal or agent.state.is_terminal or "agent_restart_wished" in woken

    @staticmethod
    def follow(state: str | None, end: str, steps: list[dict[str, Any]]) -> None:
        for event in steps:
            assert state in {None, event.get("old_state")}, event
            state = event["new_state"]
        assert state in {None, end}, f"{end}, and told is {steps}"


def is_agents(event: dict[str, Any]) -> bool:
    """It tells of an agent's state, perhaps because of a task."""
    return str(event["event_type"]).startswith("agent_")


def test_a_storm_of_verbs(redis_server: TestRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done while whatever else is done: no move outside of the tables is stored, none without its event."""
    monkeypatch.setattr(tasks, "RUN_ENDS_WITHIN_S", 0.0)  # nobody ends a run here
    machine = type("StormHere", (Storm,), {"server": redis_server})
    run_state_machine_as_test(machine, settings=STORM)


def test_any_order_of_verbs(redis_server: TestRedis) -> None:
    """Claim, settle, die, assign, end, retry, park, bury in any order: the invariants hold after every step."""
    machine = type("WorldHere", (World,), {"server": redis_server})
    run_state_machine_as_test(machine, settings=STEPS)
