"""Several commands at once: one supervisor, one agent of a name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import NewTown
from tests.support.running_town import RunningTown
from tinytown.services import backlog, supervision
from tinytown.services.caller import Caller

pytestmark = pytest.mark.fault


def at_once(town: RunningTown, *commands: list[str]) -> list[tuple[int, str]]:
    """Run these `tt` commands at the same time; exit code and output of each."""
    argv = [sys.executable, "-m", "tinytown", "--town", str(town.root)]
    running = [
        subprocess.Popen([*argv, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for command in commands
    ]
    outputs = [process.communicate(timeout=30)[0].decode() for process in running]
    return [(process.returncode, output) for process, output in zip(running, outputs, strict=True)]


def test_three_spawns_start_one_supervisor(tmp_path: Path, stubborn: Path) -> None:
    """Without a supervisor, three spawns at once start exactly one, and each returns when its agent is up."""
    town = RunningTown(tmp_path / "town", stubborn)
    try:
        done = at_once(town, *(["spawn", name] for name in ("ann", "bob", "cid")))
        assert [code for code, _output in done] == [0, 0, 0], done
        log = (town.town.state_dir / "supervisor.log").read_text()
        assert log.count("Supervisor of town") == 1
        assert len({town.actor(name) for name in ("ann", "bob", "cid")}) == 3
        for name in ("ann", "bob", "cid"):
            town.task_done(name)
        town.check()
        assert supervision.stop(town.town, 20)
        town.settle()
        town.stop()
    finally:
        town.close()


def test_three_spawns_of_one_name(town: RunningTown) -> None:
    """One of them wins, the others are refused, and there is one actor."""
    done = at_once(town, *[["spawn", "ann"]] * 3)
    assert sorted(code for code, _output in done) == [0, 1, 1], done
    town.task_done("ann")


def test_start_and_kill_at_once(town: RunningTown) -> None:
    """Spawns, kills and restarts of one agent at the same time leave it in one definite state."""
    town.spawn("ann")
    at_once(town, ["kill", "ann"], ["restart", "ann"], ["kill", "ann", "--now"], ["restart", "ann"])
    town.check()
    at_once(town, ["kill", "ann"])
    town.wait(lambda: town.agent("ann").state == "stopped", "ann to be stopped")


def test_backlog_work_is_left_alone_when_so_set(new_town: NewTown) -> None:
    """`auto_claim = false`: an idle agent with the role takes none, not even after a round."""
    town = new_town(agent={"auto_claim": False})
    town.spawn("ann", role="dev")
    parked = backlog.add(town.town, "say parked", ["dev"], Caller())
    town.task_done("ann")
    town.task_done("ann")
    assert [task.id for task in backlog.listing(town.town)] == [parked.id]
    backlog.remove(town.town, parked.id)
