"""The saved file: what is written is read back, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinytown.store import saved_file
from tinytown.store.saved_file import Command, Damaged

COMMANDS: list[Command] = [
    ("SET", "tt:demo:task:1", '{"description":"ümlaut 🏘️\\r\\n"}'),
    ("RPUSH", "tt:demo:inbox:1", "no \udcff utf-8"),
    ("XADD", "tt:demo:events", "1-1", "data", "{}"),
    ("HSET", "tt:demo:agents", "", "empty"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "redis.aof"
    saved_file.write(path, "demo", COMMANDS)
    return path


def test_what_is_written_is_read(file: Path) -> None:
    """Every byte of every value, in the same order; the file is for its owner alone."""
    assert list(saved_file.read(file)) == COMMANDS
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_digest_is_that_of_the_commands(file: Path, tmp_path: Path) -> None:
    """The last line proves the commands, whatever file they are in."""
    written = saved_file.write(tmp_path / "other", "demo", COMMANDS)
    assert written.digest == saved_file.digest_of(COMMANDS)
    assert file.read_bytes().endswith(f"#END 5 {written.digest}\r\n".encode())
    assert (tmp_path / "other").read_bytes() == file.read_bytes()


def test_line_ends_that_git_changed(file: Path) -> None:
    """A checkout with other line ends is the same file."""
    file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n"))
    assert list(saved_file.read(file)) == COMMANDS


def test_every_cut_is_noticed(file: Path) -> None:
    """Wherever the file was cut off, it is not restored in part."""
    whole = file.read_bytes()
    for length in range(len(whole.rstrip())):
        file.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            list(saved_file.read(file))


def test_every_changed_byte_is_noticed(file: Path) -> None:
    """No value can change unnoticed. The town's name in the first line decides nothing: the keys hold it."""
    whole = file.read_bytes()
    start = whole.index(b"\r\n") + 2
    for place in range(start, len(whole.rstrip())):
        changed = bytearray(whole)
        changed[place] ^= 0x01
        file.write_bytes(bytes(changed))
        with pytest.raises(Damaged):
            list(saved_file.read(file))


def test_what_follows_the_end_is_noticed(file: Path) -> None:
    """Two files in one, as a merge makes them, are none."""
    file.write_bytes(file.read_bytes() * 2)
    with pytest.raises(Damaged, match="something follows its end"):
        list(saved_file.read(file))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"REDIS0011\xfa\tredis-ver", "no append-only file"),
        (b"<<<<<<< HEAD\n", "no append-only file"),
        (b"", "end is missing"),
        (b"*0\r\n", "no append-only file"),
        (b"*1\r\n$999999999\r\nx", "cut off"),
        (b"*99999999999999999999\r\n", "no append-only file"),
        (b"#TINYTOWN 2 demo\r\n", "newer version"),
    ],
)
def test_no_saved_file(file: Path, text: bytes, why: str) -> None:
    """Whatever else lies there is refused in words."""
    file.write_bytes(text)
    with pytest.raises(Damaged, match=why):
        list(saved_file.read(file))


@pytest.mark.parametrize(
    "command",
    [("CONFIG", "SET", "dir", "/"), ("EVAL", "x", "0"), ("FLUSHALL",), ("SELECT", "1"), ("SET", "k"), ("shutdown",)],
)
def test_commands_that_no_save_writes(file: Path, command: Command) -> None:
    """A file from a repository makes keys, and can do nothing else to a server."""
    file.write_bytes(saved_file.encode(("SELECT", "0")) + saved_file.encode(command))
    with pytest.raises(Damaged, match="no save writes"):
        list(saved_file.read(file))


def test_a_file_that_redis_wrote(file: Path) -> None:
    """Without our first line there is no end to prove."""
    commands = [("SELECT", "0"), ("rpush", "tt:demo:backlog", "a", "b"), ("PEXPIREAT", "tt:demo:x", "1")]
    file.write_bytes(b"#TS:1700000000\r\n" + b"".join(map(saved_file.encode, commands)))
    assert list(saved_file.read(file)) == [("RPUSH", *commands[1][1:]), commands[2]]
