"""What an actor reads and moves in its mailbox: look, claim, answer control messages, bury the unreadable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinytown import clock
from tinytown.actors.batch import Batch, Broken, Picked, choose
from tinytown.domain.agent import Agent
from tinytown.domain.event import Event, state_changed
from tinytown.domain.message import Message
from tinytown.domain.standing import Block, Standing
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import EpochLost
from tinytown.services import mail
from tinytown.services.settlement import guard
from tinytown.store.agents import count, save_agent, save_wish
from tinytown.store.inboxes import bury
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town

WINDOW = 200
_MINE = frozenset({TaskState.ASSIGNED, TaskState.RUNNING})  # a pending one is nobody's, whatever else it says


@dataclass(frozen=True, slots=True, kw_only=True)
class Look(Standing):
    """One moment of everything an actor acts on."""

    agent_raw: str
    agent: Agent
    wish_raw: str
    lease: str | None
    batch: Batch

    @property
    def fulfilled(self) -> str | None:
        """Why nothing is left to do for it: its rounds are used up, or it was closed and the mail of then is done."""
        if self.block is Block.SPENT:
            return f"completed {self.rounds}/{self.wish.rounds} rounds"
        is_drained = not self.batch.is_actionable and self.batch.next_due is None
        return "closed, its mail is done" if self.wish.closed_at is not None and is_drained else None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a round got: messages with their tasks, and the agent's record as it is now."""

    messages: list[Message]
    tasks: dict[str, Task]
    attempts: dict[str, int]
    agent_raw: str
    agent: Agent
    names: dict[str, str]


