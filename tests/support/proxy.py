"""A process between client and Redis: it ends TLS, or changes bytes of the answers."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def proxy(
    target: Path, *, cert: Path | None = None, client_ca: Path | None = None, rewrite: tuple[str, str] | None = None
) -> Iterator[int]:
    """Listen on a port of 127.0.0.1 for the Unix socket `target`; yields the port.

    With `cert` (certificate and key in one file) the port speaks TLS, with `client_ca` it wants a client
    certificate. `rewrite` replaces bytes of the answers by others of the same length.
    """
    argv = [str(target), str(cert or ""), str(client_ca or ""), *(rewrite or ("", ""))]
    with subprocess.Popen([sys.executable, "-S", __file__, *argv], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def main() -> None:
    """Serve until killed."""
    target, cert, client_ca, old, new = sys.argv[1:]
    context = None
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))
    os.write(1, b"%d\n" % listener.getsockname()[1])
    while True:
        client = listener.accept()[0]
        threading.Thread(
            target=serve, args=(client, context, target, (old.encode(), new.encode())), daemon=True
        ).start()


def serve(client: socket.socket, context: ssl.SSLContext | None, target: str, change: tuple[bytes, bytes]) -> None:
    """One connection."""
    try:
        outside = context.wrap_socket(client, server_side=True) if context else client
    except OSError:
        client.close()
        return
    inside = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    inside.connect(target)
    threading.Thread(target=pump, args=(outside, inside, (b"", b"")), daemon=True).start()
    pump(inside, outside, change)


def pump(source: socket.socket, sink: socket.socket, change: tuple[bytes, bytes]) -> None:
    """One direction, until its end."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data.replace(*change) if change[0] else data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()
