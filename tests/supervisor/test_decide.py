"""What follows from a child's end: restart types, intensity, back-off."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.config import SupervisorConfig
from tinytown.supervisor.child import RestartType
from tinytown.supervisor.decide import Decision, Exit, Forget, GiveUp, Restart, after_exit, backoff

POLICY = SupervisorConfig()
NOW = 1_000_000.0


def decide(
    kind: RestartType = RestartType.TRANSIENT,
    exited: Exit = Exit(-9),  # noqa: B008  a frozen value
    starts: tuple[float, ...] = (NOW - 1,),
    *,
    is_wanted: bool = True,
    policy: SupervisorConfig = POLICY,
    jitter: float = 0.0,
) -> Decision:
    return after_exit(kind, exited, is_wanted=is_wanted, starts=starts, now=NOW, policy=policy, jitter=jitter)


ENDS = {"normal": (Exit(0), False), "shutdown": (Exit(-15), False), "abnormal": (Exit(1), True)}


@pytest.mark.parametrize("kind", RestartType)
@pytest.mark.parametrize("end", ENDS)
def test_restart_types(kind: RestartType, end: str) -> None:
    """OTP's table: permanent always, temporary never, transient only after an end with its wish still there."""
    exited, is_wanted = ENDS[end]
    restarts = kind is RestartType.PERMANENT or (kind is RestartType.TRANSIENT and end == "abnormal")

    assert isinstance(decide(kind, exited, is_wanted=is_wanted), Restart if restarts else Forget)


@pytest.mark.parametrize("exited", [Exit(0), Exit(1), Exit(-9), Exit(None), Exit(-15, hung=True)])
def test_a_wish_that_is_still_there_makes_any_end_abnormal(exited: Exit) -> None:
    """A transient child that ends without taking its wish along is started again, whatever its exit code."""
    assert decide(exited=exited) == Restart(0.0)


def test_the_intensity() -> None:
    """Five restarts in sixty seconds are allowed; the next end is the last. The first start is no restart."""
    starts: list[float] = []
    decisions = []
    for n in range(7):
        starts.append(NOW - 50 + n)
        decisions.append(decide(starts=tuple(starts)))

    assert [isinstance(d, Restart) for d in decisions] == [True] * 5 + [False] * 2
    assert isinstance(decisions[5], GiveUp)
    assert "5 restarts in 60 s" in decisions[5].reason
    assert "killed by signal 9" in decisions[5].reason


def test_what_is_long_ago_does_not_count() -> None:
    """Restarts outside of the window are forgotten: a child that dies once in a while lives on."""
    old = tuple(NOW - 61 - n for n in range(50))

    assert decide(starts=old) == Restart(0.0)
    assert isinstance(decide(starts=(*old, *[NOW - 5] * 5)), GiveUp)
    assert isinstance(decide(starts=(*old, *[NOW - 5] * 4)), Restart)
    assert decide(starts=()) == Restart(0.0)


def test_an_intensity_of_zero() -> None:
    """0 allows no restart at all."""
    assert isinstance(decide(policy=replace(POLICY, restart_intensity=0)), GiveUp)


def test_a_permanent_child_is_given_up_too() -> None:
    """The intensity holds for every restart type."""
    assert isinstance(decide(RestartType.PERMANENT, starts=(NOW,) * 6), GiveUp)


def test_back_off() -> None:
    """The first restart is at once, then 0.2 s doubling to 30 s."""
    assert [backoff(n, POLICY, 0.0) for n in range(9)] == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6]
    assert backoff(9, POLICY, 0.0) == backoff(10_000, POLICY, 0.0) == 30.0
    assert backoff(-1, POLICY, 0.5) == 0.0


@QUICK
@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_jitter_only_shortens(restarts: int, jitter: float) -> None:
    """A pause is at most a quarter shorter, never longer than without jitter."""
    full = backoff(restarts, POLICY, 0.0)

    assert full * 0.75 <= backoff(restarts, POLICY, jitter) <= full


@QUICK
@given(
    st.sampled_from(RestartType), st.lists(st.floats(NOW - 200, NOW), max_size=80), st.booleans(), st.floats(0, 0.999)
)  # fmt: skip
def test_any_history_has_a_decision(kind: RestartType, starts: list[float], is_wanted: bool, jitter: float) -> None:  # noqa: FBT001
    """Whatever the facts, the decision is one of three, and a pause is finite and not negative."""
    decision = decide(kind, starts=tuple(starts), is_wanted=is_wanted, jitter=jitter)

    assert isinstance(decision, Restart | GiveUp | Forget)
    if isinstance(decision, Restart):
        assert 0 <= decision.after_s <= POLICY.backoff_max_s


@pytest.mark.parametrize(
    ("exited", "words"),
    [
        (Exit(0), "exit code 0"),
        (Exit(-9), "killed by signal 9"),
        (Exit(None), "ended"),
        (Exit(-9, hung=True), "hung, ended"),
    ],
)
def test_ends_in_words(exited: Exit, words: str) -> None:
    """The log says how a child ended."""
    assert exited.describe() == words


def test_the_period_is_the_window() -> None:
    """The same starts are too many within a long period, and forgotten within a short one."""
    starts = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]

    def decision(period_s: float) -> object:
        policy = SupervisorConfig(restart_period_s=period_s)
        end = Exit(-9)
        return after_exit(
            RestartType.TRANSIENT, end, is_wanted=True, starts=starts, now=61.0, policy=policy, jitter=0.0
        )

    assert isinstance(decision(60.0), GiveUp)
    assert isinstance(decision(5.0), Restart)
