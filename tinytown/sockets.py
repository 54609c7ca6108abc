"""Unix socket addresses for paths of any length."""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path

# sun_path holds 108 bytes with its final zero (104 on macOS); a symbolic link does not help.
LIMIT = 107 if sys.platform == "linux" else 103


class SocketPath:
    """A socket's path, and the address that reaches it in connect() and bind().

    A path that is too long is reached through its folder, which then stays open until `close`. Lives across a
    fork: the descriptor has the same number in the child.
    """

    _folder: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))

    @property
    def is_too_long(self) -> bool:
        """The plain path does not fit into an address."""
        return len(os.fsencode(self.path)) > LIMIT

    @property
    def address(self) -> str:
        """Ask for it at each connect() and bind(): a folder that was replaced is opened again. Raises OSError."""
        if not self.is_too_long or sys.platform != "linux":
            return str(self.path)
        return f"/proc/self/fd/{self._open_folder()}/{self.path.name}"

    def is_served_by_owner(self, connected: socket.socket) -> bool:
        """Who listens is this user, root, or the owner of the folder: nobody who only put a socket there."""
        if sys.platform != "linux":
            return True
        peer = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return struct.unpack("3i", peer)[1] in {os.geteuid(), 0, os.stat(self.path.parent).st_uid}

    def _open_folder(self) -> int:
        if self._folder is not None and not os.path.samestat(os.fstat(self._folder), os.stat(self.path.parent)):
            self.close()
        if self._folder is None:
            self._folder = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._folder

    def close(self) -> None:
        """Give the folder's descriptor back; the object stays usable."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def __del__(self) -> None:
        self.close()
