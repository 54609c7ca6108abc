"""Expectations and operations: all or nothing, once, in order, for any bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import AT, QUICK, make_message, make_task
from tests.support.town import events, in_processes, same_town, snapshot, with_settings, writing
from tinytown import ids
from tinytown.domain.event import Event
from tinytown.domain.message import Priority
from tinytown.domain.states import TaskState
from tinytown.errors import Conflict
from tinytown.store.transaction import Stale, Transaction
from tinytown.town import Town, change

Expect = Callable[[Transaction], None]


@pytest.fixture
def keys(town: Town) -> dict[str, str]:
    """A string, a hash, a list, a set, a sorted set; and keys that are not there."""
    redis = town.store.redis
    made = {kind: f"tt:{town.name}:test:{kind}" for kind in ("string", "hash", "list", "set", "zset", "none", "out")}
    redis.set(made["string"], "old")
    redis.hset(made["hash"], "field", "old")
    redis.rpush(made["list"], "a", "b")
    redis.sadd(made["set"], "a", "b")
    redis.zadd(made["zset"], {"a": 1, "b": 2})
    return made


EXPECTATIONS: list[tuple[str, str, tuple[object, ...], bool]] = [
    ("expect", "string", ("old",), True),
    ("expect", "string", ("new",), False),
    ("expect", "string", (None,), False),
    ("expect", "string", ("",), False),
    ("expect", "none", (None,), True),
    ("expect", "none", ("",), False),
    ("expect_field", "hash", ("field", "old"), True),
    ("expect_field", "hash", ("field", "new"), False),
    ("expect_field", "hash", ("field", None), False),
    ("expect_field", "hash", ("other", None), True),
    ("expect_field", "none", ("field", None), True),
    ("expect_member", "list", ("b",), True),
    ("expect_member", "list", ("c",), False),
    ("expect_member", "none", ("b",), False),
    ("expect_exists", "hash", (), True),
    ("expect_exists", "none", (), False),
    ("expect_length", "list", (2,), True),
    ("expect_length", "list", (1,), False),
    ("expect_length", "none", (0,), True),
    ("expect_list", "list", (["a", "b"],), True),
    ("expect_list", "list", (["b", "a"],), False),
    ("expect_list", "list", (["a\nb"],), False),
    ("expect_list", "list", (["a"],), False),
    ("expect_list", "none", ([],), True),
    ("expect_size", "set", (2,), True),
    ("expect_size", "set", (1,), False),
    ("expect_size", "none", (0,), True),
    ("expect_ranked", "zset", (2,), True),
    ("expect_ranked", "zset", (1,), False),
    ("expect_ranked", "none", (0,), True),
    ("expect_in_set", "set", ("b",), True),
    ("expect_in_set", "set", ("c",), False),
    ("expect_in_set", "none", ("b",), False),
    ("expect_fewer_fields", "hash", (2,), True),
    ("expect_fewer_fields", "hash", (1,), False),
    ("expect_fewer_fields", "none", (1,), True),
]


@pytest.mark.parametrize(("method", "kind", "arguments", "holds"), EXPECTATIONS)
def test_each_expectation(
    town: Town,
    keys: dict[str, str],
    method: str,
    kind: str,
    arguments: tuple[object, ...],
    holds: bool,  # noqa: FBT001
) -> None:
    """What holds lets the operations through; what does not stops all of them and says what it was."""
    tx = town.store.transaction()
    tx.expect_exists(keys["string"])
    tx.do("SET", keys["out"], "1")
    getattr(tx, method)(keys[kind], *arguments, "the label")
    tx.do("RPUSH", keys["list"], "more")
    before = snapshot(town)

    if holds:
        town.store.commit(tx)
        assert town.store.redis.get(keys["out"]) == "1"
        assert town.store.redis.lrange(keys["list"], 0, -1) == ["a", "b", "more"]
    else:
        with pytest.raises(Stale, match="the label"):
            town.store.commit(tx)
        assert snapshot(town) == before


def test_the_label_is_the_key_by_default(town: Town, keys: dict[str, str]) -> None:
    """A stale expectation without a label names its key, the first that fails."""
    tx = town.store.transaction()
    tx.expect(keys["string"], "old")
    tx.expect(keys["none"], "x")
    tx.expect_length(keys["list"], 7)
    tx.do("SET", keys["out"], "1")

    with pytest.raises(Stale) as caught:
        town.store.commit(tx)
    assert caught.value.what == keys["none"]


def test_operations_are_done_in_order(town: Town, keys: dict[str, str]) -> None:
    """Each operation sees what the ones before it did."""
    tx = town.store.transaction()
    for n in range(300):
        tx.do("RPUSH", keys["out"], n)
    tx.do("LPOP", keys["out"])
    tx.do("RENAME", keys["out"], keys["none"])
    tx.do("LTRIM", keys["none"], 0, 2)
    town.store.commit(tx)

    assert town.store.redis.lrange(keys["none"], 0, -1) == ["1", "2", "3"]


def test_a_repetition_changes_nothing(town: Town, keys: dict[str, str]) -> None:
    """A transaction whose answer was lost is applied once, though its expectations no longer hold."""
    tx = town.store.transaction()
    tx.expect(keys["string"], "old")
    tx.do("SET", keys["string"], "new")
    tx.do("RPUSH", keys["list"], "c")
    for _ in range(3):
        town.store.commit(tx)

    assert town.store.redis.lrange(keys["list"], 0, -1) == ["a", "b", "c"]


def test_a_refused_transaction_may_be_tried_again(town: Town, keys: dict[str, str]) -> None:
    """The token counts only what was applied."""
    tx = town.store.transaction()
    tx.expect(keys["string"], "new")
    tx.do("SET", keys["out"], "1")
    with pytest.raises(Stale):
        town.store.commit(tx)
    town.store.redis.set(keys["string"], "new")
    town.store.commit(tx)

    assert town.store.redis.get(keys["out"]) == "1"


def test_a_token_of_ones_own(town: Town, keys: dict[str, str]) -> None:
    """Two transactions with one token are one: the second is done already. The token has an end."""
    token = ids.new_id()
    for _ in range(2):
        tx = town.store.transaction()
        tx.once(token)
        tx.do("RPUSH", keys["list"], "c")
        town.store.commit(tx)

    assert town.store.redis.llen(keys["list"]) == 3
    assert 3000 < town.store.redis.ttl(town.store.keys.sent(token)) <= 3600


def test_an_empty_transaction_is_nothing(town: Town) -> None:
    """Without operations nothing is written, not even a token."""
    before = snapshot(town)
    town.store.commit(town.store.transaction())

    assert snapshot(town) == before


def test_a_server_that_forgot_the_script(town: Town, keys: dict[str, str]) -> None:
    """After SCRIPT FLUSH the script is sent anew, and done once."""
    for n in range(3):
        town.store.redis.script_flush()
        tx = town.store.transaction()
        tx.do("RPUSH", keys["out"], n)
        town.store.commit(tx)

    assert town.store.redis.lrange(keys["out"], 0, -1) == ["0", "1", "2"]


def test_nothing_is_lost_between_writers(town: Town, keys: dict[str, str]) -> None:
    """Eight processes that add one by read, expect, write: every addition counts, the last value is the sum."""

    def work(_number: int) -> int:
        own = same_town(town)

        def build(tx: Transaction) -> int:
            raw: Any = own.store.redis.get(keys["out"])
            tx.expect(keys["out"], raw)
            tx.do("SET", keys["out"], int(raw or 0) + 1)
            return int(raw or 0)

        done = 0
        while done < 25:
            try:
                change(own.store, build)
                done += 1
            except Conflict:  # fifty times too slow: says so, and nothing was done
                continue
        return done

    assert in_processes(8, work) == [25] * 8
    assert town.store.redis.get(keys["out"]) == "200"


def test_a_state_that_never_stands_still_is_a_conflict(town: Town, keys: dict[str, str]) -> None:
    """When each try is overtaken the caller hears of it, after a bounded number of tries, with nothing done."""
    tries = 0

    def build(tx: Transaction) -> None:
        nonlocal tries
        tries += 1
        tx.expect(keys["string"], f"never {tries}")
        tx.do("SET", keys["out"], "1")

    with pytest.raises(Conflict, match="changed too often"):
        change(town.store, build)
    assert tries == 50
    assert not town.store.redis.exists(keys["out"])


def test_large_values(town: Town, keys: dict[str, str]) -> None:
    """A megabyte is compared and written like any other value."""
    big = "ä" * 500_000 + "x"
    tx = town.store.transaction()
    tx.do("SET", keys["string"], big)
    town.store.commit(tx)
    tx = town.store.transaction()
    tx.expect(keys["string"], big)
    tx.do("RPUSH", keys["list"], big)
    town.store.commit(tx)
    tx = town.store.transaction()
    tx.expect_member(keys["list"], big)
    tx.expect(keys["string"], big[:-1] + "y", "almost")
    tx.do("DEL", keys["list"])

    with pytest.raises(Stale, match="almost"):
        town.store.commit(tx)
    assert town.store.redis.lindex(keys["list"], 2) == big


def test_many_operations(town: Town, keys: dict[str, str]) -> None:
    """Ten thousand operations and a thousand keys are one step."""
    tx = town.store.transaction()
    for n in range(10_000):
        tx.do("HSET", f"{keys['out']}:{n % 1000}", n, n)
    town.store.commit(tx)

    assert town.store.redis.hlen(f"{keys['out']}:999") == 10


@QUICK
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_bytes_survive(town: Town, first: bytes, second: bytes) -> None:
    """What is no UTF-8 comes back as the same bytes, and is compared as such."""
    one, two = (data.decode("utf-8", "surrogateescape") for data in (first, second))
    key = f"tt:{town.name}:bytes"
    town.store.redis.set(key, one)
    tx = town.store.transaction()
    tx.expect(key, one)
    tx.do("SET", key, two)
    town.store.commit(tx)

    assert town.store.redis.get(key) == two
    tx = town.store.transaction()
    tx.expect(key, two + "x")
    tx.do("SET", key, "no")
    with pytest.raises(Stale):
        town.store.commit(tx)


def test_where_a_message_goes(town: Town) -> None:
    """Normal and low to the tail, high to the head, urgent to its own list in order; the bell rings once."""
    for n, priority in enumerate([Priority.NORMAL, Priority.LOW, Priority.HIGH, Priority.URGENT, Priority.URGENT]):
        with writing(town) as tx:
            tx.put("a", make_message("query", question=str(n), priority=priority))
    urgent, inbox = town.store.inboxes.peek("a")

    assert [json.loads(text)["question"] for text in inbox] == ["2", "0", "1"]
    assert [json.loads(text)["question"] for text in urgent] == ["3", "4"]
    assert town.store.redis.llen(town.store.keys.wake("a")) == 1


def test_a_task_moves_in_the_index_with_its_state(town: Town) -> None:
    """Record and index change in one step; a task is under one state, scored by its creation."""
    task = make_task()
    change(town.store, lambda tx: tx.save_task(None, task))
    given = task.assigned("a", "b", AT)
    change(town.store, lambda tx: tx.save_task(task.to_json(), given, task))

    index = {
        state: town.store.redis.zrange(town.store.keys.tasks(state), 0, -1, withscores=True) for state in TaskState
    }
    assert {state: row for state, row in index.items() if row} == {TaskState.ASSIGNED: [(task.id, 1767323045.000006)]}
    with pytest.raises(Conflict):  # its old text is not there any more
        change(town.store, lambda tx: tx.save_task(task.to_json(), task.ended(TaskState.FAILED, "x", "me", AT), task))


def test_activity_keeps_ten_lines(town: Town) -> None:
    """The newest ten lines, newest first."""
    for n in range(13):
        with writing(town) as tx:
            tx.activity("a", f"line {n}")

    assert town.store.redis.lrange(town.store.keys.activity("a"), 0, -1) == [f"line {n}" for n in range(12, 2, -1)]


def _many_events(town: Town, count: int) -> int:
    def build(tx: Transaction) -> None:
        for n in range(count):
            tx.event(Event("tested", str(n), AT))

    change(town.store, build)
    return int(town.store.redis.xlen(town.store.keys.events))


def test_the_history_is_bounded(town: Town) -> None:
    """`retention.events` bounds the stream (roughly, as Redis trims whole nodes)."""
    small = with_settings(town, retention={"events": 100})

    assert 100 <= _many_events(small, 1000) < 300
    assert events(town)[-1]["message"] == "999"
    small.store.close()


def test_a_bound_of_zero_keeps_the_history(town: Town) -> None:
    """0 keeps for good, as for everything in `[retention]`."""
    unbounded = with_settings(town, retention={"events": 0})

    assert _many_events(unbounded, 1000) == 1000
    unbounded.store.close()
