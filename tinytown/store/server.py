"""The Redis server that a town starts and keeps for itself."""

from __future__ import annotations

import contextlib
import enum
import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from tinytown import clock, files, processes
from tinytown.config import RedisConfig
from tinytown.errors import Forbidden, Unavailable
from tinytown.processes import Identity
from tinytown.store import binary, server_conf, server_log
from tinytown.store.binary import ServerBinary
from tinytown.store.connection import Connector

START_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 2.0
GONE_TIMEOUT_S = 5.0
POLL_S = 0.003
LOG_BYTES = 5_000_000
# A service's or a model run's own marks: a server that carried them would be taken for a part of it.
_NOT_INHERITED = re.compile(
    r"TINYTOWN_(RUN|TOWN|AGENT_.*|TASK_.*|REDIS_PASSWORD)|REDIS_URL|NOTIFY_SOCKET|WATCHDOG_.*|LISTEN_.*|INVOCATION_ID"
)


class Answer(enum.Enum):
    """What a look at the server's address found."""

    READY = "ready"
    LOADING = "loading"
    SILENT = "silent"  # somebody listens, nobody answers
    NOBODY = "nobody"


class ManagedServer:
    """Starts and stops one server, for one town or (`use_central`) for all towns of a user."""

    def __init__(self, config: RedisConfig, state_dir: Path) -> None:
        self.connector = Connector(config, state_dir)
        self.folder = self.connector.folder
        self.log_path = self.folder / "redis.log"
        self._record = self.folder / "redis.json"

    def ensure(self, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Start the server unless one answers; True when this call started it. Callers at once start one.

        Raises Unavailable when a live server does not answer (it is left alone) or none can be started,
        Forbidden, ConfigInvalid, RedisNotInstalled, RedisVersionTooOld.
        """
        if not self.connector.is_managed or self.look() is Answer.READY:
            return False
        deadline = clock.monotonic() + timeout_s
        with self._locked(deadline):
            answer = self._settled(deadline)
            if answer is Answer.SILENT:
                raise self._silent()
            if answer is Answer.READY:
                return False
            self._start(deadline)
            return True

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End the server; its data stays. False when none was there. The last resort is SIGKILL, by identity."""
        if not self.connector.is_managed or not self.folder.is_dir():
            return False
        with self._locked(clock.monotonic() + timeout_s):
            process = self.identity()
            if process is not None:
                _end(process, timeout_s)
            self._clean()
            return process is not None

    def identity(self) -> Identity | None:
        """The living server process that this town started or uses by its socket; None when there is none."""
        recorded = Identity.from_dict(files.read_json(self._record))
        if processes.is_alive(recorded):
            return recorded
        return self._unrecorded() or self._listener()

    def _unrecorded(self) -> Identity | None:
        """The server that was started here and is not in the record (yet)."""
        if self._is_inhabited():
            with contextlib.suppress(OSError, ValueError):
                return processes.identity(int((self.folder / "redis.pid").read_text()))
        return None

    def look(self) -> Answer:
        """Knock at the server's address, at most two time-outs long. Changes nothing."""
        knock = self._knock()
        if isinstance(knock, Answer):
            return knock
        knock.close()
        from redis import exceptions  # noqa: PLC0415  costs 120 ms

        client = self.connector.client(timeout_s=ANSWER_TIMEOUT_S, retries=0)
        try:
            client.ping()
        except exceptions.BusyLoadingError:
            return Answer.LOADING
        except (exceptions.AuthenticationError, exceptions.ResponseError):
            return Answer.READY  # it lives and refuses: for `Connector.check` to explain
        except (exceptions.RedisError, OSError) as error:
            refused = "_ssl.c" in str(error) or "max number of clients" in str(error)
            return Answer.READY if refused else Answer.SILENT  # as above
        finally:
            client.close()
        return Answer.READY

    def _settled(self, deadline: float) -> Answer:
        """Look until the answer is final: not loading, and no living process that does not listen (yet)."""
        patience = min(deadline, clock.monotonic() + GONE_TIMEOUT_S)
        while True:
            answer = self.look()
            if answer is Answer.NOBODY and self.identity() is None and not self._is_inhabited():
                return answer
            # A server that was killed just now may still accept until its last thread has gone.
            if answer is Answer.READY or (answer is Answer.SILENT and self.identity() is not None):
                return answer
            if clock.monotonic() > (deadline if answer is Answer.LOADING else patience):
                return Answer.SILENT
            clock.sleep(POLL_S)

    def _start(self, deadline: float) -> None:
        found = binary.find(self.connector.config, self.connector.root)
        self._prepare()
        log_start, output = self._log_end(), self._run(found)
        while (answer := self.look()) is not Answer.READY:
            if answer is Answer.NOBODY and not self._is_inhabited():
                told = output + server_log.since(self.log_path, log_start)
                if not server_log.was_mended(told, self.connector):
                    raise server_log.explain(told, found, self.connector)
                log_start, output = self._log_end(), self._run(found)
            if clock.monotonic() > deadline:
                told = server_log.last_lines(server_log.since(self.log_path, log_start))
                raise Unavailable(f"Redis was started but does not answer yet: {told}", f"See {self.log_path}")
            clock.sleep(POLL_S)
        process = self._unrecorded()  # never who else may listen: what is recorded and lives is never replaced
        record = {"version": found.version_text, "name": found.name} | (process.to_dict() if process else {})
        files.write_atomic(self._record, json.dumps(record))

    def _log_end(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def _prepare(self) -> None:
        try:
            self._close_port()
            conf = server_conf.text(self.connector)
            if self.connector.config.persist:
                server_conf.place_append_only_files(self.connector)
            self._clean()
            if self.connector.socket_path is not None:
                self.connector.socket_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES:
                os.truncate(self.log_path, 0)
            files.write_atomic(self.folder / "redis.conf", conf)
        except OSError as error:
            raise Forbidden(f"Cannot write {error.filename or self.folder}: {error.strerror}.") from error

    def _close_port(self) -> None:
        """A server on TCP gets a password in any case: every user can connect to a port.

        One that was made stays for good: another town may be about to start a server with it.
        """
        secret = self.connector.secret_path
        if self.connector.config.use_socket or self.connector.password:
            return
        files.make_private(secret.parent, parents=True)
        with files.locked(secret.with_name(f"{secret.name}.lock")):
            if not self.connector.password:
                files.write_atomic(secret, os.urandom(32).hex())

    def _run(self, found: ServerBinary) -> str:
        """Start the daemon; returns what it said before it left for the background."""
        argv = [os.path.abspath(found.path), *server_conf.FROM_STDIN]
        life = self._new_life()
        try:
            if os.environ.keys() & {"NOTIFY_SOCKET", "INVOCATION_ID"} and shutil.which("systemd-run"):
                # Out of the service's own control group, which ends with the service.
                scope = ["systemd-run", "--user", "--scope", "--collect", "--quiet", *argv]
                started, output = self._spawn(scope, life)
                if started:
                    return output
            return self._spawn(argv, life)[1]
        finally:
            os.close(life)

    def _spawn(self, argv: list[str], life: int) -> tuple[bool, str]:
        import subprocess  # noqa: PLC0415  only a start needs it

        try:
            with (self.folder / "redis.conf").open("rb") as conf:
                done = subprocess.run(
                    argv,
                    cwd=self.folder,
                    env=environment(),
                    pass_fds=(life,),
                    stdin=conf,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    umask=0o077,
                    timeout=START_TIMEOUT_S,
                    check=False,
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            return False, str(error)
        return done.returncode == 0, done.stdout.decode("utf-8", "replace")

    def _new_life(self) -> int:
        """A lock that the server inherits, held for exactly as long as it lives.

        It proves what a recorded pid cannot: that a server is there although its starter was killed before it
        could record it, or that a fresh one has just died.
        """
        fd = os.open(self.folder / "redis.alive", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)  # free: at most somebody's `_is_inhabited` holds it for a moment
        return fd

    def _is_inhabited(self) -> bool:
        try:
            fd = os.open(self.folder / "redis.alive", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _knock(self) -> socket.socket | Answer:
        """A connection to whoever listens. Only a refusal proves that nobody does."""
        config = self.connector.config
        path = self.connector.socket
        try:
            if path is None:
                return socket.create_connection((config.host, config.port), ANSWER_TIMEOUT_S)
            knock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            knock.settimeout(ANSWER_TIMEOUT_S)
            try:
                knock.connect(path.address)
            except OSError:
                knock.close()
                raise
        except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
            return Answer.NOBODY
        except OSError:
            return Answer.SILENT
        return knock

    def _listener(self) -> Identity | None:
        """Who listens on the socket, by the kernel's word."""
        if self.connector.socket is None:
            return None
        knock = self._knock()
        if isinstance(knock, Answer):
            return None
        with knock:
            peer = knock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return processes.identity(struct.unpack("3i", peer)[0])

    def _silent(self) -> Unavailable:
        process = self.identity()
        if process is None and self._is_inhabited():  # a child of a killed server, that writes its last file
            return Unavailable(f"A Redis process has not left {self.folder} yet.", "Try again in a moment.")
        if process is None:
            return server_log.port_in_use(self.connector)
        return Unavailable(
            f"Redis (pid {process.pid}) is not answering.",
            f"If it stays so, end it with: kill -9 {process.pid}, then run: tt start",
        )

    def _clean(self) -> None:
        """Remove what a dead server and killed starters left; the socket only when nobody listens on it."""
        files.remove_half_written(self.folder)
        stale = [self._record, self.folder / "redis.pid"]
        stale += [*self.folder.glob("temp-*.aof"), *self.folder.glob("temp-*.rdb")]  # a rewrite it did not finish
        path = self.connector.socket_path
        if path is not None and path.is_socket():
            knock = self._knock()
            if knock is Answer.NOBODY:
                stale.append(path)
            elif isinstance(knock, socket.socket):
                knock.close()
        for left in stale:
            with contextlib.suppress(FileNotFoundError):
                left.unlink()

    @contextlib.contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        try:
            files.make_private(self.folder)
        except OSError as error:
            raise Forbidden(f"Cannot write {self.folder}: {error.strerror}.") from error
        lock = files.FileLock(self.folder / "redis.lock")
        while not lock.acquire():
            if clock.monotonic() > deadline:
                raise Unavailable("Another command is busy starting or stopping Redis.", f"See {self.log_path}")
            clock.sleep(POLL_S)
        try:
            yield
        finally:
            lock.release()


def environment() -> dict[str, str]:
    """What a server inherits."""
    return {k: v for k, v in os.environ.items() if not _NOT_INHERITED.fullmatch(k)}


def _end(process: Identity, timeout_s: float) -> None:
    """TERM, which is SHUTDOWN for exactly this process and without a password; after the time-out KILL."""
    fd = processes.open_pidfd(process)
    if fd is None:
        return
    try:
        # One descriptor for both waits: it fires when the last thread has gone and the socket is closed,
        # while the process counts as dead (a zombie) from its first thread's end.
        gone = select.poll()
        gone.register(fd, select.POLLIN)
        for signum, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, GONE_TIMEOUT_S)):
            processes.send(process, signum)
            if gone.poll(patience_s * 1000):
                return
    finally:
        os.close(fd)
