"""What the scheduler of missions costs: a decision, an item of a chain, an idle town full of missions."""

from __future__ import annotations

import itertools
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import Broken, Stamps, cpu_s
from bench.rig import Bench, BenchTown, running, stamps_of
from bench.table import Row, at_most, median, spread
from tinytown import clock, ids, processes
from tinytown.domain.mission import Mission, MissionState, Policy
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.missions.decide import decide
from tinytown.missions.snapshot import MissionView, Snapshot, Worker
from tinytown.services.missions import steps
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

MISSIONS, ITEMS = 50, 200
CHAIN, AGENTS = 300, 4
DECIDE_MS, ITEM_MS, IDLE_PERCENT = 50.0, 20.0, 1.0
SETTLE_S = 3.0


def measure(bench: Bench) -> list[Row]:
    """The group."""
    rows = _decide(bench)
    with running(bench, "missions", AGENTS) as (town, _ids), stamps_of(town) as stamps:
        rows += _chain(bench, town, stamps)
        rows += _idle(bench, town)
    return rows


def _mission(count: int, *, is_chain: bool, policy: Policy) -> MissionView:
    at = clock.stamp()
    run = Mission(
        id=ids.new_id(), objectives=["plan.md"], created_at=at, updated_at=at, state=MissionState.RUNNING, policy=policy
    )
    view, before = MissionView(run), None
    for number in range(1, count + 1):
        item = WorkItem(
            id=ids.derived_id(run.id, str(number)), mission_id=run.id, number=number, title=f"Page {number}",
            source_ref=f"plan.md#page-{number}", created_at=at, updated_at=at,
            depends_on=[before] if is_chain and before is not None else [],
        )  # fmt: skip
        view.items[item.id] = item
        before = item.id
    return view


def _decide(bench: Bench) -> list[Row]:
    """10,000 items: half of each chain is done, the others wait; and all at once ready, with 100 agents free."""
    bench.say(f"missions: decide() for {MISSIONS * ITEMS:,} items")
    chains = [_mission(ITEMS, is_chain=True, policy=Policy()) for _ in range(MISSIONS)]
    for view in chains:
        for item in list(view.items.values())[: ITEMS // 2]:
            at = item.updated_at
            done = item.having(at, status=WorkStatus.READY).having(at, status=WorkStatus.ASSIGNED, author="a")
            view.items[item.id] = done.having(at, status=WorkStatus.DONE)
    ready = [_mission(ITEMS, is_chain=False, policy=Policy()) for _ in range(MISSIONS)]
    for view in ready:
        view.items = {i: item.having(item.updated_at, status=WorkStatus.READY) for i, item in view.items.items()}
    agents = [Worker(ids.new_id(), f"agent{n}") for n in range(100)]
    rows = []
    for what, views in (("half done, chains", chains), ("all ready", ready)):
        times = [_decide_ms(Snapshot(views, {}, agents)) for _ in range(bench.some(30, 10))]
        label = f"decide(), {MISSIONS * ITEMS:,} items in {MISSIONS} missions, 100 agents: {what}"
        rows.append(at_most(label, spread(times, "ms", 1), median(times), DECIDE_MS, "ms"))
    return rows


def _decide_ms(snapshot: Snapshot) -> float:
    began = time.perf_counter_ns()
    decide(snapshot, datetime.now(UTC))
    return (time.perf_counter_ns() - began) / 1e6


def _store(town: Town, view: MissionView) -> None:
    def build(tx: Transaction) -> None:
        steps.save_mission(tx, None, view.run)
        for item in view.items.values():
            steps.save_item(tx, None, item)
        steps.log(tx, "mission_started", "Started", view.run)

    change(town.store, build)
    town.ring_supervisor()


def _chain(bench: Bench, town: BenchTown, stamps: Stamps) -> list[Row]:
    """Each item is one run of the stamp program; the same program started alone is what the CLI costs."""
    bench.say(f"missions: a chain of {CHAIN} items on {AGENTS} agents")
    view = _mission(CHAIN, is_chain=True, policy=Policy(reviewer_required=False))
    seen = town.town.store.events.last_id()
    began = time.monotonic_ns()
    _store(town.town, view)
    at = [stamps.any() for _ in range(CHAIN)]
    _wait_for(town.town, "mission_completed", seen)
    whole = (time.monotonic_ns() - began) / 1e6
    steps_ms = [(later - earlier) / 1e6 for earlier, later in itertools.pairwise(at)]
    alone = [_alone_ms(bench.stamp, town.fifo, stamps) for _ in range(50)]
    per_item = median(steps_ms) - median(alone)
    return [
        at_most(
            f"chain of {CHAIN} items on {AGENTS} agents, no-op CLI: overhead of an item (exec to exec, less the CLI)",
            f"{per_item:.1f} ms (exec to exec {spread(steps_ms, 'ms', 1)})", per_item, ITEM_MS, "ms",
            reference=f"the CLI alone: {spread(alone, 'ms', 1)}", ratio=median(steps_ms) / median(alone),
        ),
        Row("the same, from the start of the mission to its end, an item", f"{whole / CHAIN:.1f} ms"),
    ]  # fmt: skip


def _alone_ms(stamp: Path, fifo: Path, stamps: Stamps) -> float:
    began = time.monotonic_ns()
    subprocess.run([str(stamp), str(fifo)], check=True, stdin=subprocess.DEVNULL)
    ended = time.monotonic_ns()
    stamps.any()
    return (ended - began) / 1e6


def _wait_for(town: Town, kind: str, since: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for entry_id, event in town.store.events.after(since, 1.0):
            since = entry_id
            if event.get("event_type") == kind:
                return
    raise Broken(f"no event {kind} within 60 s")


def _idle(bench: Bench, town: BenchTown) -> list[Row]:
    """Missions whose items all wait for a person: nothing is due."""
    bench.say(f"missions: {MISSIONS} idle missions of {ITEMS} items")
    seen = town.town.store.events.last_id()
    for _ in range(MISSIONS):
        view = _mission(ITEMS, is_chain=True, policy=Policy())
        first = next(iter(view.items.values()))
        blocked = first.having(first.updated_at, status=WorkStatus.BLOCKED, needs_person=True)
        view.items[first.id] = blocked.having(first.updated_at, reason="its work task failed", remedy="retry it")
        _store(town.town, view)
    _wait_for(town.town, "mission_blocked", seen)
    time.sleep(SETTLE_S)
    pid = _scheduler(town)
    seconds = bench.some(60, 35)
    before, began = cpu_s([pid]), time.monotonic()
    time.sleep(seconds)
    percent = (cpu_s([pid]) - before) / (time.monotonic() - began) * 100
    what = f"CPU of the scheduler, {MISSIONS} idle missions of {ITEMS} items, {seconds} s, % of one core"
    return [at_most(what, f"{percent:.2f} %", percent, IDLE_PERCENT, "%")]


def _scheduler(town: BenchTown) -> int:
    for child in processes.descendants(town.supervisor.pid):
        title = Path(f"/proc/{child.pid}/cmdline").read_bytes()
        if title.startswith(b"tt: missions"):
            return child.pid
    raise Broken("no scheduler of missions runs")
