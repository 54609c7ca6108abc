"""Requests that Schemathesis makes from the contract: no failure of ours, and no answer that the contract has not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.redis_server import TestRedis
from tests.support.town import give_mail, give_task, register
from tests.support.townhall import TownHall, make_town

pytestmark = pytest.mark.slow
EXAMPLES = os.environ.get("TINYTOWN_FUZZ_EXAMPLES", "4")  # of each operation; more by hand
SEED = os.environ.get("TINYTOWN_FUZZ_SEED", "1")
PHASES = os.environ.get("TINYTOWN_FUZZ_PHASES", "fuzzing")  # or coverage,fuzzing
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)
# Streams have no end, a wait takes its time, the doctor starts programs, and saving starts a server.
LEFT_OUT = (
    "events.stream",
    "agent.log_stream",
    "task.log_stream",
    "agent.wait",
    "task.wait",
    "town.doctor",
    "town.save",
)


def test_requests_made_from_the_contract(tmp_path: Path) -> None:
    """Right and wrong ones for every operation, in a town that has agents, tasks and mail."""
    with TestRedis(tmp_path / "redis") as server:
        town = make_town(server, tmp_path / "town", supervisor={"grace_s": 0.5})
        assert town.supervisor_lock.acquire()  # nobody starts one
        agent = register(town, "a")
        register(town, "b", wanted=False)
        give_task(town, agent)
        give_mail(town, agent)
        with TownHall(town.root) as hall:
            done = _run(hall.url, tmp_path)
            assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert "Traceback" not in hall.said
        town.store.close()


def _run(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("schemathesis")
    options = {
        "--max-examples": EXAMPLES, "--seed": SEED, "--phases": PHASES, "--checks": ",".join(CHECKS),
        "--generation-database": "none", "--request-timeout": "30", "--suppress-health-check": "all",
    }  # fmt: skip
    argv = [str(program), "run", f"{url}/openapi.json", "--no-color", "--continue-on-failure"]
    argv += [word for pair in options.items() for word in pair]
    argv += [word for name in LEFT_OUT for word in ("--exclude-operation-id", name)]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=400, check=False)
