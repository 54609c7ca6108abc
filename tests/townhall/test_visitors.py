"""Doors whose requests do not say what they do: a verb is checked, counted and written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinytown.config_townhall import RateLimit
from tinytown.errors import Conflict, Forbidden, Unavailable
from tinytown.townhall.auth.audit import AuditLog
from tinytown.townhall.auth.limits import Limits
from tinytown.townhall.auth.principals import LOCAL, Principal, with_scopes
from tinytown.townhall.auth.visitors import Visitor, at_the_terminal
from tinytown.townhall.verbs import VERBS

READ, WRITE, MANAGE = VERBS["town.get_status"], VERBS["backlog.add"], VERBS["agent.spawn"]


def visitor(folder: Path, principal: Principal, writes: int = 100) -> Visitor:
    limits = Limits(RateLimit(write_per_minute=writes))
    return Visitor(AuditLog(folder), limits, "127.0.0.1", "POST", "/mcp", "r1", principal)


def written(folder: Path) -> list[tuple[Any, ...]]:
    path = folder / "townhall-audit.log"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(row["principal"], row["verb"], row["status"], row["result"]) for row in rows]


def test_what_is_done_is_written_down(tmp_path: Path) -> None:
    """Changes, and how they ended; no reading."""
    ann = visitor(tmp_path, with_scopes("ann", ["town.read", "town.write"]))
    with ann.doing(READ):
        pass
    with ann.doing(WRITE):
        pass
    with pytest.raises(Conflict), ann.doing(WRITE):
        raise Conflict("It is there already.")
    with pytest.raises(ZeroDivisionError), ann.doing(WRITE):
        _ = 1 / 0
    assert written(tmp_path) == [
        ("ann", "backlog.add", None, "success"),
        ("ann", "backlog.add", None, "error"),
        ("ann", "backlog.add", None, "error"),
    ]


def test_a_missing_scope(tmp_path: Path) -> None:
    """Nothing is done, and that is written down."""
    ann = visitor(tmp_path, with_scopes("ann", ["town.write"]))
    for verb in (READ, MANAGE):
        with pytest.raises(Forbidden, match="needs the scope"), ann.doing(verb):
            raise AssertionError
    assert written(tmp_path) == [
        ("ann", "town.get_status", 403, "denied"),
        ("ann", "agent.spawn", 403, "denied"),
    ]


def test_too_many_changes(tmp_path: Path) -> None:
    """Changes are counted, reading is not."""
    ann = visitor(tmp_path, LOCAL, writes=1)
    with ann.doing(WRITE):
        pass
    with ann.doing(READ):
        pass
    with pytest.raises(Unavailable, match="Too many changes"), ann.doing(WRITE):
        raise AssertionError
    assert written(tmp_path)[-1] == ("local", "backlog.add", 429, "denied")


def test_the_user_at_the_terminal(tmp_path: Path) -> None:
    """Whoever started the program may do everything."""
    user = at_the_terminal(AuditLog(tmp_path), Limits(RateLimit()))
    with user.doing(MANAGE):
        pass
    assert written(tmp_path) == [("local", "agent.spawn", None, "success")]
