"""The only caller of the system's clocks.

Records carry UTC wall time as text (`stamp`); waits and deadlines use the monotonic clock, in seconds.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Wall time, UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime | None = None) -> str:
    """RFC 3339 text with microseconds and `Z`, as records hold it."""
    utc = moment.astimezone(UTC) if moment else now()
    return utc.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def parse(text: str) -> datetime:
    """Read a record's time; also the variable fractions and offsets that other writers produce.

    Raises ValueError when it is no time.
    """
    head, dot, tail = text.replace("Z", "+00:00").partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    else:
        text = head
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def seconds_since(text: str) -> float:
    """Age in seconds of a record's time; 0.0 when it cannot be read."""
    try:
        return max(0.0, (now() - parse(text)).total_seconds())
    except ValueError:
        return 0.0


monotonic = time.monotonic
wall = time.time
sleep = time.sleep
