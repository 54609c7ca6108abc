"""Command lines and environments by grammar: an exit code, a clear line, nothing changed by what was refused."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import grammar
from tests.fuzz.forked import Ran, tt
from tests.fuzz.material import WORDS, cases
from tests.fuzz.poisoned import lasting, populate
from tests.support.cli import Tt
from tinytown.town import Town

pytestmark = pytest.mark.slow

PLAN = '[[tasks]]\nid = "a"\ndescription = "b"\n'
TOWNS = ("~nobody", "", " ", "x" * 5000, "/dev/zero", "/proc/self/mem")
READ_BY_TT = (
    "TINYTOWN_TOWN", "TINYTOWN_REDIS_PASSWORD", "TINYTOWN_RUN", "TINYTOWN_AGENT_ID", "TINYTOWN_AGENT_NAME", "REDIS_URL",
    "TINYTOWN_TASK_ID", "HOME", "COLUMNS", "LINES", "LANG", "LC_ALL", "NO_COLOR", "TERM", "PATH", "TMPDIR", "SHELL",
    "NOTIFY_SOCKET", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "USER", "PAGER", "EDITOR", "PYTHONIOENCODING",
)  # fmt: skip
URLS = (
    "redis://127.0.0.1:1",
    "redis://[",
    "unix://",
    "unix:///dev/null",
    "http://x",
    "redis://:p@h:99999",
    "//",
    "redis://x?db=y",
)
HARMLESS = ("status", "list --json", "towns", "config", "config --json", "events", "task list", "backlog list",
            "inbox --all", "task current", "--version", "--help", "completion bash")  # fmt: skip


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Paths that are no files: nobody may wait for them."""
    folder = tmp_path / "odd"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "file").write_text("x")
    for name in ("zero", "full", "tty", "null"):
        (folder / name).symlink_to(f"/dev/{name}")
    return folder


@pytest.fixture
def peopled(town: Town) -> Iterator[tuple[Town, list[str]]]:
    """A town of two ended agents; no command starts a supervisor for it. And the words that mean something there."""
    (town.root / "tasks.toml").write_text(PLAN)
    lock = town.supervisor_lock
    lock.acquire()
    ids = populate(town, wanted=False).values()
    yield town, ["ann", "bob", "boss", *ids, *(i[:8] for i in ids), "default_cli", "claude", "hello there"]
    lock.release()


def test_command_lines(peopled: tuple[Town, list[str]], odd: Path, tmp_path: Path) -> None:
    """Thousands of lines, in forked processes."""
    town, known = peopled
    every = list(grammar.commands())
    empty = tmp_path / "empty"
    empty.mkdir()
    for number, rng in enumerate(cases("lines", 120)):
        if number % 20 == 19:
            town.store.redis.flushdb()
            known[3:] = [*populate(town, wanted=False).values(), "claude", "hello there"]
        args = [*_town(rng, town, odd), *grammar.line(rng, *rng.choice(every), known, odd)]
        before = _all_of(town)
        ran = tt(_in_order(rng, args), town.root, {"PATH": str(empty)})
        _check(ran, before, _all_of(town))


def test_environments(peopled: tuple[Town, list[str]], odd: Path, tmp_path: Path) -> None:
    """Whatever the variables hold that are read: an answer or a clear line, and nothing is written."""
    town, known = peopled
    (tmp_path / "closed").mkdir(mode=0o500)
    values: list[Any] = [
        None, "", "relative/x", "/nonexistent", str(tmp_path / "closed"), "~nobody", *map(str, odd.iterdir()), *URLS,
        *(word for word in WORDS if "\x00" not in word), "C", "POSIX", "tr_TR.UTF-8", "C.ISO-8859-1", "dumb", "-1",
        *known,
    ]  # fmt: skip
    for rng in cases("environments", 40):
        env = {name: rng.choice(values) for name in rng.sample(READ_BY_TT, rng.choice((1, 1, 2, 5)))}
        words = rng.choice(HARMLESS).split()
        before = _all_of(town)
        ran = tt([*(() if words[0].startswith("-") else ("--town", str(town.root))), *words], town.root, env)
        wrong = ran.complaints()
        assert not wrong, f"{wrong}\n{env}\n{ran.told()}"
        assert _all_of(town) == before, f"{env}\n{ran.told()}"


def test_the_real_program(peopled: tuple[Town, list[str]], odd: Path) -> None:
    """A sample of the same lines through the installed `tt`, on pipes."""
    town, known = peopled
    every, command = list(grammar.commands()), Tt(town.root)
    for rng in cases("program", 12):
        args = grammar.line(rng, *rng.choice(every), known, odd)
        before = _all_of(town)
        done = command("--town", str(town.root), *args)
        _check(Ran(args, done.code, done.out, done.err), before, _all_of(town))


def _check(ran: Ran, before: object, after: object) -> None:
    wrong = [why for why in ran.complaints() if "stdout" not in why or ran.code == 2]
    if "doctor" in ran.args and ran.code == 1 and "Error: " not in ran.err:
        wrong = []  # its findings are its answer
    if ran.code in {1, 2} and "kept" not in ran.err and before != after:
        wrong.append("it changed something")
    assert not wrong, f"{wrong}\n{ran.told()}"


def _town(rng: random.Random, town: Town, odd: Path) -> list[str]:
    if rng.random() < 0.92:
        return ["--town", str(town.root)]
    return ["-t", rng.choice([*TOWNS, *map(str, odd.iterdir())])]


def _in_order(rng: random.Random, args: list[str]) -> list[str]:
    """The town behind the command as often as before its last words."""
    where, words = args[:2], args[2:]
    return [*words[:1], *where, *words[1:]] if rng.random() < 0.7 else [*words, *where]


def _all_of(town: Town) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """Everything in Redis, and the town's files with their sizes (but for locks, which stay behind)."""
    files = (path for path in town.root.rglob("*") if path.suffix != ".lock")
    return lasting(town), sorted((str(path), path.stat().st_size if path.is_file() else 0) for path in files)
