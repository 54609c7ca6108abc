"""An actor's post: which agent it is, and how it takes, holds and leaves it."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace

from tinytown import clock, processes
from tinytown.domain.agent import Agent
from tinytown.domain.event import Event, state_changed
from tinytown.domain.states import AgentState
from tinytown.errors import EpochLost
from tinytown.journal import ActorEntry
from tinytown.services import recovery
from tinytown.services.settlement import guard
from tinytown.store.agents import AgentRow, counters, save_agent, take_lease
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change


@dataclass(frozen=True, slots=True)
class Post:
    """Which agent this actor is, and for whom it works. `parent` is the supervisor (None in a terminal)."""

    agent_id: str
    name: str
    epoch: int
    parent: processes.Identity | None = None
    tee: int | None = None


class Tenure:
    """One spawn's hold on its agent: file, record, lease. Everything written is guarded by the epoch (EpochLost)."""

    def __init__(self, town: Town, post: Post) -> None:
        self._town = town
        self._post = post
        self._me = processes.own()
        self._entry = ActorEntry(self._me, post.agent_id, post.epoch)
        self._is_filed = False
        self._is_durable = False
        self._token = f"{town.host}:{self._me.pid}:{self._me.started}:{post.epoch}"

    def take(self) -> tuple[Agent, tuple[int, int]]:
        """File first, then what the last spawn left, then record and lease.

        Returns the agent and its (used, allowed) rounds.
        """
        journal = self._town.journal(self._post.name)
        before = journal.actor()
        starts = before.starts if before is not None and before.agent_id == self._post.agent_id else ()
        self._entry = ActorEntry(self._me, self._post.agent_id, self._post.epoch, (*starts, clock.wall()))
        with contextlib.suppress(OSError):  # no room: it is written before the first claim, or nothing is claimed
            journal.write_actor(self._entry)
            self._is_filed = True
        processes.outlive_parent()  # from here on a new supervisor finds and adopts us
        shutil.rmtree(self._town.runs_dir / self._post.name, ignore_errors=True)  # prompts of a killed actor
        unsettled = journal.last_round() is not None  # also one that was: Redis may have lost its settle

        def build(tx: Transaction) -> tuple[Agent, tuple[int, int]]:
            nonlocal unsettled
            row, holder, claimed = self._read()
            if claimed or unsettled:
                recovery.take_back(self._town, row.agent, self._post.epoch, AgentState.IDLE)
                unsettled = False
                row, holder, _claimed = self._read()
            return self._take(tx, row, holder)

        return change(self._town.store, build)

    def make_durable(self) -> None:
        """Before the first claim: who holds the agent is in its file, and survives a power loss. Raises OSError."""
        if self._is_durable:
            return
        journal = self._town.journal(self._post.name)
        if not self._is_filed:
            journal.write_actor(self._entry)
            self._is_filed = True
        journal.sync_actor()
        self._is_durable = True

    def renew(self, wish_raw: str, holder: str | None) -> None:
        """Hold the lease on: the sign of life for everybody who cannot see this process.

        Given what was just read; raises Stale when the wish has changed since: look again.
        """
        if holder not in (None, self._token):
            raise EpochLost(f"The lease is held by {holder}.")
        tx = self._town.store.transaction()
        tx.expect_field(tx.keys.wanted, self._post.agent_id, wish_raw)
        take_lease(tx, self._post.agent_id, self._token)
        tx.is_repeatable = True
        self._town.store.commit(tx)

    def save_state(
        self, state: AgentState, reason: str | None = None, *, task: str | None = None, leaves: bool = False
    ) -> None:
        """Write the agent's state and current task; with `leaves` the lease goes with it (the wish stays)."""

        def build(tx: Transaction) -> None:
            row, _holder, _claimed = self._read()
            agent = row.agent
            tx.expect_field(tx.keys.wanted, agent.id, row.wish_raw)
            if agent.state is not state or agent.reason != reason:
                fresh = agent.having(
                    state=state, reason=reason, epoch=self._post.epoch, current_task=task, last_heartbeat=clock.stamp()
                )
                save_agent(tx, row.raw, fresh)
                tx.event(state_changed(agent, state, reason or state.value, clock.stamp()))
            if leaves:
                tx.do("DEL", tx.keys.lease(agent.id))

        change(self._town.store, build)
        if leaves:
            self._uncount()

    def end(self, reason: str) -> None:
        """The agent's last record: its wish goes in the same step."""

        def build(tx: Transaction) -> None:
            row, _holder, _claimed = self._read()
            recovery.last_record(tx, row, AgentState.STOPPED, reason)

        change(self._town.store, build)

    def say(self, line: str) -> None:
        """One line among what the agent did."""
        tx = self._town.store.transaction()
        tx.activity(self._post.agent_id, line)
        self._town.store.commit(tx)

    def refused(self, lost: EpochLost) -> None:
        """Leave a trace in the town's history that this spawn was refused."""
        tx = self._town.store.transaction()
        tx.event(Event("agent_refused", str(lost), clock.stamp(), agent_id=self._post.agent_id))
        self._town.store.commit(tx)

    def _uncount(self) -> None:
        """An end in order counts towards no restart intensity: our start leaves the file."""
        journal = self._town.journal(self._post.name)
        entry = journal.actor()
        if entry is not None and entry.process == self._me:
            with contextlib.suppress(OSError):
                journal.write_actor(replace(entry, starts=entry.starts[:-1]))

    def _read(self) -> tuple[AgentRow, str | None, int]:
        keys, agent_id = self._town.store.keys, self._post.agent_id
        raw, wish_raw, stats, holder, claimed = self._town.store.read(
            ("GET", keys.agent(agent_id)),
            ("HGET", keys.wanted, agent_id),
            ("HGETALL", keys.stats(agent_id)),
            ("GET", keys.lease(agent_id)),
            ("LLEN", keys.claimed(agent_id)),
        )
        wish = guard(agent_id, self._post.epoch, wish_raw)
        if raw is None:
            raise EpochLost("The agent's record is gone.")
        return AgentRow(Agent.from_json(raw), raw, wish, wish_raw, counters(stats)), holder, claimed

    def _take(self, tx: Transaction, row: AgentRow, holder: str | None) -> tuple[Agent, tuple[int, int]]:
        assert row.wish is not None
        if holder is not None and holder.split(":")[0] != self._town.host:
            raise EpochLost(f"The agent runs on another host ({holder.split(':')[0]}).")
        tx.expect_field(tx.keys.wanted, row.agent.id, row.wish_raw, "wish")
        agent = row.agent.having(
            state=AgentState.IDLE, epoch=self._post.epoch, host=self._town.host, reason=None, current_task=None,
            last_heartbeat=clock.stamp(),
        )  # fmt: skip
        save_agent(tx, row.raw, agent)
        take_lease(tx, agent.id, self._token)
        text = f"up (pid {self._me.pid}, epoch {self._post.epoch})"
        tx.event(state_changed(row.agent, agent.state, text, clock.stamp(), kind="agent_started"))
        return agent, (row.stats.get("rounds", 0) - row.wish.rounds_from, row.wish.rounds)
