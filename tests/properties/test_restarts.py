"""Restart type, reason, intensity: what follows from a child's end, over whole lives with a clock of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.builders import QUICK, make_wish
from tinytown import clock
from tinytown.config import Config, SupervisorConfig
from tinytown.journal import ActorEntry
from tinytown.processes import Identity
from tinytown.supervisor import agents as keeping
from tinytown.supervisor.child import Child, ChildSpec, Phase, RestartType
from tinytown.supervisor.decide import Decision, Exit, Forget, GiveUp, Restart, after_exit
from tinytown.town import Town

pytestmark = pytest.mark.slow

BEGIN = 1_000_000.0
POLICIES = st.builds(
    SupervisorConfig,
    restart_intensity=st.integers(0, 8),
    restart_period_s=st.floats(0.5, 300),
    backoff_s=st.floats(0, 5),
    backoff_max_s=st.floats(5, 60),
)
EXITS = st.builds(Exit, st.sampled_from([None, 0, 1, 127, -9, -15]), st.booleans())
JITTERS = st.floats(0, 1, exclude_max=True)
ENDS = st.tuples(st.floats(0, 400) | st.floats(0, 2), EXITS, JITTERS)  # seconds up, how it ended, luck
LIVES = st.lists(ENDS, min_size=1, max_size=40)


@dataclass
class Life:
    """One wish's spawns by the wall clock, as they happen."""

    policy: SupervisorConfig
    restart: RestartType = RestartType.TRANSIENT
    now: float = BEGIN

    def __post_init__(self) -> None:
        self.starts = [self.now]

    def recent(self) -> int:
        """Restarts in the period that ends now."""
        return sum(start > self.now - self.policy.restart_period_s for start in self.starts[1:])

    def end(self, up_s: float, exited: Exit, jitter: float, *, is_wanted: bool = True) -> Decision:
        self.now += up_s
        decision = after_exit(
            self.restart, exited, is_wanted=is_wanted, starts=self.starts, now=self.now, policy=self.policy,
            jitter=jitter,
        )  # fmt: skip
        if isinstance(decision, Restart):
            self.now += decision.after_s
            self.starts.append(self.now)
        return decision


@QUICK
@given(POLICIES, st.sampled_from([RestartType.TRANSIENT, RestartType.PERMANENT]), LIVES)
def test_no_more_than_the_intensity_and_no_less(
    policy: SupervisorConfig, restart: RestartType, ends: list[tuple[float, Exit, float]]
) -> None:
    """In no period are there more restarts than allowed; a child is given up exactly when there were that many."""
    life = Life(policy, restart)
    for up_s, exited, jitter in ends:
        before = Life(policy, now=life.now + up_s)
        before.starts = list(life.starts)
        decision = life.end(up_s, exited, jitter)
        assert isinstance(decision, GiveUp) == (before.recent() >= policy.restart_intensity)
        if isinstance(decision, GiveUp):
            assert exited.describe() in decision.reason
            return
        assert life.recent() <= policy.restart_intensity


@QUICK
@given(POLICIES, LIVES)
def test_pauses(policy: SupervisorConfig, ends: list[tuple[float, Exit, float]]) -> None:
    """The first restart of a period is at once; pauses double up to the cap; jitter takes a quarter at most."""
    life = Life(replace(policy, restart_intensity=100))
    for up_s, exited, jitter in ends:
        restarts = sum(start > life.now + up_s - policy.restart_period_s for start in life.starts[1:])
        decision = life.end(up_s, exited, jitter)
        assert isinstance(decision, Restart)
        full = 0.0 if restarts == 0 else min(policy.backoff_s * 2 ** (restarts - 1), policy.backoff_max_s)
        assert full * 0.75 <= decision.after_s <= full


@QUICK
@given(POLICIES, LIVES)
def test_what_is_not_started_again(policy: SupervisorConfig, ends: list[tuple[float, Exit, float]]) -> None:
    """A transient child that took its wish along, and a temporary one whatever it did, whatever had been before."""
    for restart, is_wanted in ((RestartType.TRANSIENT, False), (RestartType.TEMPORARY, True)):
        life = Life(policy)
        for up_s, exited, jitter in ends:
            life.end(up_s, exited, jitter)
        life.restart = restart
        assert life.end(1.0, Exit(-9), 0.0, is_wanted=is_wanted) == Forget()


@QUICK
@given(POLICIES, st.lists(st.tuples(ENDS, st.sampled_from([0.0] * 5 + [-1e6, -3600.0, -30.0, 30.0, 3600.0, 1e6]))))
def test_a_clock_that_jumps(policy: SupervisorConfig, ends: list[tuple[tuple[float, Exit, float], float]]) -> None:
    """Nobody is given up for fewer restarts than allowed, and nobody who dies at once again and again is kept."""
    assume(policy.restart_intensity > 0)
    life = Life(policy)
    for end, jump in ends:
        life.now += jump
        decision = life.end(*end)
        if isinstance(decision, GiveUp):
            assert len(life.starts) - 1 >= policy.restart_intensity
            return
    tight = replace(policy, restart_period_s=1e4)
    life.policy = tight
    decisions = [life.end(0.01, Exit(-9), 0.0) for _ in range(policy.restart_intensity + 2)]
    assert any(isinstance(decision, GiveUp) for decision in decisions)


@QUICK
@given(POLICIES, st.lists(st.tuples(ENDS, st.booleans()), min_size=1, max_size=30))
def test_counts_survive_the_supervisor(
    tmp_path: Path, policy: SupervisorConfig, ends: list[tuple[tuple[float, Exit, float], bool]]
) -> None:
    """A supervisor that comes after another decides as the other would have: the actor's file knows the starts."""
    town, wish = Town(tmp_path, Config(name="t", supervisor=policy)), make_wish(since=BEGIN)
    journal = town.journal(wish.name)
    journal.folder.mkdir(parents=True, exist_ok=True)
    life, child = Life(policy), _child([BEGIN])
    for (up_s, exited, _jitter), is_new_supervisor in ends:
        journal.write_actor(ActorEntry(Identity(1, 1), child.spec.id, 1, tuple(life.starts)))
        if is_new_supervisor:
            child = _child([])
        ended_at = life.now + up_s
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(clock, "wall", lambda: ended_at)  # noqa: B023  called at once
            seen = keeping.decide(town, child, exited, wish)
        decision = life.end(up_s, exited, 0.0)
        assert type(seen) is type(decision)
        if not isinstance(decision, Restart):
            return
        child.starts.append(life.now)


def _child(starts: list[float]) -> Child:
    return Child(ChildSpec("11111111-1111-4111-8111-111111111111", "backend"), Phase.RUNNING, starts=starts)
