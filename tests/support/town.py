"""A town for tests: its own folder and its own name on the session's Redis; agents without processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import make_agent, make_message, make_task, make_wish
from tests.support.redis_server import TestRedis
from tinytown import clock, ids, processes
from tinytown.actors.mailroom import Claim, Mailroom
from tinytown.config import AgentConfig, Config, RedisConfig, RetentionConfig
from tinytown.domain.agent import Agent
from tinytown.domain.message import Message, Priority
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.store.agents import save_agent, save_wish
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

DATABASE = 1  # of towns of this module alone, one at a time in a test process: scans stay short


@pytest.fixture
def town(redis_server: TestRedis, tmp_path: Path) -> Iterator[Town]:
    """A town that nobody else uses; no supervisor runs for it."""
    fresh = fresh_town(redis_server, tmp_path / "town")
    yield fresh
    fresh.store.redis.flushdb()
    fresh.store.close()


@pytest.fixture
def supervised(town: Town) -> Iterator[Town]:
    """The town with its supervisor's place taken, so that nobody starts one."""
    lock = town.supervisor_lock
    assert lock.acquire()
    yield town
    lock.release()


def fresh_town(server: TestRedis, root: Path, **settings: Any) -> Town:
    """A town at `root` with a new name. `settings` are fields of Config."""
    (root / ".tt" / "logs").mkdir(parents=True, exist_ok=True)
    url = RedisConfig(url=f"unix://{server.connector.socket_path}?db={DATABASE}")
    name = "t-" + ids.short(ids.new_id())
    (root / "tinytown.toml").write_text(f'name = "{name}"\n[redis]\nurl = "{url.url}"\n')
    return Town(root, Config(name=name, redis=url, **settings))


def with_settings(town: Town, *, agent: dict[str, Any] | None = None, retention: dict[str, Any] | None = None,
                  **settings: Any) -> Town:  # fmt: skip
    """The same town for a reader of another configuration (a store of its own; close it)."""
    if agent is not None:
        settings["agent"] = replace(AgentConfig(), **agent)
    if retention is not None:
        settings["retention"] = replace(RetentionConfig(), **retention)
    return Town(town.root, replace(town.config, **settings))


def register(town: Town, name: str = "backend", *, wanted: bool = True, **fields: Any) -> Agent:
    """An idle agent of epoch 1, wanted or ended, as if a spawn had made it; no process stands behind it."""
    state = AgentState.IDLE if wanted else AgentState.STOPPED
    agent = make_agent(name, **{"state": state, "epoch": 1, "host": town.host} | fields)

    def build(tx: Transaction) -> None:
        tx.do("HSET", tx.keys.agents, agent.name, agent.id)
        save_agent(tx, None, agent)
        if wanted:
            save_wish(tx, agent.id, None, make_wish(name, host=town.host, since=clock.wall()))

    change(town.store, build)
    return agent


@contextlib.contextmanager
def writing(town: Town) -> Iterator[Transaction]:
    """A transaction, applied at the end of the block."""
    tx = town.store.transaction()
    yield tx
    town.store.commit(tx)


def mailroom(town: Town, agent: Agent, epoch: int = 1) -> Mailroom:
    """An actor's hands, without the actor."""
    return Mailroom(town, agent.id, epoch)


def claim_all(town: Town, agent: Agent, epoch: int = 1) -> Claim:
    """What the agent's next round claims; there must be something."""
    room = mailroom(town, agent, epoch)
    claim = room.claim(room.look("true", {}))
    assert claim is not None
    return claim


def give_task(town: Town, agent: Agent, **fields: Any) -> tuple[Task, Message]:
    """An assigned task and the message that leads to it."""
    task = make_task(TaskState.ASSIGNED, **{"assigned_to": agent.id, "assigned_by": ids.SUPERVISOR_ID} | fields)
    message = make_message("task_assign", to=agent.id, task_id=task.id)

    def build(tx: Transaction) -> None:
        tx.save_task(None, task)
        tx.put(agent.id, message)

    change(town.store, build)
    return task, message


