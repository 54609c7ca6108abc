"""What Tinytown itself wrote, spoilt: records and journals. A reader gives a sound value, or says there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.material import cases, damaged, mutated
from tests.support.builders import AT, MINIMAL, make_agent, make_message, make_task, make_wish
from tinytown import processes
from tinytown.domain.agent import Agent
from tinytown.domain.message import Unreadable, parse
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import TaskState
from tinytown.journal import ActorEntry, Journal, RoundEntry
from tinytown.services import unit_file, worktrees
from tinytown.store import saved_file
from tinytown.store.agents import read_wish
from tinytown.store.inboxes import read_dead_letter
from tinytown.store.tasks import read_task
from tinytown.town import Town

pytestmark = pytest.mark.slow

TASK = make_task(
    TaskState.ASSIGNED, tags=["a", "plan:x"], depends_on=["y"], assigned_to="a", planned_agent="b", result="r"
)
LONGEST = 500
DEAD = {"message": "x", "reason": "y", "at": AT, "attempts": 3}


def _agent(text: str) -> None:
    try:
        agent = Agent.from_json(text)
    except ValueError:
        return
    _storable(agent.to_json())
    assert {type(agent.name), type(agent.epoch)} == {str, int}


def _task(text: str) -> None:
    task = read_task(text, TASK.id)
    if task is not None:
        _storable(task.to_json())
        assert task.description.strip(" ") is not None
        assert all(type(tag) is str for tag in [*(task.tags or []), *(task.depends_on or [])])


def _wish(text: str) -> None:
    wish = read_wish(text)
    if wish is not None:
        _storable(wish.to_json())
        assert wish.epoch + wish.rounds - wish.rounds_from is not None
        assert wish.since - 1.0 < wish.since


def _message(text: str) -> None:
    try:
        message = parse(text)
    except Unreadable as error:
        if len(str(error)) > LONGEST:
            raise AssertionError("a flood as a reason") from error
        return
    _storable(message.to_json() + message.text)
    assert hash(message.id) == hash(message.id)


def _dead(text: str) -> None:
    letter = read_dead_letter(text)
    assert letter.raw == text
    assert [type(part) for part in (letter.text, letter.reason, letter.at, letter.attempts)] == [str, str, str, int]


def _storable(text: str) -> None:
    text.encode("utf-8", "surrogateescape")


READERS: list[tuple[Callable[[str], None], Callable[[Any], dict[str, Any]]]] = [
    (_agent, lambda _rng: make_agent(role_id="x").to_dict()),
    (_task, lambda _rng: TASK.to_dict()),
    (_wish, lambda _rng: make_wish(host="x", since=1.5, holder={"pid": 1}).to_dict()),
    (_message, lambda rng: json.loads(make_message(rng.choice(list(MINIMAL)), more=[1]).raw)),
    (_dead, lambda _rng: DEAD),
]


@pytest.mark.parametrize(("read", "make"), READERS)
def test_records(read: Callable[[str], None], make: Callable[[Any], dict[str, Any]]) -> None:
    """Records in Redis: typed and fit to be written again, or none."""
    for rng in cases(read.__name__, 3000):
        text = mutated(rng, make(rng))
        try:
            read(text)
        except Exception as error:
            raise AssertionError(f"{text[:2000]}") from error


def test_journals(tmp_path: Path) -> None:
    """actor.json and round.json: an entry of the right types, or none; never an error."""
    journal = Journal(tmp_path)
    journal.write_actor(ActorEntry(processes.own(), "a", 3, (1.0, 2.0)))
    outcome = Outcome(OutcomeKind.RATE_LIMITED, "d", "r", 1.0, 1)
    journal.write_round(RoundEntry("a", 1, 2, "r", ("m",), "t", processes.own(), outcome), sync=False)
    sound = {name: (tmp_path / name).read_bytes() for name in ("actor.json", "round.json")}
    for rng in cases("journals", 300):
        for name, data in sound.items():
            text = mutated(rng, json.loads(data)) if rng.random() < 0.7 else ""
            spoilt = text.encode("utf-8", "surrogateescape") or damaged(rng, data)
            (tmp_path / name).write_bytes(spoilt)
        actor, last = journal.actor(), journal.last_round()
        assert actor is None or 0 < actor.process.pid < 1 << 31
        processes.is_alive(actor.process if actor else None)
        if last is not None:
            journal.write_round(last, sync=False)
            assert journal.last_round() == last
        journal.close_round()


def test_worktree_notes(town: Town) -> None:
    """worktree.json: what it holds is text, or there is no worktree."""
    folder = town.journal("ann").folder
    folder.mkdir(parents=True)
    sound = {"phase": "ready", "branch": "tt/x/ann", "prefix": "", "home": str(town.root)}
    for rng in cases("worktrees", 200):
        (folder / "worktree.json").write_bytes(mutated(rng, sound).encode("utf-8", "surrogateescape"))
        tree = worktrees.find(town, "ann")
        assert {type(part) for part in (tree.branch, tree.prefix, tree.home)} <= {str}
        worktrees.workdir(town, "ann")


def test_saved_files(tmp_path: Path) -> None:
    """A saved state that was changed is refused with one line; it is never half read as sound."""
    file = tmp_path / "redis.aof"
    commands = [("SET", "tt:t:task:x", "é\n" * 20), ("RPUSH", "tt:t:inbox:y", *(f"m{n}" for n in range(50)))]
    saved_file.write(file, "t", commands)
    sound = file.read_bytes()
    assert [tuple(command) for command in saved_file.read(file)][-2:] == commands
    for rng in cases("saved", 300):
        spoilt = damaged(rng, sound)
        file.write_bytes(spoilt)
        try:
            read = [tuple(command) for command in saved_file.read(file)]
        except saved_file.Damaged:
            continue
        is_ours = spoilt.splitlines()[:1] == sound.splitlines()[:1]  # else it has no end to prove
        assert not is_ours or read[-2:] == commands, spoilt


def test_records_of_processes(town: Town) -> None:
    """redis.json, redis.pid, supervisor.json, supervisor.lock, a unit: whatever they hold names no process of ours."""
    own = processes.own().to_dict()
    for rng in cases("processes", 100):
        for name in ("redis.json", "supervisor.json", "supervisor.lock", "redis.pid"):
            text = mutated(rng, own | {"pid": rng.choice([1, 2**22 - 1, -1, 0])})
            (town.state_dir / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        assert town.own_pids() <= {1}
        assert not town.supervisor_lock.is_taken()
        unit = town.state_dir / "unit"
        unit.write_bytes(damaged(rng, unit_file.unit_text(town).encode()))
        assert unit_file.read(unit) is not None
