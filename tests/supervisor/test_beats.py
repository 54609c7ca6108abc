"""Beats: shared memory between a supervisor and its children."""

from __future__ import annotations

import os

import pytest

from tests.support.waiting import wait_until
from tinytown import clock
from tinytown.supervisor.beats import SLOTS, Beats


def test_a_beat_of_a_child_is_seen_by_its_parent() -> None:
    """A child that was forked later beats into the memory its parent reads, and into no other slot."""
    beats = Beats()
    mine, other = beats.take(), beats.take()
    wait_until(lambda: beats.age(mine) > 0.05 and beats.age(other) > 0.05, 2)
    pid = os.fork()
    if pid == 0:
        beats.beat(mine)
        os._exit(0)
    os.waitpid(pid, 0)

    assert beats.age(mine) < beats.age(other)
    assert beats.age(other) > 0.05


def test_a_new_slot_beats_now() -> None:
    """A child is not hung before it could beat, also in a slot that was used before."""
    beats = Beats()
    slot = beats.take()
    wait_until(lambda: beats.age(slot) > 0.02, 2)
    beats.free(slot)

    assert beats.take() == slot
    assert 0 <= beats.age(slot) < 0.02
    assert beats.age(slot) < clock.monotonic()


def test_slots_are_not_shared() -> None:
    """Each child has a slot of its own; there are thousands; no slot (-1) is freed for nothing."""
    beats = Beats()
    taken = [beats.take() for _ in range(SLOTS)]

    assert sorted(taken) == list(range(SLOTS))
    beats.free(-1)
    with pytest.raises(IndexError):
        beats.take()
