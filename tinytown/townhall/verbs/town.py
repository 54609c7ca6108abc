"""The town itself."""

from __future__ import annotations

from tinytown import __version__
from tinytown.services import overview, shapes, status
from tinytown.townhall import models
from tinytown.townhall.verbs.registry import GET, Visit, verb


@verb("town.get", GET, "/v1/town", "status")
def get(visit: Visit) -> models.Town:
    """Which town this is."""
    shape = shapes.town(status.read(visit.town))
    about = {name: shape[name] for name in ("root", "redis", "supervisor")}
    return models.Town(name=shape["town"], version=__version__, **about)


@verb("town.get_status", GET, "/v1/status", "status")
def get_status(visit: Visit, deep: bool = False) -> models.Status:
    """The town at a glance: Redis, supervisor, agents, mail, tasks. With `deep` the last activity of each agent."""
    return models.Status(**shapes.town(status.read(visit.town), deep=deep))


@verb("town.overview", GET, "/v1/overview", "top")
def get_overview(visit: Visit) -> models.Overview:
    """All that the page shows: what needs a person, tasks by what must happen next, agents, missions, events."""
    return models.Overview(**overview.read(visit.town))
