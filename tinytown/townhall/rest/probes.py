"""What watches the town hall asks: does it live, can it work, and the numbers for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel

from tinytown import clock
from tinytown.domain.states import AgentState
from tinytown.errors import TinytownError, Unavailable
from tinytown.services import supervision
from tinytown.town import Town
from tinytown.townhall.hall import Hall
from tinytown.townhall.rest.routes import Guard, guarded
from tinytown.townhall.verbs import Scope

READY_WITHIN_S = 1.0
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Counts = Counter[tuple[str, int]]
_PROBE: dict[str, Any] = {"tags": ["probes"], "methods": ["GET"]}
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


class Alive(BaseModel):
    """The process lives."""

    status: str
    uptime_secs: float


class Ready(BaseModel):
    """Redis answers. Without a supervisor, wishes wait until one runs."""

    status: str
    redis_latency_ms: float
    supervisor: bool


def add(app: FastAPI, hall: Hall, guard: Callable[[Scope], Guard], counts: Counts) -> None:
    """`/healthz`, `/readyz`, `/metrics`."""
    began = clock.monotonic()

    async def healthz() -> Alive:
        """The process lives."""
        return Alive(status="ok", uptime_secs=round(clock.monotonic() - began, 3))

    async def readyz() -> Ready:
        """Redis answers within a second; else a problem, 503."""
        latency_s, supervised = await _look(hall)
        return Ready(status="ready", redis_latency_ms=round(latency_s * 1000, 3), supervisor=supervised)

    async def metrics() -> Response:
        """Numbers for Prometheus, at most 100 ms old."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Numbers(await _seen(hall), counts, hall.hub.count))
        return Response(generate_latest(registry), media_type=METRICS_TYPE)

    public, reader = guarded(_anybody), guarded(guard(Scope.READ))
    add_route = app.router.add_api_route
    add_route("/healthz", healthz, operation_id="healthz", route_class_override=public, **_PROBE)
    add_route("/readyz", readyz, operation_id="readyz", route_class_override=public, **_PROBE)
    add_route(
        "/metrics", metrics, operation_id="metrics", route_class_override=reader, response_model=None,
        response_class=Response, responses=_TEXT, openapi_extra={"x-scope": Scope.READ.value}, **_PROBE,
    )  # fmt: skip


async def _anybody(_request: Request) -> None:
    pass


async def _look(hall: Hall) -> tuple[float, bool]:
    """Seconds that Redis took to answer, and whether a supervisor runs. Raises Unavailable."""
    try:
        return await hall.run(_ping, timeout_s=READY_WITHIN_S)
    except TinytownError as error:
        raise Unavailable(str(error), error.remedy) from error


def _ping(town: Town) -> tuple[float, bool]:
    hurried = Town(town.root, town.config, is_hurried=True)
    try:
        hurried.store.call(lambda r: r.ping())  # connects
        began = clock.monotonic()
        hurried.store.call(lambda r: r.ping())
        return clock.monotonic() - began, supervision.is_running(town)
    finally:
        hurried.store.close()


async def _seen(hall: Hall) -> dict[str, Any] | None:
    try:
        latency_s, _supervised = await _look(hall)  # first: it is the quicker to find out that there is no answer
        return await hall.status() | {"latency_s": latency_s}
    except TinytownError:
        return None


class _Numbers(Collector):
    """One look, as metrics. Without Redis (None) only what is known without it."""

    def __init__(self, seen: dict[str, Any] | None, counts: Counts, readers: int) -> None:
        self._seen, self._counts, self._readers = seen, dict(counts), readers

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        yield GaugeMetricFamily("tinytown_up", "The town hall lives.", 1)
        yield GaugeMetricFamily("tinytown_ready", "Redis answers.", int(self._seen is not None))
        yield GaugeMetricFamily("tinytown_stream_readers", "Who listens to the events.", self._readers)
        asked = CounterMetricFamily("tinytown_requests", "Requests answered.", labels=["verb", "status"])
        for (verb, status), count in sorted(self._counts.items()):
            asked.add_metric([verb, str(status)], count)
        yield asked
        if self._seen is not None:
            yield from _of_town(self._seen)


def _of_town(seen: dict[str, Any]) -> Iterator[Metric]:
    found = Counter(agent["state"] for agent in seen["agents"])
    agents = GaugeMetricFamily("tinytown_agents_total", "Agents by state.", labels=["state"])
    for state in AgentState:
        agents.add_metric([state.value], found[state.value])
    yield agents
    tasks = GaugeMetricFamily("tinytown_tasks", "Tasks by state.", labels=["state"])
    for name, count in seen["tasks"].items():
        if name not in ("total", "backlog"):
            tasks.add_metric([name], count)
    yield tasks
    yield GaugeMetricFamily("tinytown_backlog_tasks", "Tasks that wait for an agent.", seen["tasks"]["backlog"])
    yield GaugeMetricFamily("tinytown_missions_active", "Missions that are worked on.", seen["missions"]["active"])
    yield GaugeMetricFamily("tinytown_supervisor_up", "A supervisor runs.", int(seen["supervisor"]["running"]))
    yield GaugeMetricFamily("tinytown_redis_latency_seconds", "A round trip to Redis.", seen["latency_s"])
