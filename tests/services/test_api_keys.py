"""API keys: long, random, and proved by their hash alone."""

from __future__ import annotations

import re

import argon2
import pytest

from tinytown.services import api_keys


def test_the_hash_proves_the_key() -> None:
    """The PHC text has the documented parameters; it fits its key and no other."""
    made, other = api_keys.generate(), api_keys.generate()

    assert re.fullmatch(r"tt_[A-Za-z0-9_-]{43}", made.key)
    assert made.key != other.key
    assert re.fullmatch(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", made.hash)
    assert argon2.PasswordHasher().verify(made.hash, made.key)
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(made.hash, other.key)
