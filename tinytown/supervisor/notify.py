"""systemd's notify protocol (sd_notify(3)): a datagram to $NOTIFY_SOCKET. Silent where there is none."""

from __future__ import annotations

import contextlib
import os
import socket

from tinytown import clock


class Notifier:
    """READY, STATUS, WATCHDOG, STOPPING. Takes its variables out of the environment: children must not speak.

    Never blocks and never fails: what a full socket does not take is lost, and the next feeding comes early enough.
    """

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        watchdog_pid = os.environ.pop("WATCHDOG_PID", "")
        watchdog_us = os.environ.pop("WATCHDOG_USEC", "")
        mine = watchdog_pid in ("", str(os.getpid()))
        usable = watchdog_us.isdigit() and int(watchdog_us) > 0 and mine
        self.interval_s = int(watchdog_us) / 3e6 if usable else None  # a third of what systemd waits for
        self._next = 0.0
        self._status = ""

    def ready(self) -> None:
        """The service is up."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The service ends."""
        self._send("STOPPING=1")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(clock.monotonic() * 1e6)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent when it changed, and again when it did not arrive."""
        if text != self._status and self._send(f"STATUS={text}"):
            self._status = text

    def feed(self, now: float) -> float | None:
        """Feed the watchdog if it is time; the next moment to call (None: no watchdog)."""
        if self.interval_s is None:
            return None
        if now >= self._next:
            self._send("WATCHDOG=1")
            self._next = now + self.interval_s
        return self._next

    def _send(self, text: str) -> bool:
        """False when the socket did not take it. Without a socket everything is said."""
        if not self._address:
            return True
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(text.encode(), socket.MSG_DONTWAIT, address)
            return True
        return False
