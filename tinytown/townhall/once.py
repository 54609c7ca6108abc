"""A write that is repeated is done once: what was answered is kept for a day, and given again.

At most once, also when the town hall dies in between: then nobody can say whether it was done, and a repetition is
refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinytown import clock
from tinytown.errors import Conflict, TinytownError
from tinytown.store.keys import ANSWER_TTL_S
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

ANSWERS_MOST = 10_000  # of a town; the oldest are forgotten
TEXT_MOST = 256_000  # bytes of an answer
_SWEEP = 100
_UNCERTAIN = {"unavailable", "timeout", "failed"}  # kinds of error after which it may have been done


class OtherRequest(TinytownError):
    """The key belongs to another request."""

    kind = "unprocessable"


@dataclass(frozen=True, slots=True)
class Asked:
    """A write with a key: `id` names principal and key, `request` what is asked for. Both are digests."""

    id: str
    request: str

    @classmethod
    def of(cls, principal: str, key: str, verb: str, inputs: dict[str, Any]) -> Asked:
        """The digests of these."""
        return cls(_digest([principal, key]), _digest([verb, inputs]))


def once(town: Town, asked: Asked, work: Callable[[], bytes]) -> tuple[bytes, bool]:
    """What `work` answers, or what it answered before (then True).

    Raises what `work` raises (after most errors it may be tried again), Conflict while it is under way,
    OtherRequest.
    """
    text = json.dumps({"request": asked.request, "began": clock.stamp()})
    found = change(town.store, lambda tx: _claim(town, tx, asked, text))
    if found is not None:
        return _given_again(asked, found), True
    try:
        answer = work()
    except TinytownError as error:
        if error.kind not in _UNCERTAIN:
            _replace(town, asked, text, None)
        raise
    kept = answer.decode() if len(answer) <= TEXT_MOST else None
    _replace(town, asked, text, json.dumps({"request": asked.request, "answer": kept}))
    return answer, False


def _given_again(asked: Asked, raw: str) -> bytes:
    found = json.loads(raw)
    if found.get("request") != asked.request:
        raise OtherRequest("This Idempotency-Key was used for another request.", "Use a new key for each request.")
    if "answer" not in found:
        raise Conflict(
            "A request with this Idempotency-Key is under way, or was cut off before its answer.",
            "Try again in a moment; if it stays so, look whether it was done, and use a new key.",
        )
    if found["answer"] is None:
        raise Conflict("This was done before; its answer was too large to be kept.", "Look at what was done.")
    return str(found["answer"]).encode()


def _claim(town: Town, tx: Transaction, asked: Asked, text: str) -> str | None:
    keys, now = town.store.keys, clock.wall()
    found, count, oldest = town.store.read(
        ("GET", keys.answer(asked.id)), ("ZCARD", keys.answers), ("ZRANGE", keys.answers, 0, _SWEEP - 1, "WITHSCORES")
    )
    if found is not None:
        return str(found)
    tx.expect(keys.answer(asked.id), None, "answer")
    tx.do("SET", keys.answer(asked.id), text, "EX", ANSWER_TTL_S)
    tx.do("ZADD", keys.answers, now, asked.id)
    excess = count + 1 - ANSWERS_MOST
    for number, (identifier, began) in enumerate(zip(*[iter(oldest)] * 2, strict=True)):
        if number < excess or float(began) < now - ANSWER_TTL_S:
            tx.do("DEL", keys.answer(identifier))
            tx.do("ZREM", keys.answers, identifier)
    return None


def _replace(town: Town, asked: Asked, known: str, text: str | None) -> None:
    """Store the answer, or (None) forget that it was asked; nothing when the claim is no longer ours."""
    key = town.store.keys.answer(asked.id)

    def build(tx: Transaction) -> None:
        if town.store.read(("GET", key))[0] != known:
            return
        tx.expect(key, known, "answer")
        if text is None:
            tx.do("DEL", key)
            tx.do("ZREM", town.store.keys.answers, asked.id)
        else:
            tx.do("SET", key, text, "EX", ANSWER_TTL_S)

    change(town.store, build)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:40]
