"""The doctor's judgements: each is broken for real, and its line seen."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support import town as towns
from tests.support.builders import make_message
from tests.support.redis_server import TestRedis
from tests.support.town import fresh_town
from tests.support.waiting import wait_until
from tinytown import clock, config, processes
from tinytown.config import Config, RedisConfig
from tinytown.domain.record import dump
from tinytown.domain.states import AgentState
from tinytown.errors import Unavailable
from tinytown.files import FileLock
from tinytown.ids import SUPERVISOR_ID
from tinytown.services import unit_file
from tinytown.services.doctor import examination, machine, versions
from tinytown.services.doctor import town as of_town
from tinytown.services.doctor.check import Check, Level
from tinytown.services.doctor.versions import Version
from tinytown.store.inboxes import bury
from tinytown.town import Town, change

OK, WARN, FAIL = Level


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestRedis]:
    """A server that tests of this module may spoil."""
    with TestRedis(tmp_path_factory.mktemp("breakable")) as server:
        yield server


@pytest.fixture
def own(breakable: TestRedis, tmp_path: Path) -> Iterator[Town]:
    """A town on it; the server's settings are as before in the end."""
    fresh = fresh_town(breakable, tmp_path / "own")
    yield fresh
    redis = fresh.store.redis
    for name, value in (
        ("maxmemory", "0"), ("maxmemory-policy", "noeviction"), ("appendfsync", "always"), ("appendonly", "yes"),
    ):  # fmt: skip
        redis.config_set(name, value)
    fresh.store.close()


def server_of(town: Town) -> of_town.Server:
    server, check = of_town.redis(town)
    assert server is not None, check
    return server


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.mark.parametrize(
    ("policy", "most", "level", "said"),
    [
        ("noeviction", "0", OK, "noeviction"),
        ("allkeys-lru", "100mb", FAIL, "mail and tasks may be thrown away"),
        ("allkeys-lru", "0", WARN, "mail and tasks may be thrown away"),
        ("noeviction", "1", WARN, "nearly full"),
    ],
)
def test_memory(own: Town, policy: str, most: str, level: Level, said: str) -> None:
    """A server that evicts keys loses mail; a full one refuses it."""
    redis = own.store.redis
    redis.config_set("maxmemory-policy", policy)
    redis.config_set("maxmemory", most)
    check = of_town.memory(server_of(own))
    assert (check.level, said in check.finding) == (level, True), check


@pytest.mark.parametrize(
    ("name", "value", "level", "said"),
    [
        ("appendfsync", "always", OK, "appendfsync always"),
        ("appendfsync", "everysec", WARN, "up to 2 s of accepted work may be lost"),
        ("appendfsync", "no", WARN, "accepted work may be lost"),
        ("appendonly", "no", WARN, "an end of Redis loses the town"),
    ],
)
def test_durability(own: Town, name: str, value: str, level: Level, said: str) -> None:
    """What an end of the server costs is said."""
    own.store.redis.config_set(name, value)
    check = of_town.durability(server_of(own), own)
    assert (check.level, said in check.finding) == (level, True), check
    assert (check.remedy is None) == (level is OK)


def test_what_redis_reports_of_its_disk(own: Town) -> None:
    """A write that failed is broken, a rewrite that failed is not yet; a server that hides its settings is told."""
    server = server_of(own)
    written = server._replace(persistence=server.persistence | {"aof_last_write_status": "err"})
    rewritten = server._replace(persistence=server.persistence | {"aof_last_bgrewrite_status": "err"})
    assert of_town.durability(written, own).level is FAIL
    assert "not compacted" in of_town.durability(rewritten, own).finding
    assert "does not tell" in of_town.durability(server._replace(appendfsync=None), own).finding


def test_a_server_that_forbids_the_question(own: Town) -> None:
    """CONFIG refused by an ACL is no failure: appendfsync is unknown."""
    redis = own.store.redis
    redis.acl_setuser("default", enabled=True, commands=["-config"])
    try:
        assert server_of(own).appendfsync is None
    finally:
        redis.acl_setuser("default", enabled=True, commands=["+@all"])


