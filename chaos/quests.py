"""The missions of a run: documents whose items are worked off between all the other tasks."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from chaos.world import World
from tinytown import processes
from tinytown.domain.mission import MissionState
from tinytown.errors import Conflict
from tinytown.services import supervision
from tinytown.services.caller import Caller
from tinytown.services.missions import control, starting, status
from tinytown.store.missions import MissionFile
from tinytown.town import Town

USER = Caller()
AT_ONCE = 3
ITEMS = 8
VERIFIED = 4  # every so many-th item has a verification, and waits for the one before it


def start(town: Town, choice: random.Random, folder: Path, items: int = ITEMS) -> str:
    """Start one as `tt mission start --doc` does; its id. Its files are written into the folder."""
    number = f"{choice.randrange(1 << 32):08x}"
    document, manifest = folder / f"plan-{number}.md", folder / f"plan-{number}.toml"
    parts = [f"## Step {n}\n\nstub: work {choice.randrange(40)}\n" for n in range(1, items + 1)]
    document.write_text("\n".join(parts))
    rows = [
        f'[[overrides]]\nissue = "Step {n}"\ndepends_on = ["Step {n - 1}"]\nverify = ["true"]\n'
        for n in range(VERIFIED, items + 1, VERIFIED)
    ]
    manifest.write_text("\n".join(rows))
    request = starting.StartRequest(
        docs=(str(document),), manifest=str(manifest), max_parallel=AT_ONCE, reviewer_required=False
    )
    return starting.start(town, request, USER).run.id


def files(world: World) -> list[MissionFile]:
    """All of them, with their items."""
    return list(world.town.store.missions.files(world.town.store.missions.all_ids()))


def unfinished(world: World, *, limited: bool) -> list[str]:
    """A line for each that has not ended; `limited`: what says what would help may wait, a mission or all of them."""
    if limited and status.stands_still(world.town):
        return []
    runs = [file.run for file in files(world)]
    left = [run for run in runs if run.state is not MissionState.COMPLETED and not (limited and run.remedy)]
    return [f"mission {run.id} is {run.state}: {run.blocked_reason}" for run in left]


def retry(world: World) -> None:
    """Another try for every item that needs a person."""
    for file in files(world):
        for item in file.items.values():
            if item.needs_person:
                try:
                    control.retry(world.town, item.id, USER, run=file.run.id)
                except Conflict:
                    continue  # it goes on by itself


def wake(world: World) -> None:
    """When the scheduler was given up: what then would help."""
    running = supervision.process(world.town)
    if running is not None and status.stands_still(world.town):
        processes.send(running, signal.SIGHUP)


def violations(world: World, accepted: Iterable[str], ended: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with missions at rest. `ended`: item id -> how often it was done."""
    found = files(world)
    for mission_id in set(accepted) - {file.run.id for file in found}:
        yield f"mission {mission_id}: accepted, and lost"
    for file in found:
        for item in file.items.values():
            if ended.get(item.id, 0) > 1:
                yield f"work item {item.source_ref}: done {ended[item.id]} times"
            if item.verify and item.status == "done" and not item.is_verified:
                yield f"work item {item.source_ref}: done, and not verified"
