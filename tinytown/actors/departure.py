"""An actor on its way out: how far, why, and whether its wish ends with it."""

from __future__ import annotations

from enum import IntEnum


class Leaving(IntEnum):
    """In order of urgency."""

    NO = 0
    AFTER_ROUND = 1
    NOW = 2


class Departure:
    """Asked for by several: the most urgent counts, and the reason that ends the wish, else the first."""

    def __init__(self, *, fulfils: bool) -> None:
        self.how = Leaving.NO
        self.why = ""
        self.fulfils = fulfils

    @property
    def has_begun(self) -> bool:
        """Somebody asked for it."""
        return self.how is not Leaving.NO

    def ask(self, how: Leaving, why: str, *, fulfils: bool = False) -> None:
        """`fulfils`: the wish ends with it, and this is the reason to show."""
        if not self.why or (fulfils and not self.fulfils):
            self.why = why
        self.fulfils = self.fulfils or fulfils
        self.how = max(self.how, how)
