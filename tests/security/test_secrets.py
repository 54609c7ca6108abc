"""Recognisable secrets are planted everywhere; after a whole life nothing but their own homes holds one of them."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.security.conftest import FAKE
from tests.security.in_one_process import run_all
from tests.support.cli import Tt
from tests.support.repository import make_repository
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

PASSWORD = "s3cr3t-redis-password"  # noqa: S105
FROM_ENVIRONMENT = {
    "TINYTOWN_REDIS_PASSWORD": PASSWORD,
    "ANTHROPIC_API_KEY": "s3cr3t-anthropic",
    "GITHUB_TOKEN": "s3cr3t-github",
    "MY_KEY": "s3cr3t-expanded",
}
WRITTEN = "s3cr3t-written-out"
MARK = b"s3cr3t"
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("status", "--deep", "--tasks"), ("list",), ("task", "list"), ("inbox", "--all"), ("inbox", "backend"),
    ("events", "-n", "500"), ("history",), ("config",), ("config", "redis.password"), ("config", "redis.url"),
    ("config", "agent_clis.fake"), ("config", "agent_clis.fake.env.MY_KEY"),
    ("config", "agent_clis.fake.env.OWN_TOKEN"),
    ("towns",), ("why", "backend"), ("logs", "backend"), ("logs", "backend", "--round", "1"), ("worktree", "list"),
    ("plan",), ("supervise", "--status"), ("doctor",), ("service", "status"), ("recover",), ("backlog", "list"),
    ("conductor", "--print-context"),
)  # fmt: skip


class Watch:
    """Reads every command line and title in /proc, again and again, until the end of the block."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._end.wait(0.01):
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    with contextlib.suppress(OSError):
                        self.seen.add(Path(f"/proc/{entry}/cmdline").read_bytes())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()


def holding(*folders: Path) -> list[str]:
    """The files below these folders that hold a secret."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path.name for path in files if MARK in path.read_bytes())


@pytest.fixture
def secretive(tt: Tt) -> Iterator[Tt]:
    """A town on TCP with secrets in its environment, and one that somebody wrote into its settings."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    make_repository(tt.cwd)
    (tt.cwd / "tinytown.toml").write_text(
        f'name = "town"\ndefault_cli = "fake"\n[redis]\nuse_socket = false\nport = {port}\n'
        f"[agent_clis.fake]\ncommand = '''{FAKE}'''\nenv = {{ MY_KEY = \"$MY_KEY\", OWN_TOKEN = \"{WRITTEN}\" }}\n"
    )
    tt.env |= FROM_ENVIRONMENT
    yield tt
    tt("stop", "--all", "--now")  # before the fixture of `tt` does it without the password


def test_a_whole_life(secretive: Tt, world: Path) -> None:
    """Command lines, titles, logs, records, events, output of every command, saved state, unit, settings."""
    tt, said = secretive, ""
    with Watch() as watch:
        tt.ok("init")
        tt.ok("spawn", "backend")
        task = tt.ok("assign", "backend", "fake: env NOTHING\nfake: tt status").out.split()[2]
        tt.ok("wait", task, "--timeout", "20")
        tt.ok("send", "backend", "--query", "fake: exit 3")
        wait_until(lambda: "round 2" in tt.ok("logs", "backend").out.lower(), what="the second round")
        tt.ok("plan", "--init")
        tt.ok("sync", "push")
        tt.ok("sync", "pull")
        tt.ok("save")
        tt("service", "install", env={"XDG_RUNTIME_DIR": str(world)})
    for ran in run_all(tt, [(*args, more) for args in COMMANDS for more in ("--verbose", "--json")]):
        said += ran.out + ran.err
    tt.ok("stop", "--all", "--now")
    tt.ok("restore", "--force")
    assert "***" in said
    assert MARK not in said.encode()
    assert [line for line in watch.seen if MARK in line and b"pytest" not in line] == []
    assert any(b"tt: agent backend" in line for line in watch.seen)
    # The server's own settings, closed to others, and what the user wrote.
    assert set(holding(tt.cwd, world / "home")) == {"redis.conf", "tinytown.toml"}


WRONG = (
    f"redis://user:{PASSWORD}@127.0.0.1:1",
    f"redis://:{PASSWORD}@127.0.0.1:1/0?socket_timeout=x",
    f"redis://user:{PASSWORD}@127.0.0.1:port",
    f"rediss://user:{PASSWORD}@[::1]:1",
    f"unix://{PASSWORD}@/none.sock",
    f"unix:///none.sock?password={PASSWORD}",
    f"user:{PASSWORD}@host",
    f"http://user:{PASSWORD}@127.0.0.1:1",
    f"redis://user:{PASSWORD}@[:1",
)
SHOWING = (("status", "--verbose"), ("config", "--json"))


@pytest.mark.parametrize("url", WRONG, ids=range(len(WRONG)))
def test_wrong_urls(tt: Tt, url: str) -> None:
    """Whatever is wrong with it, the error names the place and not the password; nor does --verbose's traceback."""
    (tt.cwd / "tinytown.toml").write_text(f'name = "town"\n[redis]\nurl = "{url}"\n')
    by_file = run_all(tt, SHOWING)
    (tt.cwd / "tinytown.toml").write_text('name = "town"\n')
    tt.env["REDIS_URL"] = url
    for ran in (*by_file, *run_all(tt, SHOWING)):
        assert ran.code == int(ran.args[0] == "status"), ran
        assert MARK not in (ran.out + ran.err).encode(), ran


@pytest.mark.parametrize(
    "line",
    [
        f'password = ["{PASSWORD}"]',
        f'passwort = "{PASSWORD}"',
        f'password = "{PASSWORD}',
        f'url = {{ a = "{PASSWORD}" }}',
    ],
    ids=["list", "unknown", "unclosed", "table"],
)
def test_broken_settings_are_not_quoted(tt: Tt, line: str) -> None:
    """An error about a line of the settings names the key, not the value."""
    (tt.cwd / "tinytown.toml").write_text(f'name = "town"\n[redis]\n{line}\n')
    ran = tt.fails("status", "--verbose")
    assert MARK not in ran.err.encode()


def test_a_made_key_is_shown_once(made: Tt, world: Path) -> None:
    """`tt auth gen-key` prints the key and its hash and keeps neither."""
    shown = made.ok("auth", "gen-key").out
    key = next(word for word in shown.split() if len(word) > 30 and not word.startswith(('"', "$")))
    assert key not in "".join(p.read_text(errors="replace") for p in world.rglob("*") if p.is_file())


def test_a_model_sees_what_it_needs(made: Tt) -> None:
    """The user's own keys reach the model (it needs them); the marks of the supervisor's service do not."""
    made.env |= {"ANTHROPIC_API_KEY": "key", "NOTIFY_SOCKET": "/none"}
    made.ok("spawn", "backend")
    task = made.ok("assign", "backend", "fake: env ANTHROPIC_API_KEY\nfake: env NOTIFY_SOCKET").out.split()[2]
    made.ok("wait", task, "--timeout", "20")
    assert (made.cwd / ".tt" / "logs" / "backend_round_1.log").read_text() == "key\n(unset)\n"
