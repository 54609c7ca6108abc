"""Commands in a town in which something was changed by hand: they work or say why not, and readers change nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.forked import Ran, tt
from tests.fuzz.material import cases
from tests.fuzz.poisoned import lasting, poison, populate
from tests.support.redis_server import TestRedis
from tests.support.town import fresh_town
from tinytown.town import Town

pytestmark = pytest.mark.slow

READING = (
    "status", "status --json", "status --deep", "status --tasks", "list", "list --json", "events", "events --json",
    "events -c 5 --agent ann", "history", "history {one}", "history --agent ann --json", "task list", "plan", "reset",
    "task list --json", "task show {one}", "task show {waiting} --json", "task current ann", "backlog list", "doctor",
    "backlog list --json", "inbox ann", "inbox ann --json", "inbox --all", "inbox --all --json", "inbox ann --dead",
    "inbox bob --json", "inbox conductor", "logs ann", "why ann", "why bob", "why {waiting}", "why {one}",
    "why {parked}", "why {failed} --json", "doctor --json", "worktree list", "wait {done} --timeout 1",
    "wait bob --timeout 0", "wait {parked} --timeout 0", "migrate --dry-run", "towns",
    "mission status", "mission status --work --watch", "mission status --run {run} --json --work --watch",
    "mission list --all", "mission list --json", "mission graph", "events --mission {run}",
)  # fmt: skip
ONE_STEP = (
    "assign ann work", "assign bob work --tags x", "send ann hello", "send bob hello --urgent", "send conductor hi",
    "task complete {one}", "task fail {one}", "task fail {two}", "task cancel {parked}", "task cancel {one}",
    "task retry {failed}", "task retry {done}", "task complete {waiting}", "backlog add thing --tags dev",
    "backlog claim {parked} ann", "backlog remove {parked}", "inbox --retry {dead}", "inbox --drop {dead}",
    "resume ann", "kill bob", "kill bob --now",
    "mission stop {run}", "mission stop {run} --force", "mission resume {run}", "mission note {run} text",
    "mission approve #2", "mission reject 2 --reason no", "mission retry acme/web#2", "mission cancel #1",
    "mission retry #1 --run {run}",
)  # fmt: skip
MANY_STEPS = (
    "backlog assign-all ann", "kill ann", "recover", "reclaim", "reclaim --to-backlog", "reclaim --from bob --to ann",
    "reclaim --orphan-tasks", "reclaim --orphan-tasks --cancel", "prune", "prune --force", "sync push", "sync pull",
    "migrate --force", "save",
)  # fmt: skip
OF_THE_ENDED = (  # else they wait for actors, and there are none
    "reset --force", "reset --force --agents-only", "prune --all", "prune --all --force", "interrupt ann", "close ann",
)  # fmt: skip


def test_towns_changed_by_hand(redis_server: TestRedis, tmp_path: Path) -> None:
    """No value in Redis makes a command fail in a way that nobody foresaw, or hang."""
    for number, rng in enumerate(cases("stored", 25)):
        town = fresh_town(redis_server, tmp_path / f"town{number}")
        supervisor = town.supervisor_lock  # held here, so that no command starts one
        supervisor.acquire()
        try:
            _try_commands(rng, town)
        finally:
            supervisor.release()
            town.store.redis.flushdb()
            town.store.close()


def _try_commands(rng: random.Random, town: Town) -> None:
    wanted = rng.random() < 0.5
    ids = populate(town, wanted=wanted)
    spoilt = [poison(rng, town) for _ in range(rng.choice((1, 1, 2, 4)))]
    writing = (*ONE_STEP, *MANY_STEPS, *(() if wanted else OF_THE_ENDED))
    for words in rng.sample(READING, 3) + rng.sample(writing, 2):
        before = lasting(town)
        ran = tt(["--town", str(town.root), *words.format(**ids).split()], town.root)
        wrong = _wrong(ran, words)
        refused = ran.code in {1, 2} and words in ONE_STEP
        if (words in READING or refused) and lasting(town) != before:
            wrong.append("it changed something")
        assert not wrong, f"{wrong}\nspoilt: {spoilt}\n{ran.told()}"


def _wrong(ran: Ran, words: str) -> list[str]:
    if words.startswith("doctor") and ran.code == 1 and "Error" not in ran.err:
        return []  # its findings are its answer
    return [why for why in ran.complaints() if "stdout" not in why or ran.code == 2]
