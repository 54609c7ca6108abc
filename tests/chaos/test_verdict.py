"""A chaos run that finds nothing means something only if it finds what is there."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chaos import rest, script, verdict
from chaos.commands import Callers, Typed
from chaos.verdict import Accepted
from chaos.witness import Size, Witness
from chaos.world import NAME, World
from tests.support.builders import make_task
from tests.support.town import register
from tests.support.waiting import wait_until
from tinytown import ids, processes
from tinytown.domain.states import AgentState, TaskState
from tinytown.store.agents import save_agent

pytestmark = pytest.mark.slow

SCRIPTED = "chaos task: works\nstub: work 1"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A town without a supervisor, at rest."""
    made = World(tmp_path / "chaos", ["ann"], limited=False)
    made.town.ensure_redis()
    yield made
    made.town.store.close()
    made.redis.stop()


def found(world: World, accepted: Accepted | None = None, *, limited: bool = False) -> str:
    return "\n".join(verdict.read(world, accepted or Accepted([]), limited=limited).violations)


def save_task(world: World, **fields: str) -> str:
    given = {"description": SCRIPTED} | fields
    task = make_task(TaskState(given.pop("state", "completed")), **given)
    tx = world.town.store.transaction()
    tx.save_task(None, task)
    world.town.store.commit(tx)
    return task.id


def _set(key: str, redis: Any) -> None:
    redis.set(key, 1)


def test_nothing(world: World) -> None:
    """A town at rest is as it must be."""
    save_task(world)
    assert found(world) == ""


def test_what_was_accepted_and_is_gone(world: World) -> None:
    """Tasks by their records, messages by their events."""
    accepted = Accepted([], tasks={ids.new_id(): "works"}, messages={"m1"})
    said = found(world, accepted)
    assert "accepted, and lost" in said
    assert "message m1: accepted, and no event knows it" in said


def test_a_task_that_did_not_end_as_scripted(world: World) -> None:
    """Still open, or ended in another way; with the default limits both may be."""
    save_task(world, state="pending")
    save_task(world, state="failed", result="why")
    said = found(world)
    assert "(works): pending in the end" in said
    assert "(works): failed, not completed: why" in said
    assert found(world, limited=True) == ""


def test_a_task_that_could_not_say_that_it_failed(world: World) -> None:
    """Its own `tt` was not heard: then it is done when its model is."""
    fails = next(b for b in script.BEHAVIOURS if b.end == script.FAILS)
    task_id = save_task(world, description=f"chaos task: {fails.name}")
    assert found(world) == ""
    (world.control / "marks").write_text(f"tt:0 run {task_id} 1 2\n")
    assert f"({fails.name}): completed, not failed" in found(world)


def test_leftovers(world: World) -> None:
    """Files, runs that overlapped, keys without end."""
    (world.town.state_dir / "agents").mkdir(exist_ok=True)
    (world.town.state_dir / "round.json.77.tmp").touch()
    (world.control / "marks").write_text("overlap run task 1 2\n")
    for number in range(50):
        world.town.store.call(partial(_set, f"tt:{NAME}:stats:{number}"))
    said = found(world)
    assert "left over: .tt/round.json.77.tmp" in said
    assert "1 runs began while another one" in said
    assert "50 keys beside those of tasks" in said


def test_given_up_in_silence(world: World) -> None:
    """With the default limits agents and mail may be given up, with a reason."""
    made = register(world.town, "ann")
    row = world.town.store.agents.row(made.id)
    assert row is not None
    tx = world.town.store.transaction()
    save_agent(tx, row.raw, row.agent.having(state=AgentState.ERROR, reason=None))
    world.town.store.commit(tx)
    assert "agent ann: given up without a reason" in found(world, limited=True)
    assert "agent ann: error" in found(world)


