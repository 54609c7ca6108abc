"""Bad input: one clear line, an exit code, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import town as towns
from tests.support.cli import Tt
from tests.support.redis_server import TestRedis
from tinytown.town import Town

UNKNOWN_AGENT = (
    ("assign", "nobody", "x"),
    ("send", "nobody", "x"),
    ("send", "backend", "x", "--from", "nobody"),
    ("inbox", "nobody"),
    ("inbox", "nobody", "--dead"),
    ("kill", "nobody"),
    ("logs", "nobody"),
    ("logs", "../../etc/passwd"),
    ("task", "current", "nobody"),
    ("task", "list", "--agent", "nobody"),
    ("backlog", "assign-all", "nobody"),
    ("spawn", "new", "--cli", "demo", "--parent", "nobody"),
)
UNKNOWN_TASK = (
    ("task", "show", "abcdef"),
    ("task", "show", "a*"),
    ("task", "complete", "550e8400-e29b-41d4-a716-446655440000"),
    ("task", "fail", "abcdef"),
    ("task", "cancel", "abcdef"),
    ("task", "retry", "abcdef"),
    ("backlog", "claim", "abcdef", "backend"),
    ("backlog", "remove", "abcdef"),
)
USAGE = (
    ("nosuch",),
    ("task", "nosuch"),
    ("list", "--nosuch"),
    ("spawn",),
    ("assign", "backend"),
    ("assign", "backend", "x", "y"),
    ("spawn", "x", "--max-rounds", "0"),
    ("spawn", "x", "--max-rounds", "many"),
    ("wait", "x", "--timeout", "-1"),
    ("inbox",),
    ("inbox", "backend", "--all"),
    ("inbox", "--retry", "a", "--drop", "b"),
    ("supervise", "--detach", "--status"),
    ("supervise", "--json"),
    ("completion", "powershell"),
    ("logs", "backend", "--round", "0"),
)

pytestmark = pytest.mark.slow


@pytest.fixture
def agent_town(town: Town) -> Town:
    towns.register(town, "backend")
    return town


@pytest.mark.parametrize("args", UNKNOWN_AGENT, ids=" ".join)
def test_unknown_agent(tt: Tt, agent_town: Town, args: tuple[str, ...]) -> None:
    """It is named, and nothing is changed."""
    before = towns.snapshot(agent_town)
    ran = tt.fails(*args)
    assert ran.err.startswith("Error: Agent not found: ")
    assert towns.snapshot(agent_town) == before


@pytest.mark.parametrize("command", ["wait", "why", "history"])
def test_neither_agent_nor_task(tt: Tt, agent_town: Town, command: str) -> None:
    """Where both will do, both are named."""
    assert tt.fails(command, "nobody").complaint[0] == "Error: No agent and no task: nobody"


@pytest.mark.parametrize("args", UNKNOWN_TASK, ids=" ".join)
def test_unknown_task(tt: Tt, agent_town: Town, args: tuple[str, ...]) -> None:
    """It is named, and nothing is changed."""
    before = towns.snapshot(agent_town)
    assert tt.fails(*args).err.startswith("Error: Task not found: ")
    assert towns.snapshot(agent_town) == before


@pytest.mark.parametrize("args", USAGE, ids=" ".join)
def test_usage(tt: Tt, agent_town: Town, args: tuple[str, ...]) -> None:
    """Exit 2, one line and where the help is; nothing is changed."""
    before = towns.snapshot(agent_town)
    ran = tt.fails(*args, code=2)
    assert ran.complaint[1].startswith("Try 'tt")
    assert towns.snapshot(agent_town) == before


def test_nearest_names(tt: Tt) -> None:
    """A mistyped command, subcommand or option is answered with the nearest."""
    assert "Did you mean 'status'?" in tt.fails("statsu", code=2).err
    assert "Did you mean 'list'?" in tt.fails("task", "lst", code=2).err
    assert "--json" in tt.fails("list", "--jsn", code=2).err


def test_unknown_state(tt: Tt) -> None:
    """The states there are are listed."""
    assert "running" in tt.fails("task", "list", "--state", "sleeping").complaint[1]


def test_unknown_cli(tt: Tt, town: Town) -> None:
    """At spawn, before anything is registered: an unknown name, and a command that does not exist."""
    before = towns.snapshot(town)
    assert "Did you mean 'claude'?" in tt.fails("spawn", "x", "--model", "claud").err
    assert "/nonexistent/model" in tt.fails("spawn", "x", "--cli", "/nonexistent/model --fast").err
    assert towns.snapshot(town) == before


@pytest.mark.parametrize("name", ["a/b", "a'b", 'a"b', "x" * 300, "..", "", "a b", "a\nb", "tt:*", "conductor"])
def test_bad_agent_names(tt: Tt, town: Town, name: str) -> None:
    """Refused before anything is registered; a long one is not printed in full."""
    before = towns.snapshot(town)
    ran = tt.fails("spawn", name, "--cli", "demo")
    assert len(ran.err) < 250
    assert towns.snapshot(town) == before


@pytest.mark.parametrize("text", ["", "   ", "\n\n"])
def test_an_empty_text(tt: Tt, agent_town: Town, text: str) -> None:
    """No task and no message is made of it."""
    before = towns.snapshot(agent_town)
    for args in (("assign", "backend", text), ("send", "backend", text), ("backlog", "add", text)):
        tt.fails(*args)
    assert towns.snapshot(agent_town) == before


def test_a_huge_text_with_everything(tt: Tt, town: Town) -> None:
    """Newlines, emoji, shell words, bytes that are no UTF-8: stored as typed, shown as one line."""
    towns.register(town, "backend")
    odd = "$(touch /tmp/pwned) `id` 'q' \"q\" \\ % {} \t🏘️\u202e\n"
    tt.ok("assign", "backend", odd + "x" * 100_000)  # the kernel takes 128 KiB per word
    (task,) = tt.ok("task", "list", "--json").json
    assert task["description"] == odd + "x" * 100_000
    (_, line) = tt.ok("task", "list").out.splitlines()
    assert len(line) < 150
    assert "\\u202e" in line
    tt.ok("send", "backend", b"\xff\xfe".decode("utf-8", "surrogateescape"))


def test_no_town_here(bare: Tt) -> None:
    """Every command says so, with the manual's words."""
    for args in (("list",), ("status",), ("spawn", "x"), ("assign", "x", "y"), ("stop",), ("supervise",), ("start",)):
        assert bare.fails(*args).err == "Error: Town not initialized at . Run 'tt init' first.\n"
    assert "/nowhere" in bare.fails("--town", "/nowhere", "list").err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "x"\n[redis\n', "not valid TOML"),
        ('name = "x"\nmax_agent = 3\n', "Did you mean 'max_agents'?"),
        ('name = "x"\nmax_agents = "three"\n', "'max_agents' must be a whole number"),
        ('name = "a:b"\n', "Town name 'a:b' is not valid."),
        ("max_agents = 3\n", "'name' is missing"),
    ],
)
def test_bad_settings(bare: Tt, text: str, said: str) -> None:
    """The file and what is wrong with it are named; init does not touch it either."""
    (bare.cwd / "tinytown.toml").write_text(text)
    for args in (("list",), ("init",)):
        assert said in bare.fails(*args).err
    assert (bare.cwd / "tinytown.toml").read_text() == text
    assert not (bare.cwd / ".tt").exists()


