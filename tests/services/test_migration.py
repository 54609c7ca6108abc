"""Migration: what older versions left becomes a town of this version, record by record, each once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import invariants
from tests.support.town import agent_now, events, register, snapshot, stats, task_now, texts, writing
from tinytown import ids
from tinytown.domain.message import parse
from tinytown.domain.states import AgentState, TaskState
from tinytown.services import agents
from tinytown.services.migration import takeover
from tinytown.store import Store, records
from tinytown.town import Town

AT = "2026-01-02T03:04:05.123456789Z"  # with nanoseconds, as the first version wrote it
OFFSET = "2026-04-18T12:00:00.123456789+00:00"


def old_agent(name: str = "backend", **fields: Any) -> dict[str, Any]:
    return {
        "id": ids.new_id(), "name": name, "agent_type": "worker", "state": "working", "cli": "codex",
        "current_task": None, "created_at": AT, "last_heartbeat": AT, "tasks_completed": 3, "rounds_completed": 5,
    } | fields  # fmt: skip


def old_task(state: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": ids.new_id(), "description": f"was {state}", "state": state, "assigned_to": None, "created_at": AT,
        "updated_at": AT, "completed_at": None, "result": None, "parent_id": None, "tags": ["api"],
    } | fields  # fmt: skip


def message(kind: str, to: str, **payload: Any) -> str:
    return json.dumps(
        {"id": ids.new_id(), "from": ids.SUPERVISOR_ID, "to": to, "type": kind} | payload
        | {"priority": "normal", "created_at": AT, "correlation_id": None}
    )  # fmt: skip


def put(town: Town, kind: str, record: dict[str, Any], *, own: bool = False) -> str:
    """As the first version stored it (`own`: in the town, as its later versions did before hashes)."""
    key = f"tt:{town.name}:{kind}:{record['id']}" if own else f"tt:{kind}:{record['id']}"
    town.store.redis.set(key, json.dumps(record))
    return str(record["id"])


def put_hash(town: Town, kind: str, record: dict[str, Any]) -> str:
    """As its newer versions do: text fields, what is none left out, tags as JSON."""
    fields: dict[Any, Any] = {
        k: json.dumps(v) if isinstance(v, list) else str(v) for k, v in record.items() if v is not None
    }
    town.store.redis.hset(f"tt:{town.name}:{kind}:{record['id']}", mapping=fields)
    return str(record["id"])


def push(town: Town, key: str, *elements: str) -> None:
    town.store.redis.rpush(key, *elements)


def old_keys(town: Town) -> set[str]:
    return {key for key in town.store.redis.scan_iter("tt:*") if not key.startswith(f"tt:{town.name}:")}


def test_a_whole_old_town(town: Town) -> None:
    """Agents, mail, tasks, backlog and activity arrive; nothing old is left; the town is one like any other."""
    record = old_agent(nickname="Dorothy", role_id="reviewer")
    agent_id = put(town, "agent", record)
    task_id = put(town, "task", old_task("assigned", assigned_to=agent_id))
    done_id = put(town, "task", old_task("completed", assigned_to=agent_id, result="it works", completed_at=AT))
    waiting_id = put(town, "task", old_task("pending"))
    lead = message("task_assign", agent_id, task_id=task_id)
    question = message("query", agent_id, question="which port?")
    urgent = message("informational", agent_id, summary="urgent")
    push(town, f"tt:inbox:{agent_id}", lead, question)
    push(town, f"tt:urgent:{agent_id}", urgent)
    push(town, f"tt:activity:{agent_id}", "newest", "older")
    push(town, f"tt:inbox:{ids.SUPERVISOR_ID}", message("query", ids.SUPERVISOR_ID, question="for the conductor"))
    push(town, "tt:backlog", waiting_id)
    town.store.redis.set(f"tt:stop:{agent_id}", "1", ex=3600)
    done = takeover.migrate(town)
    assert (done.agents, done.tasks, done.messages, done.backlog) == (1, 3, 4, 1)
    assert (done.left, done.notes) == ([], [])
    invariants.check(town, settled=True)
    assert old_keys(town) == set()
    agent = agents.resolve(town, "backend").agent
    assert (agent.id, agent.state, agent.reason, agent.cli) == (agent_id, AgentState.STOPPED, "migrated", "codex")
    assert (agent.nickname, agent.role_id, agent.created_at) == ("Dorothy", "reviewer", "2026-01-02T03:04:05.123456Z")
    assert stats(town, agent) == {"rounds": 5, "tasks_completed": 3}
    assert (texts(town, "inbox", agent_id), texts(town, "urgent", agent_id)) == ([lead, question], [urgent])
    assert texts(town, "activity", agent_id) == ["newest", "older"]
    assert (task_now(town, task_id).state, task_now(town, task_id).tags) == (TaskState.ASSIGNED, ["api"])
    assert (task_now(town, done_id).state, task_now(town, done_id).result) == (TaskState.COMPLETED, "it works")
    assert town.store.tasks.backlog_ids() == [waiting_id]


def test_records_that_are_hashes(town: Town) -> None:
    """Those of later versions of the first Tinytown become JSON where they are; their lists stay and expire no more."""
    agent_id = put_hash(town, "agent", old_agent(state="idle", created_at=OFFSET, tasks_completed="0"))
    task_id = put_hash(town, "task", old_task("in_flight", assigned_to=agent_id, created_at=OFFSET, tags=["a", "b"]))
    parked = [put_hash(town, "task", old_task("pending")) for _ in range(3)]
    inbox = town.store.keys.inbox(agent_id)
    push(town, inbox, message("query", agent_id, question="?"), "no JSON")
    push(town, town.store.keys.activity(agent_id), "line")
    town.store.redis.expire(town.store.keys.activity(agent_id), 3600)
    town.store.redis.set(town.store.keys.stop(agent_id), "1", ex=3600)
    push(town, town.store.keys.backlog, parked[2], parked[0], parked[2], "gone")
    done = takeover.migrate(town)
    invariants.check(town, settled=True)
    assert (done.agents, done.tasks) == (1, 4)
    agent = agents.resolve(town, "backend").agent
    assert agent.created_at == "2026-04-18T12:00:00.123456Z"
    assert stats(town, agent) == {"rounds": 5}
    task = task_now(town, task_id)
    assert (task.state, task.assigned_to, task.tags) == (TaskState.ASSIGNED, agent_id, ["a", "b"])
    leads = [parse(text).task_id for text in texts(town, "inbox", agent_id)]
    assert leads == [None, task_id]  # its message was lost with the round, as that version did
    (letter,) = town.store.inboxes.dead(agent_id)
    assert letter.text == "no JSON"
    assert sorted(town.store.tasks.backlog_ids()) == sorted(parked)
    assert town.store.tasks.backlog_ids()[0] == parked[0]


def test_json_records_that_no_index_knows(town: Town) -> None:
    """Versions between the two stored JSON in the town: it is taken into the indexes."""
    agent_id = put(town, "agent", old_agent(), own=True)
    task_id = put(town, "task", old_task("running", assigned_to=agent_id), own=True)
    takeover.migrate(town)
    invariants.check(town, settled=True)
    assert task_now(town, task_id).assigned_to == agent_id
    assert agents.resolve(town, "backend").agent.state is AgentState.STOPPED


def test_again_is_nothing(town: Town) -> None:
    """A second migration finds nothing and changes nothing."""
    put(town, "agent", old_agent())
    put_hash(town, "task", old_task("pending"))
    assert not takeover.plan(town).is_empty
    takeover.migrate(town)
    before = snapshot(town)
    assert takeover.plan(town).is_empty
    assert takeover.migrate(town) == takeover.Done(backlog=1)
    assert snapshot(town) == before


def test_a_plan_changes_nothing(town: Town) -> None:
    """It names every key and what becomes of it."""
    agent_id = put(town, "agent", old_agent())
    push(town, f"tt:inbox:{agent_id}", message("ping", agent_id))
    town.store.redis.set(f"tt:stop:{agent_id}", "1")
    push(town, "tt:backlog", "x")
    before = {key: town.store.redis.dump(key) for key in town.store.redis.scan_iter("*")}
    found = takeover.plan(town)
    assert dict(found.moves) == {
        f"tt:agent:{agent_id}": f"tt:{town.name}:agent:{agent_id}",
        f"tt:inbox:{agent_id}": f"tt:{town.name}:inbox:{agent_id}",
        f"tt:stop:{agent_id}": "removed: the agent is stopped",
        "tt:backlog": f"tt:{town.name}:backlog",
    }
    assert {key: town.store.redis.dump(key) for key in town.store.redis.scan_iter("*")} == before


@pytest.mark.parametrize("steps", range(7))
def test_interrupted_and_run_again(town: Town, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """After whichever step it ended, the next run goes on, and the end is the same: nothing lost, nothing twice."""
    agent_id = put(town, "agent", old_agent())
    running = put(town, "task", old_task("running", assigned_to=agent_id))
    given = put(town, "task", old_task("assigned", assigned_to=agent_id))
    parked = put(town, "task", old_task("pending"))
    push(town, f"tt:inbox:{agent_id}", message("task_assign", agent_id, task_id=given), "no JSON")
    push(town, "tt:backlog", parked)
    left = [steps]
    commit = type(town.store).commit

    class Interrupted(Exception):
        pass

    def some(store: Any, tx: Any) -> None:
        if not left[0]:
            raise Interrupted
        left[0] -= 1
        commit(store, tx)

    with monkeypatch.context() as patch:
        patch.setattr(type(town.store), "commit", some)
        with pytest.raises(Interrupted):
            takeover.migrate(town)
    takeover.migrate(town)
    invariants.check(town, settled=True)
    assert old_keys(town) == set()
    assert {task_now(town, i).state for i in (running, given)} == {TaskState.ASSIGNED}
    assert town.store.tasks.backlog_ids() == [parked]
    assert [letter.text for letter in town.store.inboxes.dead(agent_id)] == ["no JSON"]
    assert len(texts(town, "inbox", agent_id)) == 2
    assert stats(town, agents.resolve(town, "backend").agent) == {"rounds": 5, "tasks_completed": 3}


def test_what_is_there_is_never_overwritten(town: Town) -> None:
    """A record of this version wins; the old one stays and is named."""
    agent = register(town, wanted=False)
    put(town, "agent", old_agent(id=agent.id, name="other"))
    push(town, f"tt:inbox:{agent.id}", message("ping", agent.id))
    done = takeover.migrate(town)
    assert done.left == [f"tt:agent:{agent.id}: tt:{town.name}:agent:{agent.id} is there already"]
    assert agent_now(town, agent) == agent
    assert old_keys(town) == {f"tt:agent:{agent.id}"}
    assert (done.messages, len(texts(town, "inbox", agent.id))) == (1, 1)  # its mail is its mail


def test_names_that_are_taken(town: Town) -> None:
    """Of several of a name the newest keeps it, unless somebody has it here; all names are legal afterwards."""
    taken = register(town, "taken", wanted=False)
    other = put(town, "agent", old_agent("taken"))
    older = put(town, "agent", old_agent("twice", created_at="2025-01-01T00:00:00Z"))
    newer = put(town, "agent", old_agent("twice"))
    odd = put(town, "agent", old_agent("my agent/1"))
    reserved = put(town, "agent", old_agent("Conductor"))
    nameless = put(town, "agent", old_agent(""))
    long = put(town, "agent", old_agent("x" * 100))
    done = takeover.migrate(town)
    assert town.store.agents.names() == {
        "taken": taken.id,
        f"taken-{other[:8]}": other,
        f"twice-{older[:8]}": older,
        "twice": newer,
        "my-agent-1": odd,
        f"Conductor-{reserved[:8]}": reserved,
        "agent": nameless,
        "x" * 64: long,
    }
    assert len(done.notes) == 6
    invariants.check(town, settled=True)


def test_one_thing_leads_to_a_task(town: Town) -> None:
    """Two messages for one task become one, its owner's; a parked task in somebody's inbox is that agent's."""
    first, second = (put(town, "agent", old_agent(name)) for name in ("first", "second"))
    double = put(town, "task", old_task("running", assigned_to=second))
    parked = put(town, "task", old_task("pending"))
    orphan = put(town, "task", old_task("assigned", assigned_to=ids.new_id()))
    for agent_id in (first, second):
        push(town, f"tt:inbox:{agent_id}", message("task_assign", agent_id, task_id=double))
    push(town, f"tt:inbox:{first}", message("task_assign", first, task_id=parked))
    push(town, "tt:backlog", parked)
    takeover.migrate(town)
    invariants.check(town, settled=True)
    assert task_now(town, double).assigned_to == second
    assert (task_now(town, parked).state, task_now(town, parked).assigned_to) == (TaskState.ASSIGNED, first)
    assert (task_now(town, orphan).state, task_now(town, orphan).assigned_to) == (TaskState.PENDING, None)
    assert len(events(town, "message_dropped")) == 1


