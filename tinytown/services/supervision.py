"""The supervisor as seen from outside: is it there, start it, ask it, let it finish what is dead."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from typing import Any

from tinytown import clock
from tinytown.errors import TimedOut, Unavailable
from tinytown.files import FileLock, read_json
from tinytown.processes import Identity, cpu_and_memory, is_alive, send
from tinytown.town import Town

START_WITHIN_S = 10.0
ANSWER_WITHIN_S = 2.0


def is_running(town: Town) -> bool:
    """A supervisor of this town runs on this host. Costs one system call."""
    return town.supervisor_lock.is_taken()


def process(town: Town) -> Identity | None:
    """The running supervisor; None when there is none."""
    found = Identity.from_dict(read_json(town.state_dir / "supervisor.json"))
    return found if is_running(town) and is_alive(found) else None


def status(town: Town) -> dict[str, Any] | None:
    """What the supervisor says of itself (works when Redis is away), with CPU and memory; None when none runs.

    Raises Unavailable when it runs and does not answer.
    """
    if not is_running(town):
        return None
    answer = _ask(town, b"status")
    if answer is None:
        raise Unavailable("The supervisor does not answer.", f"See {town.state_dir / 'supervisor.log'}")
    for row in (answer, *answer.get("children", ())):
        row["cpu_s"], row["rss_bytes"] = cpu_and_memory(row["pid"]) if row.get("pid") else (0.0, 0)
    return answer


def ensure_running(town: Town) -> bool:
    """Start a supervisor in the background (the town's service, if enabled) if none runs; True when this call did.

    Of several callers at once exactly one's supervisor gets the lock; the others' leave quietly.
    """
    if is_running(town):
        return False
    town.require_loaded()
    import subprocess  # noqa: PLC0415  costs a command 10 ms

    from tinytown.services import systemctl, unit_file  # noqa: PLC0415  only who starts a supervisor needs them

    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    log = os.open(town.state_dir / "supervisor.log", flags, 0o600)
    # One process of these callers forks the supervisor; who finds the start lock taken waits for its result.
    starter = FileLock(town.state_dir / "start.lock")
    starter.acquire(wait=True)
    try:
        if is_running(town):
            return False
        if unit_file.is_enabled(town) and systemctl.start(town):
            return True
        child = subprocess.Popen(
            [sys.executable, "-m", "tinytown", "--town", str(town.root), "supervise"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k not in _NOT_INHERITED},
        )
        deadline = clock.monotonic() + START_WITHIN_S
        while clock.monotonic() < deadline:
            if _ask(town, b"status") is not None:
                child.returncode = 0  # it lives on without us: nothing to warn of when this object goes
                return True
            if child.poll() not in (None, 0):
                raise Unavailable("The supervisor did not start.", f"See {town.state_dir / 'supervisor.log'}")
            clock.sleep(0.005)
    finally:
        starter.release()
        os.close(log)
    raise TimedOut("The supervisor did not come up.", f"See {town.state_dir / 'supervisor.log'}")


def ask_to_stop(town: Town) -> Identity | None:
    """Tell the supervisor to end when its agents have finished their rounds; None when none runs. Does not wait."""
    running = process(town)
    if running is not None:
        send(running, signal.SIGTERM)
    return running


def stop(town: Town, timeout_s: float) -> bool:
    """End the supervisor and with it every actor, gracefully; False when none ran. Raises TimedOut."""
    running = ask_to_stop(town)
    if running is None:
        return False
    deadline = clock.monotonic() + timeout_s
    while is_alive(running):
        if clock.monotonic() > deadline:
            raise TimedOut(f"The supervisor (pid {running.pid}) is still ending.", "Look with: tt supervise --status")
        clock.sleep(0.01)
    return True


def finish_dead(town: Town) -> None:
    """Have the records of agents that are wanted to stop and have no process written.

    The supervisor does it when one runs; else this command is the supervisor for that moment.
    """
    if town.ring_supervisor() and is_running(town):
        return
    from tinytown.services import recovery  # noqa: PLC0415

    lock = town.supervisor_lock
    if lock.acquire():
        try:
            recovery.finish_stopped(town)
        finally:
            lock.release()


_NOT_INHERITED = frozenset(
    {
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "TINYTOWN_RUN",
        "TINYTOWN_AGENT_ID",
        "TINYTOWN_AGENT_NAME",
        "TINYTOWN_TASK_ID",
    }
)


def _ask(town: Town, question: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.settimeout(ANSWER_WITHIN_S)
        bell.bind("")  # an address of the kernel's choice; once connected, only the supervisor can send to it
        bell.connect(town.doorbell.address)
        bell.send(question)
        answer = json.loads(bell.recv(1 << 20))
        return answer if isinstance(answer, dict) else None
    return None
