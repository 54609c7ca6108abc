"""redis-py's errors in the project's words. Importing this module imports redis (100 ms)."""

from __future__ import annotations

import re

from redis import exceptions as client

from tinytown.errors import RedisAway, TinytownError, Unavailable

# The first word of a server's refusal -> what it means, what helps.
_REFUSALS = {
    "READONLY": ("Redis is a read-only replica at {url}.", "Point redis.url at the primary."),
    "OOM": ("Redis has no memory left at {url}.", "Raise its maxmemory, or remove old data: tt prune"),
    "MISCONF": ("Redis cannot write its data to disk at {url}.", "Free some disk space; its log says more."),
    "NOPERM": ("Redis refuses a command to this user at {url}.", "Give the user more rights (ACL SETUSER)."),
}


def in_our_words(error: Exception, url: str, *, is_managed: bool) -> TinytownError | None:
    """The project's error for one of the client's; None when it is no such."""
    if isinstance(error, client.AuthenticationError | client.AuthorizationError):
        return Unavailable(
            f"Redis authentication failed at {url}.",
            "Check redis.password or TINYTOWN_REDIS_PASSWORD; a running server keeps the password it was started with.",
        )
    if isinstance(error, client.BusyLoadingError):
        return RedisAway(f"Redis is still loading its data at {url}.", "Try again in a moment.")
    if isinstance(error, client.InvalidResponse):
        return Unavailable(f"What answers at {url} is not Redis.", "Check redis.url, or redis.host and redis.port.")
    if isinstance(error, client.ResponseError):
        return _refusal(error, url)
    if isinstance(error, client.ConnectionError | client.TimeoutError):
        return _crowd(error) or _tls(error, url) or RedisAway.at(url, is_managed=is_managed)
    return None


def _crowd(error: Exception) -> TinytownError | None:
    if not isinstance(error, client.MaxConnectionsError):
        return None
    return Unavailable("Too many threads use one town at once.", "Open one in each thread: Town.connect(path)")


def _refusal(error: client.ResponseError, url: str) -> TinytownError:
    word = error.status_code or str(error).partition(" ")[0]
    if word == "BUSY":
        return RedisAway(f"Redis is busy with a script at {url}.", "Try again, or end it with: redis-cli SCRIPT KILL")
    found = _REFUSALS.get(word)
    if found is None:
        return Unavailable(f"Redis refused a command at {url}: {error}", "Was a key of the town changed by hand?")
    return Unavailable(found[0].format(url=url), found[1])


def _tls(error: Exception, url: str) -> TinytownError | None:
    text = str(error)
    if "EOF occurred in violation of protocol" in text:  # its alert was lost, because we were still writing
        return RedisAway(
            f"Redis closed the TLS connection at {url}.",
            "If it wants a client certificate, set redis.tls_cert and redis.tls_key.",
        )
    reason = re.search(r"\[(?:SSL|X509)(?:: (\w+))?\]([^(\]]*)", text)
    if reason is None:
        return None
    if "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text:
        return Unavailable(
            f"Redis wants a client certificate at {url}.", "Set redis.tls_cert and redis.tls_key to one it accepts."
        )
    detail = reason[2].strip(" ,:'") or (reason[1] or "").replace("_", " ").lower()
    return Unavailable(
        f"No TLS connection to Redis at {url}: {detail}.",
        "Check redis.tls_cert, redis.tls_key, redis.tls_ca_cert and the host's name.",
    )
