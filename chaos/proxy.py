"""A process between the town and its Redis: it slides itself before every new server's socket, and makes trouble.

Commands on stdin, a line each: `drop N` closes N connections, `slow MS SECONDS` delays what passes, `calm` ends that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

LOOK_S = 0.02
BLOCK = 65536


class Proxy:
    """Between `socket`, where the town looks for its server, and the server that bound that name last."""

    def __init__(self, socket: Path, folder: Path, seed: str) -> None:
        self.socket = socket
        self.hidden = folder / "server.sock"
        self.fresh = folder / "proxy.sock"
        self.choice = random.Random(seed)  # noqa: S311  no secret
        self.delay_s, self.slow_until = 0.0, 0.0
        self.pairs: set[Callable[[], None]] = set()  # each closes one connection
        self.server: asyncio.Server | None = None
        self.inode = 0

    async def run(self) -> None:
        """Until stdin ends."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        keeper = asyncio.create_task(self._keep_before_the_server())
        async for line in reader:
            self._obey(line.decode().split())
        keeper.cancel()

    def _obey(self, words: list[str]) -> None:
        if words[:1] == ["drop"]:
            for close in self.choice.sample(sorted(self.pairs, key=id), min(int(words[1]), len(self.pairs))):
                close()
        elif words[:1] == ["slow"]:
            self.delay_s = int(words[1]) / 1000
            self.slow_until = asyncio.get_running_loop().time() + float(words[2])
        elif words == ["calm"]:
            self.delay_s = 0.0

    async def _keep_before_the_server(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                inode = self.socket.stat().st_ino
                if inode != self.inode:
                    await self._take_over()
                elif not await self._is_alive():
                    self._leave()
            await asyncio.sleep(LOOK_S)

    async def _take_over(self) -> None:
        """A server has bound the name: keep it under another one, and put ours in its place in one step."""
        for left in (self.hidden, self.fresh):
            left.unlink(missing_ok=True)
        os.link(self.socket, self.hidden)
        if not await self._is_alive():  # the name is a dead server's
            return
        if self.server is not None:
            self.server.close()
        self.server = await asyncio.start_unix_server(self._serve, self.fresh)
        self.inode = self.fresh.stat().st_ino
        self.fresh.rename(self.socket)

    async def _is_alive(self) -> bool:
        with contextlib.suppress(OSError):
            _reader, writer = await asyncio.open_unix_connection(self.hidden)
            writer.close()
            return True
        return False

    def _leave(self) -> None:
        """The server is dead: nobody must take us for one."""
        if self.server is not None:
            self.server.close()
            self.server = None
        with contextlib.suppress(OSError):
            if self.socket.stat().st_ino == self.inode:
                self.socket.unlink()
        self.inode = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inside_reader, inside_writer = await asyncio.open_unix_connection(self.hidden)
        except OSError:
            writer.close()
            self._leave()
            return

        def close() -> None:
            for end in (writer, inside_writer):
                if not end.transport.is_closing():
                    end.transport.abort()

        self.pairs.add(close)
        try:
            await asyncio.gather(self._pump(reader, inside_writer), self._pump(inside_reader, writer))
        finally:
            self.pairs.discard(close)
            close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await source.read(BLOCK):
                if self.delay_s and loop.time() < self.slow_until:
                    await asyncio.sleep(self.delay_s)
                sink.write(data)
                await sink.drain()
        with contextlib.suppress(OSError):
            sink.close()


if __name__ == "__main__":
    asyncio.run(Proxy(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]).run())
