"""API keys of the town hall: random, and stored by nobody; the settings hold an Argon2id hash."""

from __future__ import annotations

import secrets
from typing import NamedTuple

KEY_PREFIX = "tt_"
KEY_BYTES = 32
# What OWASP recommends at least; a check takes 15 to 50 ms and 19 MiB.
MEMORY_KIB = 19456
PASSES = 2
LANES = 1


class ApiKey(NamedTuple):
    """A key, for its user alone, and its hash in PHC form, for the settings."""

    key: str
    hash: str


def generate() -> ApiKey:
    """Make a new key."""
    from argon2 import PasswordHasher  # noqa: PLC0415  costs 40 ms, and this alone needs it

    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
    return ApiKey(key, hasher.hash(key))
