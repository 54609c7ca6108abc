"""Keys that somebody changed by hand: a commit that cannot be done whole does nothing."""

from __future__ import annotations

import pytest

from tests.support.town import give_task, register, snapshot
from tinytown.errors import Unavailable
from tinytown.services import tasks
from tinytown.services.caller import Caller
from tinytown.town import Town

# A command of transactions and its arguments -> the type of key that it needs.
COMMANDS: list[tuple[str, tuple[str | float, ...], str]] = [
    ("LPUSH", ("x",), "list"),
    ("RPUSH", ("x",), "list"),
    ("LREM", (1, "x"), "list"),
    ("LTRIM", (0, 0), "list"),
    ("HSET", ("field", "x"), "hash"),
    ("HDEL", ("field",), "hash"),
    ("HINCRBY", ("field", 1), "hash"),
    ("SADD", ("x",), "set"),
    ("SREM", ("x",), "set"),
    ("ZADD", (1, "x"), "zset"),
    ("ZREM", ("x",), "zset"),
    ("XADD", ("*", "field", "x"), "stream"),
]


def make(town: Town, key: str, kind: str) -> None:
    """A key of this type."""
    redis = town.store.redis
    if kind == "string":
        redis.set(key, "by hand")
    elif kind == "list":
        redis.rpush(key, "by hand")
    else:
        redis.hset(key, "by hand", "1")


WRONG = [(*row[:2], kind) for row in COMMANDS for kind in ("string", "list", "hash") if kind != row[2]]


@pytest.mark.parametrize(("command", "arguments", "kind"), WRONG, ids=[f"{row[0]}-{row[2]}" for row in WRONG])
def test_a_key_of_the_wrong_type(town: Town, command: str, arguments: tuple[str | float, ...], kind: str) -> None:
    """Neither what comes before the impossible operation nor what comes after it is done; it is said."""
    spoilt, before, after = (f"tt:{town.name}:test:{name}" for name in ("spoilt", "before", "after"))
    make(town, spoilt, kind)
    seen = snapshot(town)
    tx = town.store.transaction()
    tx.do("SET", before, "1")
    tx.do(command, spoilt, *arguments)
    tx.do("SET", after, "1")

    with pytest.raises(Unavailable):
        town.store.commit(tx)

    assert snapshot(town) == seen


@pytest.mark.parametrize("value", ["x", "", "1.5", "1 ", "0x1"])
def test_a_counter_that_is_no_number(town: Town, value: str) -> None:
    """Adding to it stops the whole commit."""
    key, other = f"tt:{town.name}:test:hash", f"tt:{town.name}:test:other"
    town.store.redis.hset(key, "field", value)
    seen = snapshot(town)
    tx = town.store.transaction()
    tx.do("SET", other, "1")
    tx.do("HINCRBY", key, "field", 1)

    with pytest.raises(Unavailable):
        town.store.commit(tx)

    assert snapshot(town) == seen


def test_a_right_commit_is_possible_again(town: Town) -> None:
    """A refused commit is not taken for one that was done: repeated after the repair, it is done."""
    key = f"tt:{town.name}:test:list"
    make(town, key, "string")
    tx = town.store.transaction()
    tx.do("RPUSH", key, "x")
    with pytest.raises(Unavailable):
        town.store.commit(tx)
    town.store.redis.delete(key)

    town.store.commit(tx)
    town.store.commit(tx)

    assert town.store.redis.lrange(key, 0, -1) == ["x"]


@pytest.mark.parametrize("kind", ["inbox", "wake", "events"])
def test_a_task_for_a_spoilt_mailbox(town: Town, kind: str) -> None:
    """A task that cannot be delivered leaves no record, no index and no event."""
    agent = register(town)
    keys = town.store.keys
    key = keys.events if kind == "events" else getattr(keys, kind)(agent.id)
    town.store.redis.set(key, "by hand")
    seen = snapshot(town)

    with pytest.raises(Unavailable):
        tasks.assign(town, agent.name, "build it", Caller())

    assert snapshot(town) == seen


def test_an_end_that_cannot_be_counted(town: Town) -> None:
    """A counter spoilt by hand: the task is not half ended."""
    agent = register(town)
    task, _message = give_task(town, agent)
    town.store.redis.hset(town.store.keys.stats(agent.id), "tasks_completed", "many")
    seen = snapshot(town)

    with pytest.raises(Unavailable):
        tasks.complete(town, task.id, "done", Caller())

    assert snapshot(town) == seen
