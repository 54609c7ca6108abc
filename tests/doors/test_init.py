"""`tt init`: what it makes, what it leaves alone, what it takes back."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.cli import Tt
from tinytown import config

pytestmark = pytest.mark.slow

BROKEN_SERVER = '[redis]\nserver = "/bin/false"\n'


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def name_in(folder: Path) -> str:
    return str(tomllib.loads((folder / "tinytown.toml").read_text())["name"])


def test_a_fresh_town(bare: Tt) -> None:
    """It says the three lines of the manual; settings, private folders, ignore list, Redis and registry are there."""
    ran = bare.ok("init", "--name", "my-project")
    assert ran.out == (
        "Initialized town 'my-project' at .\n"
        "Redis running with Unix socket for fast message passing\n"
        "Run 'tt spawn <name>' to create agents\n"
    )
    assert ran.err == ""
    state = bare.cwd / ".tt"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {"agents", "logs", "tasks", "runs", "redis.sock"} <= {p.name for p in state.iterdir()}
    assert (bare.cwd / ".gitignore").read_text() == ".tt/*\n!.tt/redis.aof\n"
    assert config.load(bare.cwd).default_cli == "claude"
    home = Path(str(bare.env["HOME"])) / ".tt"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "towns.toml").stat().st_mode) == 0o600
    assert tomllib.loads((home / "towns.toml").read_text()) == {
        "towns": [{"name": "my-project", "path": str(bare.cwd)}]
    }
    assert bare.ok("list").out == "No agents. Run 'tt spawn <name>' to create one.\n"


def test_the_settings_are_complete_and_readable(made: Tt, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file names every table there is, and uncommented it is still a valid file."""
    monkeypatch.setenv("MY_PASSWORD", "secret")
    text = (made.cwd / "tinytown.toml").read_text()
    for table in ("[redis]", "[agent]", "[supervisor]", "[retention]", "[agent_clis."):
        assert table in text
    lines = [line.removeprefix("# ") if line.startswith(("# [", "# ")) and " = " in line else line for line in
             text.replace("# [", "[").splitlines()]  # fmt: skip
    config.build(tomllib.loads("\n".join(lines)), made.cwd / "tinytown.toml")


def test_another_folder(bare: Tt, tmp_path: Path) -> None:
    """--town makes the folder, too, wherever it stands on the command line."""
    ran = bare.ok("init", "--town", str(tmp_path / "new" / "one"), "--name", "new-project")
    assert f"Initialized town 'new-project' at {tmp_path / 'new' / 'one'}" in ran.out
    bare.ok("stop", "--all", "--town", str(tmp_path / "new" / "one"))


@pytest.mark.parametrize(
    ("branch", "expected"), [("main", "project-main"), ("feature/auth", "project-feature-auth")]
)  # fmt: skip
def test_name_from_git(bare: Tt, branch: str, expected: str) -> None:
    """The name is <repo>-<branch>, also before the first commit; a slash becomes a hyphen."""
    git(bare.cwd, "init")
    git(bare.cwd, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    bare.ok("init")
    assert name_in(bare.cwd) == expected


def test_name_on_a_detached_head(bare: Tt) -> None:
    """Without a branch the name has the commit's short form."""
    git(bare.cwd, "init")
    git(bare.cwd, "commit", "--allow-empty", "-m", "one")
    git(bare.cwd, "checkout", "--detach")
    bare.ok("init")
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=bare.cwd, capture_output=True, check=True)
    assert name_in(bare.cwd) == f"project-{head.stdout.decode().strip()}"


def test_name_of_the_folder(bare: Tt) -> None:
    """Without git the folder's name is the town's."""
    bare.ok("init", env={"GIT_CEILING_DIRECTORIES": str(bare.cwd.parent)})
    assert name_in(bare.cwd) == "project"


def test_characters_a_name_cannot_have(bare: Tt) -> None:
    """They become a hyphen, and that is said."""
    ran = bare.ok("init", "--name", "My Awesome/Project")
    assert "Initialized town 'My-Awesome-Project'" in ran.out
    assert "'My Awesome/Project'" in ran.err


@pytest.mark.parametrize("name", ["", "///", "..", "🏘️"])
def test_a_name_of_which_nothing_is_left(bare: Tt, name: str) -> None:
    """It is refused, and nothing is made."""
    bare.fails("init", "--name", name)
    assert contents(bare.cwd) == {}


def test_an_existing_town_is_left_alone(made: Tt) -> None:
    """A second init is refused and changes nothing."""
    before = (made.cwd / "tinytown.toml").read_bytes()
    ran = made.fails("init")
    assert "already" in ran.err
    assert "tt start" in ran.err
    assert (made.cwd / "tinytown.toml").read_bytes() == before
    made.ok("list")


def test_a_clone_keeps_its_settings(bare: Tt) -> None:
    """A tinytown.toml without .tt stays byte for byte; its name counts."""
    text = '# ours\nname = "shared"   # keep\n\n[agent]\nmax_attempts = 7\n'
    (bare.cwd / "tinytown.toml").write_text(text)
    assert "Initialized town 'shared'" in bare.ok("init").out
    assert (bare.cwd / "tinytown.toml").read_text() == text
    bare.ok("list")
    bare.fails("init")


def test_a_clone_has_a_name_already(bare: Tt) -> None:
    """Another --name is refused; the same one is accepted."""
    (bare.cwd / "tinytown.toml").write_text('name = "shared"\n')
    before = contents(bare.cwd)
    assert "'shared'" in bare.fails("init", "--name", "mine").err
    assert contents(bare.cwd) == before
    bare.ok("init", "--name", "shared")


