"""The supervisor's doorbell: one datagram per wish."""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.town import in_processes
from tinytown.config import Config
from tinytown.services import supervision
from tinytown.sockets import SocketPath
from tinytown.supervisor.doorbell import Doorbell
from tinytown.town import Town


@pytest.fixture(params=["short", "long"])
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Town:
    """A town at a plain path, and at one that no socket address can hold."""
    root = tmp_path if request.param == "short" else tmp_path / ("d" * 120) / "ä"
    (root / ".tt").mkdir(parents=True)
    return Town(root, Config(name="demo"))


@pytest.fixture
def bell(town: Town) -> Iterator[Doorbell]:
    made = Doorbell(SocketPath(town.state_dir / "supervisor.sock"))
    yield made
    made.close()


def rung(bell: Doorbell) -> bool:
    assert select.select([bell.fd], [], [], 2)[0], "nobody rang"
    return bell.answer(dict)


def test_a_ring_is_heard(town: Town, bell: Doorbell) -> None:
    """Somebody rings: the descriptor is readable, many rings are one; then it is quiet again."""
    for _ in range(3):
        assert town.ring_supervisor()

    assert rung(bell)
    assert not select.select([bell.fd], [], [], 0)[0]
    assert not bell.answer(dict)


def test_nobody_listens(town: Town) -> None:
    """Without a supervisor a ring is no error and is known to be in vain; so when its socket is a dead one's."""
    assert not town.ring_supervisor()
    made = Doorbell(SocketPath(town.state_dir / "supervisor.sock"))
    made.close_in_child()

    assert not town.ring_supervisor()


def test_a_status_is_answered(town: Town, bell: Doorbell) -> None:
    """`status` is answered to whoever asked and counts as no ring; a large answer fits."""
    lock = town.supervisor_lock
    assert lock.acquire()
    status: dict[str, Any] = {"pid": 7, "children": [{"name": f"agent {n}", "phase": "running"} for n in range(500)]}

    def work(number: int) -> Any:
        if number == 0:
            return supervision.status(town)
        assert select.select([bell.fd], [], [], 5)[0]
        return bell.answer(lambda: status)

    answers = in_processes(2, work)
    lock.release()
    assert answers[1] is False
    assert answers[0]["pid"] == 7
    assert [child["name"] for child in answers[0]["children"]] == [child["name"] for child in status["children"]]


def test_without_a_supervisor_there_is_no_status(town: Town) -> None:
    """None, at once."""
    assert supervision.status(town) is None
    assert supervision.process(town) is None
    assert not supervision.is_running(town)


def test_who_asks_and_goes_is_no_harm(bell: Doorbell, town: Town) -> None:
    """An asker that is gone, nonsense and long datagrams: answered, or taken as a ring; never an error."""
    asker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    asker.bind("")
    asker.sendto(b"status", town.doorbell.address)
    asker.close()
    assert not rung(bell)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        for text in (b"", b"status", b"\xff" * 10_000):  # the second has no address to answer to
            stranger.sendto(text, town.doorbell.address)
    assert rung(bell)


def test_only_this_user_can_ring(bell: Doorbell, town: Town) -> None:
    """The socket belongs to its user alone."""
    assert stat.S_IMODE(os.stat(town.doorbell.address).st_mode) == 0o600


def test_a_dead_ones_socket_is_replaced(town: Town) -> None:
    """A new supervisor (it has the lock) binds over the socket of a killed one; closing removes the name."""
    path = SocketPath(town.state_dir / "supervisor.sock")
    Doorbell(path).close_in_child()
    second = Doorbell(path)

    assert town.ring_supervisor()
    assert rung(second)
    second.close()
    assert not (town.state_dir / "supervisor.sock").exists()


def test_a_forked_copy_closes_nothing_of_its_parents(town: Town, bell: Doorbell) -> None:
    """A child that closes its copy leaves the name and the parent's end alone."""
    pid = os.fork()
    if pid == 0:
        bell.close_in_child()
        os._exit(0)
    os.waitpid(pid, 0)

    assert town.ring_supervisor()
    assert rung(bell)
