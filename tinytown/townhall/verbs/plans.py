"""The plan in tasks.toml."""

from __future__ import annotations

from tinytown.services import plan, shapes
from tinytown.services.plan import pushing
from tinytown.townhall import models
from tinytown.townhall.verbs.registry import GET, POST, Visit, verb


@verb("plan.get", GET, "/v1/plan", "plan")
def get(visit: Visit) -> models.Plan:
    """The task plan in tasks.toml."""
    return models.Plan(**shapes.plan(plan.path(visit.town), plan.load(visit.town)))


@verb("plan.push", POST, "/v1/plan/push", "sync")
def push(visit: Visit, reset: bool = False, dry_run: bool = False) -> models.Pushed:
    """Push tasks.toml to the town. `reset`: start finished tasks anew whose status in the file is open."""
    done = pushing.push(visit.town, visit.caller, reset=reset, dry_run=dry_run)
    counts = {did.value: done.counts[did] for did in pushing.Did}
    return models.Pushed(dry_run=dry_run, total=done.counts.total(), counts=counts, held=list(done.held))


@verb("plan.pull", POST, "/v1/plan/pull", "sync")
def pull(visit: Visit) -> models.Pulled:
    """Write the town's state into tasks.toml."""
    done = plan.pull(visit.town)
    return models.Pulled(tasks=done.tasks, changed=done.changed, added=done.added)
