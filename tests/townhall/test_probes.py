"""Health and numbers."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.redis_server import TestRedis
from tests.support.town import give_task, register
from tests.support.townhall import TownHall, make_town
from tests.support.waiting import wait_until
from tinytown.town import Town

pytestmark = pytest.mark.slow
Sample = tuple[str, tuple[tuple[str, str], ...]]


def numbers(http: httpx2.Client) -> dict[Sample, float]:
    """The samples of /metrics by name and labels."""
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_it_lives_and_is_ready(http: httpx2.Client) -> None:
    """One says how long it has been there, the other how quick Redis is and whether a supervisor runs."""
    assert http.get("/healthz").json()["uptime_secs"] > 0
    ready = http.get("/readyz").json()
    assert (ready["status"], ready["supervisor"]) == ("ready", False)
    assert 0 < ready["redis_latency_ms"] < 1000


def test_numbers_of_the_town(town: Town, http: httpx2.Client) -> None:
    """Agents and tasks by state, the backlog, what was asked and how it was answered."""
    agent = register(town)
    register(town, "gone", wanted=False)
    give_task(town, agent)
    http.post("/v1/backlog", json={"description": "x"})
    http.get("/v1/agents/nobody")
    http.get("/nothing")
    wait_until(lambda: numbers(http)["tinytown_backlog_tasks", ()] == 1, what="a look that is new enough")
    seen = numbers(http)
    assert [seen[name, ()] for name in ("tinytown_up", "tinytown_ready", "tinytown_supervisor_up")] == [1, 1, 0]
    assert seen["tinytown_agents_total", (("state", "idle"),)] == 1
    assert seen["tinytown_agents_total", (("state", "stopped"),)] == 1
    assert seen["tinytown_agents_total", (("state", "working"),)] == 0
    assert seen["tinytown_tasks", (("state", "assigned"),)] == 1
    assert seen["tinytown_missions_active", ()] == 0
    assert 0 < seen["tinytown_redis_latency_seconds", ()] < 1
    asked = {labels: value for (name, labels), value in seen.items() if name == "tinytown_requests_total"}
    assert asked[(("status", "201"), ("verb", "backlog.add"))] == 1
    assert asked[(("status", "404"), ("verb", "agent.get"))] == 1
    assert asked[(("status", "404"), ("verb", "other"))] == 1


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_without_redis_it_says_so(tmp_path: Path, harm: str) -> None:
    """Dead or frozen: it lives, is not ready (within a second and a bit), says so in its numbers; and comes back."""
    with TestRedis(tmp_path / "redis") as server:
        town = make_town(server, tmp_path / "town")
        with TownHall(town.root) as hall:
            http = hall.client()
            assert http.get("/readyz").status_code == 200
            getattr(server, harm)()
            began = time.monotonic()
            answer = http.get("/readyz")
            assert time.monotonic() - began < 3
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["detail"]
            assert http.get("/healthz").status_code == 200
            seen = numbers(http)
            assert [seen[name, ()] for name in ("tinytown_up", "tinytown_ready")] == [1, 0]
            assert http.get("/v1/status").status_code in (503, 504)
            (server.restart if harm == "kill" else server.thaw)()
            wait_until(lambda: http.get("/readyz").status_code == 200, what="Redis again")
            assert http.get("/v1/status").status_code == 200
        town.store.close()


def test_a_frozen_redis_holds_nobody_up(tmp_path: Path) -> None:
    """Who reads is told so after three seconds at the most, and the numbers say so within one and a bit."""
    with TestRedis(tmp_path / "redis") as server:
        town = make_town(server, tmp_path / "town")
        with TownHall(town.root) as hall:
            http = hall.client()
            for path in ("/v1/status", "/v1/tasks", "/metrics"):
                assert http.get(path).status_code == 200
            server.freeze()
            for path in ("/v1/tasks", "/v1/status"):  # the status is that of the last moment, if there is one
                began = time.monotonic()
                answer = http.get(path)
                assert time.monotonic() - began < 4  # and a machine that is busy
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
                assert answer.headers["content-type"] == "application/problem+json"
            began = time.monotonic()
            assert numbers(http)["tinytown_ready", ()] == 0
            assert time.monotonic() - began < 2
            server.thaw()
            wait_until(lambda: http.get("/v1/tasks").status_code == 200, what="Redis again")
        town.store.close()