def test_redis_that_is_not_there(tmp_path: Path) -> None:
    """Our own: down is a warning with what starts it. Another's: a failure."""
    (tmp_path / ".tt").mkdir(mode=0o700)
    ours = Town(tmp_path, Config(name="x"), is_hurried=True)
    theirs = Town(tmp_path, Config(name="x", redis=RedisConfig(url="redis://127.0.0.1:1")), is_hurried=True)
    assert of_town.redis(ours)[1] == Check(
        "redis", WARN, f"not running (unix://{tmp_path}/.tt/redis.sock)", "Start it with: tt supervise --detach"
    )
    assert of_town.redis(theirs)[1].level is FAIL


def test_a_frozen_server(tmp_path: Path) -> None:
    """Its process is named, with how to end it."""
    with TestRedis(tmp_path) as server:
        town = Town(tmp_path, Config(name="x"), is_hurried=True)
        pid = server.process.pid
        server.freeze()
        check = of_town.redis(town)[1]
        server.thaw()
    assert check.level is FAIL
    assert f"(pid {pid}) lives" in check.finding
    assert f"kill -9 {pid}" in (check.remedy or "")


@pytest.mark.parametrize(("version", "level"), [("6.2.1", FAIL), ("7.4.0", WARN), ("8.0.0", OK)])
def test_versions_of_the_server(own: Town, version: str, level: Level) -> None:
    """Below 7 is broken, below 8 works."""
    check = of_town.of_server(replace(server_of(own).info, version=version), "redis://x")
    assert (check.level, version in check.finding) == (level, True)


def test_the_state_folder(tmp_path: Path) -> None:
    """Missing, open to others, as it should be."""
    town = Town(tmp_path, Config(name="x"))
    assert of_town.state_folder(town).remedy == "Make it with: tt init"
    folder = tmp_path / ".tt"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    check = of_town.state_folder(town)
    assert (check.level, check.remedy) == (WARN, f"Run: chmod 700 {folder}")
    assert "(755)" in check.finding
    folder.chmod(0o700)
    assert of_town.state_folder(town).level is OK


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_the_state_folder_of_another(tmp_path: Path) -> None:
    """Another user's folder is broken."""
    (tmp_path / ".tt").mkdir(mode=0o700)
    os.chown(tmp_path / ".tt", 12345, -1)
    check = of_town.state_folder(Town(tmp_path, Config(name="x")))
    assert (check.level, "belongs to user 12345" in check.finding) == (FAIL, True)


def test_leftovers(tmp_path: Path) -> None:
    """Dead sockets, a half-written file of a dead writer, an unfinished init, a lock that is held; else none."""
    town = Town(tmp_path, Config(name="x"))
    folder = tmp_path / ".tt"
    folder.mkdir(mode=0o700)
    assert of_town.leftovers(town) == Check("leftovers", OK, "none")
    with TestRedis(tmp_path) as server:
        assert of_town.leftovers(town).level is OK
        server.kill()
        assert of_town.leftovers(town).finding == "dead sockets: redis.sock"
    (folder / "redis.json.999999999.tmp").touch()
    (folder / f"redis.json.{os.getpid()}.tmp").touch()
    assert of_town.leftovers(town).finding == "half-written files: redis.json.999999999.tmp"
    lock = FileLock(folder / "start.lock")
    lock.acquire()
    assert "start.lock" in of_town.leftovers(town).finding
    lock.release()
    (folder / "init.unfinished").touch()
    assert of_town.leftovers(town).remedy == "Finish it with: tt init"


def test_people(town: Town) -> None:
    """Agents in error are broken; paused ones, dead letters, held CLIs and questions want a human."""
    assert {check.level for check in of_town.people(town)[1]} == {OK}
    towns.register(town, "sick", wanted=False, state=AgentState.ERROR, reason="5 restarts in 60 s")
    towns.register(town, "resting", state=AgentState.PAUSED)
    agent = towns.register(town, "busy", cli="codex")
    change(town.store, lambda tx: bury(tx, agent.id, "{}", "why", "2026-01-02T03:04:05Z", 3))
    redis = town.store.redis
    redis.set(town.store.keys.hold("codex"), dump({"kind": "auth_failed", "detail": "log in", "until": 0}))
    redis.set(town.store.keys.hold("claude"), dump({"kind": "rate_limited", "detail": "", "until": 0}))
    redis.rpush(town.store.keys.inbox(SUPERVISOR_ID), '{"nonsense"', make_message("query", question="?").to_json())
    found, checks = of_town.people(town)
    said = by_name(checks)
    assert len(found) == 3
    assert said["agents"].level is WARN  # the later of two lines of that name
    assert said["agents"].finding == "paused: resting"
    assert checks[0] == Check(
        "agents", FAIL, "in error: sick (5 restarts in 60 s)", "See: tt logs sick; then: tt restart sick"
    )
    assert said["dead letters"][1:] == (WARN, "1", "See them with: tt inbox --all --dead")
    assert said["cli codex"].finding == "on hold for all agents (auth_failed: log in)"
    assert said["cli codex"].remedy == "Log in or install it: run codex by hand."
    assert said["cli claude"].remedy == "It goes on by itself."
    assert said["questions"].finding == "1 wait for a human"


