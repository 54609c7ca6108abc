"""systemd's notify protocol, spoken by a real supervisor over a real datagram socket."""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Tt
from tests.support.running_town import RunningTown, compile_stubborn
from tests.support.waiting import wait_until
from tinytown.services import supervision
from tinytown.supervisor.notify import Notifier

pytestmark = pytest.mark.slow

WATCHDOG_S = 5.0
VARIABLES = (b"NOTIFY_SOCKET=", b"WATCHDOG_PID=", b"WATCHDOG_USEC=")


class Manager:
    """Listens where systemd would; `heard` are the datagrams so far with their times of arrival."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.heard: list[tuple[float, str]] = []

    @property
    def words(self) -> list[str]:
        """All that came until now, in order."""
        while select.select([self.socket], [], [], 0)[0]:
            self.heard.append((time.monotonic(), self.socket.recv(4096).decode()))
        return [text for _at, text in self.heard]

    def wait_for(self, text: str) -> None:
        """Until this was said."""
        wait_until(lambda: text in self.words, 15, text)

    def times_of(self, text: str, seconds: float) -> list[float]:
        """Listen for that long; when it began, each time that this was said, when it ended."""
        begin = time.monotonic()
        while (left := begin + seconds - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                self.heard.append((time.monotonic(), self.socket.recv(4096).decode()))
        return [begin, *(at for at, said in self.heard if said == text and at >= begin), time.monotonic()]


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Both forms of $NOTIFY_SOCKET."""
    return str(tmp_path / "notify") if request.param == "path" else f"@tinytown-{uuid.uuid4().hex}"


@pytest.fixture
def manager(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """What the supervisor's environment names."""
    listener = Manager(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    yield listener
    listener.socket.close()


@pytest.fixture(scope="session")
def stubborn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripted CLI."""
    return compile_stubborn(tmp_path_factory.mktemp("stubborn"))


@pytest.fixture
def town(manager: Manager, stubborn: Path, tmp_path: Path) -> Iterator[RunningTown]:
    """A town whose supervisor, once started, talks to `manager`."""
    made = RunningTown(tmp_path / "town", stubborn, supervisor={"grace_s": 0.5})
    try:
        yield made
        made.stop()
    finally:
        made.close()


by_path = pytest.mark.parametrize("address", ["path"], indirect=True)


def test_ready_when_up_then_status_then_stopping(town: RunningTown, manager: Manager) -> None:
    """READY=1 once and first, STATUS= whenever it changes, STOPPING=1 on TERM; the same on both kinds of socket."""
    town.start()
    manager.wait_for("STATUS=0 agent(s) running")
    assert manager.words[0] == "READY=1"
    town.spawn("one")
    manager.wait_for("STATUS=1 agent(s) running")
    said = len(manager.words)
    town.wait_idle("one")
    town.signal_supervisor(signal.SIGTERM)
    assert town.await_supervisor_end() == 0
    assert "STOPPING=1" in manager.words[said:]
    assert manager.words.count("READY=1") == 1
    assert not [word for word in manager.words if word.startswith("WATCHDOG")]  # none was asked for


@by_path
def test_nothing_is_ready_while_redis_cannot_be_started(town: RunningTown, manager: Manager) -> None:
    """A supervisor that does not come up never says READY."""
    with (town.root / "tinytown.toml").open("a") as settings:
        settings.write('\n[redis]\nserver = "/nonexistent/redis-server"\n')
    Tt(town.root).fails("supervise")
    assert manager.words == []


@by_path
def test_the_watchdog_is_fed_whatever_redis_does(
    town: RunningTown, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WATCHDOG=1 comes at least twice in WATCHDOG_USEC: Redis there, frozen, and killed."""
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1e6)))
    town.start()
    town.spawn("one")
    town.wait_idle("one")
    assert max_gap(manager.times_of("WATCHDOG=1", 2.6)) <= WATCHDOG_S / 2
    town.signal_redis(signal.SIGSTOP)
    assert max_gap(manager.times_of("WATCHDOG=1", 5.2)) <= WATCHDOG_S / 2
    assert any("Redis away" in word for word in manager.words)
    town.kill_redis()
    assert max_gap(manager.times_of("WATCHDOG=1", 2.6)) <= WATCHDOG_S / 2
    manager.wait_for("STATUS=1 agent(s) running")
    town.wait_idle("one")


@by_path
def test_the_watchdog_is_fed_during_the_grace_time(
    town: RunningTown, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long stop is no hang: feeding goes on after STOPPING=1 until the end."""
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    town.start()
    town.spawn("one")
    task = town.assign("one", "await never")
    town.wait_run(task)
    town.signal_supervisor(signal.SIGTERM)
    town.await_supervisor_end()
    words = manager.words
    assert "WATCHDOG=1" in words[words.index("STOPPING=1") :]


@by_path
def test_a_watchdog_of_another_process_is_not_fed(
    town: RunningTown, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$WATCHDOG_PID names who is to feed."""
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    town.start()
    assert len(manager.times_of("WATCHDOG=1", 0.5)) == 2
    assert "READY=1" in manager.words


@by_path
def test_children_do_not_get_the_managers_variables(
    town: RunningTown, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No model and no Redis server has the socket in its environment: none could speak for the service."""
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    town.start()
    town.spawn("one")
    task = town.assign("one", "await go")
    model = town.wait_run(task).pid
    server = town.redis.identity()
    assert server is not None
    for pid in (model, server.pid):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert not [v for v in variables if v.startswith(VARIABLES)]
    town.go()
    town.wait_done(task)


@by_path
def test_a_reload_is_announced_and_ends(town: RunningTown, manager: Manager) -> None:
    """HUP: RELOADING=1 with the time, then READY=1, also when the new settings cannot be used."""
    town.start()
    manager.wait_for("READY=1")
    for settings in ('[supervisor]\ngrace_s = "soon"', "[supervisor]\ngrace_s = 1.0"):
        before = len(manager.words)
        text = (town.root / "tinytown.toml").read_text()
        (town.root / "tinytown.toml").write_text(f'name = "{town.town.name}"\n{settings}\n')
        town.signal_supervisor(signal.SIGHUP)
        wait_until(lambda before=before: "READY=1" in manager.words[before:], 10, "READY after HUP")  # type: ignore[misc]
        reloading = manager.words[before]
        assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert 0 <= time.monotonic() * 1e6 - int(reloading.rpartition("=")[2]) < 10e6
        (town.root / "tinytown.toml").write_text(text)
    assert supervision.status(town.town) is not None


@by_path
def test_a_manager_that_does_not_read_blocks_nobody(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full socket costs words, never time; a status that was lost is said again."""
    monkeypatch.setenv("WATCHDOG_USEC", "3")
    notifier = Notifier()
    for moment in range(1000):
        notifier.feed(float(moment))
    notifier.status("last")
    assert 0 < len(manager.words) < 1000
    notifier.status("last")
    assert manager.words[-1] == "STATUS=last"


@by_path
def test_a_manager_that_has_gone_harms_nobody(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a listener, and with nonsense in the variables, nothing is raised."""
    manager.socket.close()
    for usec in ("0", "-1", "soon", ""):
        monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/notify")
        monkeypatch.setenv("WATCHDOG_USEC", usec)
        notifier = Notifier()
        notifier.ready()
        notifier.stopping()
        assert notifier.feed(1.0) is None
        assert "NOTIFY_SOCKET" not in os.environ


def max_gap(times: list[float]) -> float:
    """The longest silence."""
    return max(later - earlier for earlier, later in itertools.pairwise(times))
