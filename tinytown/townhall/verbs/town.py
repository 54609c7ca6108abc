"""The town itself."""

from __future__ import annotations

from tinytown import __version__
from tinytown.services import overview, shapes, snapshots, status
from tinytown.services.doctor.check import Level
from tinytown.services.doctor.examination import examine
from tinytown.townhall import models
from tinytown.townhall.verbs.registry import GET, POST, Scope, Visit, verb


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


@verb("town.doctor", GET, "/v1/doctor", "doctor", Scope.MANAGE, waits=True)
def doctor(visit: Visit) -> models.Findings:
    """Check everything that the town needs, with the remedy for what is broken. Takes up to seven seconds."""
    found = examine(visit.town.root)
    checks = [models.Check(**check._asdict() | {"level": check.level.value}) for check in found]
    return models.Findings(root=str(visit.town.root), ok=all(c.level is not Level.FAIL for c in found), checks=checks)


@verb("town.save", POST, "/v1/save", "save", Scope.MANAGE, is_idempotent=True)
def save(visit: Visit) -> models.Saved:
    """Save the town's state into one file of its folder, which git may hold."""
    done = snapshots.save(visit.town)
    held = {name: getattr(done.contents, name) for name in ("agents", "tasks", "messages")}
    root = visit.town.root
    file = done.file.relative_to(root) if done.file.is_relative_to(root) else done.file
    return models.Saved(file=str(file), size=done.size, **held)
