"""A tick: each decision is one step that everything it rests on must allow; what others change is read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.support import invariants
from tests.support.builders import AT, make_item, make_mission, make_watch
from tests.support.missions import file_now, item_now, put_mission
from tests.support.town import (
    agent_now,
    claim_all,
    events,
    give_mail,
    register,
    same_town,
    task_now,
    texts,
    with_settings,
    writing,
)
from tinytown import clock, ids
from tinytown.domain.agent import Agent
from tinytown.domain.event import task_changed
from tinytown.domain.message import parse
from tinytown.domain.mission import Mission, MissionState
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.pull_request import Failure, Issue, Look, PullRequest
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.watch import WatchKind, WatchStatus
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.errors import Conflict, EpochLost
from tinytown.missions import watching
from tinytown.missions.decisions import Decision, Merge, NewTask, Plan
from tinytown.missions.snapshot import Snapshot
from tinytown.services import messages, tasks
from tinytown.services.caller import Caller
from tinytown.services.missions import control, steps, workers
from tinytown.services.missions.lease import NAME, Lease
from tinytown.services.missions.ticking import Ticker
from tinytown.services.settlement import Round, settle
from tinytown.store.agents import save_wish
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

URL = "https://github.com/acme/web/pull/7"


class Script:
    """A `decide` that gives these plans, one after the other, and keeps what it was shown."""

    def __init__(self, *plans: Plan | Decision) -> None:
        self.plans = [plan if isinstance(plan, Plan) else Plan([plan]) for plan in plans]
        self.seen: list[Snapshot] = []

    def __call__(self, snapshot: Snapshot, now: datetime) -> Plan:
        """The next plan."""
        assert now.tzinfo is not None
        self.seen.append(snapshot)
        return self.plans.pop(0) if self.plans else Plan()


@pytest.fixture
def lease(town: Town) -> Iterator[Lease]:
    """Held by this process."""
    held = Lease(town)
    assert held.take() is None
    yield held
    held.leave()


def given(run: Mission, item: WorkItem, agent: Agent, job: Job = Job.WORK, **more: Any) -> Decision:
    """The decision to give the item to the agent."""
    task_id = ids.derived_id(run.id, item.id, str(item.tries))
    new = replace(item, status=WorkStatus.ASSIGNED, job=job, task_id=task_id, assigned_to=agent.id, tries=1)
    task = NewTask(task_id, agent.id, job, "Verify: it\ntrue" if job is Job.VERIFY else "do it", **more)
    return Decision(run.id, "work_item_assigned", "given", item=new, task=task)


def ready(run: Mission, number: int = 1, **fields: Any) -> WorkItem:
    """An item that can be given."""
    return make_item(run, number, status=WorkStatus.READY, **fields)


def sound(town: Town) -> None:
    """All invariants of records hold."""
    assert invariants.of_records(invariants.look(town)) == []


# Giving a task


def test_a_task_is_given_in_one_step(town: Town, lease: Lease) -> None:
    """Record, index, message, bell, item, event and line: all of it, tagged, by the conductor."""
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)

    Ticker(town, lease, Script(given(run, item, agent))).tick()

    now = item_now(town, item)
    assert now.task_id is not None
    task = task_now(town, now.task_id)
    assert (task.state, task.assigned_to, task.assigned_by) == (TaskState.ASSIGNED, agent.id, ids.SUPERVISOR_ID)
    assert task.tags == ["mission-work-item", "mission-task:work", f"mission:{run.id}", f"work-item:{item.id}"]
    assert [parse(text).task_id for text in texts(town, "inbox", agent.id)] == [task.id]
    assert texts(town, "wake", agent.id) == ["1"]
    (event,) = events(town, "work_item_assigned")
    assert (event["mission_id"], event["agent_id"], event["work_item_id"]) == (run.id, agent.id, item.id)
    assert (event["old_state"], event["new_state"]) == ("ready", "assigned")
    assert town.store.missions.events(run.id, 1)[0]["text"] == "given"
    sound(town)


@pytest.mark.parametrize(("is_next", "place"), [(True, 0), (False, 1)])
def test_what_is_next_goes_before_other_mail(town: Town, lease: Lease, place: int, *, is_next: bool) -> None:
    """A fix or verification is the next thing its agent does, other work comes in its turn."""
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)
    give_mail(town, agent)
    Ticker(town, lease, Script(given(run, item, agent, is_next=is_next))).tick()
    assert parse(texts(town, "inbox", agent.id)[place]).task_id == item_now(town, item).task_id


def test_a_step_is_repeated_without_a_second_task(town: Town, lease: Lease) -> None:
    """Two schedulers that decide the same give one task."""
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)
    decision = given(run, item, agent)
    first, second = Ticker(town, lease, Script(decision)), Ticker(town, lease, Script(Plan(), decision))
    second.tick()
    first.tick()
    second.tick()
    assert len(events(town, "task_assigned")) == 1
    assert len(texts(town, "inbox", agent.id)) == 1
    sound(town)


# What a step rests on


def test_nothing_is_applied_without_the_lease(town: Town, lease: Lease) -> None:
    """Another process has it: EpochLost, and nothing was done."""
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)
    ticker = Ticker(town, lease, Script(given(run, item, agent)))
    town.store.redis.set(town.store.keys.lease(NAME), "elsewhere:1:1", ex=30)
    with pytest.raises(EpochLost):
        ticker.tick()
    assert item_now(town, item) == item
    assert texts(town, "inbox", agent.id) == []


def test_what_somebody_changed_is_decided_again(town: Town, lease: Lease) -> None:
    """A stop of the mission, an agent that took something up, an item that was cancelled: the step is refused."""

    def stops() -> None:
        control.stop(town, run.id, Caller())

    def cancels() -> None:
        control.cancel(town, item.id, Caller(), run=run.id)

    def works() -> None:
        give_mail(town, agent)
        claim_all(town, agent)

    lock = town.supervisor_lock
    assert lock.acquire()  # nobody starts one
    for meanwhile in (stops, cancels, works):
        run, agent = make_mission(), register(town, ids.new_id()[:8])
        item = ready(run)
        put_mission(town, run, item)
        decision = given(run, item, agent)

        class Late(Script):
            """Decides, and then somebody is quicker than its step."""

            def __call__(self, snapshot: Snapshot, now: datetime) -> Plan:
                """The first time only."""
                plan = super().__call__(snapshot, now)
                if plan.decisions:
                    meanwhile()  # noqa: B023  called at once
                return plan

        decide = Late(decision)
        Ticker(town, lease, decide).tick()
        assert decision.task is not None
        assert town.store.tasks.get(decision.task.id) is None
        assert len(decide.seen) == 2  # and it was shown what is so now
        sound(town)
    lock.release()


def test_a_step_rests_on_the_end_of_its_task(town: Town, lease: Lease) -> None:
    """Whoever gives the task another life while its end is decided on is first: the item keeps the task."""
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)
    ticker = Ticker(town, lease, Script(given(run, item, agent)))
    ticker.tick()
    item = item_now(town, item)
    tasks.fail(town, item.task_id or "", "no", Caller())
    ticker.memory.hear([e for e in events(town) if "task_id" in e])
    ticker.memory.refresh()
    raw, task = town.store.tasks.get(item.task_id or "") or ("", None)
    assert task is not None
    again = task.retried(agent.id, clock.stamp())
    with writing(town) as tx:
        tx.save_task(raw, again, task)
        tx.event(task_changed("task_retried", "by an older version", again, task.state, clock.stamp()))
    handed_in = replace(item, status=WorkStatus.BLOCKED, job=None, task_id=None, assigned_to=None)
    ended = Decision(run.id, "work_item_handed_in", "handed in", item=handed_in)
    other = Ticker(town, lease, Script(ended))
    other.memory.missions, other.memory.tasks = ticker.memory.missions, ticker.memory.tasks
    other.memory._is_new = False  # it knows what the other knew  # noqa: SLF001
    other.tick()
    assert item_now(town, item).task_id == item.task_id
    sound(town)


def test_a_tick_ends_though_its_decisions_never_hold(town: Town, lease: Lease) -> None:
    """After ten passes it comes back later."""
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)
    stale = given(run, item, agent)
    assert stale.task is not None
    with writing(town) as tx:
        tx.do("SET", tx.keys.task(stale.task.id), "{}")
    decide = Script(*[stale] * 50)
    assert Ticker(town, lease, decide).tick().again
    assert len(decide.seen) == 10


def test_it_stops_between_two_steps(town: Town, lease: Lease) -> None:
    """Told to leave it applies nothing more, and says that something is left."""
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)
    assert Ticker(town, lease, Script(given(run, item, agent))).tick(lambda: False).again
    assert item_now(town, item) == item


# The other parts of a decision


def test_a_task_is_taken_back(town: Town, lease: Lease) -> None:
    """`cancel` ends it with the step; its message is acked without a run."""
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)
    ticker = Ticker(town, lease, Script(given(run, item, agent)))
    ticker.tick()
    item = item_now(town, item)
    back = replace(item, status=WorkStatus.READY, job=None, task_id=None, assigned_to=None)
    taken = Decision(run.id, "work_item_taken_back", "it is not needed", item=back, cancel=item.task_id)
    Ticker(town, lease, Script(taken)).tick()
    assert task_now(town, item.task_id or "").state is TaskState.CANCELLED
    assert item_now(town, item).status is WorkStatus.READY
    sound(town)


def test_the_conductor_is_asked_and_not_flooded(town: Town, lease: Lease) -> None:
    """Questions lie in its mailbox, which is bounded; ends of a mission's tasks do not."""
    bounded = with_settings(town, retention={"mailbox": 2})
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)
    asks = [Decision(run.id, "mission_waits", "asks", asks=[f"question {n}"]) for n in range(3)]
    Ticker(bounded, lease, Script(*asks, given(run, item, agent))).tick()
    bounded.store.close()
    tasks.complete(town, item_now(town, item).task_id or "", "done", Caller())
    assert [parse(text).text for text in texts(town, "inbox", ids.SUPERVISOR_ID)] == ["question 1", "question 2"]
    sound(town)


