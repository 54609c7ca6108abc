"""`tt service`: the unit that it writes, what it does without a user manager, and what a stop leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Tt
from tests.support.running_town import RunningTown, compile_stubborn
from tinytown import processes
from tinytown.services import leftovers, unit_file
from tinytown.town import open_town

STRANGE = ["town", "my town 50%", "a %h $HOME ${HOME} %%", "quote \" and ' here", "back\\slash", "städtchen 🏘️"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and no user manager: its runtime folder is empty."""
    home, runtime = tmp_path / "home", tmp_path / "runtime"
    home.mkdir()
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return home


@pytest.fixture
def tt(home: Path, tmp_path: Path) -> Tt:
    """`tt` in the folder of a town that is called `demo`."""
    return make_town(tmp_path / "town")


def make_town(root: Path, name: str = "demo", settings: str = "") -> Tt:
    (root / ".tt").mkdir(parents=True)
    (root / "tinytown.toml").write_text(f'name = "{name}"\n{settings}')
    return Tt(root)


def unit_of(home: Path, name: str = "demo") -> Path:
    return home / ".config/systemd/user" / f"tinytown-{name}.service"


def lines_of(unit: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and line[0] != "#")


def verify(unit: Path) -> tuple[int, str]:
    argv = ["systemd-analyze", "verify", "--user", str(unit)]
    checked = subprocess.run(argv, capture_output=True, text=True, check=False)
    return checked.returncode, checked.stderr


