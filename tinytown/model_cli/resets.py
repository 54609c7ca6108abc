"""When a vendor's words say that its limit ends. Pure; times of day are local, as the CLIs print them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_WORDS = r"\b(?:again|retry|resets?|wait)\s+"
_IN = re.compile(_WORDS + r"(?:in|after)?\s*((?:\d+(?:\.\d+)?\s*[a-z]+[\s,]*(?:and\s+)?)+)", re.IGNORECASE)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|ms|m|s)[a-z]*", re.IGNORECASE)
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.? (?P<day>\d\d?)(?:st|nd|rd|th)?,? (?:(?P<year>\d{{4}}),? )?(?:at )?"
_TIME = r"(?P<hour>\d\d?)(?::(?P<minute>\d\d))? ?(?P<half>[ap])m\b(?: \((?P<zone>[\w/+-]+)\))?"
_AT = re.compile(rf"{_WORDS}(?:at |on )?(?:{_DAY})?{_TIME}", re.IGNORECASE)
_ON = re.compile(r"\b(?:ends|resets?) on (\d\d?)/(\d\d?)/(\d{4})\b", re.IGNORECASE)
_EPOCH = re.compile(r"limit reached\|(\d{10})\b")
_JUST_OVER = timedelta(hours=1)
_LONG_OVER = timedelta(days=180)


def resumes_at(message: str, now: float) -> float | None:
    """Wall time in seconds; None when the message names no time that is still to come."""
    try:
        at = _after(message, now) or _time(message, now) or _day(message, now)
    except (ValueError, KeyError, OverflowError, OSError):  # February 30th, an unknown time zone
        return None
    return at if at is not None and at > now else None


def _after(message: str, now: float) -> float | None:
    """`try again in 2 hours 5 minutes`, `reset after 1h2m3s`, `limit reached|1759000000`."""
    if epoch := _EPOCH.search(message):
        return float(epoch[1])
    found = _IN.search(message)
    seconds = sum(float(n) * _UNITS[unit.lower()] for n, unit in _SPAN.findall(found[1])) if found else 0.0
    return now + seconds if seconds else None


def _time(message: str, now: float) -> float | None:
    """`try again at 3:28 PM`, `resets Aug 8th, 2026 12:30 PM`, `resets 9pm (Europe/Paris)`: the end of that minute.

    What the words leave out is taken so that the time is the next one, or just over.
    """
    said = _AT.search(message)
    if said is None:
        return None
    today = _here(now) if said["zone"] is None else datetime.fromtimestamp(now, ZoneInfo(said["zone"]))
    hour = int(said["hour"]) % 12 + (12 if said["half"].lower() == "p" else 0)
    at = today.replace(hour=hour, minute=int(said["minute"] or 0), second=0, microsecond=0)
    if said["day"] is None:
        at += timedelta(days=1) if at < today - _JUST_OVER else timedelta()
    else:
        month = _MONTHS.index(said["month"].lower()) + 1
        at = at.replace(int(said["year"] or today.year), month, int(said["day"]))
        if said["year"] is None and at < today - _LONG_OVER:
            at = at.replace(at.year + 1)
    return at.timestamp() + 60


def _day(message: str, now: float) -> float | None:
    """`your cycle ends on 9/23/2026`: as that day begins."""
    said = _ON.search(message)
    if said is None:
        return None
    midnight = _here(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.replace(int(said[3]), int(said[1]), int(said[2])).timestamp()


def _here(now: float) -> datetime:
    """Local time, naive: then arithmetic is that of the clock on the wall, also when summer time ends."""
    return datetime.fromtimestamp(now, UTC).astimezone().replace(tzinfo=None)
