"""The town under trouble: its folder, its settings, its processes as they are seen from outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from tests.support.running_town import compile_stubborn
from tinytown import processes
from tinytown.journal import Journal
from tinytown.model_cli.catalog import FORMATS
from tinytown.processes import Identity
from tinytown.services import supervision
from tinytown.store.server import ManagedServer
from tinytown.town import Town, open_town

TT = Path(sys.executable).with_name("tt")
NAME = f"chaos-{os.getpid()}"  # processes are found by their town's name: two runs must not see each other's
ROLE = "worker"  # of every agent, and every task may go to any of them
ROUNDS = 1_000_000
EXTRA = ("x1", "x2", "x3", "x4")  # agents that random commands spawn
FOREIGN = ("TINYTOWN_", "REDIS_URL", "NOTIFY_SOCKET", "PYTHONDONTWRITEBYTECODE", "LD_PRELOAD")
SHORT: dict[str, dict[str, float]] = {  # rounds of this run take milliseconds, and what hangs must not take minutes
    "agent": {"round_timeout_s": 30, "silence_timeout_s": 3, "final_grace_s": 0.5},
    "supervisor": {"grace_s": 5},
    "retention": {"events": 0},  # the whole history is read in the end
}
UNLIMITED: dict[str, dict[str, float]] = {
    "agent": {"max_attempts": 1_000_000, "retry_delay_s": 0.05},
    "supervisor": {"restart_intensity": 1_000_000, "backoff_s": 0.001, "backoff_max_s": 0.05, "hung_s": 5},
}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a model: a process and what its environment says."""

    process: Identity
    mark: str
    agent_id: str
    epoch: int
    name: str


class World:
    """One town in `folder`, with agents `names`. `limited`: with the default limits of restarts and attempts."""

    def __init__(self, folder: Path, names: list[str], *, limited: bool) -> None:
        self.folder = folder
        self.root = folder / "town"
        self.control = folder / "control"
        self.full_disk = folder / "disk-is-full"
        self.output = folder / "tt-output"
        self.names = names
        for path in (self.control, self.output, folder / "home", folder / "proxy"):
            path.mkdir(parents=True)
        binary, shim = compile_stubborn(folder), folder / "fulldisk.so"
        source = Path(__file__).with_name("fulldisk.c")
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
        kept = {n: v for n, v in os.environ.items() if not n.startswith(FOREIGN)}
        self.environment = kept | {
            "HOME": str(folder / "home"),
            "LD_PRELOAD": str(shim),
            "CHAOS_FULL": str(self.full_disk),
            "CHAOS_LOGS": f"{self.root}/.tt/logs/",
        }
        self.tt("init", "--name", NAME, "--town", str(self.root))
        limits = {} if limited else UNLIMITED
        tables = {key: SHORT.get(key, {}) | limits.get(key, {}) for key in (*SHORT, *limits)}
        settings: dict[str, Any] = {
            "name": NAME,
            "max_agents": len(names) + 100,
            **tables,
            "agent_clis": dict(_clis(binary, self)),
        }
        (self.root / "tinytown.toml").write_text(tomli_w.dumps(settings))
        self.town: Town = open_town(str(self.root))
        self.redis = ManagedServer(self.town.config.redis, self.town.state_dir)

    def cli_of(self, name: str) -> str:
        """Each of the formats has its agents."""
        return FORMATS[self.names.index(name) % len(FORMATS)] if name in self.names else FORMATS[0]

    # Commands

    def command(self, *words: str) -> list[str]:
        """A command line of the real `tt`."""
        return [str(TT), "--town", str(self.root), *words]

    def tt(self, *words: str, timeout: float = 60.0) -> str:
        """Run a command that must succeed. Raises CalledProcessError, TimeoutExpired."""
        argv = [str(TT), *words] if "--town" in words else self.command(*words)
        return subprocess.run(
            argv, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
            check=True,
        ).stdout  # fmt: skip

    # Processes, without a question to Redis: it may be frozen

    def journal(self, name: str) -> Journal:
        """The agent's two files."""
        return self.town.journal(name)

    def supervisor(self) -> Identity | None:
        """The living supervisor."""
        return supervision.process(self.town)

    def server(self) -> Identity | None:
        """The living redis-server."""
        with contextlib.suppress(OSError, ValueError):
            return processes.identity(int((self.town.state_dir / "redis.pid").read_text()))
        return None

    def holders(self) -> list[tuple[str, Identity]]:
        """The living actors by their journals: far cheaper than the process table."""
        entries = [(name, self.journal(name).actor()) for name in (*self.names, *EXTRA)]
        return [(name, e.process) for name, e in entries if e is not None and processes.is_alive(e.process)]

    def models(self) -> list[Identity]:
        """The living models by the journals, without what they started."""
        rounds = [self.journal(name).round() for name in (*self.names, *EXTRA)]
        found = [held.model for held in rounds if held is not None]
        return [model for model in found if model is not None and processes.is_alive(model)]

    def actors(self) -> dict[str, list[Identity]]:
        """The living actors by the name in their titles. A child of one, that is to be a model, has its title too."""
        titles = [(p, t) for p, t in self._titles() if t.startswith("tt: agent ") and t.endswith(f"[{NAME}]")]
        pids = {process.pid for process, _title in titles}
        found: dict[str, list[Identity]] = {}
        for process, title in titles:
            if _parent(process) not in pids:
                found.setdefault(title.split()[2], []).append(process)
        return found

    def scheduler(self) -> Identity | None:
        """The living scheduler of missions."""
        wanted = (p for p, title in self._titles() if title.startswith("tt: missions ") and title.endswith(f"[{NAME}]"))
        return next(wanted, None)

    def runs(self) -> list[Run]:
        """The living processes of model runs, with all that they started."""
        found = []
        town = f"TINYTOWN_TOWN={self.root}".encode()
        for process, _title in self._titles():
            with contextlib.suppress(OSError):
                variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
                if town in variables:
                    values = dict(v.decode(errors="replace").partition("=")[::2] for v in variables)
                    mark = values.get("TINYTOWN_RUN", "")
                    if mark:
                        agent_id, epoch, _round = mark.split(":")
                        found.append(Run(process, mark, agent_id, int(epoch), values["TINYTOWN_AGENT_NAME"]))
        return found

    def _titles(self) -> Iterator[tuple[Identity, str]]:
        """Only below this process: it is the subreaper of all."""
        for process in processes.descendants(os.getpid()):
            with contextlib.suppress(OSError):
                title = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0]
                yield process, title.decode(errors="replace")


def _parent(process: Identity) -> int | None:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def _clis(binary: Path, world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    """The scripted CLI, once for each format."""
    for name in FORMATS:
        variables = {"STUBBORN_FORMAT": name, "STUBBORN_DIR": str(world.control), "STUBBORN_TT": str(TT)}
        yield name, {"command": str(binary), "format": name, "env": variables}
