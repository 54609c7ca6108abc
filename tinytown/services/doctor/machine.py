"""What `tt doctor` finds out about the machine. Each check is a small function that returns its `Check`."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from datetime import datetime
from pathlib import Path

from tinytown import __version__, config
from tinytown.config import Config, RedisConfig
from tinytown.errors import ConfigInvalid, TinytownError
from tinytown.model_cli import catalog
from tinytown.services import registry
from tinytown.services.doctor.check import Check, Level, of_error
from tinytown.services.doctor.versions import Version
from tinytown.store import binary

DISK_LOW_BYTES = 1_000_000_000
DISK_FULL_BYTES = 100_000_000
FIRST_YEAR = 2025
SKEW_S = 2.0
SERVER_WITHIN_S = 2.0
OWN_PROGRAM = catalog.PRESETS["demo"].argv[0]


def python() -> Check:
    """The interpreter and the system."""
    said = f"{platform.python_version()}, tinytown {__version__}, {platform.system()}"
    if sys.platform != "linux":
        return Check("python", Level.WARN, said, "The supervisor keeps its promises on Linux only.")
    return Check("python", Level.OK, said)


def redis_binary(settings: RedisConfig, root: Path | None) -> Check:
    """Which server would be started."""
    try:
        found = binary.find(settings, root, SERVER_WITHIN_S)
    except TinytownError as error:
        return of_error("redis-server", error)
    name = "Valkey" if found.name == "valkey" else "Redis"
    return Check("redis-server", Level.OK, f"{name} {found.version_text} ({found.path})")


def git(version: Version | None) -> Check:
    """Git names towns and makes worktrees."""
    if version is None:
        return Check("git", Level.WARN, "not found; worktrees need it", "Install it: sudo apt install git")
    if version.code != 0:
        return Check("git", Level.WARN, version.text or f"exit {version.code}", "Run: git --version")
    return Check("git", Level.OK, version.text.removeprefix("git version "))


def disk(folder: Path, low: int = DISK_LOW_BYTES, full: int = DISK_FULL_BYTES) -> Check:
    """Room for the append-only file, logs and journals; a round that cannot be journalled does not run."""
    try:
        space = os.statvfs(folder)
    except OSError as error:
        return Check("disk", Level.FAIL, f"{folder}: {error.strerror}")
    free = space.f_bavail * space.f_frsize
    said = f"{free / 1e9:.1f} GB free at {folder}"
    if space.f_files and not space.f_favail:
        return Check("disk", Level.FAIL, f"no inodes left at {folder}", "Delete files there.")
    if free < low:
        return Check("disk", Level.FAIL if free < full else Level.WARN, said, "Make room there.")
    return Check("disk", Level.OK, said)


def clocks(now: datetime, ticks: tuple[float, float], server_s: float | None) -> Check:
    """Our wall clock at `now`, the monotonic clock read twice, and the server's wall clock, in seconds."""
    if now.year < FIRST_YEAR:
        return Check("clock", Level.FAIL, f"it is {now.year}, says the clock", "Set it: timedatectl set-ntp true")
    if ticks[1] < ticks[0]:
        return Check("clock", Level.FAIL, "the monotonic clock went back", "Restart this machine.")
    skew = 0.0 if server_s is None else now.timestamp() - server_s
    if abs(skew) > SKEW_S:
        remedy = "Set both clocks: timedatectl set-ntp true"
        return Check("clock", Level.WARN, f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} Redis'", remedy)
    return Check("clock", Level.OK, now.strftime("%Y-%m-%d %H:%M:%S UTC"))


def home() -> list[Check]:
    """`~/.tt`: who may read it, and whether its files can be used."""
    folder = config.global_dir()
    if not folder.is_dir():
        return [Check("home", Level.OK, f"{folder} is not there yet")]
    found = [
        Check("home", Level.WARN, f"{path} is open to others ({mode & 0o777:o})", f"Run: chmod {wanted} {path}")
        for path, wanted in ((folder, "700"), (config.global_file(), "600"))
        if path.exists() and (mode := path.stat().st_mode) & 0o077
    ]
    try:
        towns = len(registry.listing())
    except TinytownError as error:
        return [*found, of_error("home", error)]
    return found or [Check("home", Level.OK, f"{folder}, {towns} town(s)")]


def settings(root: Path | None) -> tuple[Config | None, list[Check]]:
    """The settings that count (None: they cannot be used), and what is to be said of them."""
    file = root / config.TOWN_FILE if root else config.global_file()
    try:
        built = config.load(root) if root else config.build({"name": "none"}, file)
    except ConfigInvalid as error:
        return None, [of_error("settings", error)]
    warnings = [Check("settings", Level.WARN, warning) for warning in built.warnings]
    return built, warnings or [Check("settings", Level.OK, str(file) if file.exists() else "defaults")]


def vendor_programs() -> dict[str, str]:
    """Program -> path of each known model CLI that is installed. Others are never started: they might go to work."""
    names = dict.fromkeys(cli.argv[0] for cli in catalog.PRESETS.values() if cli.argv[0] != OWN_PROGRAM)
    return {name: path for name in names if (path := shutil.which(name))}


def model_clis(built: Config, users: dict[str, list[str]], versions: dict[str, Version], missing: Level) -> list[Check]:
    """Each CLI that somebody uses (`users`: CLI -> who), and each other known one that is there.

    `missing` is how bad it is when one that is used is not there.
    """
    found = []
    left = dict(versions)
    for name, who in users.items():
        used = f"used by: {', '.join(who)}"
        try:
            cli = catalog.lookup(name, built)
            catalog.check_exists(cli)
        except TinytownError as error:
            found.append(Check(f"cli {name}", missing, f"{error} {used.capitalize()}", error.remedy))
            continue
        program = cli.argv[0]
        left.pop(program, None)
        if program in versions:
            found.append(_version_check(name, versions[program], used))
        else:
            there = "built in" if program == OWN_PROGRAM else f"{program} is there"
            found.append(Check(f"cli {name}", Level.OK, f"{there}; {used}"))
    return [*found, *(_version_check(name, version, "not used here") for name, version in left.items())]


def _version_check(name: str, version: Version, used: str) -> Check:
    if version.code == 0:
        return Check(f"cli {name}", Level.OK, f"{version.text or 'no version'}; {used}")
    said = version.text or "said nothing"
    ended = "" if version.code is None else f" (exit {version.code})"
    return Check(f"cli {name}", Level.WARN, f"{said}{ended}; {used}", f"Run it by hand: {name} --version")
