"""How long an agent waits that could not run a round."""

from __future__ import annotations

from tinytown.actors.fitness import PAUSE_S, RETRY_MOST_S, RETRY_S, Fitness
from tinytown.domain.outcome import Outcome, OutcomeKind

FAILED = Outcome(OutcomeKind.UNPREPARED, "no node here")


def test_waits_longer_and_asks_once() -> None:
    """Twice as long each time, up to a bound; the same complaint is news once, another one again."""
    fitness = Fitness()
    assert fitness.wait_s <= 0
    asked, waits = [], []
    for _ in range(40):
        asked.append(fitness.judge(FAILED))
        waits.append(round(fitness.wait_s))
    assert waits[:4] == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S, 8 * RETRY_S]
    assert set(waits[9:]) == {RETRY_MOST_S}
    assert asked == [True] + [False] * 39
    assert fitness.judge(Outcome(OutcomeKind.UNPREPARED, "no python here"))


def test_a_round_forgets_it() -> None:
    """After a round that ran, a failure is news, and the first."""
    fitness = Fitness()
    for _ in range(5):
        fitness.judge(FAILED)
    assert fitness.judge(Outcome(OutcomeKind.CRASHED))
    assert fitness.judge(FAILED)
    assert fitness.wait_s <= RETRY_S


def test_pause() -> None:
    """A little, whatever went before."""
    fitness = Fitness()
    fitness.pause()
    assert 0 < fitness.wait_s <= PAUSE_S
