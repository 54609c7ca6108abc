"""Runs a few commands in a town on a pseudo-terminal, and draws what they showed as an SVG."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 100, 30
CELL = 12.2  # width of a character in rich's SVG
FONTS = "ui-monospace, 'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace"
BEFORE = (
    "git init --quiet . && tt init --name my-project",
    "tt spawn backend --cli demo && tt spawn frontend --cli demo && tt spawn reviewer --cli demo",
    "tt assign reviewer 'write docs/review.md: Looks good.'",
    "tt assign frontend 'wait 30'",
)
SHOWN = (
    "tt assign backend 'wait 20'",
    r"ps -eo pid,args --forest | grep -A 5 'tt: supervisor \[my-project'",
    "kill -9 {pid}",
    "tail -n 2 .tt/supervisor.log",
    "tt status",
)
PAUSE_S = 1.5  # between commands, as a person would


def main() -> None:
    """Draw to the path given."""
    folder = Path(tempfile.mkdtemp(prefix="tt-"))
    root = folder / "my-project"
    root.mkdir()
    environment = settings(folder)
    shown = []
    try:
        for command in BEFORE:
            subprocess.run(command, shell=True, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S602
        for command in SHOWN:
            typed = command.format(pid=pid_of("backend", root, environment)) if "{pid}" in command else command
            shown.append(f"\x1b[1;32m$\x1b[0m \x1b[1m{typed}\x1b[0m\n" + on_terminal(typed, root, environment))
            time.sleep(PAUSE_S)
    finally:
        subprocess.run(["tt", "stop", "--all", "--now"], cwd=root, env=environment, check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
    lines = "".join(shown).rstrip("\n").split("\n")
    assert len(lines) <= ROWS, f"{len(lines)} lines do not fit"
    Path(sys.argv[1]).write_text(draw("\n".join(lines)))


def settings(folder: Path) -> dict[str, str]:
    """A home and a `tt` of its own, so that nothing of this machine is in the picture."""
    programs = folder / "bin"
    programs.mkdir()
    (folder / "venv").symlink_to(Path(sys.executable).parents[1])
    tt = programs / "tt"
    tt.write_text(f'#!/bin/sh\nexec {folder}/venv/bin/python -P -m tinytown "$@"\n')
    tt.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TINYTOWN_", "REDIS_URL", "NO_COLOR"))}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return kept | {"HOME": str(folder), "PATH": path, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}


def pid_of(name: str, root: Path, environment: dict[str, str]) -> int:
    """The actor of an agent."""
    said = subprocess.run(["tt", "list", "--json"], cwd=root, env=environment, check=True, capture_output=True).stdout
    return next(int(agent["pid"]) for agent in json.loads(said) if agent["name"] == name)


def on_terminal(command: str, root: Path, environment: dict[str, str]) -> str:
    """What a shell command shows on a terminal of this size."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(root)
        os.execve("/bin/sh", ["sh", "-c", command], environment)  # noqa: S606  the command is a line for a shell
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    shown = b""
    with contextlib.suppress(OSError):  # EIO: it has ended
        while block := os.read(master, 65536):
            shown += block
    os.close(master)
    os.waitpid(pid, 0)
    return shown.decode().replace("\r\n", "\n")


def draw(shown: str) -> str:
    """As an SVG that asks for no font and no file from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown), no_wrap=True, crop=True)
    template = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    template = template.replace("Fira Code, monospace", FONTS).replace("font-family: arial", f"font-family: {FONTS}")
    svg = console.export_svg(title="tt", code_format=template, unique_id="tt")
    assert "url(http" not in svg
    svg = re.sub(r"<text [^>]*>(&#160;|\s)*</text>", "", svg)  # blanks and line ends
    svg = re.sub(r'x="([\d.]+)"( y="[^"]*") textLength="([\d.]+)"([^>]*)>((?:&#160;)+)', _without_indent, svg)
    return re.sub(r"[ \t]+\n", "\n", svg)


def _without_indent(found: re.Match[str]) -> str:
    """Some viewers drop leading blanks: begin where the text begins."""
    x, y, length, rest, blanks = found.groups()
    shift = CELL * (len(blanks) // len("&#160;"))
    return f'x="{float(x) + shift:.1f}"{y} textLength="{float(length) - shift:.1f}"{rest}>'


if __name__ == "__main__":
    main()
