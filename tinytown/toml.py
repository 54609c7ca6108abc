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

    Raises OSError, also for a folder, a pipe or a device (they may never end), and ValueError: no UTF-8.
    """
    with open(path, "rb", opener=_without_waiting) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        return stream.read().decode("utf-8-sig")


def decode(text: str) -> dict[str, Any]:
    """What the text says. Raises ValueError: no TOML, nested too deeply, a number of thousands of digits."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