# The unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("folder", STRANGE)
def test_systemd_accepts_the_unit(folder: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`systemd-analyze verify` finds nothing to complain about, whatever the folders are called."""
    root = tmp_path / folder
    make_town(root, settings="[supervisor]\ngrace_s = 12.5\n")
    (root / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(root / "python"))
    monkeypatch.setenv("PATH", f"{root}:{os.environ['PATH']}:relative::{root}")
    town = open_town(str(root))
    assert unit_file.write(town)
    assert verify(unit_of(home)) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_verification_means_something(home: Path, tt: Tt, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit whose interpreter is not there is refused by the same check."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    unit_file.write(open_town(str(tt.cwd)))
    assert verify(unit_of(home)) != (0, "")


def test_the_unit_says_what_the_design_wants(home: Path, tt: Tt) -> None:
    """Type, watchdog, kill mode, a stop that is longer than the grace time, the PATH of this shell."""
    tt.ok("service", "install")
    unit = lines_of(unit_of(home))
    command = unit["ExecStart"].removesuffix(" supervise")
    assert command.endswith(f'" -m tinytown --town "{tt.cwd}"')
    assert os.path.samefile(command.split('"')[1], sys.executable)
    assert unit["ExecStopPost"] == f"{command} service end-leftovers"
    assert unit["ExecReload"] == "/bin/sh -c 'kill -HUP $MAINPID'"
    wanted = {"Type": "notify", "NotifyAccess": "main", "KillMode": "process", "WatchdogSec": "30",
              "Restart": "on-failure", "OOMPolicy": "continue", "WantedBy": "default.target"}  # fmt: skip
    assert {name: unit[name] for name in wanted} == wanted
    assert int(unit["TimeoutStopSec"]) > open_town(str(tt.cwd)).config.supervisor.grace_s + 10
    folders = unit["Environment"].removeprefix('"PATH=').removesuffix('"').split(":")
    assert set(folders) == {folder for folder in os.environ["PATH"].split(":") if folder}


@pytest.mark.parametrize("text", ["plain", "a b", "50%", "%h", 'q"q', "b\\b", "t\tt", "ünï"])
def test_quoting_is_undone_by_systemds_rules(text: str) -> None:
    """One word: in quotes, specifiers doubled, C escapes."""
    word = unit_file.quoted(text)
    assert (word[0], word[-1]) == ('"', '"')
    inner = word[1:-1].replace("%%", "%")
    assert json.loads('"' + inner.replace("\\x", "\\u00") + '"') == text


def test_a_folder_with_a_line_break_is_refused(home: Path, tmp_path: Path) -> None:
    """What a unit file cannot hold is an error, and writes nothing."""
    tt = make_town(tmp_path / "line\nbreak")
    assert "control characters" in tt.fails("service", "install").err
    assert not unit_of(home).exists()


# Install, uninstall, status without a manager


def test_install_without_a_manager_writes_the_unit_and_says_what_is_left(home: Path, tt: Tt) -> None:
    """Exit 0, the file, one line with the commands to come, and the hint to lingering."""
    ran = tt.ok("service", "install")
    assert ran.out == f"Wrote {unit_of(home)}\n"
    assert [line for line in ran.complaint if "systemctl --user enable --now tinytown-demo.service" in line]
    assert "loginctl enable-linger" in ran.err
    assert oct(unit_of(home).stat().st_mode & 0o777) == "0o644"


def test_install_needs_no_systemctl(home: Path, tt: Tt) -> None:
    """A machine without systemd's tools gets the file all the same."""
    assert tt.ok("service", "install", env={"PATH": "/nonexistent"}).out == f"Wrote {unit_of(home)}\n"
    tt.ok("service", "status", env={"PATH": "/nonexistent"})


def test_install_again_writes_only_what_changed(home: Path, tt: Tt) -> None:
    """The same unit is left alone; another grace time makes another unit, as `status` says."""
    tt.ok("service", "install")
    inode = unit_of(home).stat().st_ino
    assert tt.ok("service", "install").out == f"Unchanged: {unit_of(home)}\n"
    assert unit_of(home).stat().st_ino == inode
    (tt.cwd / "tinytown.toml").write_text('name = "demo"\n[supervisor]\ngrace_s = 100\n')
    ran = tt.ok("service", "status")
    assert "renew it with: tt service install" in ran.err
    assert tt.ok("service", "install").out == f"Wrote {unit_of(home)}\n"
    assert int(lines_of(unit_of(home))["TimeoutStopSec"]) > 100


def test_another_path_makes_no_other_service(home: Path, tt: Tt) -> None:
    """`status` from another shell does not call the unit outdated."""
    tt.ok("service", "install")
    state = tt.ok("service", "status", "--json", env={"PATH": f"/opt/x:{os.environ['PATH']}"}).json
    assert state["up_to_date"]


def test_the_configuration_folder_is_respected(home: Path, tt: Tt, tmp_path: Path) -> None:
    """$XDG_CONFIG_HOME, when it is absolute."""
    folder = tmp_path / "conf"
    tt.ok("service", "install", env={"XDG_CONFIG_HOME": str(folder)})
    assert (folder / "systemd/user/tinytown-demo.service").is_file()
    assert not unit_of(home).exists()
    tt.ok("service", "install", env={"XDG_CONFIG_HOME": "relative"})
    assert unit_of(home).is_file()


@pytest.mark.slow
def test_status_follows_install_and_uninstall(home: Path, tt: Tt) -> None:
    """A stable shape, without a manager; nothing is started by it."""
    before = tt.ok("service", "status", "--json").json
    assert before == {
        "town": "demo", "unit": "tinytown-demo.service", "path": str(unit_of(home)), "installed": False,
        "up_to_date": False, "enabled": False, "has_manager": False, "active": None, "sub": None, "status": None,
        "restarts": None, "pid": None, "supervisor_pid": None, "linger": before["linger"],
    }  # fmt: skip
    tt.ok("service", "install")
    link = unit_of(home).parent / "default.target.wants/tinytown-demo.service"
    link.parent.mkdir()
    link.symlink_to(unit_of(home))
    state = tt.ok("service", "status", "--json").json
    assert state == before | {"installed": True, "up_to_date": True, "enabled": True}
    assert "unknown (no user manager" in tt.ok("service", "status").out
    assert tt.ok("service", "uninstall").out == f"Removed {unit_of(home)}\n"
    assert not link.is_symlink()
    assert tt.ok("service", "status", "--json").json == before
    assert tt.ok("service", "uninstall").out == "Not installed: tinytown-demo.service\n"
    assert not any((tt.cwd / ".tt").iterdir())


def test_two_towns_of_one_name_do_not_share_a_unit(home: Path, tt: Tt, tmp_path: Path) -> None:
    """The second is refused, both ways, until the first one's folder has gone."""
    other = make_town(tmp_path / "other")
    tt.ok("service", "install")
    text = unit_of(home).read_text()
    for verb in ("install", "uninstall"):
        assert str(tt.cwd) in other.fails("service", verb).err
    assert unit_of(home).read_text() == text
    assert not other.ok("service", "status", "--json").json["installed"]
    shutil.rmtree(tt.cwd)
    other.ok("service", "install")
    assert f'"{other.cwd}"' in unit_of(home).read_text()


def test_a_file_of_somebody_else_is_left_alone(home: Path, tt: Tt) -> None:
    """A unit that we did not write, and a masked one, are refused and stay."""
    unit_of(home).parent.mkdir(parents=True)
    unit_of(home).write_text("[Service]\nExecStart=/bin/true\n")
    tt.fails("service", "install")
    tt.fails("service", "uninstall")
    assert unit_of(home).read_text() == "[Service]\nExecStart=/bin/true\n"
    unit_of(home).unlink()
    unit_of(home).symlink_to("/dev/null")
    assert "unmask" in tt.fails("service", "install").err


def test_a_home_that_cannot_be_written_is_one_line(home: Path, tt: Tt) -> None:
    """Something else where the folder should be."""
    (home / ".config").write_text("")
    assert "Cannot write" in tt.fails("service", "install").err


def test_what_only_this_shell_knows_is_named(home: Path, tt: Tt) -> None:
    """REDIS_URL chooses the server here, and would not in the service."""
    ran = tt.ok("service", "install", env={"REDIS_URL": "redis://localhost:1"})
    assert "REDIS_URL" in ran.complaint[0]
    assert "localhost:1" not in unit_of(home).read_text()


def test_bad_usage(home: Path, tt: Tt) -> None:
    """Exit 2, nothing written; `end-leftovers` is not offered to users."""
    tt.fails("service", "install", "--take-over", "--no-now", code=2)
    tt.fails("service", "instal", code=2)
    assert not unit_of(home).exists()
    assert "end-leftovers" not in tt.ok("service", "--help").out


# After a stop


@pytest.fixture(scope="session")
def stubborn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripted CLI."""
    return compile_stubborn(tmp_path_factory.mktemp("stubborn"))


@pytest.fixture
def town(home: Path, stubborn: Path, tmp_path: Path) -> Iterator[RunningTown]:
    """A town with a supervisor."""
    made = RunningTown(tmp_path / "town", stubborn, supervisor={"grace_s": 0.5}).start()
    try:
        yield made
    finally:
        made.close()


def end_leftovers(town: RunningTown, result: str | None) -> str:
    tt = Tt(town.root, town=town.root)
    return tt.ok("service", "end-leftovers", env={"SERVICE_RESULT": result}).out


@pytest.mark.fault
def test_actors_of_a_supervisor_that_died_live(town: RunningTown) -> None:
    """No result but `success` ends anything: the next supervisor adopts, and the round is not thrown away."""
    town.spawn("one")
    task = town.assign("one", "await go")
    run = town.wait_run(task)
    actor = town.actor("one")
    town.kill_supervisor()
    for result in ("signal", "watchdog", "exit-code", "timeout", "", None):
        assert end_leftovers(town, result) == ""
    assert processes.is_alive(actor)
    assert processes.identity(run.pid) is not None
    town.start()
    town.go()
    town.wait_done(task)
    assert len(town.runs(task)) == 1
    town.finish()


@pytest.mark.fault
def test_after_a_stop_nothing_is_left(town: RunningTown) -> None:
    """Actors and models of a dead supervisor are ended, and the town's Redis; the work goes on at the next start."""
    town.spawn("busy", "idle")
    town.wait_idle("idle")
    task = town.assign("busy", "child grandchild", "await go")
    run = town.wait_run(task)
    town.wait((town.control / "grandchild").exists, "the grandchild")
    ours = [town.actor("busy"), *town.models("busy"), town.redis.identity()]
    assert run.pid in {process.pid for process in ours if process}
    idle = town.actor("idle")
    town.kill_supervisor()
    town.wait(lambda: not processes.is_alive(idle), "the idle actor, which leaves by itself")
    assert end_leftovers(town, "success") == "Ended: 1 agent(s), 0 model process(es), Redis\n"
    assert not any(map(processes.is_alive, ours))
    assert end_leftovers(town, "success") == ""
    town.start()
    town.go()
    town.wait_done(task)
    assert town.town.store.call(lambda r: r.hgetall(town.town.store.keys.attempts(town.agent("busy").id))) == {}
    town.finish()


@pytest.mark.fault
def test_an_actor_that_does_not_go_is_killed_uncharged(town: RunningTown) -> None:
    """A frozen actor: KILL, its models too, `stopped` in its journal."""
    town.spawn("one")
    task = town.assign("one", "ignore-term", "await go")
    run = town.wait_run(task)
    actor = town.actor("one")
    town.kill_supervisor()
    processes.send(actor, signal.SIGSTOP)
    ended = leftovers.end_all(town.town, grace_s=0.1)
    assert (ended.actors, ended.redis, ended.is_ours) == (1, True, True)
    assert not processes.is_alive(actor)
    assert processes.identity(run.pid) is None
    entry = town.journal("one").round()
    assert entry is not None
    assert entry.outcome is not None
    assert entry.outcome.kind == "stopped"
    town.start()
    town.go()
    town.wait_done(task)
    town.finish()


@pytest.mark.fault
def test_a_model_without_an_actor_is_ended_after_a_stop(town: RunningTown) -> None:
    """What carries a run's mark ends, also in a session of its own and after its actor."""
    town.spawn("one")
    task = town.assign("one", "child grandchild", "await go")
    town.wait_run(task)
    town.wait((town.control / "grandchild").exists, "the grandchild")
    models, actor = town.models("one"), town.actor("one")
    town.kill_supervisor()
    town.kill(actor)
    assert [process for process in models if processes.is_alive(process)]
    assert "1 model process(es)" in end_leftovers(town, "success")
    assert not any(map(processes.is_alive, models))
    town.start()
    town.go()
    town.wait_done(task)
    town.finish()


@pytest.mark.fault
def test_a_stop_while_redis_is_away(town: RunningTown) -> None:
    """Nobody can say who runs in a terminal: what belongs to this service's control group ends all the same."""
    town.spawn("one")
    task = town.assign("one", "await go")
    town.wait_run(task)
    models, actor = town.models("one"), town.actor("one")
    town.kill_supervisor()
    town.kill_redis()
    assert end_leftovers(town, "success") == "Ended: 1 agent(s), 0 model process(es)\n"
    assert not any(map(processes.is_alive, [actor, *models]))
    town.start()
    town.go()
    town.wait_done(task)
    town.finish()


@pytest.mark.fault
def test_nothing_of_a_running_supervisor_is_ended(town: RunningTown) -> None:
    """Somebody supervises the town outside of the service: its actors and its Redis stay."""
    town.spawn("one")
    town.wait_idle("one")
    actor = town.actor("one")
    assert end_leftovers(town, "success") == "Another supervisor runs; nothing was ended.\n"
    assert processes.is_alive(actor)
    town.finish()


@pytest.mark.fault
def test_an_agent_in_a_terminal_outlives_the_service(town: RunningTown) -> None:
    """It is its user's: it stays, and so does the Redis that it needs."""
    tt = Tt(town.root, town=town.root)
    with tt.running("spawn", "mine", "--foreground") as terminal:
        town.wait(lambda: "mine" in town.town.store.agents.names(), "the agent in the terminal")
        town.wait_idle("mine")
        town.signal_supervisor(signal.SIGTERM)
        assert town.await_supervisor_end() == 0
        assert end_leftovers(town, "success") == ""
        assert terminal.poll() is None
        task = town.assign("mine", "say hello")
        town.wait_done(task)
        terminal.send_signal(signal.SIGINT)
        assert terminal.wait(10) == 0
    assert end_leftovers(town, "success") == "Ended: 0 agent(s), 0 model process(es), Redis\n"


@pytest.mark.fault
def test_a_stop_in_order_leaves_nothing_to_do_but_redis(town: RunningTown) -> None:
    """TERM, as systemd sends it: the supervisor ends its actors itself; wishes stay for the next start."""
    town.spawn("one")
    town.wait_idle("one")
    town.signal_supervisor(signal.SIGTERM)
    assert town.await_supervisor_end() == 0
    assert end_leftovers(town, "success") == "Ended: 0 agent(s), 0 model process(es), Redis\n"
    town.wait(lambda: not town.processes, "the end of every process", 5)
    town.start()
    town.wait_idle("one")
    town.finish()
