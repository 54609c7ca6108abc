"""What a server's log says about a start that failed, as one line and a remedy."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from tinytown.errors import Forbidden, TinytownError, Unavailable
from tinytown.store import server_conf
from tinytown.store.binary import ServerBinary
from tinytown.store.connection import Connector

LINES_SHOWN = 3
_PREFIX = re.compile(r"\d+:[A-Z] .*?\d\d:\d\d:\d\d\.\d+ ([.\-*#]) ")

_CUT_SHORT = re.compile(r"AOF (.+)\.(\d+)\.incr\.aof loaded anyway .*\n.*the truncated file is not the last file")

# What the log says -> the error, its line, its remedy; the first that fits.
_CASES: tuple[tuple[str, type[TinytownError], str, str], ...] = (
    (
        r"Failed finding TLS support|connection type tls",
        Unavailable,
        "This redis-server was built without TLS: {binary}",
        "Install one with TLS and name it in redis.server, or set redis.tls_enabled = false.",
    ),
    (
        r"listening socket .*(Cannot assign|Name or service|Permission denied|not known)",
        Unavailable,
        "Redis cannot listen on {listen}: {told}",
        "Set redis.bind to an address of this machine, and redis.port to a port above 1023.",
    ),
    (
        r"Failed to (configure TLS|load (certificate|private key|CA))",
        Unavailable,
        "Redis cannot use its TLS files: {told}",
        "Check redis.tls_cert, redis.tls_key and redis.tls_ca_cert.",
    ),
    (r"No space left on device", Unavailable, "The disk is full: {folder}", "Free some space and try again."),
    (
        r"Permission denied|Read-only file system|Can't chdir|Can't open the log file",
        Forbidden,
        "Redis cannot write its files: {told}",
        "See {log}",
    ),
    (
        r"append.only file|AOF manifest|AOF file|loading DB|rdb file reading|[Ee]nd of file",
        Unavailable,
        "Redis cannot read its append-only files, they are damaged: {files}",
        "Copy that folder, then repair it with: redis-check-aof --fix {manifest}",
    ),
    (r"", Unavailable, "Redis did not start: {told}", "See {log}"),
)


def since(path: Path, offset: int) -> str:
    """What was written after `offset` bytes; empty when there is no log."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(100_000).decode("utf-8", "replace")
    except OSError:
        return ""


def last_lines(text: str) -> str:
    """The end of the log in one line, without process ids and times; the warnings, if it has any."""
    lines = [(_PREFIX.match(line), line) for line in text.splitlines() if "WARNING Memory overcommit" not in line]
    warnings = [line for prefix, line in lines if prefix and prefix[1] == "#"]
    told = [_PREFIX.sub("", line).strip() for line in warnings or [line for _, line in lines]]
    return " / ".join([line for line in told if line][-LINES_SHOWN:]) or "it wrote nothing"


def explain(text: str, found: ServerBinary, connector: Connector) -> TinytownError:
    """The error for a server that ended before it answered."""
    if "Address already in use" in text:
        return port_in_use(connector)
    manifest = server_conf.manifest(connector)
    facts = {
        "binary": found.path,
        "folder": connector.folder,
        "listen": f"{connector.config.bind} port {connector.config.port}",
        "files": manifest.parent,
        "manifest": manifest,
        "log": connector.folder / "redis.log",
        "told": last_lines(text),
    }
    error, line, remedy = next(case[1:] for case in _CASES if re.search(case[0], text))
    return error(line.format(**facts), remedy.format(**facts))


def was_mended(text: str, connector: Connector) -> bool:
    """Redis refused a file with a torn end because it has begun another, and has cut that end off: it will start now.

    Only where the files behind it are empty, as a power loss at the beginning of a rewrite leaves them: what they
    held would be without what was before it.
    """
    cut = _CUT_SHORT.search(text)
    if cut is None:
        return False
    files = server_conf.manifest(connector).parent.glob(f"{glob.escape(cut[1])}.*.incr.aof")
    later = [file for file in files if int(file.name.split(".")[-3]) > int(cut[2])]
    return bool(later) and all(file.stat().st_size == 0 for file in later)


def port_in_use(connector: Connector) -> Unavailable:
    """Somebody else has the address."""
    if connector.socket_path is not None:
        return Unavailable(f"Another program listens on {connector.socket_path}.", "Set redis.socket_path to another.")
    return Unavailable(
        f"Port {connector.config.port} is in use by another program.",
        "Set redis.port to a free one in tinytown.toml, or use_socket = true.",
    )
