"""Signals as a queue behind a file descriptor: a handler only writes a byte, the loop does the rest."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable


class SignalQueue:
    """Catches these signals in this process; `fd` becomes readable when one came. One per process."""

    def __init__(self, caught: Iterable[int]) -> None:
        self.fd, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._caught = tuple(caught)
        self._old_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for signum in self._caught:
            signal.signal(signum, _ignore)

    def drain(self) -> list[int]:
        """The signals that came since the last call, in order."""
        came = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.fd, 512):
                came += chunk
        return [number for number in came if number in self._caught]

    def close(self) -> None:
        """Default dispositions again. In a forked child, call it while the signals are still blocked.

        A signal that reached the child through the parent's descriptor would be read by the parent.
        """
        signal.set_wakeup_fd(-1)
        for signum in self._caught:
            signal.signal(signum, signal.SIG_DFL)
        for fd in (self.fd, self._write):
            with contextlib.suppress(OSError):
                os.close(fd)


def _ignore(_signum: int, _frame: object) -> None:
    """A Python handler has to exist for the wake-up descriptor to be written."""
