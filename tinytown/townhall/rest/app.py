"""The REST application: routes, probes, errors, and who may come in."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from tinytown import __version__
from tinytown.config_townhall import Townhall
from tinytown.town import Town
from tinytown.townhall import auth
from tinytown.townhall.hall import Hall
from tinytown.townhall.page import routes as page
from tinytown.townhall.rest import openapi, probes, problems, routes, streams
from tinytown.townhall.rest.envelope import Envelope


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
        docs_url=None, redoc_url=None, openapi_url="/openapi.json", telemetry=off,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.hall = hall
    problems.install(app)
    auth.install(app, settings, town)
    counts: probes.Counts = Counter()
    timeout_s = settings.request_timeout_ms / 1000
    app.add_middleware(Envelope, counts=counts, body_within_s=timeout_s)
    routes.add(app, hall, auth.needs, timeout_s)
    streams.add(app, hall, auth.needs)
    probes.add(app, hall, auth.needs, counts)
    page.add(app, hall, auth.needs)
    openapi.install(app)
    return app