def test_a_message_that_is_there_twice(town: Town) -> None:
    """The first version put messages back without taking them: one is enough."""
    agent_id = put(town, "agent", old_agent())
    text = message("query", agent_id, question="?")
    push(town, f"tt:inbox:{agent_id}", text, text)
    push(town, f"tt:urgent:{agent_id}", text)
    assert takeover.migrate(town).messages == 1
    assert texts(town, "urgent", agent_id) == [text]
    invariants.check(town, settled=True)


def test_long_lists(town: Town) -> None:
    """A list moves by the page, in its order."""
    agent_id = put(town, "agent", old_agent())
    sent = [message("query", agent_id, question=str(n)) for n in range(450)]
    push(town, f"tt:inbox:{agent_id}", *sent)
    takeover.migrate(town)
    assert texts(town, "inbox", agent_id) == sent


def test_what_cannot_be_migrated(town: Town) -> None:
    """Records that cannot be read and mail of nobody stay where they are, and are named each time."""
    bad, nobody = ids.new_id(), ids.new_id()
    town.store.redis.set(f"tt:task:{bad}", "no JSON")
    push(town, f"tt:inbox:{nobody}", "x")
    put(town, "agent", old_agent())
    for _ in range(2):
        done = takeover.migrate(town)
        assert done.left == [
            f"tt:inbox:{nobody}: agent {nobody[:8]} has no record",
            f"tt:task:{bad}: no record that can be read",
        ]
    assert old_keys(town) == {f"tt:task:{bad}", f"tt:inbox:{nobody}"}
    assert takeover.plan(town).is_empty