def test_two_actors_at_once(world: World) -> None:
    """By their titles, seen twice; one that is the other's child is a model that is being born."""
    code = (
        "import os, sys, setproctitle; setproctitle.setproctitle('tt: agent ann [idle 0/9] [' + sys.argv[1] + ']')\n"
        "if sys.argv[2:]: os.fork()\n"
        "sys.stdin.read()"
    )
    witness = Witness(world)
    argv = [sys.executable, "-c", code, NAME]
    with subprocess.Popen([*argv, "forks"], stdin=subprocess.PIPE) as one:
        wait_until(lambda: len(processes.descendants(one.pid)) and world.actors())
        witness.look()
        assert witness.violations == []
        with subprocess.Popen(argv, stdin=subprocess.PIPE) as other:
            wait_until(lambda: len(world.actors().get("ann", [])) == 2)
            witness.look()
            other.kill()
        one.communicate()
    assert len(witness.violations) == 1
    assert "agent ann: 2 actors at once" in witness.violations[0]


def test_what_commands_may_not_do(world: World) -> None:
    """Another exit code, a traceback, an error without its line."""
    callers = Callers(world, random.Random(1))  # noqa: S311  no secret
    for words in (["nosuch"], ["list"], ["logs", "nobody"]):
        callers.start(*words)
    callers.finish()
    assert [line.split(":")[0] for line in callers.complaints] == ["tt nosuch"]
    assert callers.ended == {"wrong": 1, "done": 1, "refused": 1}


def test_an_error_that_no_command_foresaw(world: World) -> None:
    """`tt` shows a traceback as one line of error with exit code 1: no refusal."""
    callers, output = Callers(world, random.Random(1)), world.output / "1"  # noqa: S311  no secret
    with output.open("wb") as stream:
        process = subprocess.Popen(["sh", "-c", "echo \"Error: unexpected KeyError: 'x'\"; exit 1"], stdout=stream)
    callers.running.append(Typed(("status",), process, None, output, 0.0))
    process.wait()
    callers.judge()
    assert callers.complaints == ["tt status: exit 1: Error: unexpected KeyError: 'x'"]


def test_an_agent_that_does_not_take_up_work(world: World) -> None:
    """At rest, and what it is given stays undone: nobody hears its bell."""
    made = register(world.town, "ann")
    row = world.town.store.agents.row(made.id)
    assert row is not None
    tx = world.town.store.transaction()
    save_agent(tx, row.raw, row.agent.having(state=AgentState.IDLE))
    world.town.store.commit(tx)
    assert [line.split(",")[0] for line in rest.late(world, 0.1)] == ["agent ann: had nothing to do"]


def test_descriptors_that_nobody_closed(world: World) -> None:
    """By the number of actors: it differs from moment to moment."""
    witness = Witness(world)
    witness.sizes = [(0.0, processes.own(), Size(15, 1, 2)), (9.0, processes.own(), Size(70, 1, 20))]
    assert witness.grown() == []
    witness.sizes.append((9.0, processes.own(), Size(42, 1, 7)))
    assert witness.grown() == ["the supervisor came to have 42 descriptors, for 7 actors in 9 s"]


def test_a_town_without_redis(world: World) -> None:
    """A finding, not an end of the run."""
    world.redis.stop()
    assert "nothing can be read: " in found(world)


def test_the_journal_of_a_writer_that_is_writing(tmp_path: Path) -> None:
    """A line that is not whole yet is read when it is."""
    path = tmp_path / "writer"
    path.write_text("1.0 task abc works\n2.0 messa")
    accepted = Accepted([path])
    accepted.read_on()
    assert (accepted.tasks, accepted.messages) == ({"abc": "works"}, set())
    with path.open("a") as stream:
        stream.write("ge m1\n3.0 error Conflict: no\n")
    accepted.read_on()
    assert accepted.messages == {"m1"}
    assert accepted.errors == {"Conflict: no": 1}


def test_descriptions() -> None:
    """Every behaviour comes up among two thousand, and is known again from its text."""
    choice = random.Random(1)  # noqa: S311  no secret
    names = {b.name for text in (script.description(choice) for _ in range(2000)) if (b := script.behaviour_of(text))}
    assert names == {behaviour.name for behaviour in script.BEHAVIOURS}
    assert sum(behaviour.weight for behaviour in script.BEHAVIOURS) == 1000
    assert script.behaviour_of("something else") is None
