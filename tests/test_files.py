"""Small files that survive a crash, and locks that die with their holder."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.disk import small_disk
from tests.support.waiting import wait_until
from tinytown.errors import Forbidden
from tinytown.files import FileLock, locked, read_json, write_atomic

__all__ = ["small_disk"]


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """The new content is there whole, readable by its user alone, with nothing beside it."""
    path = tmp_path / "round.json"
    write_atomic(path, "old")
    write_atomic(path, '{"ä": "🏘️"}', sync=False)

    assert path.read_text("utf-8") == '{"ä": "🏘️"}'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["round.json"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """While it is replaced again and again, every look finds one of the contents, whole."""
    path = tmp_path / "actor.json"
    contents = ['{"n": "%s"}' % (letter * 200_000) for letter in "ab"]
    write_atomic(path, contents[0])
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        while True:
            for text in contents:
                write_atomic(path, text, sync=False)
    try:
        seen = {path.read_text() for _ in range(300)}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    assert seen <= set(contents)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """What came escaped from Redis goes into the file as its bytes, and comes back."""
    write_atomic(tmp_path / "f", '{"raw": "caf\udce9"}')

    assert (tmp_path / "f").read_bytes() == b'{"raw": "caf\xe9"}'
    assert read_json(tmp_path / "f") == {"raw": "caf\udce9"}


def test_a_full_disk_keeps_the_old_file(small_disk: Path) -> None:
    """No space: an error, the old content stays, nothing half-written stays beside it."""
    path = small_disk / "round.json"
    write_atomic(path, "old")

    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(path, "x" * 100_000)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert os.listdir(small_disk) == ["round.json"]
    write_atomic(path, "new")
    assert path.read_text() == "new"


def test_a_file_that_may_not_grow_keeps_the_old_one(tmp_path: Path) -> None:
    """A limit on file sizes acts like a full disk."""
    path = tmp_path / "round.json"
    write_atomic(path, "old")

    def body() -> bool:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomic(path, "x" * 5000)
        except OSError:
            return path.read_text() == "old" and os.listdir(tmp_path) == ["round.json"]
        return False

    assert in_a_child(body)


def in_a_child(body: Callable[[], bool]) -> bool:
    pid = os.fork()
    if pid == 0:
        good = False
        try:
            signal.alarm(20)
            good = body()
        finally:
            os._exit(0 if good else 1)
    return os.waitpid(pid, 0)[1] == 0


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """An error of the system, as promised."""
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "none" / "f", "x")


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a": 1'])
def test_what_is_no_object(tmp_path: Path, content: bytes | None) -> None:
    """No file, half a file, something else: None, never an error."""
    if content is not None:
        (tmp_path / "f").write_bytes(content)

    assert read_json(tmp_path / "f") is None
    assert read_json(tmp_path) is None


def test_one_holder(tmp_path: Path) -> None:
    """A held lock is refused to another object, in this process and in others; given back it is free."""
    one, two = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")

    assert one.acquire()
    assert one.acquire()
    assert one.held
    assert not two.acquire()
    assert in_a_child(lambda: not FileLock(tmp_path / "lock").acquire())
    one.release()
    one.release()
    assert two.acquire()
    two.release()
    assert not FileLock(tmp_path / "lock").is_taken()


def test_asking_does_not_take(tmp_path: Path) -> None:
    """`is_taken` tells, creates nothing, and leaves a free lock free and a held one held."""
    path = tmp_path / "lock"
    assert not FileLock(path).is_taken()
    assert not path.exists()
    holder, asker = FileLock(path), FileLock(path)
    assert holder.acquire()

    assert asker.is_taken()
    assert holder.is_taken()
    assert in_a_child(asker.is_taken)
    assert not asker.held
    holder.release()
    assert not asker.is_taken()
    assert in_a_child(lambda: not asker.is_taken() and asker.acquire())
    assert not asker.is_taken(), "its holder is dead"


def test_a_lock_survives_another_look_at_its_file(tmp_path: Path) -> None:
    """Opening and closing the file elsewhere in the holder's process does not free it (as POSIX locks would)."""
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire()
    (tmp_path / "lock").read_bytes()
    FileLock(tmp_path / "lock").acquire()

    assert in_a_child(FileLock(tmp_path / "lock").is_taken)
    lock.release()


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    """SIGKILL frees it; nothing has to be cleaned up."""
    path = tmp_path / "lock"
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock = FileLock(path)
        lock.acquire()
        os.write(writer, b"x")
        signal.pause()
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(writer)
    assert FileLock(path).is_taken()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert not FileLock(path).is_taken()


def test_a_forked_child_that_released_holds_nothing(tmp_path: Path) -> None:
    """A release in the child closes its copy and leaves the parent's lock; the parent's release then frees it."""
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock.release()
        os.write(writer, b"x")
        signal.pause()
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(writer)

    assert FileLock(tmp_path / "lock").is_taken()
    lock.release()
    assert not FileLock(tmp_path / "lock").is_taken()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_program_that_is_started_does_not_inherit_it(tmp_path: Path) -> None:
    """A model CLI or Redis that outlives us does not keep our lock."""
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire()
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], close_fds=False) as child:
        lock.release()
        wait_until(lambda: not FileLock(tmp_path / "lock").is_taken(), 2, "the end of the exec")
        assert child.poll() is None
        child.kill()


def test_waiting_for_a_lock(tmp_path: Path) -> None:
    """With `wait` the caller gets it as soon as it is free."""
    path = tmp_path / "lock"
    lock = FileLock(path)
    assert lock.acquire()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        lock.release()
        with locked(path):
            (tmp_path / "got it").touch()
        os._exit(0)
    state = Path(f"/proc/{pid}/stat")
    wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "S", 5, "the waiter asleep")
    assert not (tmp_path / "got it").exists()
    lock.release()
    assert os.waitpid(pid, 0)[1] == 0
    assert (tmp_path / "got it").exists()
    assert not lock.is_taken()


def test_a_lock_that_cannot_be_written(tmp_path: Path) -> None:
    """One line, no traceback."""
    with pytest.raises(Forbidden, match=r"Cannot write .*: No such file or directory"):
        FileLock(tmp_path / "none" / "lock").acquire()
    assert not FileLock(tmp_path / "none" / "lock").is_taken()
