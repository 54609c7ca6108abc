"""Every operation that moves work, as one value that can be drawn: who does what to which task.

`VERBS[name](town, choice)` looks at the town and returns the operation, ready to be run by any client of it; None when
there is nothing that it could be done to. What it looked at may have changed by the time it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from hypothesis import strategies as st

from tests.support.town import all_tasks
from tinytown.actors.mailroom import Mailroom
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import AgentState
from tinytown.services import (
    agents,
    backlog,
    messages,
    orphans,
    plan,
    pruning,
    reclaiming,
    recovery,
    reset,
    steering,
    tasks,
)
from tinytown.services.agents import SpawnRequest
from tinytown.services.caller import Caller
from tinytown.services.plan.pushing import push
from tinytown.services.settlement import Round, settle
from tinytown.store.agents import AgentRow, save_wish
from tinytown.store.transaction import Stale
from tinytown.town import Town

Operation = Callable[[Town], Any]
T = TypeVar("T")
USER = Caller()
LOOKS = 5  # of an actor whose mailbox changes between its look and its claim
OUTCOMES = tuple(OutcomeKind)
_A, _B, _C = ('[[tasks]]\nid = "' + name + '"\ndescription = "x"\n' for name in "abc")
PLANS = (
    _A + _B + 'depends_on = ["a"]\n',
    _A + 'agent = "one"\n' + _B + 'agent = "two"\ndepends_on = ["a"]\n' + _C + 'depends_on = ["a", "b"]\n',
    _B + 'tags = ["dev"]\n' + _A + 'depends_on = ["b"]\n',
    _A + 'status = "completed"\n' + _C + 'agent = "one"\nparent = "a"\n',
)


@dataclass(frozen=True)
class Choice:
    """What is drawn for an operation. Numbers count round in what there is."""

    who: int = 0
    nth: int = 0
    flag: bool = False
    kind: int = 0


CHOICES = st.builds(Choice, st.integers(0, 2), st.integers(0, 4), st.booleans(), st.integers(0, 12))


def pick(some: Sequence[T], n: int) -> T | None:
    """The nth of these, counting round; None of none."""
    return some[n % len(some)] if some else None


def _agent(town: Town, choice: Choice) -> AgentRow | None:
    return pick(town.store.agents.all(), choice.who)


def _wanted(town: Town, choice: Choice) -> AgentRow | None:
    return pick([row for row in town.store.agents.all() if row.wish is not None], choice.who)


def _task(town: Town, choice: Choice) -> str | None:
    known = sorted(all_tasks(town).values(), key=lambda task: task.created_at)
    found = pick(known, choice.nth)
    return found.id if found else None


# What people do


def _assign(town: Town, choice: Choice) -> Operation | None:
    row, by = _agent(town, choice), _agent(town, Choice(who=choice.nth))
    if row is None or by is None:
        return None
    caller = Caller(by.agent.id, "run") if choice.flag else USER
    return lambda t: tasks.assign(t, row.agent.name, "build it", caller)


def _send(town: Town, choice: Choice) -> Operation | None:
    row, kind = _agent(town, choice), messages.KINDS[choice.kind % len(messages.KINDS)]
    if row is None:
        return None
    return lambda t: messages.send(t, row.agent.id, "hello", USER, kind=kind, urgent=choice.flag)


def _park(_town: Town, choice: Choice) -> Operation | None:
    return lambda t: backlog.add(t, "someday", ["dev"] if choice.flag else [], USER)


def _take_parked(town: Town, choice: Choice) -> Operation | None:
    row, task_id = _agent(town, choice), pick(town.store.tasks.backlog_ids(), choice.nth)
    if row is None or task_id is None:
        return None
    return lambda t: backlog.claim(t, task_id, row.agent.name, USER)


def _take_all(town: Town, choice: Choice) -> Operation | None:
    row = _agent(town, choice)
    return None if row is None else lambda t: backlog.assign_all(t, row.agent.name, USER)


def _take_for_role(town: Town, choice: Choice) -> Operation | None:
    row = _wanted(town, choice)
    return None if row is None else lambda t: backlog.claim_for_role(t, row.agent.having(role_id="dev"))


def _remove(town: Town, choice: Choice) -> Operation | None:
    task_id = pick(town.store.tasks.backlog_ids(), choice.nth)
    return None if task_id is None else lambda t: backlog.remove(t, task_id)


def _end(town: Town, choice: Choice, verb: Callable[..., Any]) -> Operation | None:
    task_id = _task(town, choice)
    return None if task_id is None else lambda t: verb(t, task_id, "by hand", USER)


def _retry(town: Town, choice: Choice) -> Operation | None:
    task_id, row = _task(town, choice), _agent(town, choice)
    to = row.agent.name if row is not None and choice.flag else None
    return None if task_id is None else lambda t: tasks.retry(t, task_id, USER, to)


def _dead_letter(town: Town, choice: Choice) -> Operation | None:
    letter = pick(messages.dead_letters(town), choice.nth)
    if letter is None:
        return None
    verb = messages.retry_dead if choice.flag else messages.drop_dead
    return lambda t: verb(t, messages.letter_id(letter[1]))


def _acknowledge(town: Town, _choice: Choice) -> Operation | None:
    box = messages.mailbox(town, "conductor")
    return lambda t: messages.acknowledge(t, box)


def _reclaim(town: Town, choice: Choice) -> Operation | None:
    row = _agent(town, choice)
    if row is None or not choice.flag:
        return reclaiming.to_backlog
    return lambda t: reclaiming.to_agent(t, row.agent.name)


def _orphans(_town: Town, choice: Choice) -> Operation | None:
    return (lambda t: orphans.cancel_tasks(t, USER)) if choice.flag else orphans.requeue_tasks


def _prune(_town: Town, choice: Choice) -> Operation | None:
    return lambda t: pruning.prune(t, force=choice.flag)


def _kill(town: Town, choice: Choice) -> Operation | None:
    row = _agent(town, choice)
    return None if row is None else lambda t: agents.kill(t, row.agent.id, now=choice.flag)


def _start_again(town: Town, choice: Choice) -> Operation | None:
    """The same agent, or a new one of its name that takes its mail over."""
    row = _agent(town, choice)
    if row is None:
        return None
    if choice.flag:
        return lambda t: agents.restart(t, row.agent.name, foreground=True)
    return lambda t: agents.spawn(t, SpawnRequest(row.agent.name, "demo", foreground=True))


def _steer(town: Town, choice: Choice) -> Operation | None:
    row = _agent(town, choice)
    if row is None:
        return None
    verb = (steering.close, steering.resume, partial(steering.interrupt, caller=USER))[choice.kind % 3]
    return lambda t: verb(t, row.agent.id)


def _push(_town: Town, choice: Choice) -> Operation | None:
    text = PLANS[choice.kind % len(PLANS)]

    def operation(town: Town) -> Any:
        plan.path(town).write_text(text)  # a push reads it before anything else
        return push(town, USER, reset=choice.flag)

    return operation


def _reset(_town: Town, choice: Choice) -> Operation | None:
    return reset.reset_agents if choice.flag else reset.reset


# What actors and supervisors do


def _take_round(town: Town, choice: Choice) -> Operation | None:
    row = _wanted(town, choice)
    if row is None or row.wish is None or town.store.redis.llen(town.store.keys.claimed(row.agent.id)):
        return None
    epoch = row.wish.epoch

    def operation(town: Town) -> Any:
        room = Mailroom(town, row.agent.id, epoch)
        for _ in range(LOOKS):
            look = room.look("true", {})
            try:
                answered = room.answer(look, AgentState.IDLE, None)
                return room.claim(look) if look.batch.is_actionable and not answered else None
            except Stale:
                continue
        raise AssertionError("the mailbox never stood still")

    return operation


def _settle(town: Town, choice: Choice) -> Operation | None:
    row = _wanted(town, choice)
    if row is None or row.wish is None:
        return None
    epoch, outcome = row.wish.epoch, Outcome(OUTCOMES[choice.kind % len(OUTCOMES)], "why")
    return lambda t: settle(t, row.agent.id, epoch, Round(outcome, run="the run", number=1))


def _die(town: Town, choice: Choice) -> Operation | None:
    """A supervisor begins the next spawn, which takes back what the one before it held."""
    row = _wanted(town, choice)
    if row is None or row.wish is None:
        return None
    known, again = row.wish_raw, row.wish.having(epoch=row.wish.epoch + 1)

    def operation(town: Town) -> Any:
        tx = town.store.transaction()
        save_wish(tx, row.agent.id, known, again)
        try:
            town.store.commit(tx)
        except Stale:
            return None
        return recovery.take_back(town, row.agent, again.epoch, AgentState.IDLE)

    return operation


def _give_up(town: Town, choice: Choice) -> Operation | None:
    row = _wanted(town, choice)
    if row is None:
        return None

    def operation(town: Town) -> Any:
        recovery.finish(town, row, AgentState.ERROR, "given up")
        return reclaiming.park_work(town, row.agent.id) if choice.flag else None

    return operation


def _recover(_town: Town, _choice: Choice) -> Operation | None:
    return orphans.recover


VERBS: dict[str, Callable[[Town, Choice], Operation | None]] = {
    "assign": _assign,
    "send": _send,
    "park": _park,
    "take_parked": _take_parked,
    "take_all": _take_all,
    "take_for_role": _take_for_role,
    "remove": _remove,
    "complete": partial(_end, verb=tasks.complete),
    "fail": partial(_end, verb=tasks.fail),
    "cancel": partial(_end, verb=tasks.cancel),
    "retry": _retry,
    "dead_letter": _dead_letter,
    "acknowledge": _acknowledge,
    "reclaim": _reclaim,
    "orphans": _orphans,
    "prune": _prune,
    "kill": _kill,
    "start_again": _start_again,
    "steer": _steer,
    "push": _push,
    "reset": _reset,
    "take_round": _take_round,
    "settle": _settle,
    "die": _die,
    "give_up": _give_up,
    "recover": _recover,
}
FRIENDLY = sorted(VERBS.keys() - {"reset", "recover", "prune"})  # a story made of these keeps something to tell of
EVERY = sorted(VERBS)
