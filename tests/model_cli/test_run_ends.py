"""How a run ends that does not end by itself, with real processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model_cli.driving import drive, fake, make
from tests.support.waiting import wait_until
from tinytown import clock, processes
from tinytown.domain.outcome import OutcomeKind
from tinytown.model_cli.catalog import ModelCli
from tinytown.model_cli.run import ModelRun
from tinytown.processes import Identity

K = OutcomeKind
DONE = 'outcome {"kind": "ok"}'


def started(run: ModelRun, ready: str = "ready") -> Identity:
    """Start it, and wait until it has printed that."""
    leader = run.start()
    assert leader is not None
    drive(run, lambda: ready in run.reader.text)
    return leader


def process_in(path: Path) -> Identity:
    """The process whose pid is in the file, once it is there."""
    wait_until(path.exists, what=path.name)
    found = processes.identity(int(path.read_text()))
    assert found is not None
    return found


def test_time_out(tmp_path: Path) -> None:
    """A run that goes on for longer than a round may is ended as timed out; what it said is kept."""
    run = make(fake("print ready", "hang"), tmp_path, round_timeout_s=0.3)
    leader = started(run)
    drive(run)
    outcome = run.finish()
    assert (outcome.kind, outcome.detail, outcome.result) == (K.TIMED_OUT, "no end after 0.3 s", "ready")
    assert not processes.is_alive(leader)


def test_limits_of_the_cli_go_first(tmp_path: Path) -> None:
    """The CLI's own time-outs replace the town's; 0 switches one off."""
    run = make(fake("hang", round_timeout_s=0.0, silence_timeout_s=0.2), tmp_path, round_timeout_s=0.1)
    run.start()
    drive(run)
    assert run.finish().kind is K.HUNG


def test_silence(tmp_path: Path) -> None:
    """Silence is counted from the last output, not from the start."""
    directives = [part for n in range(6) for part in ("sleep 0.1", f"print {n}")]
    run = make(fake(*directives, "hang"), tmp_path, silence_timeout_s=0.4)
    run.start()
    drive(run)
    outcome = run.finish()
    assert (outcome.kind, outcome.detail) == (K.HUNG, "no output for 0.4 s")
    assert outcome.result.split() == ["0", "1", "2", "3", "4", "5"]


def test_late_caller_calls_nobody_hung(tmp_path: Path) -> None:
    """When the caller was busy for longer than the silence allowed, output in the pipe counts as heard."""
    run = make(fake("print ready", "await go"), tmp_path, silence_timeout_s=5.0)
    run.start()
    wait_until(lambda: _readable(run.output_fd), what="output")
    due = run.next_due()
    assert due is not None
    run.on_timer(due + 0.001)
    assert due < (run.next_due() or 0.0)  # heard later than started; a run that is being ended has 2 s
    (tmp_path / "go").touch()
    drive(run)
    assert run.finish().kind is K.OK


def test_ignores_term(tmp_path: Path) -> None:
    """TERM that is ignored is followed by KILL two seconds later."""
    run = make(fake("ignore-term", "print ready", "hang"), tmp_path)
    started(run)
    begun = clock.monotonic()
    run.end(K.STOPPED, "stop asked for")
    drive(run)
    assert 1.9 < clock.monotonic() - begun < 4
    assert (run.finish().kind, run.finish().detail) == (K.STOPPED, "stop asked for")


def test_end_at_once(tmp_path: Path) -> None:
    """`at_once` does not wait, also as a second call; the first reason stays."""
    run = make(fake("ignore-term", "print ready", "hang"), tmp_path)
    started(run)
    begun = clock.monotonic()
    run.end(K.STOPPED, "first")
    run.end(K.TIMED_OUT, "second", at_once=True)
    drive(run)
    assert clock.monotonic() - begun < 1
    assert (run.finish().kind, run.finish().detail) == (K.STOPPED, "first")


def test_finish_ends_a_run_in_progress(tmp_path: Path) -> None:
    """`finish` before the end is a stop."""
    run = make(fake("ignore-term", "print ready", "hang"), tmp_path)
    leader = started(run)
    assert run.finish().kind is K.STOPPED
    assert not processes.is_alive(leader)


def test_term_reaches_the_whole_tree(tmp_path: Path) -> None:
    """Behind a shell, the program itself is told to end too."""
    run = make(ModelCli("sh", ("/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100; true")), tmp_path)
    run.start()
    wait_until(lambda: run.leader and len(processes.kin(run.leader)) == 2, what="the shell's child")
    begun = clock.monotonic()
    run.end(K.STOPPED, "stop")
    drive(run)
    assert clock.monotonic() - begun < 1.5
    assert run.finish().kind is K.STOPPED


def test_grandchild_that_stays(tmp_path: Path) -> None:
    """A grandchild in a session of its own, holding stdout, does not keep the run open, and does not outlive it."""
    run = make(fake("child 100", "print ready", "exit 0"), tmp_path)
    run.start()
    mark = f"{tmp_path.name}:1:1"
    drive(run)
    assert len(processes.marked(mark)) == 1
    begun = clock.monotonic()
    assert run.finish().kind is K.OK
    assert clock.monotonic() - begun < 1
    assert processes.marked(mark) == []


def test_output_closed_early(tmp_path: Path) -> None:
    """A model that closes its output runs on; nothing spins, and its end is seen."""
    run = make(fake("print ready", "close-output", "await go", "exit 5"), tmp_path)
    started(run)
    busy = clock.monotonic() + 0.2
    turns = 0
    while clock.monotonic() < busy:
        drive(run, until=lambda: True)
        turns += 1
        assert not _readable(run.output_fd, 0.05)
    assert turns < 10
    (tmp_path / "go").touch()
    drive(run)
    assert run.finish().exit_code == 5


def test_final_record_and_no_end(tmp_path: Path) -> None:
    """A model that reported success and does not end is ended after its grace; the success stands."""
    run = make(fake("print did it", DONE, "ignore-term", "hang", format="tinytown"), tmp_path, final_grace_s=0.2)
    run.start()
    drive(run)
    assert (run.finish().kind, run.finish().result) == (K.OK, "did it")


def test_stop_after_success(tmp_path: Path) -> None:
    """A stop that comes after the report of success does not make the work undone."""
    run = make(fake("print ready", DONE, "hang", format="tinytown"), tmp_path)
    run.start()
    drive(run, lambda: run.reader.final)
    run.end(K.STOPPED, "stop", at_once=True)
    drive(run)
    assert run.finish().kind is K.OK


def test_killed_from_outside(tmp_path: Path) -> None:
    """Somebody else's KILL is told apart from ours."""
    run = make(fake("print ready", "hang"), tmp_path)
    processes.send(started(run), signal.SIGKILL)
    drive(run)
    assert (run.finish().kind, run.finish().detail) == (K.KILLED, "killed by SIGKILL")


