"""Several people who type commands at random, at once; what each command may answer."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos.world import EXTRA, World
from tinytown import processes
from tinytown.processes import Identity

AT_ONCE = 2
LONGEST_S = 60.0
REFUSED = (1, 124)  # an error, a wait that was in vain
UNTYPED = 0.7  # of the commands are such as were not typed yet, until each was
UNEXPECTED = "Error: unexpected "  # a traceback as `tt` shows it: in one line
ROWS = {  # what is typed -> how often; @ is any agent, x one of the extra ones, # a task
    "spawn x --cli text --role worker --max-rounds 100000": 8, "restart @ --rounds 100000": 6,
    "restart x --rounds 100000": 6, "kill @": 2, "kill x": 4, "kill x --now": 4, "interrupt @": 3,
    "interrupt @ --now": 3, "resume @": 12, "close x": 2, "reclaim --to-backlog": 4, "reclaim --to @": 3,
    "reclaim --orphan-tasks --to-backlog": 2, "prune": 3, "prune --force": 1, "recover": 2, "backlog claim # @": 6,
    "task complete #": 5, "task cancel #": 3, "task fail # --reason broken": 3, "task retry #": 1, "status --json": 2,
    "status --deep --tasks": 5, "list": 2, "task list": 1, "task list --json": 1, "task show #": 1, "why @": 2,
    "inbox @": 1, "inbox @ --json": 1, "events --count 20": 1, "logs @": 1, "supervise --status": 1,
}  # fmt: skip


@dataclass
class Typed:
    """One command under way."""

    words: tuple[str, ...]
    process: subprocess.Popen[bytes]
    identity: Identity | None
    output: Path
    since: float


@dataclass
class Callers:
    """Keeps a few commands under way, and judges those that have ended."""

    world: World
    choice: random.Random
    running: list[Typed] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)  # how many ended how
    complaints: list[str] = field(default_factory=list)
    _untyped: list[str] = field(default_factory=lambda: list(ROWS))
    _number: int = 0

    def look(self, tasks: list[str], anybodys: list[str]) -> None:
        """Judge what has ended, start what is missing. `tasks`: ids to name; `anybodys`: those that may be ended."""
        self.judge()
        while len(self.running) < AT_ONCE:
            (row,) = self.choice.choices(list(ROWS), list(ROWS.values()))
            if self._untyped and self.choice.random() < UNTYPED:
                row = self.choice.choice(self._untyped)
            words = row.split()
            ids = anybodys if words[0] == "task" and words[1] in {"fail", "cancel", "retry"} else tasks
            if "#" in words and not ids:
                continue
            if row in self._untyped:
                self._untyped.remove(row)
            places = {"@": self.world.names, "x": EXTRA, "#": ids}
            self.start(*[self.choice.choice(places[word]) if word in places else word for word in words])

    def start(self, *words: str) -> None:
        """Type one."""
        self._number += 1
        output = self.world.output / str(self._number)
        with output.open("wb") as stream:
            process = subprocess.Popen(
                self.world.command(*words), env=self.world.environment, stdin=subprocess.DEVNULL, stdout=stream,
                stderr=stream, cwd=self.world.root,
            )  # fmt: skip
        self.running.append(Typed(words, process, processes.identity(process.pid), output, time.monotonic()))

    def judge(self) -> None:
        """Take what has ended from the list."""
        for typed in list(self.running):
            code = typed.process.poll()
            if code is None:
                if time.monotonic() - typed.since > LONGEST_S:
                    self.complaints.append(f"tt {' '.join(typed.words)}: does not end within {LONGEST_S:g} s")
                    typed.process.kill()
                    typed.since = float("inf")
                continue
            self.running.remove(typed)
            text = typed.output.read_bytes()[-20_000:].decode(errors="replace")
            typed.output.unlink()
            self._judge(typed, code, text)

    def _judge(self, typed: Typed, code: int, text: str) -> None:
        line = f"tt {' '.join(typed.words)}"
        if "Traceback" in text or UNEXPECTED in text or code not in {0, *REFUSED, -signal.SIGKILL}:
            self.complaints.append(f"{line}: exit {code}: {text.strip()[-2000:]}")
        elif code in REFUSED:
            said = [row for row in text.splitlines() if row.startswith("Error: ")]
            if len(said) != 1:
                self.complaints.append(f"{line}: exit {code} with {len(said)} lines of error: {text.strip()[-2000:]}")
        self.ended["refused" if code in REFUSED else {0: "done", -signal.SIGKILL: "killed"}.get(code, "wrong")] += 1

    def finish(self) -> None:
        """Wait for all to end (each within its time)."""
        while self.running:
            self.judge()
            time.sleep(0.01)
