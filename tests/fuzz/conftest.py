"""Fuzzing: what people, models and other programs may hand in, by the thousand; always the same cases.

`FUZZ_TIMES` raises the number of cases: `FUZZ_TIMES=100 .venv/bin/python -m pytest tests/fuzz --timeout 3600` makes a
hundred times as many as the suite. `FUZZ_SEED` (0) makes others. What a case did not survive is told with the case.
"""

from __future__ import annotations

from tests.support.town import town

__all__ = ["town"]
