"""The `townhall` command itself: its version, what it says of wrong usage and on a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.townhall import PROGRAM, TownHall
from tinytown import __version__
from tinytown.town import Town

pytestmark = pytest.mark.slow


def ran(cwd: Path, *args: str) -> tuple[int, str, list[str]]:
    """Exit code, stdout, the lines of stderr."""
    done = subprocess.run([PROGRAM, *args], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr.splitlines()


def test_its_version(tmp_path: Path) -> None:
    """As `tt --version`, without a town."""
    assert ran(tmp_path, "--version") == (0, f"townhall {__version__}\n", [])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--port", "3", "mcp-stdio"), "Error: mcp-stdio listens nowhere: it takes neither --bind nor --port."),
        (("--port", "3", "mcp-http"), "Error: Give --bind and --port behind 'mcp-http'."),
        (("--town",), "Error: Option '--town' requires an argument."),
    ],
)
def test_wrong_usage(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    """One line, one that names this program's help, code 2."""
    assert ran(tmp_path, *args) == (2, "", [said, "Try 'townhall --help' for help."])


def test_mcp_over_a_terminal_says_what_it_is(town: Town) -> None:
    """Somebody who types it would else look at an empty line; Ctrl-C ends it."""
    master, slave = pty.openpty()
    args = [str(PROGRAM), "mcp-stdio", "--town", str(town.root)]
    with subprocess.Popen(args, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.close(slave)
        assert process.stderr is not None
        assert process.stderr.readline().startswith(f"MCP of '{town.name}', for a program that starts this")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    os.close(master)
    assert (process.returncode, out, err) in {(-signal.SIGINT, "", ""), (130, "", "")}


def test_mcp_over_http_says_the_address_for_clients(town: Town) -> None:
    """It can be copied into a client's settings as it is."""
    with TownHall(town.root, command="mcp-http") as hall:
        assert hall.said == f"Town hall of '{town.name}' at {hall.url}/mcp\n"
