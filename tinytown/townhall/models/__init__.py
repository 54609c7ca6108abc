"""What the doors answer, as OpenAPI and MCP publish it. The values are those of `tt ... --json`.

Records may hold fields that a newer version knows: they are passed on.
"""

from __future__ import annotations

from tinytown.townhall.models.agents import (
    Agent,
    Agents,
    Explanation,
    Kept,
    Log,
    Pending,
    Pruned,
    Reason,
    Started,
    Steered,
    Stopped,
    Waited,
)
from tinytown.townhall.models.mail import Acknowledged, DeadLetter, DeadLetters, Dropped, Inbox, Message, Sent
from tinytown.townhall.models.missions import (
    Graph,
    Mission,
    MissionLog,
    MissionPreview,
    Missions,
    MissionStarted,
    MissionState,
    Watches,
    Work,
    WorkItem,
)
from tinytown.townhall.models.plans import Plan, Pulled, Pushed
from tinytown.townhall.models.recovery import Item, Orphan, Orphans, Reclaimed, Reclaiming, Recovered
from tinytown.townhall.models.tasks import Backlog, Given, GivenAll, Parked, Removed, Task, Tasks
from tinytown.townhall.models.town import Event, Events, Need, Overview, Redis, Status, Supervisor, Town

__all__ = [
    "Acknowledged",
    "Agent",
    "Agents",
    "Backlog",
    "DeadLetter",
    "DeadLetters",
    "Dropped",
    "Event",
    "Events",
    "Explanation",
    "Given",
    "GivenAll",
    "Graph",
    "Inbox",
    "Item",
    "Kept",
    "Log",
    "Message",
    "Mission",
    "MissionLog",
    "MissionPreview",
    "MissionStarted",
    "MissionState",
    "Missions",
    "Need",
    "Orphan",
    "Orphans",
    "Overview",
    "Parked",
    "Pending",
    "Plan",
    "Pruned",
    "Pulled",
    "Pushed",
    "Reason",
    "Reclaimed",
    "Reclaiming",
    "Recovered",
    "Redis",
    "Removed",
    "Sent",
    "Started",
    "Status",
    "Steered",
    "Stopped",
    "Supervisor",
    "Task",
    "Tasks",
    "Town",
    "Waited",
    "Watches",
    "Work",
    "WorkItem",
]
