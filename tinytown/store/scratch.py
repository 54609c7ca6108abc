"""A Redis for a moment: loads a saved file, to prove it and to work on it. It dies with the process that needs it."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tinytown import clock, processes
from tinytown.config import STATE_DIR, RedisConfig
from tinytown.errors import Forbidden, Unavailable
from tinytown.files import create, make_private, write_atomic
from tinytown.store import binary, saved_file, server_conf, server_log
from tinytown.store.connection import Connector
from tinytown.store.saved_file import Command
from tinytown.store.server import environment

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable

LOAD_WITHIN_S = 120.0
END_WITHIN_S = 5.0
POLL_S = 0.003
_FILE = "saved.aof"


class Scratch:
    """A context manager: inside, a server without network holds what `commands` make. `root` is deleted with it.

    `config` says which redis-server is taken; nothing else of it counts. Only one at a time may use `root`.
    """

    def __init__(self, root: Path, config: RedisConfig, home: Path, commands: Iterable[Command]) -> None:
        self.root = root
        self.config = RedisConfig(appendfsync="no")
        self.connector = Connector(self.config, root / STATE_DIR)
        self._asked, self._home = config, home
        self._commands = commands
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        found = binary.find(self._asked, self._home)
        try:
            self._prepare()
            self._process = self._start(found)
            self._await(found)
        except OSError as error:
            self._clean()
            raise Forbidden(f"Cannot write {error.filename or self.root}: {error.strerror}.") from error
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean()

    def _prepare(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)  # what a killed one left
        files = self.connector.folder / server_conf.AOF_FOLDER
        make_private(files, parents=True)
        saved_file.write(files / _FILE, "-", self._commands)
        write_atomic(server_conf.manifest(self.connector), f"file {_FILE} seq 1 type b\n", sync=False)
        extra = "daemonize no\naof-load-truncated no\nauto-aof-rewrite-percentage 0\n"
        write_atomic(self.connector.folder / "redis.conf", server_conf.text(self.connector) + extra, sync=False)

    def _start(self, found: binary.ServerBinary) -> subprocess.Popen[bytes]:
        import subprocess  # noqa: PLC0415  only saving and restoring need it

        dies_with_us = functools.partial(processes.die_with_parent, os.getpid()) if sys.platform == "linux" else None
        folder = self.connector.folder
        with open(create(folder / "redis.out"), "wb") as output, (folder / "redis.conf").open("rb") as conf:
            return subprocess.Popen(
                [os.path.abspath(found.path), *server_conf.FROM_STDIN],
                cwd=folder,
                env=environment(),
                stdin=conf,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=0o077,
                preexec_fn=dies_with_us,  # noqa: PLW1509  no thread in this process
            )

    def _await(self, found: binary.ServerBinary) -> None:
        from redis import exceptions  # noqa: PLC0415  costs 120 ms

        assert self._process is not None
        deadline = clock.monotonic() + LOAD_WITHIN_S
        client = self.connector.client(retries=0)
        with contextlib.closing(client):
            while True:
                with contextlib.suppress(exceptions.RedisError, OSError):
                    client.ping()
                    return
                if self._process.poll() is not None:
                    told = [server_log.since(self.connector.folder / name, 0) for name in ("redis.out", "redis.log")]
                    raise Unavailable(
                        f"A test load by {found.path} failed: {server_log.last_lines(''.join(told))}", None
                    )
                if clock.monotonic() > deadline:
                    raise Unavailable(f"A test load took longer than {LOAD_WITHIN_S:g} s.")
                clock.sleep(POLL_S)

    def _clean(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            with contextlib.suppress(Exception):
                process.wait(END_WITHIN_S)
        shutil.rmtree(self.root, ignore_errors=True)
