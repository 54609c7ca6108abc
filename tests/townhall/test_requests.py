"""What holds for every request: ids, errors as problem documents, bodies, methods, keys for repetition."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.support.town import all_tasks, register
from tests.support.townhall import TownHall
from tests.support.waiting import wait_until
from tests.townhall.conftest import OpenHall
from tinytown.store.keys import ANSWER_TTL_S
from tinytown.town import Town
from tinytown.townhall.once import ANSWERS_MOST

pytestmark = pytest.mark.slow


def problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """The problem document of an answer with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["type"] == f"https://tinytown.dev/errors/{status}"
    assert found["title"]
    assert "\n" not in found["detail"]
    assert found["request_id"] == answer.headers["x-request-id"]
    return found


@pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 64])
def test_a_sane_request_id_is_kept(shared_http: httpx2.Client, given: str) -> None:
    """X-Request-Id comes back, also in a problem."""
    assert shared_http.get("/healthz", headers={"X-Request-Id": given}).headers["x-request-id"] == given
    found = problem(shared_http.get("/v1/agents/nobody", headers={"X-Request-Id": given}), 404)
    assert found["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "<script>", "é".encode().decode("latin-1")])
def test_another_request_id_is_replaced(shared_http: httpx2.Client, given: str) -> None:
    """What could not stand in a log is not repeated: the request gets an id of its own."""
    answer = shared_http.get("/healthz", headers={b"X-Request-Id": given.encode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/agents/prune", 404),
        ("GET", "/v1/recover", 405),
        ("POST", "/v1/status", 405),
        ("PUT", "/v1/agents", 405),
        ("DELETE", "/v1/agents/x", 405),
        ("TRACE", "/v1/agents", 405),
        ("GET", "/v1/agents/", 404),
        ("GET", "/V1/agents", 404),
        ("GET", "/v1/agents/%2e%2e/log", 404),
        ("GET", "/v1/tasks?limit=0", 422),
        ("GET", "/v1/tasks?limit=501", 422),
        ("GET", "/v1/tasks?limit=x", 422),
        ("GET", "/v1/tasks?after=x", 404),
        ("GET", "/v1/tasks?state=nothing", 422),
        ("GET", "/v1/tasks?colour=red", 422),
        ("GET", "/v1/events/stream?colour=red", 422),
        ("GET", "/v1/events/stream?after=now", 400),
        ("GET", "/v1/events/stream?agent=nobody", 404),
        ("GET", "/healthz?colour=red", 422),
        ("GET", "/v1/agents/nobody/log/stream", 404),
        ("GET", "/v1/tasks/nothing/log/stream", 404),
    ],
)
def test_errors_are_problem_documents(shared_http: httpx2.Client, method: str, path: str, status: int) -> None:
    """Whatever is wrong with a request, the answer says it in the one form."""
    found = problem(shared_http.request(method, path), status)
    if status == 405:
        assert found["title"] == "Method Not Allowed"


def test_a_405_says_what_is_allowed(shared_http: httpx2.Client) -> None:
    """As HTTP asks for."""
    assert shared_http.put("/v1/recover").headers["allow"] == "POST"
    answer = shared_http.put("/v1/agents")
    assert answer.headers["allow"] == "GET, POST"
    assert answer.json()["remedy"] == "Allowed here: GET, POST"


def test_what_a_newcomer_forgets(shared_http: httpx2.Client) -> None:
    """Curl sends no JSON by itself, and nobody knows every path: the answer says what helps."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = problem(shared_http.post("/v1/tasks/assign", content=b"{}", headers=form), 415)
    assert sent["remedy"] == "Send it with a header: Content-Type: application/json"
    assert problem(shared_http.get("/v1/nothing"), 404)["remedy"] == "All that there is: GET /openapi.json"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {}, 415),
        (b"", {"Content-Type": "application/json"}, 422),
        (b"", {}, 422),
        (b"{", {"Content-Type": "application/json"}, 422),
        (b"\xff", {"Content-Type": "application/json"}, 400),
        (b"null", {"Content-Type": "application/json"}, 422),
        (b"[]", {"Content-Type": "application/json"}, 422),
        (b'{"agent": 1, "task": "x"}', {"Content-Type": "application/json; charset=utf-8"}, 422),
        (b'{"agent": "a", "task": "x", "tags": "y"}', {"Content-Type": "application/json"}, 422),
        (b'{"agent": "a", "task": ""}', {"Content-Type": "application/json"}, 422),
        (b'{"agent": "a", "task": "x", "colour": "red"}', {"Content-Type": "application/json"}, 422),
        (b'{"agent": "a", "task": "\\ud800"}', {"Content-Type": "application/json"}, 422),
        (b'{"agent": "nobody", "task": "x"}', {"Content-Type": "application/json"}, 404),
        (b"[" * 100_000, {"Content-Type": "application/json"}, 400),
    ],
)
def test_a_body_that_cannot_be_used(
    shared_http: httpx2.Client, body: bytes, headers: dict[str, str], status: int
) -> None:
    """Each says what is wrong; none is a failure of ours."""
    problem(shared_http.post("/v1/tasks/assign", content=body, headers=headers), status)


def test_what_is_wrong_in_a_body_is_named(shared_http: httpx2.Client) -> None:
    """The first error is in the detail, all of them beside it."""
    found = problem(shared_http.post("/v1/tasks/assign", json={"agent": 1, "colour": 1}), 422)
    assert [one["where"] for one in found["errors"]] == [["body", "agent"], ["body", "task"], ["body", "colour"]]
    assert found["detail"].startswith("agent: ")


def test_numbers_are_no_truth(shared_http: httpx2.Client) -> None:
    """Types in a body are those of the contract: 0 is not false, and "10" is not 10."""
    problem(shared_http.post("/v1/agents/prune", json={"force": 0}), 422)
    problem(shared_http.post("/v1/agents", json={"name": "x", "max_rounds": "10"}), 422)


def test_a_body_may_have_a_million_bytes(shared_http: httpx2.Client) -> None:
    """More is 413, whether its length was said or not."""
    headers = {"Content-Type": "application/json"}
    problem(shared_http.post("/v1/backlog", content=b" " * 1_000_001, headers=headers), 413)
    blocks = (b" " * 100_000 for _ in range(11))
    problem(shared_http.post("/v1/backlog", content=blocks, headers=headers), 413)


def test_nonsense_fills_no_log(open_hall: OpenHall) -> None:
    """What is no HTTP, or asks for another protocol, is answered and makes no line of what the town hall says."""
    hall = open_hall()
    before = hall.said
    upgrade = b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    for sent, status in ((b"\x16\x03\x01 hello\r\n\r\n", b"400"), (upgrade, b"200")):
        with socket.create_connection(("127.0.0.1", hall.port), timeout=10) as visitor:
            visitor.sendall(sent)
            assert visitor.recv(4096).split(maxsplit=2)[1] == status
    assert hall.said == before


def test_a_body_longer_than_was_said_is_too_long(shared_hall: TownHall) -> None:
    """Where it comes in chunks, its Content-Length is whatever somebody wrote there: what comes is counted."""
    with socket.create_connection(("127.0.0.1", shared_hall.port), timeout=10) as visitor:
        visitor.sendall(
            b"POST /v1/backlog HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + b"186A0\r\n" + b" " * 100_000 + b"\r\n"
        )
        with contextlib.suppress(OSError):  # it need not listen to the end
            for _ in range(10):
                visitor.sendall(b"186A0\r\n" + b" " * 100_000 + b"\r\n")
            visitor.sendall(b"0\r\n\r\n")
        assert visitor.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_come_is_not_waited_for(open_hall: OpenHall) -> None:
    """Who says that there is a body and sends none is answered 408 within request_timeout_ms."""
    hall = open_hall(townhall={"request_timeout_ms": 1000})
    for head in (b"Content-Length: 10", b"Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", hall.port), timeout=10) as visitor:
            visitor.sendall(
                b"POST /v1/backlog HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                + head
                + b"\r\n\r\n"
            )
            assert visitor.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_an_answer_that_takes_too_long_is_a_504(open_hall: OpenHall) -> None:
    """request_timeout_ms: the answer comes then, and says that it may still be done; nothing else is held up."""
    hall = open_hall(townhall={"request_timeout_ms": 1000})
    town = hall.town
    http = hall.client()
    http.get("/v1/agents")  # connected
    client = town.store.redis
    client.client_pause(1500)
    problem(http.get("/v1/agents"), 504)
    assert http.get("/healthz").status_code == 200


def test_head_is_get_without_a_body(shared_http: httpx2.Client) -> None:
    """Status and headers of the answer, for a stream too."""
    answer = shared_http.head("/v1/agents")
    assert (answer.status_code, answer.content) == (200, b"")
    assert shared_http.head("/v1/nothing").status_code == 404
    answer = shared_http.head("/v1/events/stream")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert shared_http.get("/healthz").status_code == 200  # on the same connection


# Idempotency-Key


def park(http: httpx2.Client, key: str, text: str = "once") -> httpx2.Response:
    """A write with this key."""
    return http.post("/v1/backlog", json={"description": text}, headers={"Idempotency-Key": key})


def test_a_write_with_a_key_is_done_once(town: Town, http: httpx2.Client) -> None:
    """The same answer again, marked; another key is another write."""
    first, again, other = park(http, "a"), park(http, "a"), park(http, "b")
    assert [one.status_code for one in (first, again, other)] == [201, 201, 201]
    assert first.content == again.content != other.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len(all_tasks(town)) == 2


def test_a_key_belongs_to_one_request(town: Town, http: httpx2.Client) -> None:
    """With another body or another verb it is refused, and nothing is done."""
    park(http, "a")
    found = problem(park(http, "a", "something else"), 422)
    assert "Idempotency-Key" in found["detail"]
    problem(http.post("/v1/recover", headers={"Idempotency-Key": "a"}), 422)
    assert len(all_tasks(town)) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é".encode().decode("latin-1")])
def test_a_key_must_be_sane(shared_http: httpx2.Client, key: str) -> None:
    """Visible ASCII, at most 255 characters."""
    headers = {b"Content-Type": b"application/json", b"Idempotency-Key": key.encode("latin-1")}
    answer = shared_http.post("/v1/backlog", content=b'{"description": "x"}', headers=headers)
    assert problem(answer, answer.status_code)["status"] in (400, 422)


def test_a_refused_write_may_be_tried_again(town: Town, http: httpx2.Client) -> None:
    """An error in which nothing was done is not kept: the same key works when the reason is gone."""
    given = {"json": {"agent": "backend", "task": "x"}, "headers": {"Idempotency-Key": "a"}}
    problem(http.post("/v1/tasks/assign", **given), 404)  # type: ignore[arg-type]
    register(town, "backend")
    assert http.post("/v1/tasks/assign", **given).status_code == 201  # type: ignore[arg-type]


def test_of_many_at_once_one_is_done(town: Town, hall: TownHall) -> None:
    """The others hear that it is under way, or its answer."""
    clients = [hall.client() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        codes = [answer.status_code for answer in pool.map(lambda client: park(client, "a"), clients)]
    assert set(codes) <= {201, 409}
    assert len(all_tasks(town)) == 1


def test_a_key_survives_the_town_hall(town: Town, hall: TownHall) -> None:
    """The next town hall gives the same answer again."""
    first = park(hall.client(), "a")
    hall.kill()
    with TownHall(town.root) as following:
        again = park(following.client(), "a")
    assert again.content == first.content
    assert len(all_tasks(town)) == 1


def test_what_was_cut_off_is_not_done_twice(town: Town, hall: TownHall) -> None:
    """Killed in the middle of a write: afterwards it was done or not, and the same key is never done again."""
    client = hall.client()
    town.store.redis.client_pause(700, all=False)
    sent = threading.Event()

    def send() -> None:
        sent.set()
        with pytest.raises(httpx2.TransportError):
            park(client, "a")

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(send)
        sent.wait()
        wait_until(lambda: _blocked(town), what="a write that waits")
        hall.kill()
        done.result()
    wait_until(lambda: not _blocked(town), what="the end of the pause")
    with TownHall(town.root) as following:
        answer = park(following.client(), "a")
    assert answer.status_code in (201, 409)
    assert len(all_tasks(town)) <= 1


def _blocked(town: Town) -> int:
    return int(town.store.redis.info("clients")["blocked_clients"])


def test_kept_answers_are_bounded(town: Town, http: httpx2.Client) -> None:
    """In time (a day) and in number: the oldest are forgotten."""
    redis, keys = town.store.redis, town.store.keys
    redis.zadd(keys.answers, {f"old-{n}": n + 1 for n in range(ANSWERS_MOST)})
    redis.set(keys.answer("old-0"), json.dumps({}), ex=100)
    park(http, "a")
    names: list[str] = redis.keys(keys.answer("*"))  # type: ignore[assignment]
    assert len(names) == 1
    assert ANSWER_TTL_S - 60 < redis.ttl(names[0]) <= ANSWER_TTL_S
    assert redis.zcard(keys.answers) < ANSWERS_MOST


def test_text_that_is_no_text_is_shown_all_the_same(town: Town, http: httpx2.Client) -> None:
    """Bytes that somebody put into Redis by hand are no reason to fail."""
    task_id = park(http, "a").json()["task_id"]
    raw = town.store.redis.get(town.store.keys.task(task_id))
    town.store.redis.set(town.store.keys.task(task_id), str(raw).replace("once", "on\udcffe"))
    assert http.get(f"/v1/tasks/{task_id}").json()["description"] == "on\ufffde"
    assert http.get("/v1/tasks").json()["tasks"][0]["description"] == "on\ufffde"


def test_it_ends_while_streams_are_open(hall: TownHall) -> None:
    """Who listens does not keep the program from leaving."""
    with hall.client().stream("GET", "/v1/events/stream") as stream:
        assert next(stream.iter_lines()).startswith("id: ")
        hall.process.send_signal(signal.SIGTERM)
        assert hall.process.wait(5) == 0
    assert "Cancel" not in hall.said
