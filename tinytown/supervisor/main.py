"""Start a supervisor: the lock, Redis, then the loop."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import NoReturn

from tinytown import clock, processes
from tinytown.errors import Conflict, Unavailable
from tinytown.files import make_private, read_json, remove_half_written, write_atomic
from tinytown.services import supervision
from tinytown.store import failures  # noqa: F401  needed when Redis fails, maybe long after an upgrade replaced the file
from tinytown.supervisor.log import SupervisorLog
from tinytown.supervisor.loop import Supervisor
from tinytown.town import Town

LOCK_WITHIN_S = 5.0


def run(town: Town) -> NoReturn:
    """Supervise the town in this process until it is told to stop. Does not return on success: the process ends.

    Raises Conflict when another supervisor has the town, Unavailable when its Redis cannot be started, Forbidden.
    """
    if sys.platform != "linux":
        raise Unavailable(
            "tt supervise needs Linux.", "Without pidfd, PDEATHSIG and subreapers a model could outlive its actor."
        )
    make_private(town.state_dir)
    lock = town.supervisor_lock
    deadline = clock.monotonic() + LOCK_WITHIN_S
    while not lock.acquire():
        if supervision.process(town) is None and clock.monotonic() < deadline:
            clock.sleep(0.02)  # a command is the supervisor for a moment
            continue
        other = (read_json(town.state_dir / "supervisor.json") or {}).get("pid", "?")
        raise Conflict(
            f"A supervisor of town '{town.name}' is already running (pid {other}).",
            "See it with: tt supervise --status",
        )
    os.register_at_fork(after_in_child=lock.release)
    log = SupervisorLog(town.state_dir / "supervisor.log")
    if town.ensure_redis():
        log.write("📡 Redis started")
    for folder in (town.state_dir, *town.state_dir.glob("agents/*")):
        remove_half_written(folder)
    me = processes.own()
    write_atomic(town.state_dir / "supervisor.json", json.dumps(me.to_dict()))
    code = 1
    try:
        code = Supervisor(town, log).run()
    except BaseException:  # noqa: BLE001  the reason must be in the log, whatever it was
        log.write(f"❌ The supervisor failed:\n{traceback.format_exc()}")
    finally:
        sys.stdout.flush()
        # multiprocessing would wait for our children here; they notice that we are gone and finish by themselves.
        os._exit(code)
