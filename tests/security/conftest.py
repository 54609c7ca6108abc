"""Towns in a folder that other users can reach, and such a user."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fake_cli
from tests.support.cli import TT, Tt
from tests.support.town import town

NOBODY = 65534
SETPRIV = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
# Another user of this machine can enter the folder, so that what stops them is the town's own doing.
needs_stranger = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can act as another user"
)
FAKE = f"{shlex.quote(sys.executable)} {shlex.quote(fake_cli.__file__)}"


@pytest.fixture
def world() -> Iterator[Path]:
    """A folder like a shared machine's: everybody can enter it. With `home` and `project`, both 0755."""
    folder = Path(tempfile.mkdtemp(prefix="tt-security-"))
    for each in (folder, folder / "home", folder / "project"):
        each.mkdir(exist_ok=True)
        each.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def tt(world: Path) -> Iterator[Tt]:
    """`tt` in the project, where no town is yet; whatever runs at the end is stopped."""
    command = Tt(world / "project", env={"HOME": str(world / "home")})
    yield command
    command("stop", "--all", "--now")


@pytest.fixture
def made(tt: Tt) -> Tt:
    """A town whose default CLI obeys the task's text (tests/support/fake_cli.py)."""
    tt.ok("init", "--name", "town")
    settings = tt.cwd / "tinytown.toml"
    text = settings.read_text().replace('default_cli = "claude"', 'default_cli = "fake"')
    settings.write_text(f"{text}\n[agent_clis.fake]\ncommand = '''{FAKE}'''\n")
    return tt


def as_stranger(*argv: str, cwd: Path = Path("/"), env: dict[str, str] | None = None) -> tuple[int, str]:
    """What another user's command says; its exit code."""
    done = subprocess.run(
        [*SETPRIV, "--", *argv],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def give_away(*paths: Path) -> None:
    """Make these another user's."""
    for path in paths:
        os.lchown(path, NOBODY, NOBODY)


__all__ = [
    "FAKE",
    "NOBODY",
    "SETPRIV",
    "TT",
    "as_stranger",
    "give_away",
    "made",
    "needs_stranger",
    "town",
    "tt",
    "world",
]
