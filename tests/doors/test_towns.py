"""`tt towns`: every registered town, whatever state it is in."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.support.cli import Tt
from tests.support.redis_server import TestRedis
from tests.support.town import register
from tinytown import clock, processes
from tinytown.config import load
from tinytown.services import registry
from tinytown.store.server import ManagedServer
from tinytown.town import Town

BOUND_S = 10.0


def enlist(tt: Tt, rows: list[tuple[str, Path]]) -> None:
    folder = Path(str(tt.env["HOME"])) / ".tt"
    folder.mkdir(exist_ok=True)
    text = "".join(f'[[towns]]\nname = "{name}"\npath = "{path}"\n\n' for name, path in rows)
    (folder / "towns.toml").write_text(text)


def test_no_towns(bare: Tt) -> None:
    """Nothing registered: what registers one."""
    assert bare.ok("towns").out == "No towns registered yet.\n   Run 'tt init' in a directory to register a town.\n"
    assert bare.ok("towns", "--json").json == []


@pytest.mark.slow
def test_every_state(made: Tt, tmp_path: Path) -> None:
    """Online with counts, offline, no settings, broken settings, gone: all in one list, and nothing is started."""
    town = Town(made.cwd, load(made.cwd))
    register(town, "one")
    register(town, "two", wanted=False)
    town.store.close()
    places = {name: tmp_path / name for name in ("down", "empty", "broken", "far")}
    for place in places.values():
        place.mkdir()
    (places["down"] / "tinytown.toml").write_text('name = "down"')
    (places["broken"] / "tinytown.toml").write_text('name = "broken"\nnam = 1')
    (places["far"] / "tinytown.toml").write_text('name = "far"\n[redis]\nurl = "redis://127.0.0.1:1"')
    enlist(made, [("its-former-name", made.cwd), *places.items(), ("gone", tmp_path / "gone")])

    broken = places["broken"] / "tinytown.toml"
    assert made.ok("towns").out == (
        "Registered Towns (6):\n"
        f"\n   my-project - [OK] 2 agents (1 active)\n      {made.cwd}\n"
        f"\n   down - [OFFLINE]\n      {places['down']}\n"
        f"\n   empty - (no config)\n      {places['empty']}\n"
        f"\n   broken - (broken config) {broken}: unknown key 'nam'.\n      {places['broken']}\n"
        f"\n   far - [OFFLINE] Redis is not answering at redis://127.0.0.1:1.\n      {places['far']}\n"
        f"\n   gone - (path not found)\n      {tmp_path / 'gone'}\n"
    )
    rows = made.ok("towns", "--json").json
    assert rows[0] == {
        "name": "my-project", "path": str(made.cwd), "state": "online", "agents": 2, "active": 1, "problem": None,
    }  # fmt: skip
    states = ["online", "offline", "no_config", "broken_config", "offline", "not_found"]
    assert [row["state"] for row in rows] == states
    assert not (places["down"] / ".tt").exists()


@pytest.mark.slow
def test_a_hanging_redis_holds_nobody_up(made: Tt, tmp_path: Path) -> None:
    """However many towns hang, the list is there in bounded time, and says which."""
    with TestRedis(tmp_path / "hung") as hung:
        url = f"unix://{hung.connector.socket_path}"
        rows = []
        for number in range(30):
            place = tmp_path / f"t{number}"
            place.mkdir()
            (place / "tinytown.toml").write_text(f'name = "t{number}"\n[redis]\nurl = "{url}"')
            rows.append((f"t{number}", place))
        enlist(made, [("my-project", made.cwd), *rows])
        hung.freeze()
        begun = clock.monotonic()
        seen = made.ok("towns", "--json").json
        took = clock.monotonic() - begun
        hung.thaw()
    assert took < BOUND_S
    assert seen[0]["state"] == "online"
    assert {row["state"] for row in seen[1:]} == {"offline"}
    assert "not answering" in seen[1]["problem"]
    assert seen[-1]["problem"] == "not asked: others took too long"


def test_a_broken_registry(bare: Tt) -> None:
    """One line that names the file."""
    enlist(bare, [])
    file = Path(str(bare.env["HOME"])) / ".tt" / "towns.toml"
    for text, said in (("[[towns", "not valid TOML"), ("towns = 5", "'towns' must be tables with name and path")):
        file.write_text(text)
        ran = bare.fails("towns")
        assert ran.err.startswith(f"Error: {file}: {said}")
        assert ran.complaint[1] == "Correct or remove the file."


def test_on_a_terminal(bare: Tt, tmp_path: Path) -> None:
    """With the manual's marks."""
    enlist(bare, [("gone", tmp_path / "gone"), ("empty", tmp_path)])
    shown = bare.on_terminal("towns")[1]
    assert "🏘️  Registered Towns (2):" in shown
    assert "gone - ❌ (path not found)" in shown
    assert "empty - ⚠️ " in shown
    assert f"📂 {tmp_path}" in shown


def test_a_frozen_server_of_ones_own(made: Tt) -> None:
    """A managed server that accepts and does not answer is offline, with the reason."""
    town = Town(made.cwd, load(made.cwd))
    server = ManagedServer(town.config.redis, town.state_dir)
    process = server.identity()
    assert process is not None
    processes.send(process, signal.SIGSTOP)
    try:
        (row,) = made.ok("towns", "--json").json
    finally:
        processes.send(process, signal.SIGCONT)
    assert row["state"] == registry.State.OFFLINE
    assert "not answering" in row["problem"]


@pytest.mark.slow
def test_a_server_that_somebody_else_started(bare: Tt, tmp_path: Path) -> None:
    """A container's Redis at localhost: `stop --all` leaves it alone, and does not say that it was not running."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with TestRedis(tmp_path / "container", use_socket=False, port=port) as container:
        container.client().config_set("requirepass", "")  # as images come
        (bare.cwd / "tinytown.toml").write_text(f'name = "x"\n[redis]\nuse_socket = false\nport = {port}\n')
        bare.ok("init")
        assert bare.ok("stop", "--all").out.splitlines()[-1] == "   Redis goes on: this town did not start it."
        assert bare.ok("towns").out.splitlines()[2] == "   x - [OK] 0 agents (0 active)"
    assert bare.ok("stop", "--all").out.splitlines()[-1] == "   Redis was not running."