def test_a_hold_that_cannot_be_read(town: Town) -> None:
    """What was written by hand is still a hold."""
    town.store.redis.set(town.store.keys.hold("claude"), "nonsense")
    assert "on hold for all agents (unknown)" in by_name(of_town.people(town)[1])["cli claude"].finding


@pytest.mark.parametrize(
    ("year", "ticks", "server_s", "level", "said"),
    [
        (2026, (1.0, 1.0), None, OK, "2026-01-01 00:00:00 UTC"),
        (1970, (1.0, 1.0), None, FAIL, "it is 1970"),
        (2026, (1.0, 0.9), None, FAIL, "went back"),
        (2026, (1.0, 1.0), -60.0, WARN, "60 s ahead of Redis"),
        (2026, (1.0, 1.0), 60.0, WARN, "60 s behind Redis"),
        (2026, (1.0, 1.0), 1.0, OK, "UTC"),
    ],
)
def test_clocks(year: int, ticks: tuple[float, float], server_s: float | None, level: Level, said: str) -> None:
    """A clock without a battery, one that runs back, two machines that do not agree."""
    now = datetime(year, 1, 1, tzinfo=UTC)
    check = machine.clocks(now, ticks, None if server_s is None else now.timestamp() + server_s)
    assert (check.level, said in check.finding) == (level, True), check


def test_disk(tmp_path: Path) -> None:
    """Little room is a warning, next to none is broken, as is a folder that cannot be asked."""
    assert machine.disk(tmp_path, low=0).level is OK
    assert machine.disk(tmp_path, low=2**62, full=0).level is WARN
    assert machine.disk(tmp_path, low=2**62, full=2**62).level is FAIL
    assert "No such file" in machine.disk(tmp_path / "gone").finding


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """~/.tt is for its owner alone; a registry that cannot be read is broken."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert machine.home()[0].finding.endswith("is not there yet")
    folder = tmp_path / ".tt"
    folder.mkdir(mode=0o700)
    assert machine.home() == [Check("home", OK, f"{folder}, 0 town(s)")]
    config.global_file().touch(mode=0o644)
    folder.chmod(0o750)
    assert [check.remedy for check in machine.home()] == [
        f"Run: chmod 700 {folder}", f"Run: chmod 600 {config.global_file()}",
    ]  # fmt: skip
    (folder / "towns.toml").write_text("[[")
    assert machine.home()[-1].level is FAIL


def test_git() -> None:
    """Missing, broken, there."""
    assert (machine.git(None).level, machine.git(Version("dubious", 128)).level) == (WARN, WARN)
    assert machine.git(Version("git version 2.39.5", 0)) == Check("git", OK, "2.39.5")


def test_redis_binary(tmp_path: Path) -> None:
    """The configured one is no server: the error's first line, with its remedy."""
    check = machine.redis_binary(RedisConfig(server="/bin/true"), tmp_path)
    assert (check.level, check.finding) == (FAIL, "redis.server is no Redis or Valkey server: /bin/true")
    assert machine.redis_binary(RedisConfig(), tmp_path).finding.startswith("Redis 8.")