def give_mail(town: Town, agent: Agent, kind: str = "query", *, urgent: bool = False, **payload: Any) -> Message:
    """A message in the agent's mailbox."""
    priority = Priority.URGENT if urgent else Priority.NORMAL
    message = make_message(kind, to=agent.id, priority=priority, **payload)
    change(town.store, lambda tx: tx.put(agent.id, message))
    return message


def task_now(town: Town, task: Task | str) -> Task:
    """The task's record; it must be there, and in the index under its state and no other."""
    task_id = task if isinstance(task, str) else task.id
    found = town.store.tasks.get(task_id)
    assert found is not None, f"task {task_id} is gone"
    states = [state for state in TaskState if task_id in town.store.tasks.ids([state])]
    assert states == [found[1].state]
    return found[1]


def agent_now(town: Town, agent: Agent) -> Agent:
    """The agent's record; it must be there."""
    row = town.store.agents.row(agent.id)
    assert row is not None
    return row.agent


def texts(town: Town, kind: str, agent_id: str) -> list[str]:
    """One of an agent's lists: inbox, urgent, claimed, dead, activity."""
    key = getattr(town.store.keys, kind)(agent_id)
    return list(town.store.call(lambda r: r.lrange(key, 0, -1)))


def stats(town: Town, agent: Agent) -> dict[str, int]:
    """The agent's counters."""
    row = town.store.agents.row(agent.id)
    return row.stats if row else {}


def events(town: Town, *types: str) -> list[dict[str, Any]]:
    """The town's history, of these types (all: none given), oldest first."""
    found = [event for _id, event in town.store.events.newest(10_000)]
    return [event for event in found if not types or event["event_type"] in types]


def snapshot(town: Town) -> dict[str, Any]:
    """Every key of the town with its value: two of them are equal when nothing was changed between."""
    found: dict[str, Any] = {}
    redis = town.store.redis
    readers: dict[Any, Callable[[Any], Any]] = {
        "string": redis.get,
        "list": lambda key: redis.lrange(key, 0, -1),
        "hash": redis.hgetall,
        "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        "stream": redis.xrange,
    }
    for key in redis.scan_iter(match=f"tt:{town.name}:*", count=1000):
        found[key] = readers[redis.type(key)](key)
    return found


def all_tasks(town: Town) -> dict[str, Task]:
    """Every task record by id, found by scanning, not by an index."""
    redis = town.store.redis
    found = {}
    for key in redis.scan_iter(match=f"tt:{town.name}:task:*", count=1000):
        raw: Any = redis.get(key)
        task = read_task(raw, key.rpartition(":")[2])
        assert task is not None, f"{key} cannot be read"
        found[task.id] = task
    return found


def in_processes(count: int, work: Callable[[int], Any], within_s: int = 20) -> list[Any]:
    """Run `work(number)` in forked processes that begin at the same moment; their (JSON) results in order.

    `work` must open a Town of its own: a connection does not survive a fork.
    """
    gate, opener = os.pipe()
    children = []
    for number in range(count):
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(opener)
            signal.alarm(within_s)
            _work_in_child(work, number, gate, into)
        os.close(into)
        children.append((pid, out))
    os.close(gate)
    os.close(opener)
    results = []
    for pid, out in children:
        with open(out, encoding="utf-8") as stream:
            text = stream.read()
        assert os.waitpid(pid, 0)[1] == 0, "a worker failed: see stderr"
        results.append(json.loads(text))
    return results


def _work_in_child(work: Callable[[int], Any], number: int, gate: int, into: int) -> None:
    code = 1
    try:
        processes.die_with_parent(os.getppid())
        os.read(gate, 1)  # until the parent closes its end
        data = memoryview(json.dumps(work(number)).encode())
        while data:
            data = data[os.write(into, data) :]
        code = 0
    except BaseException:  # noqa: BLE001  a forked test process must never return into pytest
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def same_town(town: Town) -> Town:
    """The town as another process opens it: a connection of its own."""
    return Town(town.root, town.config)
