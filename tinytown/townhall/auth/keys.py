"""API keys: Argon2id hashes in the settings, verified at a bounded cost.

A verification takes 20 to 50 ms of a processor and the memory that the hash says. One runs at a time, in a thread; a
key that was right costs a digest from then on, and so does one that was wrong.
"""

from __future__ import annotations

import asyncio

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from tinytown import clock
from tinytown.config_townhall import Auth
from tinytown.errors import Invalid
from tinytown.townhall.auth import refusal
from tinytown.townhall.auth.limits import Limits
from tinytown.townhall.auth.principals import Principal, everything, with_scopes
from tinytown.townhall.auth.remembering import Remembered

RIGHT_S = 300.0  # a key that was right is known that long after it was used last
WRONG_S = 60.0
REMEMBERED = 1000
WAITING_MOST = 32  # verifications
PAUSE = 3  # times what a wrong key cost, before the next is looked at
LENGTH_MOST = 512  # characters of a key
MEMORY_MOST_KIB = 1024 * 1024


class Keys:
    """The keys of the settings. Used in one event loop."""

    def __init__(self, auth: Auth, limits: Limits) -> None:
        """Raises Invalid for a hash that cannot be used, and when there is no key at all."""
        self._known = [(key.hash, with_scopes(key.name, key.scopes)) for key in auth.keys]
        if auth.api_key_hash is not None:
            scopes = auth.api_key_scopes
            owner = with_scopes("api_key", scopes) if scopes else everything("api_key")
            self._known.insert(0, (auth.api_key_hash, owner))
        _check(self._known)
        self._limits = limits
        self._right: Remembered[Principal] = Remembered(REMEMBERED)
        self._wrong: Remembered[bool] = Remembered(REMEMBERED)
        self._one = asyncio.Semaphore(1)
        self._waiting = 0

    async def principal(self, key: str, address: str) -> Principal | None:
        """Whose key it is; None when it is nobody's. Raises Refused for too many wrong ones."""
        if len(key) > LENGTH_MOST or self._wrong.get(key):
            return None
        found = self._right.get(key)
        if found is None:
            found = await self._verified(key, address)
        if found is not None:
            self._right.put(key, found, RIGHT_S)
        return found

    async def _verified(self, key: str, address: str) -> Principal | None:
        if self._waiting >= WAITING_MOST:
            raise refusal.too_many(1, "unknown keys")
        self._waiting += 1
        try:
            async with self._one:
                known = self._right.get(key)  # others may have waited for the same
                if known is not None or self._wrong.get(key):
                    return known
                seconds = self._limits.wait("failure", address)
                if seconds:
                    raise refusal.too_many(seconds, "wrong keys")
                began = clock.monotonic()
                found = await asyncio.to_thread(self._look, key)
                if found is None:  # however many try keys, from however many addresses: most of the time is others'
                    await asyncio.sleep(PAUSE * (clock.monotonic() - began))
        finally:
            self._waiting -= 1
        if found is None:
            self._limits.take("failure", address)
            self._wrong.put(key, True, WRONG_S)
        return found

    def _look(self, key: str) -> Principal | None:
        hasher = argon2.PasswordHasher()
        for key_hash, owner in self._known:
            try:
                hasher.verify(key_hash, key)
            except VerificationError:
                continue
            return owner
        return None


def _check(known: list[tuple[str, Principal]]) -> None:
    if not known:
        raise Invalid('[townhall.auth] mode is "api_key", and there is no key.', "Make one with: tt auth gen-key")
    for key_hash, owner in known:
        try:
            memory = argon2.extract_parameters(key_hash).memory_cost
        except InvalidHashError:
            memory = None
        if memory is None or memory > MEMORY_MOST_KIB:
            raise Invalid(
                f"[townhall.auth] The hash of the key '{owner.name}' cannot be used.",
                "Make a key and its hash with: tt auth gen-key",
            )
