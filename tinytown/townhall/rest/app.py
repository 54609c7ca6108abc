"""The REST application: routes, probes, errors, and who may come in."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.telemetry import TelemetryConfig

from tinytown import __version__, clock
from tinytown.config_townhall import Townhall
from tinytown.town import Town
from tinytown.townhall.hall import Hall
from tinytown.townhall.rest import problems, routes
from tinytown.townhall.verbs import Scope

BODY_MOST = 1_000_000  # bytes


def make(town: Town, settings: Townhall) -> FastAPI:
    """The application for one town."""
    hall = Hall(town)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        hall.close()

    off: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}
    app = FastAPI(
        title="Tinytown town hall", version=__version__, description="One town over HTTP.", lifespan=lifespan,
        docs_url=None, redoc_url=None, openapi_url="/openapi.json", max_body_size=BODY_MOST, telemetry=off,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.hall = hall
    problems.install(app)
    routes.add(app, hall, _guard, settings.request_timeout_ms / 1000)
    began = clock.monotonic()

    @app.get("/healthz", operation_id="healthz", tags=["probes"])
    async def healthz() -> dict[str, str | float]:
        """The process lives."""
        return {"status": "ok", "uptime_secs": round(clock.monotonic() - began, 3)}

    return app


def _guard(scope: Scope) -> routes.Guard:
    async def check(request: Request) -> None:
        request.state.scope = scope

    return check
