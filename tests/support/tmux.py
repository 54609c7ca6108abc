"""A terminal that a test looks at and types into: tmux with a server of its own."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import wait_until

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_REVERSE = re.compile(r"\x1b\[(?:[0-9;]*;)?7(?:;[0-9;]*)?m")
_DONE = "came-to-its-end"


class Terminal:
    """Runs one shell command in a window of this size; what it prints stays to be seen when it has ended."""

    def __init__(self, command: str, cwd: Path, *, width: int = 100, height: int = 30) -> None:
        self._command = ["tmux", "-L", f"tt-{uuid.uuid4().hex[:10]}", "-f", "/dev/null"]
        shown = f"{command}; echo {_DONE} $?; stty -a | grep -o -- '-*echo '; read wait"
        environment = os.environ | {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "SHELL": "/bin/sh"}
        size = ["-x", str(width), "-y", str(height)]
        subprocess.run(
            [*self._command, "new-session", "-d", *size, "-c", str(cwd), "sh", "-c", shown], check=True, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print("--- the terminal", *self.lines(), sep="\n")  # noqa: T201  pytest shows it
        server = int(self._ask("display-message", "-p", "#{pid}"))
        self._ask("kill-server")
        wait_until(lambda: not Path(f"/proc/{server}/task").exists() or _is_zombie(server), 5, "tmux to end")

    def lines(self) -> list[str]:
        """What is to be seen, without styles."""
        return [line.rstrip() for line in self._ask("capture-pane", "-p").splitlines()]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines())

    @property
    def selected(self) -> tuple[int, str]:
        """The line that is shown in reverse, and its number; -1 when there is none."""
        lines = self._ask("capture-pane", "-p", "-e").splitlines()
        found = ((n, _STYLE.sub("", line).strip()) for n, line in enumerate(lines) if _REVERSE.search(line))
        return next(found, (-1, ""))

    def press(self, *keys: str) -> None:
        """Keys by tmux's names."""
        self._ask("send-keys", *keys)

    def type(self, text: str) -> None:
        """Text as it is, then Enter."""
        self._ask("send-keys", "-l", text)
        self._ask("send-keys", "Enter")

    def select(self, text: str) -> None:
        """Go down from the first line of `tt top` to the one with this text."""
        self.wait(text)
        self.press("Home")
        wait_until(lambda: self._is_first(self.selected[0]), 5, "the first line")
        for _ in range(50):
            place, seen = self.selected
            if text in seen:
                return
            self.press("Down")
            wait_until(lambda place=place: self.selected[0] not in {place, -1}, 5, f"another line than {seen!r}")  # type: ignore[misc]
        raise AssertionError(f"no line with {text!r} can be selected")

    def _is_first(self, place: int) -> bool:
        """It is below the title of what can be selected first."""
        titles, lines = ("NEEDS YOU", "  Agent", "  State"), self.lines()
        firsts = (
            n for n in range(1, len(lines)) if lines[n - 1].startswith(titles) and not lines[n].startswith(titles)
        )
        return place == next(firsts, None)

    def wait(self, text: str, timeout: float = 10.0) -> None:
        """Until it is to be seen."""
        wait_until(lambda: text in self.text, timeout, f"{text!r} on the screen")

    def wait_gone(self, text: str) -> None:
        """Until it is not to be seen any more."""
        wait_until(lambda: text not in self.text, 10, f"{text!r} to go from the screen")

    def resize(self, width: int, height: int) -> None:
        """As somebody who pulls at the window's corner."""
        self._ask("resize-window", "-x", str(width), "-y", str(height))

    @property
    def program(self) -> int:
        """Pid of what the command runs."""
        shell = self._ask("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    def ended(self) -> int:
        """Wait for the command's end; its exit code. The terminal must be as it was before."""
        wait_until(lambda: _DONE in self.text and "echo\n" in f"{self.text}\n", 10, "the end of the command")
        assert "-echo" not in self.text
        assert self._ask("display-message", "-p", "#{alternate_on} #{cursor_flag} #{wrap_flag}").split() == [
            "0", "1", "1",
        ]  # fmt: skip
        found = re.search(rf"{_DONE} (\d+)", self.text)
        assert found is not None
        return int(found[1])

    def _ask(self, *args: str) -> str:
        return subprocess.run([*self._command, *args], check=True, capture_output=True, text=True).stdout


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