def test_the_end_of_a_mission(town: Town, lease: Lease) -> None:
    """Its record, its event and its place in the active set change together; it is forgotten."""
    run = make_mission()
    put_mission(town, run)
    done = run.having(AT, state=MissionState.COMPLETED, ended_at=AT)
    ticker = Ticker(town, lease, Script(Decision(run.id, "mission_completed", "0 items done", mission=done)))
    ticker.tick()
    assert file_now(town, run).run.state is MissionState.COMPLETED
    assert town.store.missions.active_ids() == []
    assert ticker.memory.is_empty
    sound(town)


# Reading again


def test_only_what_events_name_is_read_again(town: Town, lease: Lease) -> None:
    """Own steps are known; a task's end, a person's command and an agent's news are seen."""
    run, agent = make_mission(), register(town)
    item, other = ready(run), make_item(run, 2)
    put_mission(town, run, item, other)
    decide = Script(given(run, item, agent))
    ticker = Ticker(town, lease, decide)
    ticker.tick()
    seen_until = town.store.events.last_id()
    assert not ticker.memory.hear(events(town)), "its own steps are news to it"
    known = ticker.memory.missions[run.id]
    task_id = item_now(town, item).task_id or ""

    tasks.complete(town, task_id, "done", Caller())
    assert ticker.memory.hear(event for _id, event in town.store.events.after(seen_until))
    ticker.tick()
    assert decide.seen[-1].tasks[task_id].state is TaskState.COMPLETED
    assert ticker.memory.missions[run.id] is known

    seen_until = town.store.events.last_id()
    control.cancel(town, other.id, Caller(), run=run.id)
    assert ticker.memory.hear(event for _id, event in town.store.events.after(seen_until))
    ticker.tick()
    assert decide.seen[-1].missions[0].items[other.id].status is WorkStatus.CANCELLED


