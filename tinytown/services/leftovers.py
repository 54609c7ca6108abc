"""What a supervisor's service leaves behind when it was stopped: actors, models, Redis. Ended here, by identity."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from pathlib import Path

from tinytown import clock, processes
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.errors import TinytownError
from tinytown.journal import ActorEntry, Journal
from tinytown.processes import Identity
from tinytown.services import recovery, servers
from tinytown.store.agents import read_wish
from tinytown.town import Town

GRACE_S = 5.0
KILL_WITHIN_S = 2.0
STOPPED = Outcome(OutcomeKind.STOPPED, "the service was stopped")
LEAVE_NOW = signal.SIGUSR1  # to an actor: end the model, write down how it ended, go


@dataclass(frozen=True, slots=True)
class Ended:
    """How many were ended. `is_ours` False: a supervisor runs, what lives is its own."""

    actors: int = 0
    models: int = 0
    redis: bool = False
    is_ours: bool = True


def end_all(town: Town, grace_s: float = GRACE_S) -> Ended:
    """End every actor without a supervisor, every model of this town, then its own Redis. Idempotent.

    Actors in terminals are left alone, and Redis with them. Mail and tasks stay; nobody is charged.
    """
    lock = town.supervisor_lock
    if not town.state_dir.is_dir():
        return Ended()
    if not lock.acquire():
        return Ended(is_ours=False)
    try:
        spared = _in_terminals(town)
        entries = _entries(town)
        alive = [(j, e) for j, e in entries if processes.is_alive(e.process) and e.agent_id not in spared]
        end_actors(alive, grace_s)
        models = sum(_end_models(j, e) for j, e in entries if e.agent_id not in spared)
        in_use = any(e.agent_id in spared and processes.is_alive(e.process) for _j, e in entries)
        return Ended(len(alive), models, not in_use and servers.stop(town))
    finally:
        lock.release()


def _entries(town: Town) -> list[tuple[Journal, ActorEntry]]:
    """Every agent's journal that names an actor."""
    folders = sorted((town.state_dir / "agents").glob("*/"))
    found = ((journal, journal.actor()) for journal in (town.journal(folder.name) for folder in folders))
    return [(journal, entry) for journal, entry in found if entry is not None]


def _in_terminals(town: Town) -> set[str]:
    """The ids of agents that run in somebody's terminal. Without Redis: those outside of this service."""
    try:
        wishes = {agent_id: read_wish(raw) for agent_id, raw in town.store.agents.wishes().items()}
    except TinytownError:
        ours = _control_group("self")
        return {e.agent_id for _j, e in _entries(town) if _control_group(str(e.process.pid)) != ours}
    return {agent_id for agent_id, wish in wishes.items() if wish is not None and wish.foreground}


def _control_group(pid: str) -> str | None:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cgroup").read_text()
    return None


def end_actors(alive: list[tuple[Journal, ActorEntry]], grace_s: float) -> None:
    """Tell them to leave now, kill what is still there after the grace time; nobody is charged. By lock holders."""
    actors = [entry.process for _journal, entry in alive]
    processes.kill_all(actors, LEAVE_NOW)
    killed = _await_end(actors, grace_s)
    processes.kill_all(killed)
    _await_end(killed, KILL_WITHIN_S)
    for journal, entry in alive:
        if entry.process in killed:
            _note_stopped(journal, entry)


def _note_stopped(journal: Journal, actor: ActorEntry) -> None:
    """We killed it, so its round ended as `stopped`; only when its model is gone, as its actor would have seen to."""
    entry = journal.round()
    if entry is not None and entry.agent_id == actor.agent_id and entry.outcome is None:
        recovery.end_leftovers(journal, actor.agent_id)
        journal.write_round(entry.ended(STOPPED), sync=True)


def _end_models(journal: Journal, actor: ActorEntry) -> int:
    """By the journal, and by the mark that every process of a run inherits."""
    found = {p.pid for p in recovery.leftovers(journal, actor.agent_id)}
    recovery.end_leftovers(journal, actor.agent_id)
    deadline = clock.monotonic() + KILL_WITHIN_S
    while marked := processes.marked(f"{actor.agent_id}:"):
        found |= {p.pid for p in marked}
        processes.kill_all(marked)
        if clock.monotonic() > deadline:
            break
        clock.sleep(0.002)
    return len(found)


def _await_end(those: list[Identity], timeout_s: float) -> list[Identity]:
    """Those that still live after that time."""
    deadline = clock.monotonic() + timeout_s
    while (left := [p for p in those if processes.is_alive(p)]) and clock.monotonic() < deadline:
        clock.sleep(0.01)
    return left
