"""A mirror of Redis releases for tests: small source trees whose Makefile "builds" a real server, served on loopback.

Run as a program it serves a folder on a free port, says which, and lies about lengths below /short/.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tinytown.config import RedisConfig
from tinytown.store import binary

BUILD = "cp {server} redis-server"


def real_server() -> binary.ServerBinary:
    """The one that the tests' towns use."""
    return binary.find(RedisConfig())


def release(folder: Path, version: str, build: str = BUILD, *, listed: str | None = None) -> Path:
    """`redis-<version>.tar.gz` in the folder, and its line in the list of checksums (`listed`: a wrong one)."""
    source = folder / f"tree-{version}" / f"redis-{version}" / "src"
    source.mkdir(parents=True)
    recipe = build.format(server=real_server().path)
    (source / "Makefile").write_text(
        f"redis-server:\n\t@echo CC server.o\n\t{recipe}\n"
        "redis-cli:\n\tprintf '#!/bin/sh\\necho cli\\n' > redis-cli && chmod +x redis-cli\n"
    )
    tarball = folder / f"redis-{version}.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(source.parent, f"redis-{version}")
    with (folder / "README").open("a") as lines:
        lines.write(f"hash {tarball.name} sha256 {listed or checksum(tarball)} http://x/{tarball.name}\n")
    return tarball


def checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The folder's address."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.support.mirror", str(folder)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files as they are; below /short/ the connection ends before the file does."""

    def do_GET(self) -> None:
        is_short = self.path.startswith("/short/") and not self.path.endswith("README")
        self.path = self.path.removeprefix("/short")
        if not is_short:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"x" * 1000)


def main() -> None:
    """Serve the folder until killed."""
    handler = functools.partial(Handler, directory=sys.argv[1])
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