class Mailroom:
    """One spawn of one agent at its mailbox. Everything it writes is guarded by the epoch (EpochLost)."""

    def __init__(self, town: Town, agent_id: str, epoch: int) -> None:
        self._town = town
        self._store = town.store
        self._id = agent_id
        self._epoch = epoch
        self._seen: tuple[str, Agent] | None = None

    def look(self, cli: str, not_before: Mapping[str, float], window: int = WINDOW) -> Look:
        """Read it all in one round trip. A mailbox without anything actionable in sight is read to its end."""
        keys = self._store.keys
        strings = (keys.agent(self._id), keys.stop(self._id), keys.pause(self._id), keys.lease(self._id))
        (raw, stop, pause, lease), wish_raw, rounds, held_ms, urgent, inbox = self._store.read(
            ("MGET", *strings),
            ("HGET", keys.wanted, self._id),
            ("HGET", keys.stats(self._id), "rounds"),
            ("PTTL", keys.hold(cli)),
            ("LRANGE", keys.urgent(self._id), 0, window - 1),
            ("LRANGE", keys.inbox(self._id), 0, window - 1),
        )
        wish = guard(self._id, self._epoch, wish_raw)
        if raw is None:
            raise EpochLost("The agent's record is gone.")
        batch = choose(
            urgent,
            inbox,
            limit_bytes=self._town.config.agent.batch_bytes,
            not_before=not_before,
            now=clock.monotonic(),
            closed_at=wish.closed_at,
        )
        if not batch.is_actionable and window == WINDOW and WINDOW in {len(urgent), len(inbox)}:
            return self.look(cli, not_before, window=0)
        return Look(
            agent_raw=raw,
            agent=self._agent(raw),
            wish_raw=wish_raw,
            wish=wish,
            stop_flag=stop is not None,
            pause_flag=pause is not None,
            all_rounds=count(rounds),
            held_s=max(0, held_ms) / 1000,
            lease=lease,
            batch=batch,
        )

    def _agent(self, raw: str) -> Agent:
        """An idle agent looks at the same record again and again: read it once."""
        if self._seen is None or self._seen[0] != raw:
            self._seen = (raw, Agent.from_json(raw))
        return self._seen[1]

    def claim(self, look: Look) -> Claim | None:
        """Move the chosen messages to `claimed` and their task to running, with the record, in one step.

        Messages whose task has ended (or is somebody else's) are acked instead. None when nothing that
        starts a run is left. Raises Stale when the mailbox changed meanwhile: look again.
        """
        keys = self._store.keys
        tasks_raw, attempts, names = self._facts(look.batch.chosen)
        chosen = _unmixed(look.batch.chosen, tasks_raw)
        tx = self._store.transaction()
        tx.expect_field(keys.wanted, self._id, look.wish_raw, "wish")
        taken: list[Message] = []
        tasks: dict[str, Task] = {}
        for picked in chosen:
            raw = tasks_raw.get(picked.message.task_id or "")
            if picked.message.task_id and not self._is_mine(picked, raw):
                self._refuse(tx, picked, raw)
                continue
            self._take(tx, picked)
            taken.append(picked.message)
            if raw is not None:
                tasks[picked.message.task_id or ""] = self._start_task(tx, picked, raw)
        if not any(message.is_actionable for message in taken):
            self._ack_only(look, tasks_raw)
            return None
        task_id = next(iter(tasks), None)
        state = AgentState.WORKING if look.wish.closed_at is None else AgentState.DRAINING
        agent = look.agent.having(
            state=state, reason=None, current_task=task_id, last_active_at=clock.stamp(), last_heartbeat=clock.stamp()
        )
        agent_raw = save_agent(tx, look.agent_raw, agent)
        if look.agent.state is not state:
            tx.event(state_changed(look.agent, state, "takes up work", clock.stamp(), task_id))
        self._store.commit(tx)
        return Claim(taken, tasks, attempts, agent_raw, agent, names)

    def answer(self, look: Look, state: AgentState, current_task: str | None) -> bool:
        """Answer ping and status requests, obey shutdown, bury what is no message; True when anything was done.

        Raises Stale when the mailbox changed meanwhile.
        """
        if not look.batch.control and not look.batch.broken:
            return False
        tx = self._store.transaction()
        tx.expect_field(self._store.keys.wanted, self._id, look.wish_raw, "wish")
        stops = False
        for picked in look.batch.control:
            self._remove(tx, picked.message.raw, urgent=picked.urgent)
            tx.event(mail.message_event("message_acked", f"{picked.message.type} answered", picked.message, self._id))
            stops = stops or picked.message.type == "shutdown"
            self._reply(tx, picked.message, state, current_task)
        for broken in look.batch.broken:
            self._bury(tx, broken)
        if stops:
            save_wish(tx, self._id, look.wish_raw, look.wish.having(stop=look.wish.stop or "graceful"))
        self._store.commit(tx)
        return True

    def mates(self, names: Mapping[str, str], limit: int = 20) -> list[Agent]:
        """The other agents of the town, for the prompt."""
        others = [i for _name, i in sorted(names.items()) if i != self._id][:limit]
        answers = self._store.read(*(("GET", self._store.keys.agent(i)) for i in others)) if others else []
        found = []
        for raw in answers:
            try:
                found.append(Agent.from_json(raw))
            except (ValueError, TypeError):
                continue
        return found

    def _facts(self, chosen: list[Picked]) -> tuple[dict[str, str | None], dict[str, int], dict[str, str]]:
        """Raw tasks by id, attempts by message id, agent ids by name."""
        keys = self._store.keys
        task_ids = [p.message.task_id for p in chosen if p.message.task_id]
        answers = self._store.read(
            ("HMGET", keys.attempts(self._id), *(p.message.id for p in chosen)),
            ("HGETALL", keys.agents),
            *(("GET", keys.task(task_id)) for task_id in task_ids),
        )
        counted = {p.message.id: count(n) for p, n in zip(chosen, answers[0], strict=True) if n}
        return dict(zip(task_ids, answers[2:], strict=True)), counted, dict(answers[1])

    def _is_mine(self, picked: Picked, raw: str | None) -> bool:
        task = _task(picked, raw)
        return task is not None and task.state in _MINE and task.assigned_to == self._id

    def _start_task(self, tx: Transaction, picked: Picked, raw: str) -> Task:
        task = _task(picked, raw)
        assert task is not None
        if task.state is TaskState.RUNNING:  # left by a run that could not put it back
            tx.expect(tx.keys.task(task.id), raw, "task")
            return task
        started = task.started(clock.stamp())
        tx.save_task(raw, started, task)
        tx.event(
            Event(
                "task_started", "its round begins", clock.stamp(), agent_id=self._id, task_id=task.id,
                old_state=task.state.value, new_state=started.state.value,
            )
        )  # fmt: skip
        return started

    def _take(self, tx: Transaction, picked: Picked) -> None:
        self._remove(tx, picked.message.raw, urgent=picked.urgent)
        tx.do("RPUSH", self._store.keys.claimed(self._id), picked.message.raw)
        tx.event(mail.message_event("message_claimed", "claimed for a round", picked.message, self._id))

    def _remove(self, tx: Transaction, text: str, *, urgent: bool) -> None:
        keys = self._store.keys
        home = keys.urgent(self._id) if urgent else keys.inbox(self._id)
        tx.expect_member(home, text, "mail")
        tx.do("LREM", home, 1, text)

    def _ack_only(self, look: Look, tasks_raw: dict[str, str | None]) -> None:
        """No run comes of this batch: remove what leads nowhere, leave the rest where it lies."""
        tx = self._store.transaction()
        tx.expect_field(self._store.keys.wanted, self._id, look.wish_raw, "wish")
        for picked in look.batch.chosen:
            raw = tasks_raw.get(picked.message.task_id or "")
            if picked.message.task_id and not self._is_mine(picked, raw):
                self._refuse(tx, picked, raw)
        self._store.commit(tx)

    def _refuse(self, tx: Transaction, picked: Picked, raw: str | None) -> None:
        """A task message that leads nowhere: acked when its task ended or moved, buried when there is none."""
        task = _task(picked, raw)
        if task is None:
            self._bury(tx, Broken(picked.message.raw, picked.urgent, f"no task {picked.message.task_id}"))
            return
        tx.expect(self._store.keys.task(task.id), raw, "task")
        self._remove(tx, picked.message.raw, urgent=picked.urgent)
        tx.do("HDEL", self._store.keys.attempts(self._id), picked.message.id)
        why = f"its task is {task.state}" if task.state.is_terminal else "its task has moved"
        tx.event(mail.message_event("message_acked", f"without a run: {why}", picked.message, self._id))

    def _bury(self, tx: Transaction, broken: Broken) -> None:
        self._remove(tx, broken.text, urgent=broken.urgent)
        bury(tx, self._id, broken.text, broken.reason, clock.stamp(), 0)
        tx.event(
            Event(
                "message_dead", broken.reason[:300], clock.stamp(), agent_id=self._id,
                message_id=mail.message_id(broken.text),
            )
        )  # fmt: skip

    def _reply(self, tx: Transaction, message: Message, state: AgentState, current_task: str | None) -> None:
        if message.type == "ping":
            body: tuple[str, dict[str, Any]] = ("pong", {})
        elif message.type == "status_request":
            body = ("status_response", {"state": state.value, "current_task": current_task})
        else:
            return
        correlation = message.correlation_id or message.id
        reply = mail.compose(self._id, message.sender, body[0], body[1], correlation_id=correlation)
        mail.tell(self._town, tx, reply)


def _task(picked: Picked, raw: str | None) -> Task | None:
    """The record of the task that the message leads to."""
    return read_task(raw, picked.message.task_id or "")


def _unmixed(chosen: list[Picked], tasks_raw: Mapping[str, str | None]) -> list[Picked]:
    """A verification is no matter for a model: it has a round of its own. At most one task is chosen."""
    tasks = ((picked, _task(picked, tasks_raw.get(picked.message.task_id or ""))) for picked in chosen)
    verification = next((picked for picked, task in tasks if task is not None and task.is_verification), None)
    if verification is None:
        return chosen
    lead = next(picked for picked in chosen if picked.message.is_actionable)
    return [verification] if lead is verification else [picked for picked in chosen if picked is not verification]
