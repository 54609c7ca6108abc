"""Server-sent events: the town's history as it happens, and logs as they are written."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.builders import AT
from tests.support.redis_server import TestRedis
from tests.support.town import give_task, register, writing
from tests.support.townhall import TownHall, make_town
from tests.support.waiting import wait_until
from tinytown.domain.event import Event
from tinytown.town import Town

pytestmark = pytest.mark.slow
Sent = dict[str, str]


def sent(answer: httpx2.Response) -> Iterator[Sent]:
    """The events of a stream: their fields, `data` and `id` and perhaps `event`; comments are left out."""
    assert answer.status_code == 200, answer.read()
    fields: Sent = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields and not line:
            yield fields
            fields = {}


@contextlib.contextmanager
def listening(hall: TownHall, path: str = "/v1/events/stream", **options: Any) -> Iterator[Iterator[Sent]]:
    """The events of a stream, within the block."""
    with hall.client().stream("GET", path, **options) as answer:
        yield sent(answer)


def tell(town: Town, *names: str, text: str = "", **fields: Any) -> None:
    """Events of these types."""
    with writing(town) as tx:
        for name in names:
            tx.event(Event(name, text, AT, **fields))


def kinds(events: Iterator[Sent], count: int) -> list[str]:
    """The types of the next events of the town."""
    return [json.loads(one["data"])["event_type"] for one in itertools.islice(events, count)]


def readers(hall: TownHall) -> int:
    """Who listens, as the metrics have it."""
    lines = hall.client().get("/metrics").text.splitlines()
    return int(float(next(line for line in lines if line.startswith("tinytown_stream_readers ")).split()[1]))


def test_events_come_as_they_happen(town: Town, hall: TownHall) -> None:
    """First the place where it begins, then each event with its place and all that the history says."""
    with listening(hall) as events:
        first = next(events)
        assert first["event"] == "ready"
        tell(town, "one", agent_id="a")
        event = next(events)
    assert json.loads(event["data"])["id"] == event["id"] == town.store.events.last_id()
    assert "event" not in event
    assert json.loads(event["data"])["agent_id"] == "a"


def test_a_stream_goes_on_where_it_was(town: Town, hall: TownHall) -> None:
    """Last-Event-ID, or `after` for a first request: what happened behind it comes first, then what happens."""
    tell(town, "one")
    place = town.store.events.last_id()
    tell(town, "two", "three")
    ways: list[dict[str, Any]] = [{"headers": {"Last-Event-ID": place}}, {"params": {"after": place}}]
    for options in ways:
        with listening(hall, **options) as events:
            assert kinds(events, 2) == ["two", "three"]
    with listening(hall, params={"after": "0"}) as events:
        assert kinds(events, 3) == ["one", "two", "three"]
        tell(town, "four")
        assert kinds(events, 1) == ["four"]


def test_what_is_missing_is_told(town: Town, hall: TownHall) -> None:
    """A place that is not in the history any more, or not yet: an event `reset`, and it goes on from now."""
    for name in map(str, range(10)):
        tell(town, name)
    known = [entry_id for entry_id, _event in town.store.events.newest(10)]
    town.store.redis.xtrim(town.store.keys.events, maxlen=5, approximate=False)
    for place in (known[2], "99999999999999-0"):
        with listening(hall, params={"after": place}) as events:
            told = next(events)
            assert (told["event"], told["id"]) == ("reset", known[-1])
    with listening(hall, params={"after": known[5]}) as events:
        assert kinds(events, 4) == ["6", "7", "8", "9"]


def test_filters(town: Town, hall: TownHall) -> None:
    """Events of an agent, of a task, of types; several types are one or the other."""
    agent = register(town, "backend")
    task, _message = give_task(town, agent)
    with (
        listening(hall, params={"agent": "backend"}) as of_agent,
        listening(hall, params={"task": task.id}) as of_task,
        listening(hall, params={"type": ["x", "y"]}) as of_types,
    ):
        for stream in (of_agent, of_task, of_types):
            next(stream)
        tell(town, "x", "z", agent_id=agent.id)
        tell(town, "y", task_id=task.id)
        tell(town, "w", agent_id=agent.id)
        assert kinds(of_agent, 3) == ["x", "z", "w"]
        assert kinds(of_task, 1) == ["y"]
        assert kinds(of_types, 2) == ["x", "y"]


def test_many_share_one_reader_and_nobody_costs_nothing(town: Town, hall: TownHall) -> None:
    """However many listen, one connection waits in Redis; none does when the last has gone."""

    def waiting() -> int:
        return sum(client["cmd"] == "xread" for client in town.store.redis.client_list())

    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(listening(hall)) for _ in range(10)]
        for stream in streams:
            next(stream)
        assert readers(hall) == 10
        wait_until(lambda: waiting() == 1, what="one reader")
        tell(town, "one")
        assert [kinds(stream, 1) for stream in streams] == [["one"]] * 10
    wait_until(lambda: readers(hall) == 0 and waiting() == 0, what="no reader")
    with listening(hall) as again:
        next(again)
        tell(town, "two")
        assert kinds(again, 1) == ["two"]


def test_who_only_looks_listens_no_longer(hall: TownHall) -> None:
    """HEAD of a stream, and one who leaves at once, are no readers."""
    http = hall.client()
    http.head("/v1/events/stream")
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", hall.port)) as hasty:
            hasty.sendall(b"GET /v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    wait_until(lambda: readers(hall) == 0, what="no reader")


def test_a_slow_reader_is_cut_off(town: Town, hall: TownHall) -> None:
    """Who takes nothing is let go when too much waits for it; the others do not notice."""
    with socket.create_connection(("127.0.0.1", hall.port)) as slow, listening(hall) as quick:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        next(quick)
        wait_until(lambda: readers(hall) == 2, what="both")
        before = memory(hall)
        for _ in range(30):
            tell(town, *["x"] * 300, text="y" * 2000)
            assert kinds(quick, 300) == ["x"] * 300
        wait_until(lambda: readers(hall) == 1, what="one reader")
        assert memory(hall) - before < 60_000_000
        tell(town, "last")
        assert kinds(quick, 1) == ["last"]


def memory(hall: TownHall) -> int:
    """Resident bytes of the program."""
    pages = Path(f"/proc/{hall.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def test_a_stream_outlives_its_redis(tmp_path: Path) -> None:
    """The server goes away and comes back: what happened meanwhile comes, once, on the same stream."""
    with TestRedis(tmp_path / "redis") as server:
        town = make_town(server, tmp_path / "town")
        with TownHall(town.root) as hall, listening(hall) as events:
            next(events)
            tell(town, "one")
            assert kinds(events, 1) == ["one"]
            town.store.redis.save()
            server.kill()
            answer = hall.client().get("/readyz")
            assert (answer.status_code, answer.json()["status"]) == (503, 503)
            server.restart()
            tell(town, "two")
            assert kinds(events, 1) == ["two"]
            assert hall.client().get("/readyz").status_code == 200
        town.store.close()


# Logs


def log_of(town: Town, name: str = "backend") -> Path:
    """The log file of an agent."""
    register(town, name)
    path = town.logs_dir / f"{name}.log"
    path.touch()
    return path


def text_of(events: Iterator[Sent], until: str) -> str:
    """What a log stream sent, up to this text."""
    found = ""
    while until not in found:
        found += json.loads(next(events)["data"])["text"]
    return found


def test_a_log_comes_as_it_is_written(town: Town, hall: TownHall) -> None:
    """First its end, from a line's beginning on; then what is appended, also characters that come in two parts."""
    path = log_of(town)
    path.write_text("".join(f"line {n}\n" for n in range(1000)))
    with listening(hall, "/v1/agents/backend/log/stream", params={"tail": 100}) as events:
        assert text_of(events, "line 999\n").splitlines()[:2] == ["line 989", "line 990"]
        with path.open("ab", buffering=0) as log:
            log.write("grü".encode()[:-1])
            assert text_of(events, "gr") == "gr"
            log.write("ü\n".encode()[1:])
            assert text_of(events, "\n") == "ü\n"


