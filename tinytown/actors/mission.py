"""The mission actor: works on the missions of a town for as long as there are active ones.

It waits in one selector for the town's events, answers about GitHub and signals, and comes back when something is due.
Its supervisor's death kills it: every step is whole, so there is nothing to finish.
"""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable

from setproctitle import setproctitle

from tinytown import clock, logs, processes
from tinytown.actors.bell import News, Ring
from tinytown.actors.lookout import Lookout, worker
from tinytown.backoff import Backoff
from tinytown.errors import EpochLost, RedisAway, Unavailable
from tinytown.github.lines import MergeRequest, ref_of
from tinytown.missions import decide as deciding
from tinytown.services.missions.lease import Lease
from tinytown.services.missions.ticking import Decide, Ticker
from tinytown.signals import SignalQueue
from tinytown.town import Town

RENEW_S = 10.5  # the 10 s of a quiet connection and a little: both are done in one wake-up
BEAT_S = 11.0
LOOK_S = 30.0  # the longest sleep
LEASE_RETRY_S = 1.0
AGAIN_S, AGAIN_MAX_S = 0.02, 5.0
PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 1.0
QUICK_S, PAUSE_FACTOR = 0.05, 3.0  # a tick that takes longer is followed by a pause: a quarter of the time at most
TRIM_S = 5.0
EXIT_LEASE_LOST = 3
LOG = "missions"


