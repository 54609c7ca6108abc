"""`tt doctor`: every check in order, within seconds, starting nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tinytown import clock
from tinytown.config import Config, global_dir
from tinytown.errors import TinytownError
from tinytown.services.doctor import machine, versions
from tinytown.services.doctor import town as of_town
from tinytown.services.doctor.check import Check, Level, of_error
from tinytown.services.doctor.town import Server
from tinytown.town import Town

VERSIONS_WITHIN_S = 5.0
# Whoever comes later is not asked; the slowest single check takes 2 s.
WITHIN_S = 7.0
DEFAULT = "default_cli"


def examine(root: Path | None) -> list[Check]:
    """Look at the machine and, if `root` is a town, at that. What is broken is a finding, never an error."""
    deadline = clock.monotonic() + WITHIN_S
    git = shutil.which("git")
    with versions.asking(machine.vendor_programs() | ({"git": git} if git else {}), VERSIONS_WITHIN_S) as asked:
        built, settings = machine.settings(root)
        found = [machine.python(), *settings, *safe("home", machine.home, deadline)]
        town = Town(root, built, is_hurried=True) if root and built else None
        if town is None or town.store.connector.is_managed:
            found.append(machine.redis_binary((built or Config(name="")).redis, root))
        users = {built.default_cli: [DEFAULT]} if built else {}
        server = None
        if town is not None:
            server, checks = _town(town, users, deadline)
            found += checks
        found.append(machine.disk(_existing(root or global_dir())))
        ticks = (clock.monotonic(), clock.monotonic())
        found.append(machine.clocks(clock.now(), ticks, server.time_s if server else None))
        answers = asked.answers()
        found.append(machine.git(answers.pop("git", None)))
        if built is not None:
            found += machine.model_clis(built, users, answers, Level.FAIL if root else Level.WARN)
    return found


def _town(town: Town, users: dict[str, list[str]], deadline: float) -> tuple[Server | None, list[Check]]:
    """Also notes in `users` which agents use which CLI."""
    if town.config.conductor_cli:
        users.setdefault(town.config.conductor_cli, []).append("conductor_cli")
    server: Server | None = None
    wanted: int | None = None

    def redis() -> list[Check]:
        nonlocal server
        server, check = of_town.redis(town)
        return [check, of_town.durability(server, town), of_town.memory(server)] if server else [check]

    def people() -> list[Check]:
        nonlocal wanted
        agents, checks = of_town.people(town)
        running = [a.agent for a in agents if a.row.wish is not None]
        for agent in running:
            users.setdefault(agent.cli, []).append(agent.name)
        wanted = len(running)
        return checks

    found = safe("state folder", lambda: [of_town.state_folder(town), of_town.leftovers(town)], deadline)
    found += safe("redis", redis, deadline)
    if server is not None:
        found += safe("agents", people, deadline)
    town.store.close()
    found += safe("supervisor", lambda: [of_town.supervisor(town, wanted)], deadline)
    found += safe("service", lambda: of_town.service(town), deadline)
    return server, found


def safe(name: str, check: Callable[[], list[Check]], deadline: float) -> list[Check]:
    """What the check found, unless it is too late for it, or what it looked at could not be read."""
    if clock.monotonic() > deadline:
        return [Check(name, Level.WARN, "not looked at: the other checks took too long")]
    try:
        return check()
    except TinytownError as error:
        return [of_error(name, error)]
    except OSError as error:
        return [Check(name, Level.FAIL, f"{error.filename or name}: {error.strerror}")]


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
