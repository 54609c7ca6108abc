"""What a process that was killed in the middle of a file leaves beside it does not stay."""

from __future__ import annotations

import pytest

from tests.faults.conftest import NewTown
from tests.support.running_town import RunningTown

pytestmark = pytest.mark.fault

GONE = 999_999_999  # a pid that nobody has


def test_of_an_actor(town: RunningTown) -> None:
    """The successor removes what its predecessor had begun to write."""
    town.spawn("ann")
    folder = town.journal("ann").folder
    ann = town.actor("ann")
    half = folder / f"round.json.{ann.pid}.tmp"
    half.write_text("{")
    town.kill(ann)
    town.wait_idle("ann")
    town.task_done("ann")
    names = ["actor.json", "round.json"]
    town.wait(lambda: sorted(path.name for path in folder.iterdir()) == names, "nothing else")  # it may be writing one


def test_of_an_agent_that_ended(town: RunningTown) -> None:
    """`prune` removes the folder with it; the next supervisor what commands and supervisors left."""
    town.spawn("ann", "bob")
    (town.journal("bob").folder / f"round.json.{GONE}.tmp").write_text("{")
    town.kill_supervisor()
    half = town.town.state_dir / f"supervisor.json.{GONE}.tmp"
    half.write_text("{")
    town.start()
    town.wait_idle("ann", "bob")
    assert not half.exists()
    assert not list(town.journal("bob").folder.glob("*.tmp"))


def test_of_an_agent_that_was_given_up(new_town: NewTown) -> None:
    """No successor comes to remove it."""
    town = new_town(supervisor={"restart_intensity": 1})
    town.spawn("ann")
    folder = town.journal("ann").folder
    for number in range(2):
        ann = town.actor("ann")
        (folder / f"round.json.{ann.pid}.tmp").write_text("{")
        town.kill(ann)
        if not number:
            town.wait(lambda ann=ann: town.actor("ann") != ann, "the successor")
    town.wait(lambda: town.agent("ann").state == "error", "the agent to be given up")
    assert not list(folder.glob("*.tmp"))


def test_of_a_server(town: RunningTown) -> None:
    """A rewrite of the append-only file that its server did not finish."""
    town.spawn("ann")
    town.wait_idle("ann")
    half = town.town.state_dir / f"temp-rewriteaof-bg-{GONE}.aof"
    half.write_bytes(b"x" * 1000)
    conf = town.town.state_dir / f"redis.conf.{GONE}.tmp"
    conf.write_text("port 0")
    town.kill_redis()
    town.task_done("ann")
    assert not half.exists()
    assert not conf.exists()