def test_what_happened_unheard_is_read(town: Town, lease: Lease) -> None:
    """After an outage everything is read again: missions, tasks, agents."""
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)
    decide = Script(given(run, item, agent))
    ticker = Ticker(town, lease, decide)
    ticker.tick()
    task_id = item_now(town, item).task_id or ""
    tasks.complete(town, task_id, "done", Caller())
    new = register(town, "another")
    ticker.memory.forget()
    ticker.tick()
    assert decide.seen[-1].tasks[task_id].state is TaskState.COMPLETED
    assert new.id in {worker.id for worker in decide.seen[-1].agents}


def test_events_of_strangers_do_not_matter(town: Town, lease: Lease) -> None:
    """A busy town without anything for a mission does not make it decide again, unless an item waits for an agent."""
    run, agent = make_mission(), register(town)
    put_mission(town, run, make_item(run, status=WorkStatus.DONE, ended_at=AT))
    ticker = Ticker(town, lease, Script())
    ticker.tick()
    seen_until = town.store.events.last_id()
    tasks.assign(town, agent.name, "something else", Caller())
    news = [event for _id, event in town.store.events.after(seen_until)]
    assert not ticker.memory.hear(news)

    put_mission(town, waiting := make_mission(), ready(waiting))
    ticker.memory.forget()
    ticker.tick()
    assert ticker.memory.hear(news)
    ticker.memory.refresh()
    assert ticker.memory.agents[agent.id].worker.load == 1


