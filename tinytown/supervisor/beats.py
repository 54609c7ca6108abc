"""The beat: a time stamp per child in anonymous shared memory. Works when nothing else does."""

from __future__ import annotations

import mmap
import struct

from tinytown import clock

SLOTS = 4096
_STAMP = struct.Struct("d")


class Beats:
    """Slots of monotonic times, written by children, read by the supervisor."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * _STAMP.size)
        self._free = list(range(SLOTS - 1, -1, -1))

    def take(self) -> int:
        """A slot for a new child, beating now."""
        slot = self._free.pop()
        self.beat(slot)
        return slot

    def free(self, slot: int) -> None:
        """The child is gone."""
        if slot >= 0:
            self._free.append(slot)

    def beat(self, slot: int) -> None:
        """Say: alive."""
        _STAMP.pack_into(self._memory, slot * _STAMP.size, clock.monotonic())

    def age(self, slot: int) -> float:
        """Seconds since the last beat."""
        stamp: float = _STAMP.unpack_from(self._memory, slot * _STAMP.size)[0]
        return clock.monotonic() - stamp
