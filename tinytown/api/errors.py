"""The errors that the API raises, by the names that programs catch.

All are `Error`; `str(error)` is one line for people, `error.remedy` one more or None. `RedisError` is whatever does
not answer or refuses to serve: Redis, or the supervisor.
"""

from __future__ import annotations

from tinytown.errors import (
    AgentNotFound,
    ConfigInvalid,
    Conflict,
    Forbidden,
    IllegalTransition,
    Invalid,
    NotFound,
    NotInitialized,
    RedisNotInstalled,
    RedisVersionTooOld,
    TaskNotFound,
    TimedOut,
    TinytownError,
    Unavailable,
)

Error = TinytownError
Timeout = TimedOut
RedisError = Unavailable

__all__ = [
    "AgentNotFound",
    "ConfigInvalid",
    "Conflict",
    "Error",
    "Forbidden",
    "IllegalTransition",
    "Invalid",
    "NotFound",
    "NotInitialized",
    "RedisError",
    "RedisNotInstalled",
    "RedisVersionTooOld",
    "TaskNotFound",
    "Timeout",
    "TinytownError",
    "Unavailable",
]
