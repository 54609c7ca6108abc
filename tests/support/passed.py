"""Whether a test itself has passed, for fixtures that look at what it leaves behind only then."""

from __future__ import annotations

import pytest

_KEY = pytest.StashKey[bool]()


def note(item: pytest.Item, report: pytest.TestReport) -> None:
    """What pytest reports of a test."""
    if report.when == "call":
        item.stash[_KEY] = report.passed


def has_passed(node: pytest.Item) -> bool:
    """Its call has ended, and well."""
    return node.stash.get(_KEY, False)