def test_redis_missing_or_too_old(bare: Tt, tmp_path: Path) -> None:
    """The manual's two errors, word for word, and nothing is left."""
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=7.4.1 sha=0:0 malloc=libc bits=64 build=0'\n")
    old.chmod(0o755)
    (bare.cwd / "tinytown.toml").write_text(f'name = "x"\n[redis]\nserver = "{old}"\n')
    ran = bare("init")
    assert ran.code == 1
    assert ran.err.startswith(
        "Error: Redis version 7.4 is too old. Tinytown requires Redis 8.0 or later.\nSee: https://redis.io/downloads/\n"
    )
    assert not (bare.cwd / ".tt").exists()


def test_wrong_password(tmp_path: Path) -> None:
    """It is said that the password is wrong; the password itself is not printed."""
    with TestRedis(tmp_path / "server", password="right") as server:  # noqa: S106  a test's own
        (tmp_path / "tinytown.toml").write_text(
            f'name = "x"\n[redis]\nurl = "unix://{server.connector.socket_path}"\npassword = "wr0ng"\n'
        )
        ran = Tt(tmp_path)("list")
    assert ran.code == 1
    assert "authentication failed" in ran.err
    assert "wr0ng" not in ran.err


def test_a_secret_in_the_settings_is_warned_of(tt: Tt, town: Town) -> None:
    """On stderr, at every command, with what to write instead."""
    file = town.root / "tinytown.toml"
    file.write_text(file.read_text() + '[agent_clis.mine]\ncommand = "true"\nenv = { API_KEY = "abc" }\n')
    ran = tt.ok("list")
    assert ran.err.startswith("Warning: agent_clis.mine.env holds a secret")
    assert "abc" not in ran.err


def test_an_unexpected_error(tt: Tt, tmp_path: Path) -> None:
    """One line; with --verbose the whole story."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "difflib.py").write_text("raise ZeroDivisionError('what nobody foresaw')\n")
    env: dict[str, str | None] = {"PYTHONPATH": str(broken)}  # it is imported to guess what was meant
    ran = tt.fails("nosuch", env=env)
    assert ran.err.startswith("Error: unexpected ZeroDivisionError: what nobody foresaw")
    assert "--verbose" in ran.complaint[1]
    assert "Traceback" in tt("--verbose", "nosuch", env=env).err
