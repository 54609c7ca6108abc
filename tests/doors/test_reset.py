"""`tt reset`: the plan, the deed, and the town afterwards."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import town as towns
from tests.support.cli import Tt
from tests.support.running_town import RunningTown, compile_stubborn
from tinytown import processes
from tinytown.domain.states import TaskState
from tinytown.services import backlog, supervision
from tinytown.services.caller import Caller
from tinytown.town import Town

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stubborn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_stubborn(tmp_path_factory.mktemp("stubborn"))


@pytest.fixture
def living(tmp_path: Path, stubborn: Path) -> Iterator[RunningTown]:
    """A supervised town; the test ends it with `finish`."""
    running = RunningTown(tmp_path / "living", stubborn, supervisor={"grace_s": 0.5, "backoff_s": 0.05})
    try:
        yield running.start()
    finally:
        running.close()


def fill(town: Town) -> None:
    dead = towns.register(town, "worker-1", wanted=False)
    towns.give_task(town, dead)
    towns.give_task(town, towns.register(town, "worker-2"))
    backlog.add(town, "parked", [], Caller())


def test_the_plan(tt: Tt, town: Town) -> None:
    """Without --force: what would go, how to confirm, exit 0, and nothing is changed."""
    fill(town)
    before = towns.snapshot(town)
    assert tt.ok("reset").out == (
        f"Resetting town '{town.name}'\n"
        "   This will delete:\n"
        "   - 2 agent(s)\n"
        "   - 3 task(s)\n"
        "   - 1 backlog item(s)\n"
        "\n"
        "This action cannot be undone!\n"
        "   Run with --force to confirm: tt reset --force\n"
    )
    assert tt.ok("reset", "--agents-only").out == (
        f"Resetting agents in town '{town.name}'\n"
        "   This will delete:\n"
        "   - 2 agent(s) and their inboxes\n"
        "   Tasks and backlog will be preserved.\n"
        "   2 task(s) that agents have in hand go to the backlog.\n"
        "\n"
        "This action cannot be undone!\n"
        "   Run with --force to confirm: tt reset --agents-only --force\n"
    )
    assert towns.snapshot(town) == before


def test_by_force(tt: Tt, town: Town) -> None:
    """Everything goes; a second one finds nothing and succeeds."""
    fill(town)
    lines = tt.ok("reset", "--force").out.splitlines()
    assert lines[0] == f"Resetting town '{town.name}'"
    assert re.fullmatch(r"Reset complete: deleted \d+ Redis keys", lines[-2])
    assert lines[-1] == "   Run 'tt spawn <name>' to create new agents"
    assert tt.ok("list", "--json").json == tt.ok("task", "list", "--json").json == []
    assert "   - 0 agent(s)" in tt.ok("reset", "--force").out


def test_agents_only(tt: Tt, town: Town) -> None:
    """Agents go, work stays, and where it is now is said."""
    fill(town)
    lines = tt.ok("reset", "--agents-only", "--force").out.splitlines()
    assert re.fullmatch(r"Reset complete: deleted \d+ Redis keys \(agents only\)", lines[-3])
    assert lines[-2] == "   2 task(s) are back in the backlog: tt backlog list"
    assert tt.ok("list", "--json").json == []
    assert len(tt.ok("backlog", "list", "--json").json) == 3


def test_from_a_round(tt: Tt, town: Town) -> None:
    """A model cannot delete the town it runs in."""
    fill(town)
    agent_id = town.store.agents.names()["worker-2"]
    before = towns.snapshot(town)
    for args in (("--force",), ("--force", "--agents-only")):
        ran = tt("reset", *args, env={"TINYTOWN_AGENT_ID": agent_id, "TINYTOWN_RUN": f"{agent_id}:1:1"})
        assert ran.code == 1
        assert ran.complaint[0] == "Error: Agent 'worker-2' cannot wait for its own end in its own round."
    assert towns.snapshot(town) == before


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("is_supervised", [True, False], ids=["supervised", "supervisor dead"])
@pytest.mark.parametrize("options", [(), ("--agents-only",)], ids=["all", "agents only"])
def test_a_town_at_work(living: RunningTown, options: tuple[str, ...], *, is_supervised: bool) -> None:
    """Actors and models end first, a supervisor goes on, and the next agents work in a clean town."""
    tt = Tt(living.root, town=living.root)
    living.spawn("ann", "bob")
    task = living.assign("ann", "first hang")
    living.wait_run(task)
    living.task_done("bob")
    ends = [living.actor("ann"), living.actor("bob"), *living.models("ann")]
    supervisor = living.supervisor
    if not is_supervised:
        living.kill_supervisor()

    tt.ok("reset", *options, "--force")

    living.wait(lambda: not any(map(processes.is_alive, ends)), "the end of actors and models")
    assert list((living.town.state_dir / "agents").iterdir()) == []
    if is_supervised:
        assert supervision.process(living.town) == supervisor
    else:
        living.start()
    living.spawn("ann")
    if options:
        assert living.task(task).state is TaskState.PENDING
        backlog.assign_all(living.town, "ann", Caller())
        living.wait_done(task)
    else:
        assert living.town.store.tasks.get(task.id) is None
        assert living.events("task_assigned") == []
    living.task_done("ann")
    living.finish()


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--agents-only",)], ids=["all", "agents only"])
def test_killed_in_the_middle(living: RunningTown, options: tuple[str, ...]) -> None:
    """At any moment: what is left is whole, and the same command again finishes."""
    tt = Tt(living.root, town=living.root)
    names = [f"a{n}" for n in range(4)]
    living.spawn(*names)
    tasks = [living.assign(name) for name in names for _ in range(5)]
    living.wait_done(*tasks)
    living.kill_supervisor()
    for _ in range(4):
        seen = living.town.store.events.last_id()
        with tt.running("reset", *options, "--force") as process:
            living.wait(
                lambda p=process, s=seen: p.poll() is not None or living.town.store.events.last_id() != s,
                "a change, or its end",
            )
            process.send_signal(signal.SIGKILL)
            process.wait()
        living.check()

    tt.ok("reset", *options, "--force")

    assert tt.ok("list", "--json").json == []
    assert len(tt.ok("task", "list", "--json").json) == (20 if options else 0)
    assert list((living.town.state_dir / "agents").iterdir()) == []
    living.start()
    living.spawn("ann")
    living.task_done("ann")
    living.finish()
