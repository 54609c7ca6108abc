"""What `tt doctor` finds out about a town. Reads only; what is down stays down."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from tinytown.domain.message import Unreadable, parse
from tinytown.domain.outcome import OutcomeKind
from tinytown.domain.record import load
from tinytown.domain.states import AgentState
from tinytown.errors import RedisAway, TinytownError
from tinytown.files import FileLock, half_written
from tinytown.ids import SUPERVISOR_ID
from tinytown.services import servers, supervision, systemctl, unit_file
from tinytown.services.doctor.check import Check, Level, of_error
from tinytown.services.status import AgentStatus, agents
from tinytown.services.towns import UNFINISHED
from tinytown.store.connection import MINIMUM_MAJOR, ServerInfo
from tinytown.store.server import ManagedServer
from tinytown.town import Town

SYSTEMD_WITHIN_S = 1.5
NEARLY_FULL = 0.9
START = "Start it with: tt supervise --detach"


class Server(NamedTuple):
    """What a server that answers says of itself. `appendfsync` None: it does not tell."""

    info: ServerInfo
    persistence: dict[str, Any]
    memory: dict[str, Any]
    appendfsync: str | None
    time_s: float


def state_folder(town: Town) -> Check:
    """`.tt` is there, ours, and closed to others."""
    folder = town.state_dir
    if not folder.is_dir():
        return Check("state folder", Level.WARN, f"{folder} is not there", "Make it with: tt init")
    seen = folder.stat()
    if seen.st_uid != os.getuid():
        return Check("state folder", Level.FAIL, f"{folder} belongs to user {seen.st_uid}", "Work as that user.")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("state folder", Level.FAIL, f"{folder} cannot be written", f"Run: chmod 700 {folder}")
    if seen.st_mode & 0o077:
        mode = f"{seen.st_mode & 0o777:o}"
        return Check("state folder", Level.WARN, f"{folder} is open to others ({mode})", f"Run: chmod 700 {folder}")
    return Check("state folder", Level.OK, str(folder))


def leftovers(town: Town) -> Check:
    """What killed processes left. Our locks leave nothing: the kernel frees them."""
    folder, connector = town.state_dir, town.store.connector
    left = []
    path = connector.socket_path
    if connector.is_managed and path is not None and path.is_socket() and not servers.is_listening(town):
        left.append(path.name)
    if (folder / "supervisor.sock").is_socket() and not supervision.is_running(town):
        left.append("supervisor.sock")
    if (folder / UNFINISHED).exists():
        return Check("leftovers", Level.WARN, "tt init was ended before it was done", "Finish it with: tt init")
    held = [name for name in ("start.lock", "redis.lock") if FileLock(folder / name).is_taken()]
    if held:
        remedy = "Wait for it; if it stays so, see: ps aux | grep 'tt '"
        return Check("leftovers", Level.WARN, f"a command holds {', '.join(held)} now", remedy)
    half = [path.name for path in half_written(folder)]
    if half:
        return Check(
            "leftovers", Level.WARN, f"half-written files: {', '.join(half[:5])}", f"Remove them from {folder}"
        )
    if left:
        return Check(
            "leftovers", Level.WARN, f"dead sockets: {', '.join(left)}", "No harm: the next start removes them."
        )
    return Check("leftovers", Level.OK, "none")


def redis(town: Town) -> tuple[Server | None, Check]:
    """The server, if it answers."""
    connector = town.store.connector
    if connector.is_managed and not servers.is_listening(town):
        return None, Check("redis", Level.WARN, f"not running ({connector.url})", START)
    try:
        server, persistence, memory, time = town.store.read(
            ("INFO", "server"), ("INFO", "persistence"), ("INFO", "memory"), ("TIME",)
        )
    except TinytownError as error:
        process = ManagedServer(town.config.redis, town.state_dir).identity() if connector.is_managed else None
        if process is None or not isinstance(error, RedisAway):
            return None, of_error("redis", error)
        remedy = f"If it stays so, end it with: kill -9 {process.pid}, then run: tt start"
        return None, Check("redis", Level.FAIL, f"{error} Its process (pid {process.pid}) lives.", remedy)
    info = ServerInfo.from_info(server)
    found = Server(info, persistence, memory, _appendfsync(town), time[0] + time[1] / 1e6)
    return found, of_server(info, connector.url)


def of_server(info: ServerInfo, url: str) -> Check:
    """Which server answers, and whether it is new enough."""
    said = f"{'Valkey' if info.name == 'valkey' else 'Redis'} {info.version} answers at {url}"
    if info.major < MINIMUM_MAJOR:
        return Check("redis", Level.FAIL, said, f"Tinytown needs Redis {MINIMUM_MAJOR}.0 or later.")
    if info.is_older_than_recommended:
        return Check("redis", Level.WARN, said, "8.0 or later is recommended.")
    return Check("redis", Level.OK, said)


def durability(server: Server, town: Town) -> Check:
    """What survives an end of the server."""
    said, is_managed = server.persistence, town.store.connector.is_managed
    if said.get("aof_enabled", 0) and said.get("aof_last_write_status", "ok") != "ok":
        return Check("durability", Level.FAIL, "Redis cannot write its append-only file", "Is its disk full?")
    if said.get("aof_last_bgrewrite_status", "ok") != "ok":
        return Check("durability", Level.WARN, "the append-only file was not compacted", "Is its disk full?")
    if not said.get("aof_enabled", 0):
        how = "[redis] persist = true" if is_managed else "CONFIG SET appendonly yes"
        return Check("durability", Level.WARN, "nothing is on disk: an end of Redis loses the town", f"Set {how}")
    match server.appendfsync:
        case "always":
            return Check("durability", Level.OK, "append-only file, appendfsync always")
        case None:
            return Check("durability", Level.WARN, "append-only file; the server does not tell its appendfsync")
        case other:
            loss = "up to 2 s of accepted work" if other == "everysec" else "accepted work"
            how = '[redis] appendfsync = "always"' if is_managed else "CONFIG SET appendfsync always"
            said_so = f"appendfsync {other}: {loss} may be lost even when only redis-server is killed"
            return Check("durability", Level.WARN, said_so, f"Set {how}, if that is too much.")


def memory(server: Server) -> Check:
    """Redis must refuse rather than throw keys away."""
    most, used = int(server.memory.get("maxmemory", 0)), int(server.memory.get("used_memory", 0))
    policy = str(server.memory.get("maxmemory_policy", "noeviction"))
    said = f"{used / 1e6:.0f} MB used" + (f" of {most / 1e6:.0f} MB" if most else "") + f", {policy}"
    if policy != "noeviction":
        level = Level.FAIL if most else Level.WARN
        return Check(
            "memory", level, f"{said}: mail and tasks may be thrown away", "CONFIG SET maxmemory-policy noeviction"
        )
    if most and used > NEARLY_FULL * most:
        return Check("memory", Level.WARN, f"{said}: nearly full", "Raise maxmemory, or prune: tt prune")
    return Check("memory", Level.OK, said)


def supervisor(town: Town, wanted: int | None) -> Check:
    """It runs and beats; `wanted` agents wait for it (None: nobody knows)."""
    try:
        status = supervision.status(town)
    except TinytownError as error:
        return of_error("supervisor", error)
    if status is None:
        if wanted:
            return Check("supervisor", Level.FAIL, f"not running; {wanted} agent(s) wait for it", START)
        return Check("supervisor", Level.OK, "not running; no agent waits for it" if wanted == 0 else "not running")
    said = f"running (pid {status['pid']}), {len(status['children'])} child(ren)"
    if status["redis"] != "ok":
        return Check("supervisor", Level.FAIL, f"{said}, without Redis", f"See {town.state_dir / 'supervisor.log'}")
    return _children(town, status, said)


def _children(town: Town, status: dict[str, Any], said: str) -> Check:
    """Those that were given up, or do not beat."""
    children = status["children"]
    still = [c["name"] for c in children if (c.get("beat_age_s") or 0.0) > town.config.supervisor.hung_s]
    failed = [f"{c['name']} ({c['reason']})" for c in children if c.get("reason")]
    if failed:
        remedy = f"See the logs in {town.state_dir}; to try again: kill -HUP {status['pid']}"
        return Check("supervisor", Level.FAIL, f"{said}; given up: {', '.join(failed)}", remedy)
    if still:
        return Check("supervisor", Level.WARN, f"{said}; no beat of: {', '.join(still)}", "It restarts them by itself.")
    return Check("supervisor", Level.OK, said)


def service(town: Town) -> list[Check]:
    """The unit of systemd, if there is one."""
    unit = unit_file.unit_name(town)
    path = unit_file.unit_path(town)
    if not path.exists():
        return []
    if not unit_file.is_owned(town):
        return [Check("service", Level.WARN, f"{unit} is not this town's", f"See {path}")]
    if not unit_file.is_same(unit_file.read(path) or "", unit_file.unit_text(town)):
        return [Check("service", Level.WARN, f"{unit} is out of date", "Write it again: tt service install")]
    active = systemctl.show(unit, SYSTEMD_WITHIN_S).active
    if active == "failed":
        return [Check("service", Level.FAIL, f"{unit} has failed", f"See: journalctl --user -n 30 -u {unit}")]
    if unit_file.is_enabled(town) and not systemctl.has_linger():
        return [Check("service", Level.WARN, f"{unit} ends when you log out", "Run: loginctl enable-linger")]
    return [Check("service", Level.OK, f"{unit}, {active or 'state unknown'}")]


def people(town: Town) -> tuple[list[AgentStatus], list[Check]]:
    """The agents, and what about them wants a human."""
    found = agents(town)
    wanted = [a for a in found if a.row.wish is not None]
    in_error = [a.agent for a in found if a.agent.state is AgentState.ERROR]
    paused = [a.agent.name for a in found if a.agent.state is AgentState.PAUSED]
    dead = sum(a.pending.dead for a in found)
    checks = [Check("agents", Level.OK, f"{len(found)} known, {len(wanted)} wanted to run")]
    if in_error:
        told = ", ".join(f"{agent.name} ({agent.reason or 'no reason'})" for agent in in_error)
        checks = [
            Check(
                "agents",
                Level.FAIL,
                f"in error: {told}",
                f"See: tt logs {in_error[0].name}; then: tt restart {in_error[0].name}",
            )
        ]
    if paused:
        checks.append(Check("agents", Level.WARN, f"paused: {', '.join(paused)}", f"Go on with: tt resume {paused[0]}"))
    checks.append(Check("dead letters", Level.OK, "none"))
    if dead:
        checks[-1] = Check("dead letters", Level.WARN, f"{dead}", "See them with: tt inbox --all --dead")
    return found, [*checks, *_held(town, found), _questions(town)]


def _held(town: Town, found: list[AgentStatus]) -> Iterator[Check]:
    clis = sorted({a.agent.cli for a in found} | {town.config.default_cli})
    answers = town.store.read(*(("GET", town.store.keys.hold(cli)) for cli in clis))
    for cli, raw in zip(clis, answers, strict=True):
        if raw is None:
            continue
        try:
            told = load(raw)
            kind, detail = str(told["kind"]), str(told["detail"])
        except (ValueError, TypeError, KeyError):
            kind, detail = "unknown", ""
        why = f"{kind}: {detail}".rstrip(": ")
        passes = kind == OutcomeKind.RATE_LIMITED
        remedy = "It goes on by itself." if passes else f"Log in or install it: run {cli} by hand."
        yield Check(f"cli {cli}", Level.WARN, f"on hold for all agents ({why})", remedy)


def _questions(town: Town) -> Check:
    (texts,) = town.store.read(("LRANGE", town.store.keys.inbox(SUPERVISOR_ID), 0, -1))
    count = sum(1 for text in texts if _is_question(text))
    if count:
        return Check("questions", Level.WARN, f"{count} wait for a human", "Read them: tt inbox conductor")
    return Check("questions", Level.OK, "none")


def _is_question(text: str) -> bool:
    try:
        return parse(text).type == "query"
    except Unreadable:
        return False


def _appendfsync(town: Town) -> str | None:
    """Servers of others may forbid the question."""
    try:
        (answer,) = town.store.read(("CONFIG GET", "appendfsync"))
    except TinytownError:
        return None
    return answer.get("appendfsync") if isinstance(answer, dict) else None
