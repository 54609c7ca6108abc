"""`tt save`, `tt restore`, and `tt init` on a saved town: from one machine to the next."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import invariants, leftovers
from tests.support import town as towns
from tests.support.builders import make_task
from tests.support.cli import Tt
from tests.support.waiting import wait_until
from tinytown.domain.states import TaskState
from tinytown.store import snapshot
from tinytown.town import Town, open_town

pytestmark = pytest.mark.slow
GIT_LINES = "\n   To version control Redis state:\n   git add .tt/redis.aof\n   git commit -m 'Save town state'\n"


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def settled(tt: Tt) -> None:
    """The invariants of a town at rest hold, as soon as processes that have taken their leave are gone."""
    town = open_town(str(tt.cwd))
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not invariants.violations(town, settled=True), 5)
    invariants.check(town, settled=True)
    town.store.close()


@pytest.fixture
def second(bare: Tt, tmp_path: Path) -> Iterator[Tt]:
    """Another machine: a folder and a home of its own."""
    home = tmp_path / "second-home"
    home.mkdir()
    command = Tt(tmp_path / "second", env={"HOME": str(home)})
    yield command
    if command.cwd.is_dir():
        command("stop", "--all", "--now")


@pytest.fixture
def worked(made: Tt) -> Tt:
    """A town with an agent that has done a task, one task that waits for it, and one in the backlog."""
    made.ok("spawn", "backend", "--model", "demo")
    made.ok("assign", "backend", "Build the API")
    wait_until(lambda: made.ok("task", "list", "--state", "completed", "--json").json, 20, "the task to be done")
    made.ok("backlog", "add", "Write the docs", "--tags", "docs")
    return made


def clone(first: Tt, second: Tt) -> None:
    git(first.cwd, "init")
    git(first.cwd, "add", "tinytown.toml", ".gitignore", ".tt/redis.aof")
    git(first.cwd, "commit", "-m", "Save town state")
    git(first.cwd.parent, "clone", str(first.cwd), str(second.cwd))
    assert [path.name for path in (second.cwd / ".tt").iterdir()] == ["redis.aof"]


def test_the_workflow_by_init(worked: Tt, second: Tt) -> None:
    """Save, commit, clone on another machine, init: the state is there, nothing runs, and work goes on."""
    ran = worked.ok("save")
    lines = ran.out.splitlines()
    assert lines[:2] == ["Saving Redis state...", "   AOF rewrite triggered. File: ./.tt/redis.aof"]
    assert lines[2].startswith("   Verified by a test load: 1 agent, 2 tasks and ")
    assert ran.out.endswith(GIT_LINES)
    assert ran.err == ""
    tasks = worked.ok("task", "list", "--json").json
    worked.ok("stop", "--all")
    clone(worked, second)
    ran = second.ok("init")
    assert ran.out.splitlines()[:2] == [
        "Initialized town 'my-project' at .",
        "Redis running with Unix socket for fast message passing",
    ]
    assert ran.out.splitlines()[2].startswith("Restored 1 agent, 2 tasks and ")
    assert second.ok("task", "list", "--json").json == tasks
    (agent,) = second.ok("list", "--json").json
    assert (agent["name"], agent["state"], agent["reason"], agent["wanted"]) == (
        "backend",
        "stopped",
        "restored",
        False,
    )
    assert agent["tasks_completed"] == 1
    settled(second)
    second.ok("restart", "backend")
    second.ok("assign", "backend", "Go on")
    wait_until(lambda: len(second.ok("task", "list", "--state", "completed", "--json").json) == 2, 20, "its end")
    git(second.cwd, "diff", "--exit-code", "--", ".tt")  # a start moves nothing away from git
    second.fails("init")


def test_the_workflow_by_restore(worked: Tt, second: Tt) -> None:
    """In a clone, restore does without init; agents can be started afterwards."""
    worked.ok("save")
    worked.ok("stop", "--all")
    clone(worked, second)
    ran = second.ok("restore")
    assert (second.cwd / ".tt").stat().st_mode & 0o777 == 0o700
    lines = ran.out.splitlines()
    assert lines[0] == "AOF file found: ./.tt/redis.aof"
    assert lines[1].startswith("Restored town 'my-project': 1 agent, 2 tasks and ")
    assert lines[2] == "   All agents are stopped. Start one with: tt restart <name>"
    second.ok("spawn", "other", "--model", "demo")
    assert {agent["name"] for agent in second.ok("list", "--json").json} == {"backend", "other"}
    assert "is not empty: 2 agents, 2 tasks" in second.fails("restore").err


def test_a_clone_is_not_begun_anew(worked: Tt, second: Tt) -> None:
    """Before its state is loaded nothing starts an empty town over it; least of all `save`."""
    worked.ok("save")
    git(worked.cwd, "init")
    git(worked.cwd, "add", "-A")
    git(worked.cwd, "commit", "-m", "saved")
    git(worked.cwd.parent, "clone", "project", "second")
    before = (second.cwd / ".tt" / "redis.aof").read_bytes()
    for command in (
        ("spawn", "x", "--cli", "demo"),
        ("save",),
        ("supervise",),
        ("supervise", "--detach"),
        ("start",),
        ("backlog", "add", "x"),
    ):
        assert second.fails(*command).complaint == [
            "Error: The saved state of town 'my-project' is not loaded yet.", "Load it with: tt init",
        ]  # fmt: skip
    assert second.fails("status").complaint[1] == "Start it with: tt init"
    assert (second.cwd / ".tt" / "redis.aof").read_bytes() == before
    second.ok("init")
    assert [agent["name"] for agent in second.ok("list", "--json").json] == ["backend"]


def test_restore_ends_what_runs(worked: Tt) -> None:
    """With --force agents are stopped first; the supervisor stays, and what was done since is gone."""
    worked.ok("save")
    worked.ok("spawn", "later", "--model", "demo")
    worked.ok("task", "list", "--json")
    ran = worked.fails("restore")
    assert ran.complaint[0].startswith("Error: Town 'my-project' is not empty: 2 agents, 2 tasks and ")
    assert ran.complaint[0].endswith(" would be lost.")
    assert ran.complaint[1] == "Replace them with: tt restore --force"
    worked.ok("restore", "--force")
    assert [agent["name"] for agent in worked.ok("list", "--json").json] == ["backend"]
    settled(worked)
    worked.ok("restart", "backend")
    worked.ok("assign", "backend", "Again")
    wait_until(lambda: len(worked.ok("task", "list", "--state", "completed", "--json").json) == 2, 20, "its end")


def test_another_name(worked: Tt, second: Tt) -> None:
    """A town that is called otherwise takes the state over, and says whose it was."""
    worked.ok("save")
    second.cwd.mkdir()
    second.ok("init", "--name", "renamed")
    shutil.copy(worked.cwd / ".tt" / "redis.aof", second.cwd / ".tt" / "redis.aof")
    assert "Restored town 'renamed', saved as 'my-project': 1 agent" in second.ok("restore").out
    assert second.ok("list", "--json").json[0]["name"] == "backend"
    settled(second)


def test_init_without_settings(worked: Tt, second: Tt) -> None:
    """A .tt that holds only the saved file is no town: init makes one, with that state."""
    worked.ok("save")
    (second.cwd / ".tt").mkdir(parents=True)
    shutil.copy(worked.cwd / ".tt" / "redis.aof", second.cwd / ".tt" / "redis.aof")
    ran = second.ok("init", "--name", "fresh")
    assert "Restored 1 agent, 2 tasks" in ran.out
    assert f"{second.cwd}/.tt/redis.aof, saved as 'my-project'\n" in ran.out
    assert second.ok("list", "--json").json[0]["name"] == "backend"


def test_init_with_a_damaged_file(made: Tt, second: Tt) -> None:
    """It fails as a whole: one line, and the folder as it was."""
    made.ok("backlog", "add", "x")
    made.ok("save")
    (second.cwd / ".tt").mkdir(parents=True)
    (second.cwd / "tinytown.toml").write_text('name = "my-project"\n')
    whole = (made.cwd / ".tt" / "redis.aof").read_bytes()
    (second.cwd / ".tt" / "redis.aof").write_bytes(whole[:-200])
    before = contents(second.cwd)
    ran = second.fails("init")
    assert ran.complaint == [
        f"Error: {second.cwd}/.tt/redis.aof cannot be restored: it is cut off.",
        "Bring back a good one, or move it away.",
    ]
    assert contents(second.cwd) == before
    (second.cwd / ".tt" / "redis.aof").write_bytes(whole)
    second.ok("init")


def test_init_where_redis_has_the_state_already(worked: Tt, second: Tt) -> None:
    """On a shared Redis a second machine joins the town; what is saved is not laid over it."""
    worked.ok("save")
    url = f"unix://{worked.cwd}/.tt/redis.sock"
    clone(worked, second)
    ran = second.ok("init", env={"REDIS_URL": url})
    assert "The town has state in Redis already" in ran.err
    assert "tt restore --force" in ran.err
    assert "Restored" not in ran.out


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[:-200], "it is cut off"),
        (lambda data: data.replace(b"later", b"LATER"), "its content was changed"),
        (lambda _data: b"REDIS0011\xfa", "it is no append-only file"),
        (lambda _data: b"*1\r\n$8\r\nFLUSHALL\r\n", "it holds a command that no save writes: 'FLUSHALL'"),
    ],
)
def test_restore_of_a_damaged_file(made: Tt, damage: Callable[[bytes], bytes], why: str) -> None:
    """One line; nothing is changed, however it was forced."""
    made.ok("backlog", "add", "later " * 300)
    made.ok("save")
    file = made.cwd / ".tt" / "redis.aof"
    file.write_bytes(damage(file.read_bytes()))
    before = made.ok("task", "list", "--json").json
    for args in ((), ("--force",)):
        ran = made.fails("restore", *args)
        assert ran.complaint[0] == f"Error: {file} cannot be restored: {why}."
    assert made.ok("task", "list", "--json").json == before


def test_no_file(made: Tt) -> None:
    """It is said where it should be."""
    ran = made.fails("restore")
    assert ran.complaint == [f"Error: No AOF file found at: {made.cwd}/.tt/redis.aof", "Make one with: tt save"]


def test_from_elsewhere(made: Tt, tmp_path: Path) -> None:
    """The lines for git are right wherever the command is given."""
    below = made.cwd / "src"
    below.mkdir()
    assert "   git add ../.tt/redis.aof\n" in made.ok("save", cwd=below).out
    ran = made.ok("save", "--town", str(made.cwd), cwd=tmp_path)
    assert f"File: {made.cwd}/.tt/redis.aof\n" in ran.out
    assert f"   git -C {made.cwd}/.tt add redis.aof\n" in ran.out


def test_on_a_terminal(made: Tt) -> None:
    """People see the signs of the manual."""
    made.ok("backlog", "add", "x")
    code, shown = made.on_terminal("save")
    assert (code, shown.splitlines()[0]) == (0, "💾 Saving Redis state...")
    code, shown = made.on_terminal("restore", "--force")
    assert code == 0
    assert "📂 AOF file found: ./.tt/redis.aof" in shown
    assert "✅ Restored town 'my-project': 0 agents, 1 task and 0 messages" in shown


def test_a_town_that_is_down(worked: Tt) -> None:
    """Both start Redis, and leave it running."""
    worked.ok("stop", "--all")
    worked.ok("save")
    worked.ok("stop", "--all")
    worked.ok("restore", "--force")
    assert len(worked.ok("list", "--json").json) == 1


def test_a_place_that_cannot_be_written(made: Tt) -> None:
    """One line."""
    toml = made.cwd / "tinytown.toml"
    (made.cwd / "blocked").write_text("a file")
    made.ok("stop", "--all")
    shutil.rmtree(made.cwd / ".tt" / "appendonlydir")
    settings = toml.read_text().replace(".tt/redis.aof", "blocked/redis.aof")
    toml.write_text(settings.replace("persist = true", "persist = false"))
    assert "Error: Cannot use " in made.fails("save").err


# Killed in the middle


def many(tt: Tt, count: int = 3000) -> Town:
    """A town whose save takes long enough to be caught at it."""
    town = open_town(str(tt.cwd))
    for _ in range(count // 500):
        with towns.writing(town) as tx:
            for _ in range(500):
                task = make_task(TaskState.PENDING, description="x" * 300)
                tx.save_task(None, task)
                tx.do("RPUSH", tx.keys.backlog, task.id)
    return town


@pytest.mark.fault
@pytest.mark.parametrize("moment", ["copied", "written", "verified"])
def test_a_killed_save(made: Tt, moment: str) -> None:
    """The old file stays good, the server of the test load dies with its command, and the next save works."""
    made.ok("backlog", "add", "before")
    made.ok("save")
    file = made.cwd / ".tt" / "redis.aof"
    before = file.read_bytes()
    town = many(made)
    known = leftovers.descendants()
    moments: dict[str, Callable[[], object]] = {
        "copied": lambda: snapshot.names_under(town.store, town.store.keys.prefix + "snapshot:"),
        "written": (made.cwd / ".tt" / "redis.aof.saving").exists,
        "verified": (made.cwd / ".tt" / "scratch" / ".tt" / "redis.sock").exists,
    }
    with made.running("save") as command:
        wait_until(moments[moment], 20, f"the save to have {moment}")
        command.send_signal(signal.SIGKILL)
        command.wait(10)
    assert file.read_bytes() == before
    wait_until(lambda: not leftovers.descendants() - known, 10, "the end of the server of the test load")
    made.ok("restore", "--force")
    assert len(made.ok("task", "list", "--json").json) == 1
    town = many(made)
    made.ok("save")
    assert file.read_bytes() != before
    assert not (made.cwd / ".tt" / "redis.aof.saving").exists()
    assert not (made.cwd / ".tt" / "scratch").exists()
    town.store.close()


@pytest.mark.fault
@pytest.mark.parametrize("moment", ["loaded", "copied"])
def test_a_killed_restore(made: Tt, moment: str) -> None:
    """The town is as it was, no server is left, and the next restore works."""
    town = many(made)
    made.ok("save")
    made.ok("backlog", "add", "since")
    before = towns.snapshot(town)
    known = leftovers.descendants()
    moments: dict[str, Callable[[], object]] = {
        "loaded": (made.cwd / ".tt" / "scratch" / ".tt" / "redis.sock").exists,
        "copied": lambda: snapshot.names_under(town.store, town.store.keys.prefix + "snapshot:"),
    }
    with made.running("restore", "--force") as command:
        wait_until(moments[moment], 20, f"the restore to have {moment}")
        command.send_signal(signal.SIGKILL)
        command.wait(10)
    after = {key: value for key, value in towns.snapshot(town).items() if ":snapshot:" not in key}
    assert after == {key: value for key, value in before.items() if ":sent:" not in key or key in after}
    wait_until(lambda: not leftovers.descendants() - known, 10, "the end of the server of the test load")
    made.ok("restore", "--force")
    assert town.store.tasks.counts()[TaskState.PENDING] == 3000
    town.store.close()


@pytest.mark.fault
def test_a_killed_init(made: Tt, second: Tt) -> None:
    """Init that died while it loaded the saved file goes on when it is given again."""
    many(made).store.close()
    made.ok("save")
    (second.cwd / ".tt").mkdir(parents=True)
    (second.cwd / "tinytown.toml").write_text('name = "my-project"\n')
    shutil.copy(made.cwd / ".tt" / "redis.aof", second.cwd / ".tt" / "redis.aof")
    with second.running("init") as command:
        wait_until((second.cwd / ".tt" / "scratch" / ".tt" / "redis.sock").exists, 20, "the test load")
        command.send_signal(signal.SIGKILL)
        command.wait(10)
    assert "Restored 0 agents, 3,000 tasks" in second.ok("init").out
    assert len(second.ok("task", "list", "--json").json) == 3000
