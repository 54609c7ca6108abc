"""Reading agents, tasks, mail and history, also what is broken or gone."""

from __future__ import annotations

import json

import pytest

from tests.support.builders import AT, by_hand, make_task, make_wish
from tests.support.town import give_mail, give_task, in_processes, register, same_town, writing
from tinytown.domain.event import Event
from tinytown.domain.states import AgentState, TaskState
from tinytown.store.agents import save_wish, take_lease
from tinytown.store.inboxes import DeadLetter, bury, read_dead_letter
from tinytown.town import Town, change


def test_a_row_is_everything_of_an_agent(town: Town) -> None:
    """Record, wish and counters, with the raw texts they were read from."""
    agent = register(town, "backend")
    town.store.redis.hset(town.store.keys.stats(agent.id), mapping={"rounds": 3, "restarts": 1})

    row = town.store.agents.row(agent.id)

    assert row is not None
    assert (row.agent, row.stats) == (agent, {"rounds": 3, "restarts": 1})
    assert row.raw == town.store.redis.get(town.store.keys.agent(agent.id))
    assert row.wish_raw == town.store.agents.wishes()[agent.id]
    assert row.wish is not None
    assert row.wish.name == "backend"


def test_agents_come_in_the_order_of_names(town: Town) -> None:
    """All agents with a name, sorted; ended ones too; what cannot be read is left out."""
    made = {name: register(town, name, wanted=name != "b").id for name in ("c", "a", "b", "broken", "gone")}
    town.store.redis.set(town.store.keys.agent(made["broken"]), '{"id":')
    town.store.redis.delete(town.store.keys.agent(made["gone"]))

    rows = town.store.agents.all()

    assert [row.agent.name for row in rows] == ["a", "b", "c"]
    assert [row.wish is None for row in rows] == [False, True, False]
    assert town.store.agents.names() == made
    assert town.store.agents.row(made["gone"]) is None
    assert town.store.agents.rows([]) == []


def test_an_unreadable_wish_is_none(town: Town) -> None:
    """A wish that somebody broke by hand does not break the list of agents."""
    agent = register(town)
    town.store.redis.hset(town.store.keys.wanted, agent.id, "run, please")

    row = town.store.agents.row(agent.id)

    assert row is not None
    assert (row.wish, row.wish_raw) == (None, "run, please")


def test_a_wish_and_its_mirrors(town: Town) -> None:
    """The flags for redis-cli users follow the wish in the same step, and go with it."""
    agent, keys, redis = register(town), town.store.keys, town.store.redis
    raw: str | None = town.store.agents.wishes()[agent.id]
    for stop, pause in ((None, True), ("graceful", False), ("now", True), (None, False)):
        wish = make_wish(stop=stop, pause=pause)
        with writing(town) as tx:
            raw = save_wish(tx, agent.id, raw, wish)
        assert (redis.get(keys.stop(agent.id)), redis.get(keys.pause(agent.id))) == (
            "1" if stop else None,
            "1" if pause else None,
        )
    redis.set(keys.stop(agent.id), "1")
    assert change(town.store, lambda tx: save_wish(tx, agent.id, raw, None)) is None

    assert redis.exists(keys.wanted, keys.stop(agent.id), keys.pause(agent.id)) == 0


def test_a_lease_has_an_owner_and_an_end(town: Town) -> None:
    """A lease is its owner's token for thirty seconds."""
    assert town.store.agents.lease("x") is None
    change(town.store, lambda tx: take_lease(tx, "x", "host:1:2:3"))

    assert town.store.agents.lease("x") == "host:1:2:3"
    assert 0 < town.store.redis.pttl(town.store.keys.lease("x")) <= 30_000


def test_tasks_by_state_and_in_order(town: Town) -> None:
    """Ids by state, oldest first; records in the order asked for; counts of every state."""
    tasks = [make_task(created_at=AT.replace("05.", f"{n:02}.")) for n in (30, 10, 20)]
    for task in tasks:
        with writing(town) as tx:
            tx.save_task(None, task)
    store = town.store.tasks

    assert store.ids([TaskState.PENDING]) == [tasks[1].id, tasks[2].id, tasks[0].id]
    assert store.many([t.id for t in tasks]) == tasks
    assert store.counts() == {state: 3 if state is TaskState.PENDING else 0 for state in TaskState}
    assert store.get(tasks[0].id) == (tasks[0].to_json(), tasks[0])


def test_a_task_that_cannot_be_read_is_left_out(town: Town) -> None:
    """A record that is gone or broken is no task, and hides no other."""
    task = make_task()
    change(town.store, lambda tx: tx.save_task(None, task))
    town.store.redis.set(town.store.keys.task("broken"), "[]")
    store = town.store.tasks

    assert store.get("broken") is None
    assert store.get("none") is None
    assert store.raws(["none", "broken"]) == [None, "[]"]
    assert store.many(["none", task.id, "broken"]) == [task]
    assert store.many([]) == []


