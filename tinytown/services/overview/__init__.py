"""Everything that the page and `tt top` show: what needs a person, tasks, agents, missions, events.

`read` looks once; `live.Live` looks again and again, at what changed.
"""

from __future__ import annotations

from typing import Any

from tinytown.services.overview.live import Live
from tinytown.town import Town


def read(town: Town) -> dict[str, Any]:
    """The town as JSON, in a number of round trips that does not grow with it. Raises RedisAway.

    `needs` (most work behind it first), `agents`, `tasks` (newest change first), `missions`, `events` (oldest first);
    see docs/townhall.md for the fields.
    """
    return Live(town).read()