class MissionActor:
    """One spawn of the scheduler. `run` returns the exit code; it never raises for Redis being away.

    `asker`: the command of the process that asks GitHub.
    """

    def __init__(
        self,
        town: Town,
        signals: SignalQueue,
        beat: Callable[[], None],
        decide: Decide = deciding.decide,
        asker: list[str] | None = None,
    ) -> None:
        self._town = town
        self._signals = signals
        self._beat = beat
        town.store.on_retry = beat
        self._beat_s = min(BEAT_S, town.config.supervisor.hung_s / 3)
        self._news = News(town.store)
        self._lease = Lease(town)
        self._ticker = Ticker(town, self._lease, decide)
        argv = asker or worker(town.config.github.api_url, town.state_dir / "cache" / "github")
        self._lookout = Lookout(argv, town.root, f"missions:{town.name}:{self._lease.token}")
        self._log = logs.AgentLog(town.state_dir, LOG)
        self._selector = selectors.DefaultSelector()
        self._again = Backoff(AGAIN_S, AGAIN_MAX_S)
        self._holds = False
        self._is_away = False
        self._is_leaving = False
        self._is_untidy = True  # memory of what was done is to be given back
        self._renew_at = 0.0
        self._tick_at = 0.0
        self._not_before = 0.0
        self._done: int | None = None
        self._shown = ""

    def run(self) -> int:
        """Work until no mission is active or told to leave (0), or until another process holds the lease (3)."""
        processes.become_subreaper()
        self._selector.register(self._signals.fd, selectors.EVENT_READ)
        self._title("starting")
        try:
            while self._done is None:
                self._beat()
                self._step()
                if self._done is None:
                    self._wait()
        finally:
            self._lookout.kill()
        return self._done

    # One pass

    def _step(self) -> None:
        now = clock.monotonic()
        try:
            if self._is_leaving:
                self._leave("told to leave")
            else:
                self._with_redis(now)
        except Unavailable as error:
            self._away(error)
        except EpochLost as lost:
            self._log.write(f"⚠️ {lost}")
            self._done = EXIT_LEASE_LOST
        self._lookout.step(now)
        for fd in self._lookout.fds:
            self._watch(fd)

    def _with_redis(self, now: float) -> None:
        if self._news.fd is None:
            if now < self._news.retry_at:
                return
            self._connect()
        if now >= self._renew_at:
            self._hold(now)
        if not self._holds:
            return
        self._hear_answers()
        if now >= max(self._tick_at, self._not_before, self._again.retry_at):
            self._tick()
        self._news.is_well()
        if self._is_away:
            self._is_away = False
            self._log.write("🔌 Redis is back")

    def _connect(self) -> None:
        """From the newest event on; what was before is read."""
        self._news.last_id = self._town.store.events.last_id()
        if not self._news.reconnect():
            raise RedisAway("events")
        self._watch(self._news.fd)
        self._ticker.memory.forget()
        self._tick_at = 0.0

    def _hold(self, now: float) -> None:
        """Take the lease, or hold it on. While somebody else has it: ask again. Raises EpochLost when it was lost."""
        if self._holds:
            has_lapsed = self._lease.renew()
        else:
            holder = self._lease.take()
            if holder is not None:
                self._title(f"waits for {holder.split(':')[0]}")
                self._renew_at = now + LEASE_RETRY_S
                return
            self._log.write("🔄 Missions are worked on from here")
            self._holds = has_lapsed = True
        if has_lapsed:
            self._ticker.memory.forget()
            self._tick_at = 0.0
        self._renew_at = now + RENEW_S

    def _tick(self) -> None:
        begun = clock.monotonic()
        memory = self._ticker.memory
        if self._tick_at > 0:  # by the clock: nothing was heard
            memory.doubt()
        self._tick_at = begun + LOOK_S
        done = self._ticker.tick(self._carry_on)
        self._lookout.merge(done.merges)
        self._lookout.ask(done.looks)
        if memory.is_empty and not done.again:
            if self._lease.drop(when_idle=True):
                self._log.write("🏁 No mission is active")
                self._done = 0
                return
            memory.forget()
            self._renew_at = 0.0  # is it still ours?
        self._title(f"{len(memory.missions)} active")
        ended = clock.monotonic()
        pauses = [LOOK_S, *([hold_s] if (hold_s := memory.hold_ends_s) is not None else [])]
        pauses += [(done.wake_at - clock.now()).total_seconds()] if done.wake_at is not None else []
        self._tick_at = ended + max(min(pauses), PAUSE_MIN_S)
        self._not_before = ended + min(PAUSE_FACTOR * max(ended - begun - QUICK_S, 0.0), PAUSE_MAX_S)
        if done.again or memory.is_empty:
            self._again.failed()
            self._tick_at = ended
        else:
            self._again.worked()
        self._is_untidy = True

    def _carry_on(self) -> bool:
        """Between two steps: alive, the lease held on, and not told to leave."""
        self._beat()
        self._note_signals()
        now = clock.monotonic()
        if now >= self._renew_at:
            self._hold(now)
        return not self._is_leaving

    def _note_signals(self) -> None:
        self._is_leaving = self._is_leaving or bool(self._signals.drain())

    def _hear_answers(self) -> None:
        for question, answer in self._lookout.drain():
            if isinstance(question, MergeRequest):
                self._ticker.merged(ref_of(question), answer)
            else:
                self._ticker.learn(question, answer)
            self._tick_at = 0.0

    def _away(self, error: Unavailable) -> None:
        """Redis is away, or refuses us: a state, not an end."""
        if not self._is_away:
            self._is_away = True
            self._log.write(f"🔌 Redis is away: {error}")
            self._title("Redis away")
        self._news.close()
        self._news.broke()

    def _leave(self, why: str) -> None:
        self._done = 0
        self._log.write(f"🏁 Missions wait: {why}")
        if self._holds and not self._is_away:
            self._lease.leave()

    # Waiting

    def _wait(self) -> None:
        now = clock.monotonic()
        dues = [now + self._beat_s]
        if self._news.fd is None:
            dues.append(self._news.retry_at)
        else:
            dues.append(self._renew_at)
            if self._holds:
                dues.append(max(self._tick_at, self._not_before, self._again.retry_at))
                dues += [now] if self._lookout.has_answers else []
        if (due := self._lookout.next_due()) is not None:
            dues.append(due)
        pause = max(0.0, min(dues) - now)
        if self._is_untidy and pause > TRIM_S:
            self._is_untidy = False
            processes.trim_memory()
        for key, _events in self._selector.select(pause):
            self._dispatch(key.fd)

    def _dispatch(self, fd: int) -> None:
        if fd == self._signals.fd:
            self._note_signals()
        elif fd == self._news.fd:
            self._unwatch(fd)
            if self._news.answer() is not Ring.BROKEN:
                self._watch(self._news.fd)
                if self._ticker.memory.hear(self._news.drain()):
                    self._tick_at = 0.0
        else:
            for closed in self._lookout.on_ready(fd):
                self._unwatch(closed)

    def _watch(self, fd: int | None) -> None:
        if fd is not None:
            with contextlib.suppress(KeyError):  # a number the kernel gave again
                self._selector.unregister(fd)
            self._selector.register(fd, selectors.EVENT_READ)

    def _unwatch(self, fd: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)

    def _title(self, state: str) -> None:
        if state != self._shown:
            setproctitle(f"tt: missions [{state}] [{self._town.name}]")
            self._shown = state
