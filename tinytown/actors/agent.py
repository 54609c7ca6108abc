"""The agent actor: waits on its inbox, runs the model CLI, settles the result, and beats."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from collections.abc import Callable

from setproctitle import setproctitle

from tinytown import clock, logs, processes
from tinytown.actors.bell import Bell, Ring
from tinytown.actors.departure import Departure, Leaving
from tinytown.actors.fitness import Fitness
from tinytown.actors.mailroom import Look, Mailroom
from tinytown.actors.post import Post, Tenure
from tinytown.actors.round import Round
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.standing import Block
from tinytown.domain.states import AgentState
from tinytown.errors import EpochLost, RedisAway, TinytownError, Unavailable
from tinytown.services import backlog, recovery
from tinytown.services.settlement import Round as Ended
from tinytown.services.settlement import Settlement, describe, settle
from tinytown.signals import SignalQueue
from tinytown.store.transaction import Stale
from tinytown.town import Town

RENEW_S = 10.5  # the bell's 10 s and a little: both are done in one wake-up
RENEW_EARLY_S = 2.0
BEAT_S = 11.0
LOOK_TRIES = 20
EXIT_EPOCH_LOST = 3
NOT_RUN = Outcome(OutcomeKind.STOPPED, "claimed, and no run began")
NOW_SIGNAL = signal.SIGUSR1  # end the model too


class AgentActor:
    """One spawn of one agent. `run` returns the exit code; it never raises for Redis being away."""

    def __init__(self, town: Town, post: Post, signals: SignalQueue, beat: Callable[[], None]) -> None:
        self._town = town
        self._post = post
        self._signals = signals
        self._beat = beat
        town.store.on_retry = beat
        self._beat_s = min(BEAT_S, town.config.supervisor.hung_s / 3)
        self._bell = Bell(town.store, post.agent_id)
        self._log = logs.AgentLog(town.logs_dir, post.name, post.tee)
        self._journal = town.journal(post.name)
        self._mail = Mailroom(town, post.agent_id, post.epoch)
        self._tenure = Tenure(town, post)
        self._selector = selectors.DefaultSelector()
        self._parent_fd: int | None = None
        self._departure = Departure(fulfils=post.parent is None)
        self._booted = False
        self._is_away = False
        self._look_due = True
        self._scan_backlog = True
        self._renew_at = 0.0
        self._due = 0.0  # earliest moment something held back may be looked at again
        self._fitness = Fitness()
        self._is_untidy = True  # memory of a start or a round is to be given back
        self._not_before: dict[str, float] = {}
        self._round: Round | None = None
        self._state = AgentState.STARTING
        self._done: int | None = None
        self._cli = ""
        self._rounds = (0, 0)
        self._next_round = 1

    def run(self) -> int:
        """Live until stopped. Exit 0: left in order; 3: another spawn holds the agent."""
        processes.become_subreaper()
        self._selector.register(self._signals.fd, selectors.EVENT_READ)
        if self._post.parent is not None:
            self._parent_fd = processes.open_pidfd(self._post.parent)
            if self._parent_fd is None:
                return 0  # nothing is held yet; the next supervisor starts us anew
            self._selector.register(self._parent_fd, selectors.EVENT_READ)
        try:
            while self._done is None:
                self._beat()
                self._step()
                if self._done is None:
                    self._wait()
        finally:
            if self._round is not None:
                self._round.kill()
        return self._done

    # One pass

    def _step(self) -> None:
        now = clock.monotonic()
        if self._round is not None:
            self._round.on_timer(now)
            for fd in self._round.proceed():
                self._watch(fd)
            if self._round.is_over:
                self._round.outcome()  # into the journal, whether or not Redis is there to settle it
        try:
            self._with_redis(now)
        except Unavailable as error:
            self._away(error)
        except EpochLost as lost:
            self._epoch_lost(lost)

    def _away(self, error: Unavailable) -> None:
        """Redis is away, or refuses us: a state, not an end. The model goes on; the bell tells when it is back."""
        if not self._is_away:
            self._is_away = True
            self._log.write(f"🔌 Redis is away: {error}")
        self._bell.close()
        self._bell.broke()
        self._leave_without_redis()

    def _with_redis(self, now: float) -> None:
        if self._bell.fd is None:
            if now < self._bell.retry_at:
                self._leave_without_redis()
                return
            self._connect()
        if not self._booted:
            self._boot()
        if self._round is not None and self._round.is_over:
            self._settle()
        if self._look_due or now >= self._renew_at or (self._due and now >= self._due):
            self._look_due = False
            self._look()
        if self._departure.has_begun and self._round is None and self._done is None:
            self._leave_in_order()
        self._bell.is_well()
        if self._is_away:
            self._is_away = False
            self._log.write("🔌 Redis is back")

    def _connect(self) -> None:
        was_connected = self._booted
        if not self._bell.reconnect():
            raise RedisAway("bell")
        self._watch(self._bell.fd)
        if was_connected:
            self._after_outage()
        self._look_due = self._scan_backlog = True

    def _after_outage(self) -> None:
        """An answer may have been lost, or the server may have lost a moment: compare before going on."""
        keys = self._town.store.keys
        if self._round is None:
            recovery.reclaim_done(self._town, self._journal.last_round(), self._post.agent_id, self._post.epoch)
        claimed = self._town.store.call(lambda r: r.lrange(keys.claimed(self._post.agent_id), 0, -1))
        if self._round is None:
            self._settle_lost(claimed)
            return
        self._round.reassert(claimed)

    def _settle_lost(self, claimed: list[str]) -> None:
        """Claimed without a round: a settle that Redis lost, or a claim whose answer was lost and that nobody ran."""
        entry = self._journal.last_round()
        if entry is not None and entry.outcome is not None and recovery.knows_better(entry):
            known = tuple(text for text in claimed if text in entry.messages)
            ended = Ended(entry.outcome, known, entry.run, charges_round=False)
            settle(self._town, self._post.agent_id, self._post.epoch, ended, self._state)
            claimed = [text for text in claimed if text not in known]
        if claimed:
            settle(self._town, self._post.agent_id, self._post.epoch, Ended(NOT_RUN, tuple(claimed)), self._state)

    def _boot(self) -> None:
        agent, self._rounds = self._tenure.take()
        self._cli = agent.cli
        self._state = AgentState.IDLE
        self._renew_at = clock.monotonic() + RENEW_S
        self._next_round = max(logs.round_numbers(self._town.logs_dir, self._post.name), default=0) + 1
        self._booted = True
        self._log.write(f"🔄 Agent '{self._post.name}' is up on {self._cli} (epoch {self._post.epoch})")

    # Looking

    def _look(self) -> None:
        self._due = 0.0
        for _ in range(LOOK_TRIES):
            with contextlib.suppress(Stale):
                if self._look_once():
                    return
        self._look_due = True

    def _look_once(self) -> bool:
        """One look and what follows from it; False: look again."""
        look = self._mail.look(self._cli, self._not_before)
        if clock.monotonic() >= self._renew_at - RENEW_EARLY_S:
            self._tenure.renew(look.wish_raw, look.lease)
            self._renew_at = clock.monotonic() + RENEW_S
        self._rounds = (look.rounds, look.wish.rounds)
        current = self._round.entry.task_id if self._round is not None else None
        if self._mail.answer(look, self._state, current):
            return False
        self._obey(look)
        if self._round is not None:
            self._round.check_task()
            return True
        return self._may_work(look) or self._work(look)

    def _obey(self, look: Look) -> None:
        if look.stop is not None:
            how = Leaving.NOW if look.stop == "now" else Leaving.AFTER_ROUND
            self._leave(how, "stopped on request", fulfils=True)
        if self._round is not None and look.wish.pause_now:
            self._round.end(OutcomeKind.STOPPED, "interrupted")
        if self._round is not None and look.wish.closed_at is not None:
            self._become(AgentState.DRAINING)

    def _may_work(self, look: Look) -> bool:
        """True when there is nothing more to do in this look: leaving, paused, spent, drained, held."""
        if self._departure.has_begun:
            return True
        if look.block is Block.PAUSED:
            self._become(AgentState.PAUSED)
            return True
        if look.fulfilled is not None:
            self._leave(Leaving.AFTER_ROUND, look.fulfilled, fulfils=True)
            return True
        self._become(AgentState.IDLE if look.wish.closed_at is None else AgentState.DRAINING)
        held = max(look.held_s, self._fitness.wait_s)
        if held > 0:
            self._due = clock.monotonic() + held + 0.01
            return True
        return False

    def _work(self, look: Look) -> bool:
        if not look.batch.is_actionable:
            self._due = look.batch.next_due or 0.0
            if self._scan_backlog and backlog.claims(self._town, look.agent, look.wish):
                self._scan_backlog = False
                return not backlog.claim_for_role(self._town, look.agent)
            self._scan_backlog = False
            return True
        try:
            self._tenure.make_durable()
        except OSError as error:
            self._cannot_run(error)
            return True
        claim = self._mail.claim(look)
        if claim is None:
            return False
        self._state = claim.agent.state
        try:
            self._round = Round.begin(self._town, self._post, claim, self._next_round, look, self._mail, self._log)
        except OSError as error:
            texts = tuple(message.raw for message in claim.messages)
            self._state = self._between_rounds
            settle(self._town, self._post.agent_id, self._post.epoch, Ended(NOT_RUN, texts), self._state)
            self._cannot_run(error)
            return True
        self._next_round += 1
        for fd in self._round.fds:
            self._watch(fd)
        self._title()
        return True

    def _cannot_run(self, error: OSError) -> None:
        """Without a journal nothing may run: the mail waits, uncharged, and the agent says why and pauses a little."""
        self._tenure.say(f"⚠️ no round: the journal cannot be written ({error.strerror})")
        self._log.write(f"⚠️ no round: {error.strerror} ({error.filename})")
        self._due = self._fitness.pause()

    # Settling

    def _settle(self) -> None:
        assert self._round is not None
        entry, outcome = self._round.entry, self._round.outcome()
        ended = Ended(outcome, entry.messages, entry.run, entry.number, asks=self._fitness.judge(outcome))
        done = settle(self._town, self._post.agent_id, self._post.epoch, ended, self._between_rounds)
        self._journal.close_round()
        self._round = None
        self._state = self._between_rounds
        self._delay(done)
        self._log.write(f"📍 Round {entry.number}: {describe(done.outcome)}")
        self._look_due = self._scan_backlog = self._is_untidy = True
        self._title()

    def _delay(self, done: Settlement) -> None:
        """Hold back what is to be tried again later."""
        now = clock.monotonic()
        self._not_before = {i: t for i, t in self._not_before.items() if t > now}
        self._not_before |= {i: now + delay_s for i, delay_s in done.delays.items() if delay_s > 0}

    @property
    def _between_rounds(self) -> AgentState:
        return self._state if self._state is AgentState.DRAINING else AgentState.IDLE

    # Leaving

    def _leave(self, how: Leaving, why: str, *, fulfils: bool = False) -> None:
        self._departure.ask(how, why, fulfils=fulfils)
        if self._departure.how is Leaving.NOW and self._round is not None:
            self._round.end(OutcomeKind.STOPPED, self._departure.why)

    def _leave_in_order(self) -> None:
        """The last thing written: with the wish, when it is fulfilled or withdrawn; else only the state."""
        if self._departure.fulfils:
            self._tenure.end(self._departure.why)
        else:
            self._tenure.save_state(AgentState.STOPPED, self._departure.why, leaves=True)
        self._log.write(f"🏁 Agent '{self._post.name}' leaves: {self._departure.why}")
        self._done = 0

    def _leave_without_redis(self) -> None:
        """What a round left is in the journal; whoever comes settles it."""
        if self._departure.has_begun and self._round is not None and self._round.is_over:
            self._round.outcome()
            self._round = None
        if self._departure.has_begun and self._round is None:
            self._log.write(f"🏁 Agent '{self._post.name}' leaves while Redis is away: {self._departure.why}")
            self._done = 0

    def _epoch_lost(self, lost: EpochLost) -> None:
        """Refused: leave a trace and the journal, and go. The model must not outlive us."""
        if self._round is not None:
            self._round.kill()
            self._round = None
        self._log.write(f"⚠️ {lost}")
        with contextlib.suppress(TinytownError):
            self._tenure.refused(lost)
        self._done = EXIT_EPOCH_LOST

    # Waiting

    def _wait(self) -> None:
        if self._is_untidy and self._round is None and not self._look_due:
            self._is_untidy = False
            processes.trim_memory()
        self._title()
        now = clock.monotonic()
        dues = [now + self._beat_s, self._renew_at if self._bell.fd is not None else self._bell.retry_at]
        dues += [self._due] if self._due and self._bell.fd is not None else []
        if self._round is not None and (due := self._round.next_due()) is not None:
            dues.append(due)
        can_settle = self._round is not None and self._round.is_over  # also one that could not even begin
        if (self._look_due or can_settle) and self._bell.fd is not None:
            dues.append(now)
        for key, _events in self._selector.select(max(0.0, min(dues) - now)):
            self._dispatch(key.fd)

    def _dispatch(self, fd: int) -> None:
        if fd == self._signals.fd:
            for signum in self._signals.drain():
                self._on_signal(signum)
        elif fd == self._parent_fd:
            self._unwatch(fd)
            os.close(fd)
            self._parent_fd = None
            self._leave(Leaving.AFTER_ROUND, "the supervisor is gone")
        elif fd == self._bell.fd:
            self._on_bell(fd)
        elif self._round is not None:
            for closed in self._round.on_ready(fd):
                self._unwatch(closed)

    def _on_bell(self, fd: int) -> None:
        self._unwatch(fd)
        ring = self._bell.answer()
        if ring is not Ring.BROKEN:
            self._watch(self._bell.fd)
            self._look_due = True
            self._scan_backlog = self._scan_backlog or ring is Ring.RUNG

    def _on_signal(self, signum: int) -> None:
        if signum == NOW_SIGNAL or (signum == signal.SIGINT and self._departure.has_begun):
            self._leave(Leaving.NOW, "ended by the supervisor" if self._post.parent else "interrupted")
        else:
            self._leave(Leaving.AFTER_ROUND, "the supervisor is stopping" if self._post.parent else "interrupted")

    def _watch(self, fd: int | None) -> None:
        if fd is not None:
            with contextlib.suppress(KeyError):  # a number the kernel gave again
                self._selector.unregister(fd)
            self._selector.register(fd, selectors.EVENT_READ)

    def _unwatch(self, fd: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)

    # Showing

    def _become(self, state: AgentState) -> None:
        if self._state is not state:
            self._tenure.save_state(state, task=self._round.entry.task_id if self._round is not None else None)
            self._state = state

    def _title(self) -> None:
        used, most = self._rounds
        title = f"tt: agent {self._post.name} [{self._state} {used}/{most}] [{self._town.name}]"
        if title != getattr(self, "_shown", ""):
            setproctitle(title)
            self._shown = title