def test_a_log_follows_its_rotation(town: Town, hall: TownHall) -> None:
    """What is written to the old file comes to its end, then the next one from its beginning."""
    path = log_of(town)
    path.write_text("old\n")
    with listening(hall, "/v1/agents/backend/log/stream") as events:
        assert text_of(events, "old\n") == "old\n"
        with path.open("a") as log:
            path.rename(path.with_suffix(".1"))
            log.write("late\n")
        path.write_text("new\n")
        assert text_of(events, "new\n") == "late\nnew\n"


def test_a_log_stream_goes_on_where_it_was(town: Town, hall: TownHall) -> None:
    """Last-Event-ID of the same file: nothing comes twice."""
    path = log_of(town)
    path.write_text("one\n")
    with listening(hall, "/v1/agents/backend/log/stream") as events:
        place = next(events)["id"]
    with path.open("a") as log:
        log.write("two\n")
    with listening(hall, "/v1/agents/backend/log/stream", headers={"Last-Event-ID": place}) as events:
        assert text_of(events, "two\n") == "two\n"
    for unknown in ("1-2", f"{path.stat().st_ino}-{'9' * 5000}"):
        with listening(hall, "/v1/agents/backend/log/stream", headers={"Last-Event-ID": unknown}) as events:
            assert text_of(events, "two\n") == "one\ntwo\n"


def test_a_log_of_ten_megabytes(town: Town, hall: TownHall) -> None:
    """It is not read whole: the end comes at once, and costs no memory."""
    path = log_of(town)
    path.write_bytes(b"x" * 10_000_000 + b"\nend\n")
    before = memory(hall)
    with listening(hall, "/v1/agents/backend/log/stream", params={"tail": 65536}) as events:
        assert text_of(events, "end\n") == "end\n"
    with listening(hall, "/v1/agents/backend/log/stream", params={"tail": 1_000_000}) as events:
        assert len(text_of(events, "end\n")) == 1_000_000 - 1 + 1
    assert memory(hall) - before < 20_000_000


def test_logs_of_rounds(town: Town, hall: TownHall) -> None:
    """Of a round by its number, of a task by its last round; none is a 404."""
    log_of(town)
    http = hall.client()
    assert http.get("/v1/agents/backend/log/stream?round=1").status_code == 404
    (town.logs_dir / "backend_round_1.log").write_text("printed\n")
    with listening(hall, "/v1/agents/backend/log/stream", params={"round": 1}) as events:
        assert text_of(events, "\n") == "printed\n"
