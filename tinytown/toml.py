"""TOML files that people write: read without waiting for anybody, decoded with one kind of error."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any


def text_of(path: Path) -> str:
    """The file's text, without the byte order mark that some editors put before it.

    Raises OSError, also for a pipe or a device (they may never end), and ValueError: no UTF-8.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as stream:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            raise OSError(code, os.strerror(code) if stat.S_ISDIR(mode) else "Not a regular file", str(path))
        return stream.read().decode("utf-8-sig")


def decode(text: str) -> dict[str, Any]:
    """What the text says. Raises ValueError: no TOML, nested too deeply, a number of thousands of digits."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
