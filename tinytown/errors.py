"""Every error a user can cause: one tree, one `kind` each; the doors map the kind.

`kind` is one of not_found, conflict, invalid, forbidden, unavailable, timeout. `str(error)` is the one
line a user reads; `remedy` is at most one more line that says what to do.
"""

from __future__ import annotations

from typing import Any, ClassVar

_SHOWN = 80  # characters
REDIS_DOWNLOADS = "See: https://redis.io/downloads/"


def brief(text: str) -> str:
    """What somebody gave, as an error may repeat it: one line, not all of a whole file."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


class TinytownError(Exception):
    """The root of the tree."""

    kind: ClassVar[str] = "failed"

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled (on its way out of a process) as what it says, not as what it was made from."""
        return TinytownError.__new__, (type(self), *self.args), self.__dict__


class NotFound(TinytownError):
    """What was named does not exist."""

    kind = "not_found"


class Conflict(TinytownError):
    """What was asked contradicts the present state; nothing was changed."""

    kind = "conflict"


class Invalid(TinytownError):
    """The input itself is wrong."""

    kind = "invalid"


class Forbidden(TinytownError):
    """The operating system or a policy refuses it."""

    kind = "forbidden"


class Unavailable(TinytownError):
    """Something outside (Redis, the supervisor) does not answer."""

    kind = "unavailable"


class TimedOut(TinytownError):
    """The wished state was not reached in time."""

    kind = "timeout"


class AgentNotFound(NotFound):
    """No agent of that name, nickname or id."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"Agent not found: {brief(reference)}", "See the agents with: tt list")


class TaskNotFound(NotFound):
    """No task of that id."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"Task not found: {brief(reference)}", "See the tasks with: tt task list")


class NotInitialized(NotFound):
    """There is no town here."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Town not initialized at {path.removesuffix('.')}. Run 'tt init' first.")


class ConfigInvalid(Invalid):
    """A configuration file that cannot be used."""


class IllegalTransition(Conflict):
    """A state change that the transition table does not allow."""


class EpochLost(Conflict):
    """The caller acts for a spawn of an agent that is no longer the current one."""


class RedisNotInstalled(Unavailable):
    """No usable redis-server binary."""

    def __init__(self, remedy: str) -> None:
        super().__init__(
            "Redis not found. Please install Redis 8.0+ and ensure 'redis-server' is on your PATH.\n" + REDIS_DOWNLOADS,
            remedy,
        )


class RedisVersionTooOld(Unavailable):
    """A server that is older than the town needs."""

    def __init__(self, version: str, remedy: str | None = None) -> None:
        super().__init__(
            f"Redis version {version} is too old. Tinytown requires Redis 8.0 or later.\n" + REDIS_DOWNLOADS, remedy
        )


class RedisAway(Unavailable):
    """The server does not answer (now)."""

    @classmethod
    def at(cls, url: str, *, is_managed: bool) -> RedisAway:
        """The one text for a server that does not answer. `url` without its password."""
        external = "Check that it runs, and redis.url, or redis.host and redis.port."
        ours = "Start it with: tt supervise --detach"
        return cls(f"Redis is not answering at {url}.", ours if is_managed else external)
