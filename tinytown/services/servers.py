"""The town's Redis as its users meet it: is it there, end it."""

from __future__ import annotations

import socket

from tinytown.errors import RedisAway
from tinytown.town import Town

ANSWER_WITHIN_S = 2.0


def require(town: Town) -> None:
    """Raise RedisAway when nobody listens where the town's own server should. Starts nothing; one connect().

    Said before the client library is loaded, so that a town that is down answers at once. What an external
    server says is the client's to report.
    """
    if town.store.connector.is_managed and not is_listening(town):
        is_new = not town.state_dir.is_dir() or town.is_only_saved
        remedy = "Start it with: tt init" if is_new else "Start it with: tt supervise --detach"
        raise RedisAway(f"Redis is not running for town '{town.name}' ({town.store.connector.url}).", remedy)


def is_listening(town: Town) -> bool:
    """Somebody accepts connections at the address of the town's own server (or it cannot be told)."""
    connector = town.store.connector
    path = connector.socket
    try:
        if path is None:
            socket.create_connection((connector.config.host, connector.config.port), ANSWER_WITHIN_S).close()
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.settimeout(ANSWER_WITHIN_S)
            knock.connect(path.address)
    except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # a full backlog, a time-out: the client will find out and say it better
    return True


def is_own(town: Town) -> bool:
    """The server belongs to this town alone, so the town may end it."""
    return town.store.connector.is_managed and not town.config.redis.use_central


def stop(town: Town) -> bool:
    """End the town's own server, its data stays; False when it is not the town's own or was not running."""
    if not is_own(town):
        return False
    from tinytown.store.server import ManagedServer  # noqa: PLC0415  only commands that end it need it

    town.store.close()
    return ManagedServer(town.config.redis, town.state_dir).stop()
