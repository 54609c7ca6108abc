"""The end of a log: how much of the file is read for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tinytown.services import logs


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 4, 10])
@pytest.mark.parametrize("text", [b"", b"a", b"a\n", b"a\nb\nc", b"\n\n\n", b"x" * 70_000 + b"\ny\n" + b"z" * 140_000])
def test_the_last_lines(tmp_path: Path, text: bytes, lines: int) -> None:
    """The last line counts also without its end; blocks that lines begin and end in are put together."""
    path = tmp_path / "a.log"
    path.write_bytes(text)
    assert logs.tail(path, lines) == b"".join(text.splitlines(keepends=True)[-lines:] if lines else [])


def test_no_more_than_is_asked_for(tmp_path: Path) -> None:
    """Of a line that is too long its end."""
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n" + b"x" * 200_000)
    assert logs.tail(path, 5, 100_000) == b"x" * 100_000
    assert logs.tail(path, 5, 200_002) == b"e\n" + b"x" * 200_000
    assert len(logs.tail(path, 5, 300_000)) == 200_004


def test_a_log_without_lines_costs_its_size(tmp_path: Path) -> None:
    """Twenty megabytes of one line are read once, not once for each block."""
    path = tmp_path / "a.log"
    path.write_bytes(b"x" * 20_000_000)
    before = time.process_time()
    assert len(logs.tail(path, 200)) == 20_000_000
    assert time.process_time() - before < 2
