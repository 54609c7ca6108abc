"""One finding of the doctor."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from tinytown.errors import TinytownError


class Level(StrEnum):
    """How bad it is; `FAIL`: something does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


class Check(NamedTuple):
    """One finding, and what to do about it."""

    name: str
    level: Level
    finding: str
    remedy: str | None = None


def of_error(name: str, error: TinytownError, level: Level = Level.FAIL) -> Check:
    """An error as a finding: its first line."""
    return Check(name, level, str(error).splitlines()[0], error.remedy)