def test_a_clone_with_saved_state(bare: Tt) -> None:
    """A .tt that holds nothing but redis.aof is a clone, too, and its state is there after init."""
    (bare.cwd / "tinytown.toml").write_text('name = "shared"\n')
    (bare.cwd / ".tt").mkdir()
    (bare.cwd / ".tt" / "redis.aof").write_bytes(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n")
    bare.ok("init")
    bare.ok("list")


def test_git_ignores_the_state_but_not_what_is_saved(bare: Tt) -> None:
    """`.tt/*` is ignored, `.tt/redis.aof` is not; an old line for all of `.tt` is replaced, the rest stays."""
    git(bare.cwd, "init")
    (bare.cwd / ".gitignore").write_text("*.pyc\n.tt/\nbuild/")
    bare.ok("init")
    assert (bare.cwd / ".gitignore").read_text() == "*.pyc\nbuild/\n.tt/*\n!.tt/redis.aof\n"
    for path, code in ((".tt/redis.conf", 0), (".tt/redis.aof", 1)):
        done = subprocess.run(["git", "check-ignore", "-q", path], cwd=bare.cwd, check=False)
        assert done.returncode == code


def test_default_cli_of_the_user(bare: Tt) -> None:
    """The global configuration's default_cli is taken."""
    home = Path(str(bare.env["HOME"]))
    (home / ".tt").mkdir()
    (home / ".tt" / "config.toml").write_text('default_cli = "demo"\n')
    bare.ok("init", "--name", "x")
    assert config.load(bare.cwd).default_cli == "demo"


def test_nothing_is_left_when_redis_cannot_be_started(bare: Tt) -> None:
    """The folder is as it was, the registry too."""
    (bare.cwd / "tinytown.toml").write_text('name = "shared"\n' + BROKEN_SERVER)
    (bare.cwd / ".gitignore").write_text("*.pyc\n")
    before = contents(bare.cwd)
    bare.fails("init")
    assert contents(bare.cwd) == before
    assert not (Path(str(bare.env["HOME"])) / ".tt" / "towns.toml").exists()


def test_nothing_is_lost_when_redis_cannot_be_started(bare: Tt) -> None:
    """Saved state stays where it is."""
    (bare.cwd / "tinytown.toml").write_text('name = "shared"\n' + BROKEN_SERVER)
    (bare.cwd / ".tt").mkdir()
    (bare.cwd / ".tt" / "redis.aof").write_bytes(b"data")
    before = contents(bare.cwd)
    bare.fails("init")
    assert contents(bare.cwd) == before


@pytest.mark.parametrize("made_so_far", [["agents"], ["agents", "logs", "tasks", "runs", "redis.log"]])
def test_a_kill_in_the_middle_is_repaired(bare: Tt, made_so_far: list[str]) -> None:
    """Whatever an unfinished init left, the next one goes on."""
    (bare.cwd / "tinytown.toml").write_text('name = "shared"\n')
    state = bare.cwd / ".tt"
    state.mkdir()
    (state / "init.unfinished").touch()
    for name in made_so_far:
        (state / name).touch() if "." in name else (state / name).mkdir()
    bare.ok("init")
    assert not (state / "init.unfinished").exists()
    bare.fails("init")


def test_two_at_once(bare: Tt) -> None:
    """One makes the town, the other is told that there is one."""
    with bare.running("init", "--name", "a") as one, bare.running("init", "--name", "b") as two:
        codes = [one.wait(40), two.wait(40)]
    assert sorted(codes) == [0, 1]
    assert name_in(bare.cwd) == ("a" if codes[0] == 0 else "b")
    bare.ok("list")


def test_a_folder_whose_path_is_long(tmp_path: Path) -> None:
    """A path beyond the limit of a socket's address works."""
    folder = tmp_path / ("long-" * 20) / ("deep-" * 20)
    folder.mkdir(parents=True)
    tt = Tt(folder)
    tt.ok("init", "--name", "far")
    tt.ok("list")
    tt.ok("stop", "--all")


def test_a_read_only_folder(bare: Tt) -> None:
    """One line, and nothing is made."""
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:  # who may write anywhere, unless this right is taken away
        if shutil.which("setpriv") is None:
            pytest.skip("root may write anywhere, and setpriv is not here")
        prefix = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
    bare.cwd.chmod(0o555)
    ran = bare.fails("init", prefix=prefix)
    bare.cwd.chmod(0o755)
    assert ran.complaint == [f"Error: Cannot write {bare.cwd}/.tt: Permission denied."]
    assert contents(bare.cwd) == {}


def test_a_file_in_the_way(bare: Tt) -> None:
    """A file named .tt, or a folder that is a file, is one line of error and stays."""
    (bare.cwd / ".tt").write_text("mine")
    bare.fails("init", "--name", "x")
    assert contents(bare.cwd) == {".tt": b"mine"}
    bare.fails("init", "--town", str(bare.cwd / ".tt" / "below"))


def test_a_registry_that_cannot_be_read(bare: Tt) -> None:
    """The town is made; a warning says that the list of towns is broken."""
    home = Path(str(bare.env["HOME"]))
    (home / ".tt").mkdir()
    (home / ".tt" / "towns.toml").write_text("towns = [")
    ran = bare.ok("init", "--name", "x")
    assert "Warning" in ran.err
    assert (home / ".tt" / "towns.toml").read_text() == "towns = ["
