"""`tt logs`: digests and rounds, with and without Redis, also while they grow."""

from __future__ import annotations

import signal

import pytest

from tests.support import town as towns
from tests.support.cli import Tt, first_line
from tinytown.logs import AgentLog
from tinytown.town import Town


def write(town: Town, name: str, *lines: str) -> None:
    log = AgentLog(town.logs_dir, name)
    for line in lines:
        log.write(line)


def test_the_last_lines(tt: Tt, town: Town) -> None:
    """Fifty lines, or as many as -n says."""
    write(town, "backend", *(f"line {n}" for n in range(120)))
    shown = tt.ok("logs", "backend").out.splitlines()
    assert len(shown) == 50
    assert shown[-1].endswith("line 119")
    assert len(tt.ok("logs", "backend", "-n", "3").out.splitlines()) == 3
    assert len(tt.ok("logs", "backend", "--lines", "500").out.splitlines()) == 120
    assert tt.ok("logs", "backend", "-n", "0").out == ""


def test_without_redis(made: Tt) -> None:
    """A name that has a log is enough; another one needs Redis, which is said."""
    (made.cwd / ".tt" / "logs" / "backend.log").write_text("12:00:00 hello\n")
    made.ok("stop", "--all")
    assert made.ok("logs", "backend").out == "12:00:00 hello\n"
    assert "Redis is not running" in made.fails("logs", "other").err


def test_by_id_and_nickname(tt: Tt, town: Town) -> None:
    """Any reference to an agent finds its log."""
    agent = towns.register(town, "backend", nickname="bob")
    write(town, "backend", "hello")
    for reference in ("backend", "bob", agent.id[:8]):
        assert "hello" in tt.ok("logs", reference).out


def test_no_log_yet(tt: Tt, town: Town) -> None:
    """It is said, with how to wait for it; a round that was not, with those that were."""
    towns.register(town, "backend")
    assert "has no log yet" in tt.fails("logs", "backend").err
    assert "no log of round 1" in tt.fails("logs", "backend", "--round", "1").err
    (town.logs_dir / "backend_round_2.log").write_text("two")
    assert "Rounds with a log: 2 to 2" in tt.fails("logs", "backend", "--round", "1").err


def test_a_round(tt: Tt, town: Town) -> None:
    """The bytes as the model printed them on a pipe; harmless on a terminal."""
    raw = b"\x1b[31mred\x1b[0m \xff\x00\n"
    (town.logs_dir / "backend_round_1.log").write_bytes(raw)
    assert tt.ok("logs", "backend", "--round", "1").out.encode("utf-8", "surrogateescape") == raw
    shown = tt.on_terminal("logs", "backend", "--round", "1")[1]
    assert shown == "\\x1b[31mred\\x1b[0m \ufffd\\x00\n"


@pytest.mark.parametrize("rotated", [False, True])
def test_follow(tt: Tt, town: Town, *, rotated: bool) -> None:
    """What is appended is shown, also after a rotation, until Ctrl-C, which is quiet."""
    write(town, "backend", "first")
    with tt.running("logs", "backend", "-f") as process:
        assert first_line(process).endswith("first")
        if rotated:
            (town.logs_dir / "backend.log").rename(town.logs_dir / "backend.log.1")
        write(town, "backend", "second")
        assert first_line(process).endswith("second")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_follow_waits_for_the_first_line(tt: Tt, town: Town) -> None:
    """An agent without a log can be followed."""
    towns.register(town, "backend")
    with tt.running("logs", "backend", "-f") as process:
        assert process.stderr is not None
        assert "waiting for it" in process.stderr.readline()
        write(town, "backend", "first")
        assert first_line(process).endswith("first")


def test_logs_as_json(tt: Tt, town: Town) -> None:
    """The last lines as one object, a round's output likewise; lines are text, never bytes."""
    write(town, "ann", "one", "two")
    (town.logs_dir / "ann_round_2.log").write_bytes(b"caf\xc3\xa9 \xff\nlast")
    (line,) = tt.ok("logs", "ann", "-n", "1", "--json").json["lines"]
    assert line.endswith("two")
    shown = tt.ok("logs", "ann", "--round", "2", "--json").json
    assert (shown["round"], shown["lines"]) == (2, ["café \ufffd", "last"])
