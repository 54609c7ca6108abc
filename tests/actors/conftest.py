"""The town that these tests work in."""

from __future__ import annotations

from tests.support.town import town

__all__ = ["town"]
