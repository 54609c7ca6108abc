"""Settle a round: what happens to its messages and its task, in one transaction with the agent's record.

Whoever comes may settle: the actor after its round, its successor after a death, the supervisor when there
will be no successor. The agent's epoch decides who may.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from tinytown import clock, ids
from tinytown.domain.agent import Agent, Wish
from tinytown.domain.event import Event, state_changed
from tinytown.domain.message import Message, Unreadable, parse
from tinytown.domain.outcome import FollowUp, Outcome, OutcomeKind
from tinytown.domain.record import dump
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import EpochLost
from tinytown.services import dependencies, mail
from tinytown.store.agents import counters, read_wish, save_agent
from tinytown.store.inboxes import bury, put_back
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

# An unknown end of a hold: look again after this many seconds.
HOLD_S = {OutcomeKind.RATE_LIMITED: 60.0, OutcomeKind.AUTH_FAILED: 300.0, OutcomeKind.NOT_FOUND: 60.0}
HOLD_MAX_S = 7 * 86400.0
RETRY_MAX_S = 60.0
_UNREADABLE = "unreadable"  # the id of what was claimed and is no message: it goes back, and the next look buries it


class Fate(StrEnum):
    """What becomes of one claimed message."""

    ACK = "ack"
    PUT_BACK = "put_back"
    BURY = "bury"


@dataclass(frozen=True, slots=True)
class Round:
    """What is settled: the claimed texts (None: all that are claimed), who ran them, how it ended."""

    outcome: Outcome
    texts: tuple[str, ...] | None = None
    run: str = ""
    number: int = 0
    charges_round: bool = True
    asks: bool = True  # a human, where the outcome asks one


@dataclass(frozen=True, slots=True)
class Settlement:
    """What was done. `outcome` is as it was judged in the end.

    By message id, of those put back: `attempts`, and `delays`, the seconds until it is to be tried again.
    """

    outcome: Outcome
    acked: int
    buried: int
    attempts: dict[str, int]
    delays: dict[str, float]
    agent_raw: str
    wish_raw: str


@dataclass(frozen=True, slots=True)
class _Facts:
    agent_raw: str
    agent: Agent
    wish_raw: str
    wish: Wish
    messages: list[Message]
    attempts: dict[str, int]
    tasks: dict[str, tuple[str, Task]]


def judge(outcome: Outcome, task: Task | None, complete_on: str) -> Outcome:
    """The outcome as it counts: a task that its model completed is a success; one that waits for the call is not.

    A run that was ended because somebody else completed its task stays uncharged.
    """
    if task is not None and task.state is TaskState.COMPLETED and outcome.kind is not OutcomeKind.STOPPED:
        return replace(outcome, kind=OutcomeKind.OK)
    is_open = task is not None and not task.state.is_terminal and not task.is_verification
    if outcome.kind is OutcomeKind.OK and complete_on == "explicit" and is_open:
        return replace(outcome, kind=OutcomeKind.NO_CHANGE, detail="ended without 'tt task complete'")
    return outcome


def fate_of(outcome: Outcome, task: Task | None, attempts: int, most: int, agent_id: str | None = None) -> Fate:
    """Decide for one message of `agent_id`. `attempts` counts this one if it is charged."""
    if task is not None and (task.state.is_terminal or task.assigned_to != agent_id):
        return Fate.ACK
    match outcome.rule.follow_up:
        case FollowUp.DONE:
            return Fate.ACK
        case FollowUp.ASK_HUMAN:
            return Fate.BURY
        case _:
            return Fate.BURY if outcome.rule.charged and attempts >= most else Fate.PUT_BACK


def retry_delay_s(outcome: Outcome, attempts: int, base: float) -> float:
    """How long a message that was put back waits: where it is retried later, doubling with each attempt, capped."""
    if outcome.rule.follow_up is not FollowUp.RETRY_LATER:
        return 0.0
    return float(min(base * 2 ** max(0, attempts - 1), RETRY_MAX_S))


def settle(town: Town, agent_id: str, epoch: int, ended: Round, state: AgentState = AgentState.IDLE) -> Settlement:
    """Apply the outcome to the messages that are still claimed; idempotent.

    `state` is the agent's state from here on. Raises EpochLost when another spawn holds the agent, RedisAway.
    """

    def build(tx: Transaction) -> Settlement:
        return _settle(town, tx, _read(town, agent_id, epoch, ended), ended, state)

    done = change(town.store, build)
    if done.outcome.kind is OutcomeKind.OK:
        dependencies.finish_releases(town)
    return done


def guard(agent_id: str, epoch: int, raw: str | None) -> Wish:
    """The wish in `raw` if it still is of this epoch; EpochLost otherwise."""
    wish = read_wish(raw)
    if wish is None or wish.epoch != epoch:
        now = "none" if wish is None else str(wish.epoch)
        raise EpochLost(f"Epoch {epoch} of agent {ids.short(agent_id)} is over (now: {now}).")
    return wish


def _read(town: Town, agent_id: str, epoch: int, ended: Round) -> _Facts:
    keys = town.store.keys
    agent_raw, wish_raw, claimed, counted = town.store.read(
        ("GET", keys.agent(agent_id)),
        ("HGET", keys.wanted, agent_id),
        ("LRANGE", keys.claimed(agent_id), 0, -1),
        ("HGETALL", keys.attempts(agent_id)),
    )
    wish = guard(agent_id, epoch, wish_raw)
    if agent_raw is None:
        raise EpochLost(f"The record of agent {ids.short(agent_id)} is gone.")
    texts = claimed if ended.texts is None else [text for text in ended.texts if text in claimed]
    messages = [_parsed(text) for text in texts]
    tasks = {}
    task_ids = [m.task_id for m in messages if m.task_id]
    for task_id, raw in zip(task_ids, town.store.tasks.raws(task_ids) if task_ids else [], strict=True):
        task = read_task(raw, task_id)
        if raw is not None and task is not None:
            tasks[task_id] = (raw, task)
    return _Facts(agent_raw, Agent.from_json(agent_raw), wish_raw, wish, messages, counters(counted), tasks)


def _parsed(text: str) -> Message:
    try:
        return parse(text)
    except Unreadable as error:  # claimed by another version, or by hand
        return Message(_UNREADABLE, "", "", "custom", {"kind": "unreadable", "payload": str(error)}, raw=text)


def _settle(town: Town, tx: Transaction, facts: _Facts, ended: Round, state: AgentState) -> Settlement:
    keys, agent = tx.keys, facts.agent
    tx.expect_field(keys.wanted, agent.id, facts.wish_raw, "wish")
    leads = (facts.tasks[m.task_id][1] for m in facts.messages if m.task_id in facts.tasks)
    lead = next((task for task in leads if task.assigned_to == agent.id), None)
    outcome = judge(ended.outcome, lead, town.config.agent.complete_on)
    returned: list[Message] = []
    attempts: dict[str, int] = {}
    delays: dict[str, float] = {}
    acked = buried = 0
    for message in facts.messages:
        raw, task = facts.tasks.get(message.task_id or "", (None, None))
        tried = facts.attempts.get(message.id, 0) + (1 if outcome.rule.charged else 0)
        fate = fate_of(outcome, task, tried, town.config.agent.max_attempts, agent.id)
        tx.expect_member(keys.claimed(agent.id), message.raw, "claimed")
        tx.do("LREM", keys.claimed(agent.id), 1, message.raw)
        if message.id == _UNREADABLE:
            returned.append(message)
        elif fate is Fate.PUT_BACK:
            returned.append(message)
            attempts[message.id] = tried
            tx.do("HSET", keys.attempts(agent.id), message.id, tried)
            delays[message.id] = retry_delay_s(outcome, tried, town.config.agent.retry_delay_s)
            tx.event(_requeued(agent, message, outcome, tried, delays[message.id]))
        else:
            tx.do("HDEL", keys.attempts(agent.id), message.id)
            if fate is Fate.BURY:
                buried += 1
                _bury(tx, agent, message, outcome, tried)
            else:
                acked += 1
                tx.event(mail.message_event("message_acked", f"acked after {outcome.kind}", message, agent.id))
        if task is not None and raw is not None:
            _settle_task(town, tx, agent, raw, task, fate, outcome, ended.run, tried)
    put_back(tx, agent.id, returned)
    if facts.messages:  # else it was settled before, and only its journal outlived it
        _follow(town, tx, agent, facts, outcome, ended)
    if agent.state is not state:
        tx.event(state_changed(agent, state, describe(outcome), clock.stamp(), agent.current_task))
    agent_raw = save_agent(tx, facts.agent_raw, _record(agent, state, outcome))
    return Settlement(outcome, acked, buried, attempts, delays, agent_raw, facts.wish_raw)


def _settle_task(  # noqa: PLR0913, PLR0917  one step of `_settle`
    town: Town, tx: Transaction, agent: Agent, raw: str, task: Task, fate: Fate, outcome: Outcome, run: str, tried: int
) -> None:
    if task.state.is_terminal or task.assigned_to != agent.id:  # not ours (any more): only look that it stays so
        tx.expect(tx.keys.task(task.id), raw, f"task {task.id}")
        return
    at = clock.stamp()
    if fate is Fate.PUT_BACK:
        if task.state is TaskState.RUNNING:
            tx.save_task(raw, task.put_back(at, tried), task)
            tx.event(_task_event("task_requeued", task, TaskState.ASSIGNED, _why(outcome)))
        return
    done = fate is Fate.ACK
    state = TaskState.COMPLETED if done else TaskState.FAILED
    result = (outcome.result or "Completed") if done else _why(outcome)
    finish_task(town, tx, raw, task, state, result, run or agent.id)


def finish_task(
    town: Town, tx: Transaction, raw: str | None, task: Task, state: TaskState, result: str, by: str
) -> Task:
    """The one terminal transition of a task: record, index, counter, event, and a word to who assigned it.

    Of a mission's task nobody is told: its scheduler sees the event, and the mission's log says what came of it.

    Who waited for its completion is released in the same step (of a crowd by `dependencies.finish_releases`).
    """
    ended = task.ended(state, result, by, clock.stamp())
    tx.save_task(raw, ended, task)
    tx.event(_task_event(f"task_{state}", task, state, result[:300]))
    if task.state is TaskState.PENDING:
        tx.do("LREM", tx.keys.backlog, 0, task.id)
        dependencies.leave(tx, task)
    if state is TaskState.COMPLETED:
        dependencies.release(town, tx, task.id)
    if task.assigned_to and task.assigned_to != ids.SUPERVISOR_ID:
        if state is TaskState.COMPLETED:
            tx.do("HINCRBY", tx.keys.stats(task.assigned_to), "tasks_completed", 1)
        tx.ring(task.assigned_to)  # its run, if there is one, ends; its message is acked
    if task.assigned_by and task.assigned_by != task.assigned_to and not task.is_of_mission:
        done = state is TaskState.COMPLETED
        payload = {"task_id": task.id, ("result" if done else "error"): result}
        kind = "task_done" if done else "task_failed"
        mail.tell(town, tx, mail.compose(task.assigned_to or ids.SUPERVISOR_ID, task.assigned_by, kind, payload))
    return ended


def _requeued(agent: Agent, message: Message, outcome: Outcome, attempts: int, delay_s: float) -> Event:
    event = mail.message_event("message_requeued", _why(outcome), message, agent.id)
    due = {"retry_at": clock.stamp(clock.now() + timedelta(seconds=delay_s))} if delay_s > 0 else {}
    return replace(event, detail={"attempts": attempts} | due)


def _bury(tx: Transaction, agent: Agent, message: Message, outcome: Outcome, attempts: int) -> None:
    reason = _why(outcome)
    bury(tx, agent.id, message.raw, reason, clock.stamp(), attempts)
    text = f"given up after {attempts} attempt(s): {reason}"
    tx.event(mail.message_event("message_dead", text, message, agent.id))


def _follow(town: Town, tx: Transaction, agent: Agent, facts: _Facts, outcome: Outcome, ended: Round) -> None:
    """Counters, activity, holds and questions."""
    if facts.messages and outcome.rule.charged and ended.charges_round:
        tx.do("HINCRBY", tx.keys.stats(agent.id), "rounds", 1)
    if ended.number:
        tx.activity(agent.id, f"Round {ended.number}: {describe(outcome)}")
    if outcome.rule.follow_up is FollowUp.HOLD_CLI:
        _hold(tx, agent, outcome)
    if outcome.kind is OutcomeKind.UNPREPARED:
        tx.event(Event("agent_unprepared", outcome.detail[:300], clock.stamp(), agent_id=agent.id))
    if outcome.rule.asks_human and ended.asks:
        question = f"Agent '{agent.name}' ({agent.cli}) needs you: {outcome.kind}: {outcome.detail}".rstrip(": ")
        mail.tell(town, tx, mail.compose(agent.id, ids.SUPERVISOR_ID, "query", {"question": question}))


def _hold(tx: Transaction, agent: Agent, outcome: Outcome) -> None:
    left = HOLD_S[outcome.kind] if outcome.until is None else outcome.until - clock.wall()
    left = min(max(left, 1.0), HOLD_MAX_S)
    hold = dump({"kind": outcome.kind.value, "detail": outcome.detail, "until": clock.wall() + left, "by": agent.name})
    tx.do("SET", tx.keys.hold(agent.cli), hold, "PX", int(left * 1000))
    tx.event(Event("cli_held", f"{agent.cli} held for {left:.0f} s: {outcome.kind}", clock.stamp(), agent_id=agent.id))


def _record(agent: Agent, state: AgentState, outcome: Outcome) -> Agent:
    reason = _why(outcome) if outcome.kind is OutcomeKind.UNPREPARED else None
    return agent.having(state=state, reason=reason, current_task=None, last_active_at=clock.stamp())


def _why(outcome: Outcome) -> str:
    return f"{outcome.kind}: {outcome.detail}".rstrip(": ")[:300]


def _task_event(kind: str, task: Task, state: TaskState, text: str) -> Event:
    return Event(
        kind, text, clock.stamp(), agent_id=task.assigned_to, task_id=task.id,
        old_state=task.state.value, new_state=state.value,
    )  # fmt: skip


def describe(outcome: Outcome) -> str:
    """One line for people."""
    match outcome.kind:
        case OutcomeKind.OK:
            return "✅ completed"
        case OutcomeKind.STOPPED:
            return f"⏹️ stopped, put back ({outcome.detail})" if outcome.detail else "⏹️ stopped, put back"
        case OutcomeKind.RATE_LIMITED:
            return "⏳ rate limited"
        case _:
            return f"⚠️ {outcome.kind.replace('_', ' ')}: {outcome.detail}"[:200].rstrip(": ")