def test_an_agent_that_is_gone_is_seen(town: Town, lease: Lease) -> None:
    """Its record was removed, and another one has taken over its name."""
    run, agent = make_mission(), register(town)
    put_mission(town, run, ready(run))
    ticker = Ticker(town, lease, Script())
    ticker.tick()
    with writing(town) as tx:
        tx.do("DEL", tx.keys.agent(agent.id))
        tx.do("HDEL", tx.keys.wanted, agent.id)
    new = register(town, agent.name)
    ticker.memory.hear([{"event_type": "agent_pruned", "agent_id": agent.id}])
    ticker.memory.refresh()
    assert set(ticker.memory.agents) == {new.id}


# Answers of GitHub


def watched(town: Town) -> tuple[Mission, WorkItem]:
    """An item whose pull request is watched."""
    run = make_mission()
    item = make_item(run, status=WorkStatus.BLOCKED, author="a", artifact_refs=[URL])
    put_mission(town, run, item, watches=watching.open_watches(item, URL, run.policy, clock.now()))
    return run, item


def test_an_answer_changes_the_watches_of_its_target(town: Town, lease: Lease) -> None:
    """What was found is an event and a line, once; looking again and finding the same is neither."""
    run, item = watched(town)
    ticker = Ticker(town, lease, Script())
    pull = PullRequest(URL, "abc", is_open=True, mergeable=True)
    ticker.learn(Look(URL), pull)
    states = {watch.kind: watch.state for watch in file_now(town, run).watches.values()}
    assert states[WatchKind.MERGEABILITY] == "clean"
    first = events(town, "watch_changed")
    assert [event["work_item_id"] for event in first] == [item.id]
    checked = {w.last_check_at for w in file_now(town, run).watches.values()}
    ticker.learn(Look(URL), replace(pull, checks=()))
    ticker.learn(Look(URL), pull)
    assert len(events(town, "watch_changed")) <= len(first) + 1  # no checks, after a while, are so for good
    assert checked != {w.last_check_at for w in file_now(town, run).watches.values()}
    sound(town)


def test_an_answer_is_of_what_was_handed_in_before_the_question(town: Town, lease: Lease) -> None:
    """A fix was handed in while GitHub was asked: what it said is of before, and it is asked again."""
    run = make_mission()
    item = make_item(run, status=WorkStatus.BLOCKED, author="a", artifact_refs=[URL], submitted_at=clock.stamp())
    watches = watching.open_watches(item, URL, run.policy, clock.now())
    put_mission(town, run, item, watches=watches)
    ticker = Ticker(town, lease)
    (look,) = ticker.tick().looks
    with writing(town) as tx:
        later = item.having(clock.stamp(), submitted_at=clock.stamp())
        steps.save_item(tx, file_now(town, run).raws[item.id], later)
    ticker.memory.doubt_mission(run.id)
    pull = PullRequest(URL, "abc", is_open=True, mergeable=True)
    ticker.learn(look, pull)
    assert {watch.state for watch in file_now(town, run).watches.values()} == {None}
    (again,) = ticker.tick().looks
    assert (again.ref, again.submissions) == (URL, ((item.id, later.submitted_at),))
    ticker.learn(again, pull)
    assert None not in {watch.state for watch in file_now(town, run).watches.values()}


