"""API keys: which are good, whose they are, and what a flood of wrong ones costs. Real, cheap Argon2."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import argon2
import pytest
from argon2.profiles import CHEAPEST

from tinytown.config_townhall import Auth, Key, RateLimit
from tinytown.errors import Invalid
from tinytown.services import api_keys
from tinytown.townhall.auth import keys
from tinytown.townhall.auth.keys import Keys
from tinytown.townhall.auth.limits import FAILURES_PER_MINUTE, Limits
from tinytown.townhall.auth.principals import Principal
from tinytown.townhall.auth.refusal import Refused
from tinytown.townhall.auth.remembering import Remembered
from tinytown.townhall.verbs import Scope

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


def hashed(key: str) -> str:
    return argon2.PasswordHasher.from_parameters(CHEAPEST).hash(key)


OWNER, READER, WORKER = hashed("owner-key"), hashed("reader-key"), hashed("worker-key")
NAMED = (Key("reader", READER, ("town.read",)), Key("worker", WORKER, ("town.read", "town.write")))


def opened(auth: Auth) -> Keys:
    return Keys(auth, Limits(RateLimit()))


def ask(known: Keys, *given: str, address: str = HERE) -> list[Principal | None]:
    async def one_after_the_other() -> list[Principal | None]:
        return [await known.principal(key, address) for key in given]

    return asyncio.run(one_after_the_other())


def at_once(known: Keys, *given: str) -> list[Principal | BaseException | None]:
    async def all_of_them() -> list[Principal | BaseException | None]:
        looks: list[Awaitable[Principal | None]] = [known.principal(key, HERE) for key in given]
        return await asyncio.gather(*looks, return_exceptions=True)

    return asyncio.run(all_of_them())


def test_each_key_has_its_owner() -> None:
    """By name, with its scopes; the key of api_key_hash without api_key_scopes may do everything."""
    known = opened(Auth(mode="api_key", api_key_hash=OWNER, keys=NAMED))
    found = ask(known, "owner-key", "reader-key", "worker-key", "other-key", "", OWNER, "x" * 1000)
    assert [principal and principal.name for principal in found] == [
        "api_key", "reader", "worker", None, None, None, None
    ]  # fmt: skip
    owner, reader, worker = found[:3]
    assert owner is not None
    assert reader is not None
    assert worker is not None
    assert all(owner.may(scope) for scope in Scope)
    assert [scope for scope in Scope if reader.may(scope)] == ["town.read"]
    assert [scope for scope in Scope if worker.may(scope)] == ["town.read", "town.write"]


def test_scopes_of_the_one_key() -> None:
    """api_key_scopes are all that its key may do."""
    known = opened(Auth(mode="api_key", api_key_hash=OWNER, api_key_scopes=("town.read",)))
    (found,) = ask(known, "owner-key")
    assert found is not None
    assert not found.may(Scope.WRITE)


def test_admin_implies_all() -> None:
    """A key with the scope admin may do everything."""
    known = opened(Auth(mode="api_key", keys=(Key("boss", OWNER, ("admin",)),)))
    (found,) = ask(known, "owner-key")
    assert found is not None
    assert all(found.may(scope) for scope in Scope)


def test_a_made_key_is_known() -> None:
    """What `tt auth gen-key` makes."""
    made = api_keys.generate()
    assert ask(opened(Auth(mode="api_key", api_key_hash=made.hash)), made.key)[0] is not None


def test_wrong_keys_wait_and_right_ones_do_not() -> None:
    """Thirty a minute from one address cost a verification; keys that were right are known, other addresses too."""
    known = opened(Auth(mode="api_key", api_key_hash=OWNER, keys=NAMED))
    ask(known, "owner-key")
    wrong = [f"wrong-{number}" for number in range(FAILURES_PER_MINUTE)]
    assert ask(known, *wrong) == [None] * FAILURES_PER_MINUTE
    with pytest.raises(Refused) as refused:
        ask(known, "wrong-again")
    assert (refused.value.status, 1 <= int(refused.value.headers["Retry-After"]) <= 60) == (429, True)
    assert ask(known, wrong[3]) == [None]  # known to be wrong: no verification, no wait
    assert ask(known, "owner-key")[0] is not None
    assert ask(known, "reader-key", address=ELSEWHERE)[0] is not None


def test_a_flood_at_once_is_bounded() -> None:
    """Of many wrong keys at the same time a bounded number waits for its verification; the others are refused."""
    known = opened(Auth(mode="api_key", api_key_hash=OWNER))
    found = at_once(known, *(f"wrong-{number}" for number in range(200)))
    refused = [each for each in found if isinstance(each, Refused)]
    assert len(refused) >= 200 - keys.WAITING_MOST
    assert all(each.status == 429 for each in refused)
    assert len([each for each in found if each is None]) <= FAILURES_PER_MINUTE


def test_the_same_key_at_once_costs_one_look() -> None:
    """Requests with one key that came together: all are let in."""
    known = opened(Auth(mode="api_key", api_key_hash=OWNER))
    found = at_once(known, *["owner-key"] * keys.WAITING_MOST)
    assert all(isinstance(each, Principal) for each in found)


BROKEN: dict[str, Callable[[], Auth]] = {
    "there is no key": lambda: Auth(mode="api_key"),
    "of the key 'api_key' cannot be used": lambda: Auth(mode="api_key", api_key_hash="$argon2id$rubbish"),
    "of the key 'reader' cannot be used": lambda: Auth(
        mode="api_key", keys=(Key("reader", READER.replace("m=8", "m=99999999"), ("town.read",)),)
    ),
}


@pytest.mark.parametrize("said", BROKEN)
def test_settings_that_let_nobody_in(said: str) -> None:
    """No key, a hash that is none, one that would take all memory: an error at the start that shows no hash."""
    with pytest.raises(Invalid, match=said) as error:
        opened(BROKEN[said]())
    assert "$argon2id$" not in str(error.value)
    assert "tt auth gen-key" in (error.value.remedy or "")


def test_what_is_remembered_is_bounded() -> None:
    """The oldest gives way; what is over is forgotten; forgetting says whether there was something."""
    remembered: Remembered[int] = Remembered(2)
    for number in range(3):
        remembered.put(f"k{number}", number, 60)
    assert [remembered.get(f"k{number}") for number in range(3)] == [None, 1, 2]
    remembered.put("k1", 5, 0)
    assert remembered.get("k1") is None
    assert (remembered.forget("k2"), remembered.forget("k2"), len(remembered)) == (True, False, 0)
