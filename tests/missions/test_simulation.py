"""Thousands of random missions under a virtual clock."""

from __future__ import annotations

import os

import pytest

from tests.missions.simulation import World

pytestmark = pytest.mark.slow

BLOCKS = 10
SEEDS = int(os.environ.get("MISSION_SEEDS", "60"))
FIRST = int(os.environ.get("MISSION_FIRST", "0"))


@pytest.mark.parametrize("block", range(BLOCKS))
def test_all_end_or_say_what_they_wait_for(block: int) -> None:
    """Whatever agents, GitHub and people do and whenever the scheduler is killed: no gate skipped, nothing twice."""
    for seed in range(FIRST + block, FIRST + SEEDS, BLOCKS):
        world = World(seed)
        for _ in range(60):
            world.happen()
            world.tick()
            world.pass_time()
        world.tick(deadly=False)  # it comes to rest, and says what it waits for
        assert not world.violations, (seed, world.violations, world.log[-20:])
        assert not world.stuck(), (seed, world.stuck(), world.log[-20:])
        if seed % 5 == 0:
            assert not (lines := world.restless()), (seed, lines)
        for _ in range(400):
            if world.is_over:
                break
            world.happen(kind=True)
            world.tick()
            world.pass_time()
        assert not world.violations, (seed, world.violations, world.log[-20:])
        assert world.is_over, (seed, world.stuck(), world.log[-30:])
