"""A program for test_service_systemd.py: the life of a service under a real user manager, told by its assertions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.cli import Tt
from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.store.server import ManagedServer
from tinytown.town import Town, open_town

UNIT = "tinytown-life.service"
SETTINGS = """
[supervisor]
grace_s = 0.5
[agent_clis.slow]
command = "touch started; sleep 600"
"""


def main() -> None:
    """Everything in order; the state of the one is the beginning of the next."""
    root = Path(sys.argv[1])
    root.mkdir()
    tt = Tt(root)
    tt.ok("init", "--name", "life")
    with (root / "tinytown.toml").open("a") as settings:
        settings.write(SETTINGS)
    town = open_town(str(root))
    installs(tt)
    survives(tt, town)
    stops(tt, town)
    takes_over(tt, town)
    uninstalls(tt)


def installs(tt: Tt) -> None:
    """Enabled, up when the command returns; again: nothing changes."""
    watchdog = Path(os.environ["HOME"]) / f".config/systemd/user/{UNIT}.d/watchdog.conf"
    watchdog.parent.mkdir(parents=True)
    watchdog.write_text("[Service]\nWatchdogSec=2\n")
    assert "Enabled and running" in tt.ok("service", "install").out
    state = status(tt)
    assert state["has_manager"]
    assert state["enabled"]
    assert (state["active"], state["sub"]) == ("active", "running")
    assert state["pid"] == state["supervisor_pid"]
    assert tt.ok("service", "install").out.startswith("Unchanged")
    assert status(tt) == state


def survives(tt: Tt, town: Town) -> None:
    """Killed, hung, without Redis: a new supervisor is there, and the actor and its model are the same."""
    tt.ok("spawn", "one", "--cli", "slow")
    tt.ok("assign", "one", "take your time")
    wait_until((town.root / "started").exists, 20, "the model")
    actor = town.journal("one").actor()
    assert actor is not None
    for signum in (signal.SIGKILL, signal.SIGSTOP):
        former = status(tt)["pid"]
        os.kill(former, signum)
        wait_until(lambda former=former: status(tt)["pid"] not in (None, former), 20, "another supervisor")  # type: ignore[misc]
        wait_until(lambda: status(tt)["status"] == "1 agent(s) running", 20, "its agent")
        assert processes.is_alive(actor.process)
    assert status(tt)["restarts"] == 2
    server = ManagedServer(town.config.redis, town.state_dir)
    first = server.identity()
    assert first is not None
    processes.send(first, signal.SIGKILL)
    second = wait_until(lambda: (found := server.identity()) != first and found, 20, "another Redis")
    assert second
    group = Path(f"/proc/{second.pid}/cgroup").read_text()
    assert UNIT not in group
    assert ".scope" in group
    systemctl("reload", UNIT)
    assert status(tt)["active"] == "active"


def stops(tt: Tt, town: Town) -> None:
    """Supervisor, actor, model and Redis end; what users want is there at the next start."""
    systemctl("stop", UNIT)
    assert (status(tt)["active"], status(tt)["pid"]) == ("inactive", None)
    assert ours() == []
    (town.root / "started").unlink()
    systemctl("start", UNIT)
    wait_until((town.root / "started").exists, 20, "the model's next run")


def takes_over(tt: Tt, town: Town) -> None:
    """A supervisor outside of the service is left alone, until one is asked to replace it: then its rounds go on."""
    systemctl("stop", UNIT)
    (town.root / "started").unlink()
    with tt.running("supervise"):  # detached it would be the service
        wait_until((town.root / "started").exists, 20, "the model's next run")
        actor = town.journal("one").actor()
        assert actor is not None
        assert "not started: a supervisor runs outside" in tt.ok("service", "install").out
        assert status(tt)["pid"] is None
        assert "Enabled and running" in tt.ok("service", "install", "--take-over").out
    wait_until(lambda: status(tt)["status"] == "1 agent(s) running", 20, "the adopted agent")
    assert processes.is_alive(actor.process)


def uninstalls(tt: Tt) -> None:
    """Nothing runs, nothing is left behind."""
    tt.ok("service", "uninstall")
    state = status(tt)
    assert not state["installed"]
    assert not state["enabled"]
    assert ours() == []
    shown = subprocess.run(
        ["systemctl", "--user", "show", UNIT, "--property=ActiveState"], capture_output=True, text=True, check=True
    )
    assert "inactive" in shown.stdout
    tt.ok("service", "uninstall")


def status(tt: Tt) -> dict[str, Any]:
    return dict(tt.ok("service", "status", "--json").json)


def ours() -> list[str]:
    """What runs of the town in this namespace: titles, and the model."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        if command.startswith(("tt:", "sleep 600")) or "redis-server" in command:
            found.append(command)
    return found


def systemctl(*arguments: str) -> None:
    subprocess.run(["systemctl", "--user", *arguments], check=True, timeout=60)


if __name__ == "__main__":
    main()
