"""A verification: commands that the agent's actor runs by itself, whatever happens meanwhile."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import NewTown
from tests.support.repository import make_repository
from tests.support.running_town import RunningTown
from tinytown.domain.states import TaskState
from tinytown.domain.task import VERIFY_TAG, Task
from tinytown.services import tasks
from tinytown.services.caller import Caller

pytestmark = pytest.mark.fault


def verify(town: RunningTown, agent: str, *commands: str) -> Task:
    """A task with these commands."""
    return tasks.assign(town.town, agent, "\n".join(["Verify: it", *commands]), Caller(), tags=[VERIFY_TAG])


def told(town: RunningTown, task: Task) -> dict[str, Any]:
    """What a verification that has come to its end found."""
    town.wait_done(task)
    found: dict[str, Any] = json.loads(town.task(task).result or "")
    return found


def test_commands_one_after_the_other(town: RunningTown) -> None:
    """In the town's folder, by the shell; what they say is in the round's log, and no model runs."""
    town.spawn("ann")
    found = told(
        town, task := verify(town, "ann", "echo one > made; echo first", "", "test $(cat made) = one && echo two")
    )
    assert found == {"ok": True, "command": "test $(cat made) = one && echo two", "exit": 0, "output": "two"}
    assert (town.root / "made").exists()
    log = (town.town.logs_dir / "ann_round_1.log").read_text()
    assert log.splitlines() == [
        "$ echo one > made; echo first", "first", "$ test $(cat made) = one && echo two", "two",
    ]  # fmt: skip
    assert town.runs(task) == []
    row = town.town.store.agents.row(town.agent("ann").id)
    assert row is not None
    assert row.stats["rounds"] == 1


def test_the_first_failure_ends_it(town: RunningTown) -> None:
    """The task is completed all the same; the result says what failed, how, and what was said."""
    town.spawn("ann")
    found = told(town, verify(town, "ann", "true", "echo bad; exit 7", "touch never"))
    assert found == {"ok": False, "command": "echo bad; exit 7", "exit": 7, "output": "bad"}
    assert not (town.root / "never").exists()


@pytest.mark.parametrize("code", [1, 126, 127, 137, 143, 255])
def test_no_exit_code_holds_the_agent(town: RunningTown, code: int) -> None:
    """What would mean something of a model's CLI is a failed command, and the agent goes on."""
    town.spawn("ann")
    assert told(town, verify(town, "ann", f"exit {code}"))["exit"] == code
    town.task_done("ann")


def test_a_time_limit_is_a_failed_verification(new_town: NewTown) -> None:
    """It is for all commands together; what it has started is ended."""
    town = new_town(agent={"round_timeout_s": 1.0})
    town.spawn("ann")
    found = told(town, verify(town, "ann", "echo begun; sleep 600"))
    assert (found["ok"], found["exit"]) == (False, None)
    assert found["output"].splitlines()[0] == "begun"
    assert "1 s" in found["output"]
    town.wait(lambda: not town.models("ann"), "the end of what it ran")


def test_it_completes_where_models_have_to_say_so(new_town: NewTown) -> None:
    """`complete_on = "explicit"` is for models."""
    town = new_town(agent={"complete_on": "explicit"})
    town.spawn("ann")
    assert told(town, verify(town, "ann", "true"))["ok"]


def test_a_killed_actor_runs_it_again(town: RunningTown) -> None:
    """Nobody has seen its end: it is put back, charged as any run, and done by the successor. Nothing is left over."""
    town.spawn("ann")
    task = verify(town, "ann", f"touch {town.control}/begun; while ! test -e {town.control}/go; do sleep 0.05; done")
    town.wait((town.control / "begun").exists, "the command")
    town.kill(town.actor("ann"))
    town.go()
    assert told(town, task)["ok"]
    assert town.task(task).attempts == 2


def test_a_stop_puts_it_back(town: RunningTown) -> None:
    """The supervisor ends in the middle of it: not charged, and the next one does it."""
    town.spawn("ann")
    wait = f"touch {town.control}/begun; while ! test -e {town.control}/go; do sleep 0.05; done"
    task = verify(town, "ann", wait)
    town.wait((town.control / "begun").exists, "the command")
    town.signal_supervisor(signal.SIGINT, signal.SIGINT)
    assert town.await_supervisor_end() == 0
    town.start()
    town.go()
    assert told(town, task)["ok"]
    assert town.task(task).attempts == 1


def test_a_cancelled_one_ends(town: RunningTown) -> None:
    """Its commands end with its task."""
    town.spawn("ann")
    task = verify(town, "ann", f"touch {town.control}/begun; sleep 600")
    town.wait((town.control / "begun").exists, "the command")
    tasks.cancel(town.town, task.id, None, Caller())
    town.wait_idle("ann")
    town.wait(lambda: not town.models("ann"), "the end of the commands")
    assert town.task(task).state is TaskState.CANCELLED


@pytest.mark.parametrize("is_first", [True, False])
def test_other_mail_has_another_round(town: RunningTown, *, is_first: bool) -> None:
    """No model hears of a verification, and its round takes nothing along, whichever comes first."""
    town.spawn("ann")
    begun = town.assign("ann", "await go")
    town.wait_run(begun)
    task = verify(town, "ann", "true") if is_first else None
    town.send("ann", "which port?\nstub: say 80", kind="query")
    task = task or verify(town, "ann", "true")
    town.go()
    assert told(town, task)["ok"]
    town.wait_idle("ann")
    town.wait(lambda: not town.town.store.inboxes.lengths([town.agent("ann").id])[0].inbox, "the question")
    town.wait_idle("ann")
    logs = sorted(town.town.logs_dir.glob("ann_round_*.log"))
    assert len(logs) == 3
    (alone,) = (log for log in logs if "$ true" in log.read_text())
    assert alone.read_text() == "$ true\n"


def test_it_runs_in_the_worktree(new_town: NewTown, tmp_path: Path) -> None:
    """Where its agent works, made ready if need be."""
    folder = tmp_path / "town0"
    folder.mkdir()
    make_repository(folder)
    town = new_town(agent={"isolation": "worktree"})
    town.spawn("ann")
    found = told(town, verify(town, "ann", "pwd", "cat shared.txt"))
    assert found["output"] == "first"
    log = (town.town.logs_dir / "ann_round_1.log").read_text()
    assert f"$ pwd\n{folder}/.tt/agents/ann/worktree\n" in log
