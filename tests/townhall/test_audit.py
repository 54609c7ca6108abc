"""The audit log: lines that a program reads, for this user alone, bounded."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tinytown import clock
from tinytown.townhall.auth.audit import BURST, KEPT_FILES, AuditLog, result_of


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_an_object(tmp_path: Path) -> None:
    """With its time in front; what somebody sent makes no line of its own, and no endless one."""
    log = AuditLog(tmp_path)
    log.write(path="/v1/x\nforged", scopes=["admin"], status=200, verb=None)
    log.write(path="y" * 5000)
    first, second = rows(log.path)
    assert (first["path"], first["scopes"], first["status"], first["verb"]) == ("/v1/x\nforged", ["admin"], 200, None)
    assert clock.seconds_since(first["time"]) < 60
    assert len(second["path"]) == 500
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_it_is_bounded(tmp_path: Path) -> None:
    """A full file is put aside, the oldest is given up; each line is whole."""
    log = AuditLog(tmp_path, most=2000)
    for number in range(300):
        log.write(number=number, filler="x" * 100)
    files = sorted(tmp_path.glob("townhall-audit.log*"))
    names = {path.name for path in files if path.suffix != ".lock"}
    assert names == {"townhall-audit.log", *(f"townhall-audit.log.{n}" for n in range(1, KEPT_FILES + 1))}
    assert all(path.stat().st_size < 2300 for path in files)
    kept = [row["number"] for n in range(KEPT_FILES, 0, -1) for row in rows(Path(f"{log.path}.{n}"))]
    kept += [row["number"] for row in rows(log.path)]
    assert kept == list(range(kept[0], 300))


def test_several_town_halls_write_one_log(tmp_path: Path) -> None:
    """Each line is there once, also when the file is put aside meanwhile."""
    most = 200_000 // KEPT_FILES

    def write(name: str) -> None:
        log = AuditLog(tmp_path, most)
        for number in range(200):
            log.write(who=name, number=number)

    writers = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = [row for path in tmp_path.glob("townhall-audit.log*") if path.suffix != ".lock" for row in rows(path)]
    assert sorted((row["who"], row["number"]) for row in found) == [(who, n) for who in "abc" for n in range(200)]


def test_a_flood_is_a_few_lines(tmp_path: Path) -> None:
    """Thousands of refusals of one visitor do not push out what was written before; others have their own lines."""
    log = AuditLog(tmp_path)
    asked = 0

    def is_counted() -> bool:
        nonlocal asked
        asked += 1
        log.write_flood("ann", status=429)
        return "times" in rows(log.path)[-1]

    wait_until(is_counted, what="the next second")
    written = rows(log.path)
    assert len(written) < asked or asked <= BURST + 1
    assert sum(row.get("times", 1) for row in written) == asked
    log.write_flood("bob", status=429)
    assert len(rows(log.path)) == len(written) + 1


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Nobody waits for the log, and a link is not followed."""
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "townhall-audit.log").symlink_to(tmp_path / "elsewhere")
    AuditLog(tmp_path).write(status=200)
    AuditLog(tmp_path / "missing").write(status=200)
    assert (tmp_path / "elsewhere").read_text() == ""


def test_a_line_that_was_cut_off_spoils_no_other(small_disk: Path) -> None:
    """The disk was full in the middle of a line: with room again each line is whole, and the torn one is apart."""
    log = AuditLog(small_disk)
    for number in range(100):
        log.write(number=number, verb="x" * 300)
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    AuditLog(small_disk).write(number=100)
    log.write(number=101)
    lines = log.path.read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines[-2:]] == [100, 101]
    assert [json.loads(line)["number"] for line in lines[:-3]] == list(range(len(lines) - 3))


@pytest.mark.parametrize(
    ("status", "result"),
    [(200, "success"), (204, "success"), (304, "success"), (401, "denied"), (403, "denied"), (421, "denied"),
     (429, "denied"), (404, "error"), (500, "error")],
)  # fmt: skip
def test_what_a_status_means(status: int, result: str) -> None:
    """Done, not allowed, or went wrong."""
    assert result_of(status) == result
