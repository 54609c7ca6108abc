"""`tt doctor`: one line for each thing, the remedy below, and an exit code that scripts can use."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Ran, Tt
from tests.support.town import register
from tinytown import clock, processes
from tinytown.config import load
from tinytown.processes import Identity
from tinytown.store.server import ManagedServer
from tinytown.town import Town

BOUND_S = 10.0
LINE = re.compile(r"(ok  |warn|FAIL)  [a-z-][a-z -]*[a-z]*: .+|      \S.*")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for programs."""
    folder = tmp_path / "tools"
    folder.mkdir()
    return folder


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def with_tools(tools: Path) -> dict[str, str | None]:
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


def found(ran: Ran) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in ran.json["checks"]}


def server(tt: Tt) -> Identity:
    process = ManagedServer((config := load(tt.cwd)).redis, Town(tt.cwd, config).state_dir).identity()
    assert process is not None
    return process


@pytest.fixture
def healthy(made: Tt, tools: Path) -> Tt:
    """A town in which nothing is wrong: its default CLI is there."""
    program(tools, "claude", "echo '2.0.1 (Claude Code)'")
    made.env |= with_tools(tools)
    return made


@pytest.mark.slow
def test_a_healthy_town(healthy: Tt) -> None:
    """Every line says ok; exit 0. Supervisor and agents are seen when they are there."""
    ran = healthy.ok("doctor")
    assert all(line.startswith("ok    ") and LINE.fullmatch(line) for line in ran.out.splitlines()), ran.out
    assert "ok    cli claude: 2.0.1 (Claude Code); used by: default_cli\n" in ran.out
    assert "ok    durability: append-only file, appendfsync always\n" in ran.out
    assert re.search(r"ok    redis: Redis 8\.\S+ answers at unix://", ran.out)
    assert re.fullmatch(r"\d+ checks: 0 failed, 0 warning\(s\)\n", ran.err)
    healthy.ok("spawn", "backend", "--model", "demo")
    said = found(healthy.ok("doctor", "--json"))
    assert said["supervisor"]["finding"].startswith("running (pid ")
    assert said["agents"]["finding"] == "1 known, 1 wanted to run"
    assert said["cli demo"]["finding"] == "built in; used by: backend"


@pytest.mark.slow
def test_a_town_that_is_down(healthy: Tt) -> None:
    """Works without Redis, starts nothing; a town that was stopped is not broken."""
    healthy.ok("stop", "--all")
    ran = healthy.ok("doctor")
    assert "warn  redis: not running (unix://" in ran.out
    assert "      Start it with: tt supervise --detach\n" in ran.out
    assert "ok    supervisor: not running\n" in ran.out
    assert not (healthy.cwd / ".tt" / "redis.sock").exists()


@pytest.mark.slow
def test_what_is_broken_makes_it_fail(healthy: Tt) -> None:
    """Wanted agents without a supervisor, a bad default CLI, settings that cannot be used: FAIL, exit 1."""
    town = Town(healthy.cwd, load(healthy.cwd))
    register(town, "one", cli="demo")
    town.store.close()
    ran = healthy("doctor")
    assert ran.code == 1
    assert "FAIL  supervisor: not running; 1 agent(s) wait for it\n      Start it with: " in ran.out
    assert ran.err.endswith(" checks: 1 failed, 0 warning(s)\n")
    file = healthy.cwd / "tinytown.toml"
    text = file.read_text()
    file.write_text(text.replace('"claude"', '"codx"', 1))
    ran = healthy("doctor")
    assert "FAIL  cli codx: Unknown CLI 'codx'. Used by: default_cli\n      Did you mean 'codex'?\n" in ran.out
    file.write_text(f"{text}\n[agent]\nmax_attempt = 1\n")
    ran = healthy("doctor", "--json")
    assert (ran.code, ran.json["ok"], ran.err) == (1, False, "")
    assert found(ran)["settings"] == {
        "name": "settings", "level": "FAIL", "finding": f"{file}: unknown key 'agent.max_attempt'.",
        "remedy": "Did you mean 'agent.max_attempts'?",
    }  # fmt: skip
    file.write_text(text)  # or `tt stop` could not end its Redis


