"""The supervisor's socket under people who do not know its words, and under those who never listen."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from tests.faults.conftest import new_town, stubborn, town
from tests.fuzz.material import NASTY, WORDS, cases
from tests.support.running_town import RunningTown
from tinytown import clock, processes
from tinytown.services import supervision

pytestmark = [pytest.mark.fault, pytest.mark.slow]
__all__ = ["new_town", "stubborn", "town"]

DEAF = 1000
PROMPT_S = 3.0


def prompt(town: RunningTown, name: str) -> None:
    """A killed actor is replaced soon."""
    actor, began = town.actor(name), clock.monotonic()
    town.kill(actor)
    town.wait(lambda: town.actor(name) != actor and town.agent(name).state == "idle", "its successor", PROMPT_S)
    assert clock.monotonic() - began < PROMPT_S


def caller(town: RunningTown) -> socket.socket:
    """A socket that speaks to the supervisor, and may be answered."""
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.setblocking(False)
    bell.bind("")
    bell.connect(town.town.doorbell.address)
    return bell


def test_nonsense(town: RunningTown) -> None:
    """Datagrams of any content and size, streams, half questions: it goes on."""
    town.spawn("ann")
    town.wait_idle("ann")
    with caller(town) as bell:
        for rng in cases("doorbell", 500):
            words = (*WORDS, *NASTY, "status", "status\n", "STATUS", "look", "sta")
            word = rng.choice(words).encode("utf-8", "surrogateescape")
            data = rng.choice([rng.randbytes(rng.randint(0, 2000)), word])
            with contextlib.suppress(OSError):  # its queue is full, or this is too much for a datagram
                bell.send(data)
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as other, pytest.raises(OSError, match="wrong type"):
            other.connect(town.town.doorbell.address)
    prompt(town, "ann")
    assert supervision.status(town.town) is not None


def test_a_thousand_who_never_listen(town: RunningTown) -> None:
    """Each asks until it may ask no more and reads no answer: agents are cared for, and then others are answered.

    Unread answers fill the socket's send buffer, so that nobody gets one until the deaf have gone.
    """
    town.spawn("ann")
    town.wait_idle("ann")
    with contextlib.ExitStack() as open_ones:
        for _ in range(DEAF):
            bell = open_ones.enter_context(caller(town))
            with contextlib.suppress(OSError):
                for _ in range(30):
                    bell.send(b"status")
        prompt(town, "ann")
    assert supervision.status(town.town) is not None


@contextlib.contextmanager
def ringing(town: RunningTown) -> Iterator[None]:
    """A process that does nothing but ring."""
    pid = os.fork()
    if pid == 0:
        processes.die_with_parent(os.getppid())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
            bell.connect(town.town.doorbell.address)
            while True:
                bell.send(b"look")
    try:
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_who_rings_without_end(town: RunningTown) -> None:
    """It does not only listen to whoever is the loudest."""
    town.spawn("ann")
    town.wait_idle("ann")
    with ringing(town):
        actor = town.actor("ann")
        town.kill(actor)
        town.wait(lambda: town.actor("ann") != actor, "its successor", 10)
        town.task_done("ann")
