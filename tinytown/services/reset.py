"""Reset: the town as it was after `tt init`, or without its agents only."""

from __future__ import annotations

from dataclasses import dataclass

from tinytown import clock, ids
from tinytown.domain.event import Event
from tinytown.errors import Conflict
from tinytown.services import estate, mail, orphans, pruning
from tinytown.services.stopping import Say, end_actors
from tinytown.store.keys import owner
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reset would delete; `at_work`: tasks that are assigned or running."""

    agents: int
    tasks: int
    backlog: int
    at_work: int
    missions: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """How many keys went, and how many tasks went to the backlog."""

    keys: int
    requeued: int = 0


def plan(town: Town) -> Plan:
    """Look, and change nothing."""
    return Plan(
        agents=len(town.store.agents.names()),
        tasks=sum(town.store.tasks.counts().values()),
        backlog=len(town.store.tasks.backlog_ids()),
        at_work=sum(len(task_ids) for task_ids in pruning.open_tasks(town).values()),
        missions=town.store.call(lambda r: r.zcard(town.store.keys.missions_all)),
    )


def reset(town: Town, say: Say | None = None) -> Done:
    """Stop every actor, then delete every key of the town in one step; one event says so. Idempotent.

    A supervisor goes on running. Raises Conflict when an actor cannot be stopped, or the town does not stand still.
    """
    town.ensure_redis()
    planned = plan(town)
    end_actors(town, town.store.agents.all(), say=say)

    def build(tx: Transaction) -> Done:
        tx.expect_newest(town.store.events.last_id(), "town")
        _require_rest(town)
        kept = (tx.keys.lease("supervisor"), tx.keys.snapshot(""))  # who holds them is at work; they lapse
        doomed = [key for key in town.store.scan() if not key.startswith(kept)]
        for key in doomed:
            tx.do("UNLINK", key)
        tx.event(_event(f"{planned.agents} agent(s), {planned.tasks} task(s), {len(doomed)} key(s) deleted"))
        return Done(len(doomed))

    done = change(town.store, build)
    _discard_journals(town)
    return done


def reset_agents(town: Town, say: Say | None = None) -> Done:
    """Stop every actor, then remove every agent with its mail, one step each; what they had in hand is parked.

    Tasks, the backlog, the conductor's mailbox and the history stay. Killed half-way, the next call goes on.
    """
    town.ensure_redis()
    rows = town.store.agents.all()
    end_actors(town, rows, say=say)
    owned = pruning.open_tasks(town)
    keys = requeued = 0
    for row in rows:
        mine = owned.get(row.agent.id, [])
        gone = pruning.remove(town, row.agent.id, mine, force=True, in_any_state=True, verb="reset")
        if gone is not None:
            keys, requeued = keys + gone.keys, requeued + len(gone.requeued)
    requeued += len(orphans.requeue_tasks(town))

    def build(tx: Transaction) -> int:
        _require_rest(town)
        tx.expect_newest(town.store.events.last_id(), "town")
        strays = _drop_strays(town, tx)
        tx.event(_event(f"{len(rows)} agent(s) removed; {requeued} task(s) back in the backlog"))
        return strays

    keys += change(town.store, build)
    _discard_journals(town)
    return Done(keys, requeued)


def _require_rest(town: Town) -> None:
    active = [row.agent.name for row in town.store.agents.all() if row.wish is not None]
    if active:
        raise Conflict(f"Started again meanwhile: {', '.join(active)}.", "Run the same command again.")


def _drop_strays(town: Town, tx: Transaction) -> int:
    """What is left of agents whose record is gone or cannot be read; returns how many keys there were."""
    known = {row.agent.id for row in town.store.agents.all()} | {ids.SUPERVISOR_ID}
    strays = {key: agent_id for key in town.store.scan() if (agent_id := owner(key)) not in known | {None}}
    for agent_id in dict.fromkeys(filter(None, strays.values())):
        texts = [letter.text for letter in town.store.inboxes.dead(agent_id)]
        for text in (*(held.text for held in estate.read(town, agent_id)), *texts):
            said = "with its agent, of which there is no record"
            tx.event(Event("message_reset", said, clock.stamp(), agent_id=agent_id, message_id=mail.message_id(text)))
    for key in strays:
        tx.do("UNLINK", key)
    for name, agent_id in town.store.agents.names().items():
        if agent_id not in known:
            tx.do("HDEL", tx.keys.agents, name)
    for agent_id in town.store.agents.wishes().keys() - known:
        tx.do("HDEL", tx.keys.wanted, agent_id)
    return len(strays)


def _discard_journals(town: Town) -> None:
    folders = (town.state_dir / "agents").glob("*/")
    pruning.discard_journals(town, sorted(folder.name for folder in folders))


def _event(text: str) -> Event:
    return Event("town_reset", text, clock.stamp())
