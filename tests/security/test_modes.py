"""What a town writes is this user's alone, under any umask, from the moment it is there."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.security.conftest import FAKE, NOBODY, give_away, needs_stranger
from tests.security.in_one_process import run_all
from tests.support.cli import Tt
from tests.support.repository import make_repository
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SETTINGS = f"""
[agent]
isolation = "worktree"
copy = [".env"]
[agent_clis.file]
command = '''{FAKE} 'touch {{started}}' 'await {{go}}' '''
prompt = "file"
[agent_clis.quiet]
command = "true {{prompt_file}}"
"""
# Files of the project, which others may read as they may read its other files.
VERSIONED = {"tinytown.toml", "tasks.toml", ".gitignore"}
_CALL = re.compile(
    r"(?P<name>openat|mkdir|mkdirat|mknod|mknodat|chmod|fchmod|fchmodat)\("
    r'(?:AT_FDCWD<(?P<at>[^>]*)>, |\d+<(?P<fd>[^>]*)>, )?(?:"(?P<path>[^"]*)", )?(?:O_[A-Z_|]+, )?(?P<mode>0\d+)\)'
)


def open_to_others(*folders: Path) -> list[str]:
    """Everything below these folders that somebody else could read, write or enter if its folder let them."""
    found = []
    for top in folders:
        for folder, names, files in os.walk(top):
            names[:] = [name for name in names if name != "worktree"]  # a checkout, behind three closed folders
            for path in (Path(folder, name) for name in (".", *names, *files)):
                seen = path.lstat()
                if not stat.S_ISLNK(seen.st_mode) and seen.st_mode & 0o077:
                    found.append(f"{stat.filemode(seen.st_mode)} {path}")
    return found


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_a_whole_life(tt: Tt, world: Path, umask: int) -> None:
    """Init, rounds with prompt files, worktrees, save, restore, plan, keys, conductor, service: nothing is open."""
    root, home = tt.cwd, world / "home"
    make_repository(root)
    (root / ".env").write_text("KEY=1\n")
    tt.ok("init", "--name", "town", umask=umask)
    text = (root / "tinytown.toml").read_text().replace('default_cli = "claude"', 'default_cli = "file"')
    started, go = world / "started", world / "go"
    settings = (
        SETTINGS.replace("{started}", str(started)).replace("{go}", str(go)).replace("{{", "{").replace("}}", "}")
    )
    (root / "tinytown.toml").write_text(text + settings)
    tt.ok("spawn", "backend", umask=umask)
    task = tt.ok("assign", "backend", "do it", umask=umask).out.split()[2]
    wait_until(started.exists, what="the run, with its prompt in a file")
    assert list((root / ".tt" / "runs").rglob("prompt-*"))
    assert open_to_others(root / ".tt", home / ".tt") == []
    go.touch()
    tt.ok("wait", task, "--timeout", "20")
    commands = (
        "save", "plan --init", "sync push", "sync pull", "config default_cli demo", "auth gen-key", "doctor", "events",
        "logs backend", "worktree list", "recover", "prune",
    )  # fmt: skip
    failed = [ran for ran in run_all(tt, [command.split() for command in commands], umask=umask) if ran.code]
    assert failed == []
    tt.ok("conductor", "--model", "quiet", umask=umask)
    tt("service", "install", umask=umask, env={"XDG_RUNTIME_DIR": str(world)})
    assert open_to_others(root / ".tt", home / ".tt") == []
    tt.ok("stop", "--all", "--now", umask=umask)
    tt.ok("restore", "--force", umask=umask)
    assert open_to_others(root / ".tt", home / ".tt") == []
    units = [path for path in (home / ".config").rglob("*") if not path.is_symlink()]
    wide = [path for path in (*units, *(root / name for name in VERSIONED)) if path.stat().st_mode & 0o022]
    assert wide == [], "others could write there"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_never_wider_even_for_a_moment(tt: Tt, world: Path) -> None:
    """As the kernel is asked: what is made below .tt and ~/.tt is made closed, not made and then closed."""
    trace = world / "trace"
    calls = "trace=openat,mkdir,mkdirat,mknod,mknodat,chmod,fchmod,fchmodat"
    life = "tt init && tt spawn a --cli true && tt save && tt config default_cli demo && tt stop --all --now"
    tracer = ("strace", "-f", "-y", "-qq", "-o", str(trace), "-e", calls)
    subprocess.run(
        [*tracer, "sh", "-ec", life],
        cwd=tt.cwd, env=os.environ | {"HOME": str(world / "home")}, umask=0, check=True, timeout=40,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    made = _made_in(trace.read_text(errors="replace"), (f"{tt.cwd}/.tt", f"{world}/home/.tt"))
    assert len(made) > 20
    wide = [line for mode, line in made if mode & 0o077]
    # Redis is given a umask: what it asks for is cut to it.
    assert [line for line in wide if not _of_redis(line)] == []


def _made_in(trace: str, folders: tuple[str, ...]) -> list[tuple[int, str]]:
    """Mode and line of each call that makes something there, or sets its mode."""
    found = []
    for line in trace.splitlines():
        call = _CALL.search(line)
        if call is None or (call["name"] == "openat" and "O_CREAT" not in line):
            continue
        path = os.path.join(call["at"] or call["fd"] or "", call["path"] or "")
        if path.startswith(folders):
            found.append((int(call["mode"], 8), line))
    return found


def _of_redis(line: str) -> bool:
    return any(name in line for name in ("redis.log", "redis.pid", "appendonly", "temp-", "redis.aof"))


@needs_stranger
def test_folders_of_somebody_else(tt: Tt, world: Path) -> None:
    """A `.tt` or `~/.tt` that another user made is refused before anything is written there."""
    for place in (tt.cwd / ".tt", world / "home" / ".tt"):
        place.mkdir(mode=0o777)
        give_away(place)
    assert f"belongs to another user (uid {NOBODY})" in tt.fails("init").err
    assert list((tt.cwd / ".tt").iterdir()) == []
    (tt.cwd / ".tt").rmdir()
    shown = tt.ok("init").err
    assert "not in the list of towns" in shown
    assert f"belongs to another user (uid {NOBODY})" in shown
    assert list((world / "home" / ".tt").iterdir()) == []


def test_wide_folders_are_closed(made: Tt, world: Path) -> None:
    """A `.tt` that was unpacked or copied with wider modes is closed by the next start; `~/.tt` by the next write."""
    folder, home = made.cwd / ".tt", world / "home" / ".tt"
    made.ok("stop", "--all", "--now")
    folder.chmod(0o755)
    home.chmod(0o777)
    made.ok("spawn", "a", "--cli", "true")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    made.ok("config", "default_cli", "demo")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
