"""Files that people write, read without waiting and without leaving anything open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinytown import toml


def test_what_is_no_file_leaves_nothing_open(tmp_path: Path) -> None:
    """A folder and a pipe are refused at once, however often they are tried."""
    os.mkfifo(tmp_path / "pipe")
    before = os.listdir("/proc/self/fd")
    for path in (tmp_path, tmp_path / "pipe"):
        for _ in range(3):
            with pytest.raises(OSError, match=str(path)):
                toml.text_of(path)
    assert len(os.listdir("/proc/self/fd")) == len(before)