def test_keys_of_another_type(town: Town) -> None:
    """One that no older version wrote stays, is named, and holds up nothing else, not even its agent's other mail."""
    agent_id = put(town, "agent", old_agent())
    push(town, f"tt:urgent:{agent_id}", message("query", agent_id, question="?"))
    town.store.redis.set(f"tt:inbox:{agent_id}", "no list")
    town.store.redis.set(f"tt:activity:{agent_id}", "no list")
    push(town, f"tt:task:{(odd := ids.new_id())}", "no record")
    done = takeover.migrate(town)
    assert (done.agents, done.messages) == (1, 1)
    strange = {f"tt:activity:{agent_id}", f"tt:inbox:{agent_id}", f"tt:task:{odd}"}
    assert set(done.left) == {f"{key}: not what an older version wrote there" for key in strange}
    assert old_keys(town) == strange
    assert takeover.plan(town).is_empty


@pytest.mark.parametrize("state", ["Unknown", "", "in_progress", "canceled"])
def test_states_that_are_called_otherwise(town: Town, state: str) -> None:
    """What is known under another name keeps its meaning; what nobody knows waits in the backlog."""
    task_id = put(town, "task", old_task(state))
    takeover.migrate(town)
    expected = TaskState.CANCELLED if state == "canceled" else TaskState.PENDING
    assert task_now(town, task_id).state is expected
    invariants.check(town, settled=True)


