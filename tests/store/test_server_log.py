"""What a server's log says about its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinytown.config import RedisConfig
from tinytown.store import server_log
from tinytown.store.connection import Connector
from tinytown.store.server_conf import AOF_FOLDER

CUT = """\
7:M 21 Nov 2026 07:31:42.479 # !!! Truncating the AOF redis.aof.{seq}.incr.aof at offset 23107 !!!
7:M 21 Nov 2026 07:31:42.479 # AOF redis.aof.{seq}.incr.aof loaded anyway because aof-load-truncated is enabled
7:M 21 Nov 2026 07:31:42.479 # Fatal error: the truncated file is not the last file
"""


@pytest.mark.parametrize(
    ("seq", "sizes", "mended"),
    [
        (1, {1: 100, 2: 0}, True),
        (9, {9: 100, 10: 0, 11: 0}, True),
        (1, {1: 100, 2: 1}, False),
        (9, {9: 100, 10: 1, 11: 0}, False),
        (2, {1: 100, 2: 100, 3: 0}, True),
    ],
)
def test_a_torn_end_before_empty_files(tmp_path: Path, seq: int, sizes: dict[int, int], *, mended: bool) -> None:
    """Redis has cut it off; what was written behind it would be without what was before it."""
    folder = tmp_path / ".tt" / AOF_FOLDER
    folder.mkdir(parents=True)
    for number, size in sizes.items():
        (folder / f"redis.aof.{number}.incr.aof").write_bytes(b"x" * size)
    connector = Connector(RedisConfig(), tmp_path / ".tt")
    assert server_log.was_mended(CUT.format(seq=seq), connector) is mended


def test_another_damage(tmp_path: Path) -> None:
    """Nothing was cut off: a second start would end as the first one."""
    text = "7:M 21 Nov 2026 07:31:42.479 # Bad file format reading the append only file redis.aof.1.incr.aof"
    assert not server_log.was_mended(text, Connector(RedisConfig(), tmp_path))
