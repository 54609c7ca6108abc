"""Every verb of the town hall, a module for each noun. See registry.py."""

from __future__ import annotations

from tinytown.townhall.verbs import agents, backlog, events, mail, missions, plans, recovery, tasks, town
from tinytown.townhall.verbs.registry import VERBS, Scope, Verb, Visit, title

__all__ = ["VERBS", "Scope", "Verb", "Visit", "agents", "backlog", "events", "mail", "missions", "plans", "recovery"]
__all__ += ["tasks", "title", "town"]