def test_other_towns_are_left_alone(town: Town) -> None:
    """Also one that is called like an old kind of key; and keys that are nobody's."""
    foreign = {
        f"tt:agent:agent:{ids.new_id()}": "{}",
        "tt:task:backlog": "x",
        f"tt:neighbour:task:{ids.new_id()}": "{}",
        f"{town.name}:task:{ids.new_id()}": "{}",
        "tt:agent:not-an-id": "{}",
    }
    for key, value in foreign.items():
        town.store.redis.set(key, value)
    town.store.redis.hset(f"tt:neighbour:agent:{ids.new_id()}", "id", "x")
    assert takeover.plan(town).is_empty
    put(town, "agent", old_agent())
    takeover.migrate(town)
    assert {key: town.store.redis.get(key) for key in foreign} == foreign


def test_progress(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long says how far it is."""
    put(town, "agent", old_agent())
    put(town, "task", old_task("pending"))
    monkeypatch.setattr(takeover, "SAY_EVERY_S", 0.0)
    said: list[str] = []
    takeover.migrate(town, said.append)
    assert said == ["   Migrating: 1 of 2...", "   Migrating: 2 of 2..."]


def test_a_wanted_agent_is_not_stopped(town: Town) -> None:
    """What this version runs is none of the migration's business."""
    agent = register(town)
    with writing(town) as tx:
        tx.do("SET", tx.keys.stop(agent.id), "1")
    put(town, "agent", old_agent("other"))
    takeover.migrate(town)
    assert town.store.redis.exists(town.store.keys.stop(agent.id))
    assert agent_now(town, agent).state is AgentState.IDLE


def test_what_somebody_else_has_just_migrated(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that goes while it is looked at is not said to be left as it is."""
    put(town, "task", old_task("pending"))
    read = records.read

    def gone(store: Store, source: records.Source) -> str | dict[str, str] | None:
        store.redis.delete(source.key)
        return read(store, source)

    monkeypatch.setattr(records, "read", gone)
    assert takeover.migrate(town).left == []