def test_an_answer_about_what_somebody_changed_is_learnt_again(town: Town, lease: Lease) -> None:
    """Somebody else has moved the watch meanwhile: it is read, and the answer counts all the same."""
    run, item = watched(town)
    ticker = Ticker(town, lease, Script())
    ticker.tick()
    (watch, *_) = file_now(town, run).watches.values()
    with writing(town) as tx:
        raw = file_now(town, run).raws[watch.id]
        steps.save_watch(tx, raw, watch.having(consecutive_failures=3))
    ticker.learn(Look(URL), PullRequest(URL, "abc", is_open=False, is_merged=True))
    assert {w.status for w in file_now(town, run).watches.values()} == {WatchStatus.DONE}
    assert item_now(town, item) == item


def test_a_merge_that_went_well_is_looked_at_soon(town: Town, lease: Lease) -> None:
    """Its watches are due at once; one that was refused is said, and waits for its time."""
    run, _item = watched(town)
    ticker = Ticker(town, lease, Script())
    ticker.learn(Look(URL), PullRequest(URL, "abc", is_open=True, mergeable=True))
    ticker.merged(URL, Failure(URL, "it is protected"))
    (refused,) = (w for w in file_now(town, run).watches.values() if w.kind is WatchKind.MERGEABILITY)
    assert (refused.state, refused.text) == ("refused", "GitHub did not merge it: it is protected")
    assert refused.next_due_at > clock.stamp()
    assert "it is protected" in events(town, "work_item_not_merged")[0]["message"]
    ticker.merged(URL, PullRequest(URL, "abc", is_open=False, is_merged=True))
    assert max(w.next_due_at for w in file_now(town, run).watches.values()) <= clock.stamp()


def test_what_is_to_be_asked_and_merged(town: Town, lease: Lease) -> None:
    """Looks are those of the last plan; merges those whose step was applied."""
    run, item = watched(town)
    merging = Decision(run.id, "work_item_merging", "merges", merge=Merge(URL, "abc"))
    refused = replace(merging, mission_id=ids.new_id())
    wake = clock.now()
    done = Ticker(town, lease, Script(merging, refused, Plan([], [Look(URL)], wake))).tick()
    assert done.merges == [Merge(URL, "abc")]
    assert done.looks == [Look(URL)]
    assert done.wake_at == wake
    assert item_now(town, item) == item


# The lease


def token_of(host: str) -> str:
    """Of a process there."""
    return f"{host}:1:1"


def test_one_process_at_a_time(town: Town, lease: Lease) -> None:
    """Held by a living process it is not taken; that of a dead one of this host is, and one that lapsed."""
    token = town.store.agents.lease(NAME)
    other = same_town(town)
    stranger = Lease(other)
    stranger.token = token_of("elsewhere")
    assert stranger.take() == token
    town.store.redis.set(town.store.keys.lease(NAME), token_of(town.host), ex=30)
    assert lease.take() is None
    town.store.redis.delete(town.store.keys.lease(NAME))
    assert lease.renew()
    assert not lease.renew()
    town.store.redis.set(town.store.keys.lease(NAME), stranger.token, ex=30)
    with pytest.raises(EpochLost):
        lease.renew()
    assert not lease.drop()
    other.store.close()


def test_it_is_let_go_of_only_when_no_mission_is_active(town: Town, lease: Lease) -> None:
    """A mission that was started in that very moment keeps its scheduler."""
    put_mission(town, make_mission())
    assert not lease.drop(when_idle=True)
    town.store.redis.delete(town.store.keys.missions_active)
    assert lease.drop(when_idle=True)
    assert town.store.agents.lease(NAME) is None


# Agents


