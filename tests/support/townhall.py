"""The real `townhall` program of a town: started on a free port, asked over HTTP, ended."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import tomli_w

from tests.support import warm
from tests.support.redis_server import TestRedis
from tests.support.waiting import wait_until
from tinytown import ids
from tinytown.town import Town, open_town

PROGRAM = Path(sys.executable).parent / "townhall"
START_S = 20.0
ANSWER_S = 20.0
_URL = re.compile(r"https?://\S+:\d+")


def make_town(server: TestRedis, root: Path, database: int = 1, **tables: Any) -> Town:
    """A town at `root` on this server, with these entries and tables in its tinytown.toml; nothing runs for it."""
    (root / ".tt" / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
    url = f"unix://{server.connector.socket_path}?db={database}"
    stored = {"name": "t-" + ids.short(ids.new_id()), "redis": {"url": url}} | tables
    (root / "tinytown.toml").write_text(tomli_w.dumps(stored))
    return open_town(str(root))


class TownHall:
    """`townhall --town ROOT rest --port 0 ARGS...`. A context manager, or `start` and `stop`.

    `command`: rest or mcp-http. What it says is in the file `log` (stderr) and `out` (stdout, which stays empty).
    """

    def __init__(self, root: Path, *args: str, command: str = "rest", env: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.argv = [str(PROGRAM), "--town", str(root), command, "--port", "0", *args]
        self.env = {**os.environ, **(env or {})}
        where = root.parent
        number = len(list(where.glob("townhall-*.err")))
        self.log, self.out = where / f"townhall-{number}.err", where / f"townhall-{number}.out"
        self.log.touch()
        self._process: subprocess.Popen[bytes] | warm.Process | None = None
        self._clients: list[httpx2.Client] = []

    def start(self) -> Self:
        """Return when it listens."""
        with self.log.open("ab") as err, self.out.open("ab") as out:
            self._process = self._started(out.fileno(), err.fileno())
        wait_until(lambda: self._url() or self.process.poll() is not None, START_S, "the town hall's address")
        assert self._url(), f"the town hall ended with {self.process.wait()}:\n{self.said}"
        return self

    def _started(self, out: int, err: int) -> subprocess.Popen[bytes] | warm.Process:
        with contextlib.suppress(warm.NotWarm):
            return warm.TOWNHALL.start(self.argv[1:], self.root, self.env, out, err)
        return subprocess.Popen(
            self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=self.root
        )

    @functools.cached_property
    def town(self) -> Town:
        """The town, on a connection of the test's own."""
        return open_town(str(self.root))

    @property
    def process(self) -> subprocess.Popen[bytes] | warm.Process:
        """The program; it was started."""
        assert self._process is not None
        return self._process

    @property
    def said(self) -> str:
        """What it wrote on stderr."""
        return self.log.read_text(errors="replace")

    @property
    def url(self) -> str:
        """Where it listens, as it said: http://127.0.0.1:PORT."""
        found = self._url()
        assert found is not None, self.said
        return found

    @property
    def port(self) -> int:
        """The port of it."""
        return int(httpx2.URL(self.url).port or 0)

    def client(self, **options: Any) -> httpx2.Client:
        """An HTTP client with the address as its base; closed with the town hall."""
        given: dict[str, Any] = {"base_url": self.url, "timeout": ANSWER_S, "trust_env": False}
        made = httpx2.Client(**given | options)
        self._clients.append(made)
        return made

    def stop(self, timeout: float = 10.0) -> int:
        """TERM, and wait for its end; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self) -> None:
        """End it by force if it still lives; print what it said (pytest shows it for a test that failed)."""
        for client in self._clients:
            client.close()
        if "town" in self.__dict__:
            self.town.store.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        print(f"--- {self.log.name}", self.said[-6000:], sep="\n")  # noqa: T201

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.process.poll() is None:
                assert self.stop() == 0, f"the town hall did not leave as it should:\n{self.said}"
        finally:
            self.close()

    def _url(self) -> str | None:
        found = _URL.search(self.said.partition("\n")[0]) if "\n" in self.said else None
        return found.group() if found else None
