"""Which rows changed since when: one answer for visitors who have seen different looks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]
GONE_MOST = 10_000  # ids that are remembered as gone; who is further behind gets everything anew


class Ledger:
    """Rows by id, each with the number of the look that last changed it."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, Row]] = {}
        self._gone: dict[str, int] = {}
        self.forgot = 0  # what went up to this look is not known any more

    def note(self, look: int, changed: Iterable[Row], gone: Iterable[str] = ()) -> None:
        """What this look found."""
        for row in changed:
            self._gone.pop(row["id"], None)
            old = self._rows.get(row["id"])
            if old is None or old[1] != row:
                self._rows[row["id"]] = (look, row)
        for row_id in gone:
            if self._rows.pop(row_id, None) is not None:
                self._gone[row_id] = look
        if len(self._gone) > GONE_MOST:
            self._gone.clear()
            self.forgot = look

    def keep(self, look: int, rows: Iterable[Row]) -> None:
        """These are all rows now."""
        fresh = list(rows)
        self.note(look, fresh, self._rows.keys() - {row["id"] for row in fresh})

    def since(self, look: int) -> tuple[list[Row], list[str]]:
        """Rows that were changed after this look, and ids of those that went after it."""
        changed = [row for at, row in self._rows.values() if at > look]
        return changed, [row_id for row_id, at in self._gone.items() if at > look]

    def newest(self, count: int) -> list[Row]:
        """The rows that came last, oldest first."""
        return [row for _at, row in list(self._rows.values())[-count:]]