def test_thousands_of_tasks_are_read_in_chunks(town: Town) -> None:
    """More ids than one answer should hold: all of them come, in order, gaps included."""
    tasks = [make_task() for _ in range(2050)]
    pipe = town.store.redis.pipeline(transaction=False)
    for task in tasks:
        pipe.set(town.store.keys.task(task.id), task.to_json())
    pipe.execute()
    wanted = [t.id for t in tasks]
    wanted.insert(1000, "gap")

    raws = town.store.tasks.raws(wanted)

    assert len(raws) == 2051
    assert raws[1000] is None
    assert [t.id for t in town.store.tasks.many(wanted)] == [t.id for t in tasks]


def test_mail_as_it_lies(town: Town) -> None:
    """Texts next first, up to a limit; lengths of several agents in one answer."""
    one, two = register(town, "one"), register(town, "two")
    first, second = give_mail(town, one), give_mail(town, one)
    urgent = give_mail(town, one, urgent=True)
    town.store.redis.rpush(town.store.keys.claimed(two.id), "x")
    inboxes = town.store.inboxes

    assert inboxes.peek(one.id) == ([urgent.raw], [first.raw, second.raw])
    assert inboxes.peek(one.id, 1) == ([urgent.raw], [first.raw])
    assert [(n.inbox, n.urgent, n.claimed, n.dead) for n in inboxes.lengths([one.id, two.id, "none"])] == [
        (2, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 0),
    ]  # fmt: skip
    assert inboxes.lengths([]) == []


def test_a_dead_letter_keeps_its_text(town: Town) -> None:
    """Any text, also what is no JSON or no UTF-8, comes back from the dead letters as it was."""
    agent = register(town)
    bad = b'not "json" \xff'.decode("utf-8", "surrogateescape")
    for text, attempts in ((bad, 0), (by_hand("ping"), 3)):
        with writing(town) as tx:
            bury(tx, agent.id, text, "why", AT, attempts)

    letters = town.store.inboxes.dead(agent.id)

    assert [(letter.text, letter.reason, letter.at, letter.attempts) for letter in letters] == [
        (bad, "why", AT, 0), (by_hand("ping"), "why", AT, 3),
    ]  # fmt: skip
    assert letters[0].message is None
    assert letters[1].message is not None


@pytest.mark.parametrize("raw", ["", "x", "[]", "{}", '{"message":"m","reason":"r","at":"t","attempts":"many"}', "5"])
def test_a_dead_letter_written_by_hand(raw: str) -> None:
    """What is no dead letter is shown as it is."""
    assert read_dead_letter(raw) == DeadLetter(raw, "unreadable dead letter", "", 0, raw)


def test_history(town: Town) -> None:
    """Events oldest first; those after an id; a broken entry is an empty one."""
    store = town.store.events
    assert (store.newest(10), store.last_id(), store.after("0-0")) == ([], "0-0", [])
    for n in range(5):
        with writing(town) as tx:
            tx.event(Event("tested", str(n), AT))
    third = store.newest(3)[0][0]
    town.store.redis.xadd(town.store.keys.events, {"data": "{"})
    town.store.redis.xadd(town.store.keys.events, {"data": "[]"})
    town.store.redis.xadd(town.store.keys.events, {"other": "x"})

    assert [event.get("message") for _id, event in store.newest(5)] == ["3", "4", None, None, None]
    assert [event.get("message") for _id, event in store.after(third)] == ["3", "4", None, None, None]
    assert store.last_id() == store.newest(1)[0][0]


def test_waiting_for_an_event_ends_with_it(town: Town) -> None:
    """A wait for news returns when there is some, not at its end; without news at its end."""

    def work(number: int) -> list[str]:
        own = same_town(town)
        if number == 0:
            return [event["message"] for _id, event in own.store.events.after("0-0", 1.0)]
        change(own.store, lambda tx: tx.event(Event("tested", "news", AT)))
        return []

    assert in_processes(2, work)[0] == ["news"]
    assert town.store.events.after(town.store.events.last_id(), 0.01) == []


def test_ended_agents_are_no_wishes(town: Town) -> None:
    """Only what users want to run is in `wanted`."""
    alive, ended = register(town, "alive"), register(town, "ended", wanted=False)

    assert list(town.store.agents.wishes()) == [alive.id]
    row = town.store.agents.row(ended.id)
    assert row is not None
    assert (row.wish, row.agent.state) == (None, AgentState.STOPPED)


def test_a_given_task_and_its_message_agree(town: Town) -> None:
    """The message that leads to a task names it in its stored text."""
    task, message = give_task(town, register(town))

    assert json.loads(message.raw)["task_id"] == task.id