def worker(town: Town, agent: Agent) -> tuple[bool, bool, bool, int]:
    """Has ended, takes work, is free, load."""
    seen = workers.read(town)[agent.id].worker
    return seen.is_ended, seen.takes_work, seen.is_free, seen.load


def test_who_is_free(town: Town) -> None:
    """Idle without mail: free. With work: not. Paused, closed, spent, stopping: takes none. Without a wish: ended."""
    agent = register(town, role_id="tester")
    assert worker(town, agent) == (False, True, True, 0)
    assert workers.read(town)[agent.id].worker.role == "tester"
    give_mail(town, agent, "informational")
    assert worker(town, agent) == (False, True, True, 0)
    tasks.assign(town, agent.name, "it", Caller())
    assert worker(town, agent) == (False, True, False, 1)
    claim_all(town, agent)
    assert worker(town, agent) == (False, True, False, 1)
    ended = Round(Outcome(OutcomeKind.OK, result="done"))
    settle(town, agent.id, 1, ended)
    assert worker(town, agent) == (False, True, True, 0)
    for changes in ({"pause": True}, {"stop": "now"}, {"closed_at": AT}, {"rounds": 1}):
        wished(town, agent, **changes)
        assert worker(town, agent)[1:3] == (False, False), changes
        wished(town, agent, pause=False, stop=None, closed_at=None, rounds=10)
    town.store.redis.set(town.store.keys.hold(agent.cli), json.dumps({}), px=60_000)
    assert worker(town, agent) == (False, True, False, 0)
    town.store.redis.delete(town.store.keys.hold(agent.cli))
    gone = register(town, "gone", wanted=False)
    assert worker(town, gone) == (True, False, False, 0)


def test_an_agent_of_a_program(town: Town) -> None:
    """No process of the town's is it; it takes work as long as its program says that it is there."""
    agent = register(town, wanted=False, state=AgentState.IDLE, spawn_mode="program")
    assert worker(town, agent) == (False, True, True, 0)
    left = register(town, "left", wanted=False, state=AgentState.STOPPED, spawn_mode="program")
    assert worker(town, left) == (True, False, False, 0)
    assert agent_now(town, agent).spawn_mode == "program"


def wished(town: Town, agent: Agent, **changes: Any) -> None:
    """Change what users want of it."""

    def build(tx: Transaction) -> None:
        row = town.store.agents.row(agent.id)
        assert row is not None
        assert row.wish is not None
        save_wish(tx, agent.id, row.wish_raw, row.wish.having(**changes))

    change(town.store, build)


def test_a_watch_of_an_issue(town: Town, lease: Lease) -> None:
    """An issue outside the mission is closed: its watch ends, with an event."""
    run = make_mission()
    item = make_item(run, outside=["acme/api#9"])
    watch = make_watch(item, kind=WatchKind.ISSUE_CLOSED, target_ref="acme/api#9")
    put_mission(town, run, item, watches=[watch])
    Ticker(town, lease, Script()).learn(Look("acme/api#9"), Issue("acme/api#9", "t", "", "u", is_open=False))
    assert file_now(town, run).watches[watch.id].status is WatchStatus.DONE
    assert len(events(town, "watch_changed")) == 1


def test_its_tasks_are_not_retried_by_hand(town: Town, lease: Lease) -> None:
    """Nor is a dead letter of one: the item would have a task that it does not know. The remedy names the item."""
    run, agent = make_mission(), register(town)
    item = ready(run)
    put_mission(town, run, item)
    Ticker(town, lease, Script(given(run, item, agent))).tick()
    task_id = item_now(town, item).task_id or ""
    claim_all(town, agent)
    settle(town, agent.id, 1, Round(Outcome(OutcomeKind.NEEDS_INPUT, "which?")))
    for retry in (lambda: tasks.retry(town, task_id, Caller()), lambda: messages.retry_dead(town, task_id)):
        with pytest.raises(Conflict) as refused:
            retry()
        assert refused.value.remedy == f"Next: tt mission retry {item.id[:8]}"
    assert task_now(town, task_id).state is TaskState.FAILED
    sound(town)