def test_model_clis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Used and missing, used and unknown, built in, someone's own (never started), known but silent, not used."""
    script(tmp_path, "codex", "echo codex 1.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    built = config.build({"name": "x", "agent_clis": {"mine": {"command": "/bin/false --go"}}}, Path("tinytown.toml"))
    answers = {"codex": Version("codex 1.0", 0), "gemini": Version("no answer", None), "claude": Version("boom", 3)}
    users = {"auggie": ["a", "b"], "codx": ["c"], "demo": ["d"], "mine": ["e"], "codex": ["f"]}
    said = by_name(machine.model_clis(built, users, answers, FAIL))
    assert said["cli auggie"].level is FAIL
    assert "Used by: a, b" in said["cli auggie"].finding
    assert said["cli codx"].remedy == "Did you mean 'codex'?"
    assert said["cli demo"].finding == "built in; used by: d"
    assert said["cli mine"].finding == "/bin/false is there; used by: e"
    assert said["cli codex"][1:3] == (OK, "codex 1.0; used by: f")
    assert said["cli gemini"][1:3] == (WARN, "no answer; not used here")
    assert said["cli claude"][1:3] == (WARN, "boom (exit 3); not used here")


def test_only_known_programs_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the presets that are on PATH, and not our own Python."""
    for name in ("claude", "cursor-agent", "stranger"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert set(machine.vendor_programs()) == {"claude", "cursor-agent"}


def test_versions(tmp_path: Path) -> None:
    """All at once and in time: what hangs is killed with its children, what babbles is cut, what fails says how."""
    (tmp_path / "no-program").write_text("\x7fELF")
    (tmp_path / "no-program").chmod(0o755)
    programs = {
        "good": script(tmp_path, "good", "echo; echo 'good 1.0'; echo more; echo $TINYTOWN_RUN"),
        "hung": script(tmp_path, "hung", f"sleep 99 & echo $! > {tmp_path}/kid; wait"),
        "hung2": script(tmp_path, "hung2", "exec sleep 99"),
        "chatty": script(tmp_path, "chatty", "exec yes chatty"),
        "bad": script(tmp_path, "bad", "echo oops >&2; exit 3"),
        "leaves": script(tmp_path, "leaves", "echo 'leaves 2'; sleep 0.5 &"),
        "no": str(tmp_path / "no-program"),
    }
    begun = clock.monotonic()
    with versions.asking(programs, 1.0) as asked:
        wait_until((tmp_path / "kid").exists)
        said = asked.answers()
    assert clock.monotonic() - begun < 5
    assert said["good"] == Version("good 1.0", 0)
    assert said["hung"] == said["hung2"] == Version("no answer to --version within 1 s", None)
    assert said["chatty"].code is None
    assert said["bad"] == Version("oops", 3)
    assert said["leaves"] == Version("leaves 2", 0)
    assert said["no"].code == 126
    kid = processes.identity(int((tmp_path / "kid").read_text()))
    wait_until(lambda: not processes.is_alive(kid), what="the end of the hanging program's child")


def test_a_failing_check_is_a_finding() -> None:
    """What cannot be looked at is said; what comes too late is not looked at."""

    def raises(error: Exception) -> Callable[[], list[Check]]:
        def check() -> list[Check]:
            raise error

        return check

    later = clock.monotonic() + 60
    (refused,) = examination.safe("x", raises(PermissionError(13, "Permission denied", "/x")), later)
    (gone,) = examination.safe("x", raises(Unavailable("Gone.", "Wait.")), later)
    (late,) = examination.safe("x", raises(ValueError()), clock.monotonic() - 1)
    assert refused == Check("x", FAIL, "/x: Permission denied")
    assert gone == Check("x", FAIL, "Gone.", "Wait.")
    assert late.level is WARN


def test_the_service(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No unit: no line. Another town's, an old one, a failed one, one that ends with the login, a good one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "units"))
    answer = tmp_path / "active"
    script(tmp_path, "systemctl", f"echo ActiveState=$(cat {answer})")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    answer.write_text("active")
    assert of_town.service(town) == []
    unit_file.write(town)
    path = unit_file.unit_path(town)
    assert [check.level for check in of_town.service(town)] == [OK]
    unit_file.link_path(town).parent.mkdir(parents=True)
    unit_file.link_path(town).symlink_to(path)
    (check,) = of_town.service(town)
    assert (check.level, check.remedy) == (WARN, "Run: loginctl enable-linger")
    answer.write_text("failed")
    (check,) = of_town.service(town)
    assert (check.level, check.finding) == (FAIL, f"{path.name} has failed")
    path.write_text(path.read_text().replace("RestartSec=1", "RestartSec=9"))
    assert of_town.service(town)[0].remedy == "Write it again: tt service install"
    path.write_text("[Unit]\n")
    assert "is not this town's" in of_town.service(town)[0].finding


def test_python() -> None:
    """Its version and the system."""
    assert machine.python().finding.startswith(sys.version.split()[0])