def test_warnings_leave_it_at_0(healthy: Tt) -> None:
    """Settings that deserve a warning, doors left open, appendfsync everysec."""
    file = healthy.cwd / "tinytown.toml"
    file.write_text(f'{file.read_text()}\n[agent_clis.claude.env]\nAPI_KEY = "sk-1"\n')
    (healthy.cwd / ".tt").chmod(0o755)
    ran = healthy.ok("doctor")
    said = [line for line in ran.out.splitlines() if line.startswith(("warn", "FAIL"))]
    assert said == [
        'warn  settings: agent_clis.claude.env holds a secret in tinytown.toml; write "$VAR" and set VAR instead.',
        f"warn  state folder: {healthy.cwd / '.tt'} is open to others (755)",
    ]


def test_without_a_town(bare: Tt, tools: Path) -> None:
    """It checks the machine; a missing default CLI breaks nothing yet."""
    program(tools, "gemini", "echo 0.9; exit 0")
    program(tools, "codex", "echo broken >&2; exit 7")
    ran = bare.ok("doctor", env=with_tools(tools))
    assert "ok    settings: defaults\n" in ran.out
    assert "ok    redis-server: Redis 8." in ran.out
    assert "warn  cli claude: Command 'claude' of CLI 'claude' was not found. Used by: default_cli\n" in ran.out
    assert "ok    cli gemini: 0.9; not used here\n" in ran.out
    assert "warn  cli codex: broken (exit 7); not used here\n      Run it by hand: codex --version\n" in ran.out
    assert "redis: " not in ran.out
    assert bare.ok("doctor", "--json").json["root"] is None
    assert "Town not initialized" in bare.fails("--town", "/nowhere", "doctor").err


def test_a_machine_without_a_server(bare: Tt, tmp_path: Path) -> None:
    """A redis.server that is none is broken, and what installs one is said."""
    (bare.cwd / "tinytown.toml").write_text(f'name = "x"\n[redis]\nserver = "{tmp_path}/none"\n')
    ran = bare("doctor")
    assert ran.code == 1
    assert f"FAIL  redis-server: redis.server is no executable file: {tmp_path}/none\n" in ran.out


@pytest.mark.slow
def test_everything_hangs(healthy: Tt, tools: Path) -> None:
    """A frozen Redis, a frozen supervisor and CLIs that do not answer: all is said within ten seconds."""
    healthy.ok("supervise", "--detach")
    pid = int((healthy.cwd / ".tt" / "supervisor.json").read_text().split('"pid": ')[1].split(",")[0])
    supervisor = processes.identity(pid)
    assert supervisor is not None
    for name in ("codex", "gemini", "claude"):
        program(tools, name, "exec sleep 60")
    program(tools, "valkey-server", "exec sleep 60")
    program(tools, "redis-server", "exec sleep 60")
    frozen = [server(healthy), supervisor]
    for process in frozen:
        processes.send(process, signal.SIGSTOP)
    try:
        begun = clock.monotonic()
        ran = healthy("doctor", "--json")
        took = clock.monotonic() - begun
    finally:
        for process in frozen:
            processes.send(process, signal.SIGCONT)
    for name in ("valkey-server", "redis-server"):
        (tools / name).unlink()
    assert took < BOUND_S
    said = found(ran)
    assert ran.code == 1
    assert f"(pid {frozen[0].pid}) lives" in said["redis"]["finding"]
    assert said["supervisor"]["level"] in {"FAIL", "warn"}
    assert said["cli codex"]["finding"] == "no answer to --version within 5 s; not used here"


def test_on_a_terminal(bare: Tt, tools: Path) -> None:
    """In colour; and a program's words cannot speak to the terminal."""
    program(tools, "gemini", "printf '\\033[2Jevil\\n'")
    shown = bare.on_terminal("doctor", env=with_tools(tools))[1]
    assert "\x1b[32mok  \x1b[0m  python: " in shown
    assert "\x1b[33mwarn\x1b[0m  cli claude: " in shown
    assert "\x1b[2J" not in shown
    assert "\\x1b[2Jevil" in shown