def test_leader_reaped_by_somebody_else(tmp_path: Path) -> None:
    """An end that nobody saw is no success."""
    run = make(fake("print ready"), tmp_path)
    leader = run.start()
    assert leader is not None
    os.waitpid(leader.pid, 0)
    run.on_exit()
    assert (run.finish().kind, run.finish().detail) == (K.KILLED, "ended unseen")


def test_two_runs_do_not_touch_each_other(tmp_path: Path) -> None:
    """Ending one run leaves another one's tree alone."""
    one = make(fake("print ready", "hang"), tmp_path, env={"TINYTOWN_RUN": f"{tmp_path.name}-a:1:1"})
    two = make(fake("print ready", "hang"), tmp_path, env={"TINYTOWN_RUN": f"{tmp_path.name}-b:1:1"})
    first, second = started(one), started(two)
    one.finish()
    assert not processes.is_alive(first)
    assert processes.is_alive(second)
    assert two.finish().kind is K.STOPPED


OWNER = """
import sys
from pathlib import Path
from tests.model_cli.driving import drive, fake, make
folder = Path(sys.argv[1])
run = make(fake("pid " + str(folder / "model.pid"), "hang"), folder)
run.start()
drive(run, timeout=60)
"""


@pytest.mark.fault
def test_dies_with_its_owner(tmp_path: Path) -> None:
    """When the process that runs a model is killed, the model dies at once."""
    root = Path(__file__).parents[2]
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], cwd=root, env=dict(os.environ))
    try:
        model = process_in(tmp_path / "model.pid")
    finally:
        owner.kill()
        owner.wait()
    wait_until(lambda: not processes.is_alive(model), 2.0, "the end of the model")


def _readable(fd: int, timeout_s: float = 0.0) -> bool:
    return bool(select.select([fd], [], [], timeout_s)[0])
