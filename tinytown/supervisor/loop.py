"""The loop: signals, doorbell, deaths, hung children, wanted against running, restarts that are due."""

from __future__ import annotations

import contextlib
import gc
import selectors
import signal
from collections.abc import Callable
from typing import Any

from setproctitle import setproctitle

from tinytown import clock, processes
from tinytown import config as settings
from tinytown.backoff import Backoff
from tinytown.errors import RedisAway, TinytownError
from tinytown.signals import SignalQueue
from tinytown.store.keys import LEASE_TTL_S
from tinytown.supervisor import agents, missions, presence, program
from tinytown.supervisor.child import Child, Phase
from tinytown.supervisor.children import HUNG_KILL_S, Children
from tinytown.supervisor.decide import Exit, GiveUp, Restart
from tinytown.supervisor.doorbell import Doorbell
from tinytown.supervisor.keeper import Keeper
from tinytown.supervisor.log import SupervisorLog
from tinytown.supervisor.notify import Notifier
from tinytown.supervisor.redis_keeper import RedisKeeper
from tinytown.supervisor.shutdown import Shutdown
from tinytown.town import Town

TICK_S = 1.0
AWAY_RETRY_S = 0.05
AWAY_RETRY_MAX_S = 1.0
RENEW_S = 10.0
STARTS_PER_PASS = 8
ADOPTED_LOOK_S = 5.0
AGAIN_S = 1.0
LEFTOVER_PAUSE_S = 0.005
LEFTOVER_PATIENCE_S = 1.0
LEFTOVER_STUBBORN_S = 5.0
UPKEEP_FIRST_S = 30.0
UPKEEP_S = 3600.0
CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Supervisor:
    """One per town and host: the caller holds the lock. `run` returns the exit code."""

    def __init__(self, town: Town, log: SupervisorLog) -> None:
        self.town = Town(town.root, town.config, is_hurried=True)
        self.store = self.town.store
        self.log = log
        self._me = processes.own()
        self._started = clock.monotonic()
        self._selector = selectors.DefaultSelector()
        self._signals = SignalQueue(CAUGHT)
        self._doorbell = Doorbell(self.town.doorbell)
        self._notify = Notifier()
        self.children = Children(self._selector, self._leave_behind, self._program)
        self._redis = RedisKeeper(self.town, self._leave_behind, log.write)
        self._make_keepers()
        self._look_due = True
        self._look_at = 0.0
        self._away_since: float | None = None
        self._back_at = 0.0
        self._retry = Backoff(AWAY_RETRY_S, AWAY_RETRY_MAX_S)
        self._renew_at = 0.0
        self._adopted_at = 0.0
        self._upkeep_at = clock.monotonic() + UPKEEP_FIRST_S
        self._shutdown = Shutdown(self.children, log.write)

    # The life of a supervisor

    def run(self) -> int:
        """Adopt, then loop until stopped and every child is gone."""
        processes.become_subreaper()
        for fd in (self._signals.fd, self._doorbell.fd):
            self._selector.register(fd, selectors.EVENT_READ)
        self._redis.watch()
        setproctitle(f"tt: supervisor [{self.town.name}]")
        gc.collect()
        gc.freeze()  # children share what is there now; their collector leaves it alone
        self.log.write(f"🏘️ Supervisor of town '{self.town.name}' is up (pid {self._me.pid})")
        self._notify.ready()
        while not self._shutdown.is_over or self.children.unswept:
            self._pass()
            self._sleep()
        self._finish()
        return 0

    def _pass(self) -> None:
        now = clock.monotonic()
        self._hung(now)
        self._sweep(now)
        self._redis.step(now)
        if self._shutdown.has_begun:
            self._shutdown.step(now)
        elif now >= self._retry.retry_at:
            try:
                self._with_redis(now)
            except TinytownError as error:
                self._redis_away(error)
        self._notify.feed(now)
        self._show()

    def _with_redis(self, now: float) -> None:
        if self._away_since is not None:
            presence.hold_lease(self.town, self._me)  # not a PING: a server that takes no writes is not back
            self._redis_back(now)
        if now >= self._renew_at:
            presence.hold_lease(self.town, self._me)
            self._renew_at = now + RENEW_S
        if self._look_due or now >= self._look_at:
            self._look()
            self._look_at = now + TICK_S
        for child in self.children:
            if child.phase is Phase.DEAD and child.is_swept and child.start_at <= now:
                self._cared(child, self._after_death)
        self._start_due(now)
        self.children.keep_spare(now)
        self._check_adopted(now)
        if now >= self._upkeep_at:
            self._upkeep_at = now + UPKEEP_S
            with contextlib.suppress(OSError):
                self.children.run_helper(lambda: program.upkeep(self.town))

    # Redis

    def _redis_away(self, error: TinytownError) -> None:
        now = clock.monotonic()
        if self._away_since is None:
            self._away_since = now
            self.log.write(f"🔌 Redis is away: {error}")
            if isinstance(error, RedisAway):
                self._redis.start_soon()
        self._retry.failed()

    def _redis_back(self, now: float) -> None:
        assert self._away_since is not None
        self.log.write(f"🔌 Redis is back after {now - self._away_since:.1f} s")
        self._away_since = None
        self._back_at = now
        self._retry.worked()
        self._look_due = True
        self._redis.watch()

    # Wanted against running

    def _look(self) -> None:
        keys = self.store.keys
        wishes, active = self.store.read(("HGETALL", keys.wanted), ("EXISTS", keys.missions_active))
        anew, self._look_due = self._look_due, False
        self._agents.look(dict(wishes), anew=anew)
        self._missions.look(is_wanted=bool(active))

    def _make_keepers(self) -> None:
        """Who knows what each kind of child is for."""
        self._agents = agents.Agents(self.town, self.children, self.log)
        self._missions = missions.Missions(self.town, self.children, self.log)
        self._keepers: dict[str, Keeper] = {agents.KIND: self._agents, missions.KIND: self._missions}

    def _keeper(self, child: Child) -> Keeper:
        return self._keepers[child.spec.kind]

    # Deaths

    def _sweep(self, now: float) -> None:
        """What dead children left ends at once: Redis away or not, and also on our way out."""
        for child in self.children.unswept:
            if now >= child.start_at:
                tried_long = 0 < child.leftovers_since < now - LEFTOVER_PATIENCE_S
                gone = not self._has_leftovers(child)
                child.is_swept = gone or (self._shutdown.has_begun and tried_long)

    def _has_leftovers(self, child: Child) -> bool:
        """Kill what the dead one's models left, and come back soon while something is there; never two models."""
        left = self._keeper(child).leftovers(child)
        processes.kill_all(left)
        now = clock.monotonic()
        if not left:
            child.leftovers_since = 0.0
            return False
        child.leftovers_since = child.leftovers_since or now
        stubborn = now - child.leftovers_since > LEFTOVER_PATIENCE_S
        if stubborn:
            self.log.write(f"⚠️ {child.spec.label}: its model's process {left[0].pid} cannot be killed; waiting")
        child.start_at = now + (LEFTOVER_STUBBORN_S if stubborn else LEFTOVER_PAUSE_S)
        return True

    def _after_death(self, child: Child) -> None:
        """What its end means. Raises RedisAway: then it is tried again when Redis is back."""
        exited = Exit(child.exit_code, child.hung)
        decision = self._keeper(child).decide(child, exited)
        if isinstance(decision, GiveUp):
            self._keeper(child).give_up(child, decision.reason)
            self.log.write(f"❌ {child.spec.label}: {exited.describe()}; given up: {decision.reason}")
        elif isinstance(decision, Restart):
            pause = f"in {decision.after_s:.1f} s" if decision.after_s else "at once"
            self.log.write(f"💥 {child.spec.label}: {exited.describe()}; restart {pause}")
            child.hung = False
            child.restarts += 1
            child.phase, child.start_at = Phase.WAITING, clock.monotonic() + decision.after_s
        else:
            self.children.forget(child)
            self._look_due = True

    def _hung(self, now: float) -> None:
        self.children.seen_awake()
        for child in self.children.silent(self.town.config.supervisor.hung_s):
            self._declare_hung(child)
        self.children.kill_overdue(now)

    def _declare_hung(self, child: Child) -> None:
        self.log.write(f"🧟 {child.spec.label} is hung (no beat); ending it")
        child.hung = True
        self.children.end(child, signal.SIGTERM, HUNG_KILL_S)

    def _check_adopted(self, now: float) -> None:
        """An adopted actor's beat is its lease; nothing counts until Redis was there for a whole TTL."""
        if now < self._adopted_at:
            return
        self._adopted_at = now + ADOPTED_LOOK_S
        adopted = [c for c in self.children if c.is_adopted and c.phase is Phase.RUNNING]
        for child in adopted:
            lapsed = max(child.up_since, self._back_at) + LEASE_TTL_S < now
            if lapsed and self.store.agents.lease(child.spec.id) is None:
                self._declare_hung(child)

    # Starting

    def _start_due(self, now: float) -> None:
        due = [c for c in self.children if c.phase is Phase.WAITING and c.start_at <= now]
        for child in due[:STARTS_PER_PASS]:
            self._cared(child, self._start)

    def _cared(self, child: Child, step: Callable[[Child], None]) -> None:
        """One child's trouble is its own: said, and tried again a little later. Raises RedisAway only."""
        try:
            step(child)
        except RedisAway:
            raise
        except TinytownError as error:
            child.start_at = clock.monotonic() + AGAIN_S
            self.log.write_once(child.spec.id, f"⚠️ {child.spec.label}: {error}")

    def _start(self, child: Child) -> None:
        """A new epoch, then the fork. A wish that changed meanwhile is looked at again."""
        if self._has_leftovers(child):
            return
        epoch = self._keeper(child).prepare(child)
        if epoch is None:
            self._look_due = True
            self.children.forget(child)
            return
        try:
            self.children.start(child, epoch)
        except OSError as error:  # the machine is short of something: that must not end supervision
            child.start_at = clock.monotonic() + AGAIN_S
            self.log.write(f"⚠️ {child.spec.label} cannot be started: {error.strerror}; another try soon")
            return
        assert child.identity is not None
        self.log.write(f"▶️ {child.spec.label} started (pid {child.identity.pid}, epoch {epoch})")

    def _program(self, assignment: Callable[[], bytes], beat: Callable[[], None]) -> int:
        """What a child runs."""
        return program.actor_main(self.town, self._me, assignment, beat)

    def _leave_behind(self) -> None:
        """In a fresh child: what only the supervisor may use. Closed, not unregistered."""
        self._selector.close()
        self._signals.close()
        self._doorbell.close_in_child()
        self.store.close()
        self.children.close_in_child()

    # Stopping

    def _on_signal(self, signum: int) -> None:
        if signum == signal.SIGHUP:
            self._reload()
        elif signum == signal.SIGCHLD:
            self.children.reap_orphans(self._redis.own_pid)
        elif signum in (signal.SIGTERM, signal.SIGINT):
            self._stop(again=signum == signal.SIGINT)

    def _stop(self, *, again: bool) -> None:
        """The first wish to stop gives time; a second Ctrl-C takes it back."""
        if not self._shutdown.has_begun:
            self._notify.stopping()
            self.children.drop_spare()
            self._shutdown.begin(self.town.config.supervisor.grace_s)
        elif again:
            self._shutdown.at_once()

    def _finish(self) -> None:
        presence.drop_lease(self.town)
        self.children.end_helpers()
        self._doorbell.close()
        self.log.write("👋 Supervisor has ended; the agents' mail and tasks are kept")

    def _reload(self) -> None:
        self._notify.reloading()
        try:
            config = settings.load(self.town.root)
        except TinytownError as error:
            self.log.write(f"⚠️ Configuration kept as it was: {error}")
        else:
            self.store.close()
            self.town = Town(self.town.root, config, is_hurried=True)
            self.store = self.town.store
            self._make_keepers()
            self._missions.begin_anew()
            self._look_due = True
            self.children.drop_spare()
            self.log.write("🔧 Configuration read again; agents get it when they start next")
        self._notify.ready()

    # Sleeping and showing

    def _sleep(self) -> None:
        now = clock.monotonic()
        dues = [now + TICK_S, self.children.spare_due, *self.children.dues(works=self._works)]
        if self._look_due and self._works:
            dues.append(now)
        if self._away_since is not None:
            dues.append(self._retry.retry_at)
        if self._shutdown.has_begun:
            dues.append(self._shutdown.next_due)
        dues += [due for due in (self._notify.feed(now), self._redis.step(now)) if due is not None]
        self._watch_redis()
        pause = max(0.0, min(dues) - now)
        self.children.seen_awake()
        ready = self._selector.select(pause)
        self.children.seen_awake(pause)
        for key, _events in ready:
            self._dispatch(key.fd)

    @property
    def _works(self) -> bool:
        """Children can be started and taken leave of: Redis is there, and we stay."""
        return self._away_since is None and not self._shutdown.has_begun

    def _watch_redis(self) -> None:
        for fd in self._redis.fds:
            if fd not in self._selector.get_map():
                self._selector.register(fd, selectors.EVENT_READ)

    def _dispatch(self, fd: int) -> None:
        if fd == self._signals.fd:
            for signum in self._signals.drain():
                self._on_signal(signum)
        elif fd == self._doorbell.fd:
            self._look_due = self._doorbell.answer(self.status) or self._look_due
        elif fd in self._redis.fds:
            self._selector.unregister(fd)
            self._redis.on_ready(fd)
        else:
            child = self.children.on_ready(fd)
            self.children.reap_orphans(self._redis.own_pid)  # those that waited behind it
            if child is not None and self._shutdown.has_begun:
                self._keeper(child).note_stopped(child)

    def status(self) -> dict[str, Any]:
        """What `tt supervise --status` shows. Works without Redis."""
        return {
            "pid": self._me.pid,
            "town": self.town.name,
            "uptime_s": round(clock.monotonic() - self._started, 3),
            "stopping": self._shutdown.has_begun,
            "redis": "away" if self._away_since is not None else "ok",
            "children": self.children.status(),
        }

    def _show(self) -> None:
        alive = sum(child.spec.kind == agents.KIND for child in self.children.alive)
        where = "stopping, " if self._shutdown.has_begun else "Redis away, " if self._away_since is not None else ""
        self._notify.status(f"{where}{alive} agent(s) running")
