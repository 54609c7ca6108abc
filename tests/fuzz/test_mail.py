"""Mail, tasks and counters that somebody typed: an agent buries what it cannot read and does all the rest."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.faults.conftest import stubborn
from tests.fuzz.material import ESCAPE, NASTY, WORDS, cases, mutated
from tests.support import town as towns
from tests.support.builders import MINIMAL, make_agent, make_message, make_task, make_wish
from tests.support.running_town import RunningTown
from tinytown.actors.mailroom import Mailroom
from tinytown.actors.post import Post
from tinytown.actors.round import _prompt
from tinytown.domain.agent import Agent
from tinytown.domain.message import Unreadable, parse
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.record import dump
from tinytown.domain.states import TaskState
from tinytown.model_cli.prompt import render
from tinytown.services.settlement import Round, settle
from tinytown.town import Town

pytestmark = pytest.mark.slow

__all__ = ["stubborn"]

KINDS = (OutcomeKind.OK, OutcomeKind.OK, OutcomeKind.KILLED, OutcomeKind.NEEDS_INPUT, OutcomeKind.STOPPED)
TURNS = 200
HUGE = '{"type":"query","question":"' + "x" * 5_000_000


def bad_mail(rng: random.Random) -> str:
    """One element of an inbox as redis-cli may have left it."""
    message = make_message(rng.choice(list(MINIMAL)), extra=[1])
    return mutated(rng, json.loads(message.raw))


def is_mail(text: str) -> bool:
    """It can be read."""
    try:
        parse(text)
    except Unreadable:
        return False
    return True


def test_an_actors_hands(town: Town) -> None:
    """Look, answer, claim, prompt and settle get through any mail; what is no message is in `dead`, as it was."""
    for number, rng in enumerate(cases("mail", 60)):
        agent = towns.register(town, f"a{number}")
        good = [towns.give_mail(town, agent, question=f"good {n}").id for n in range(3)]
        task, _mail = towns.give_task(town, agent)
        texts = [bad_mail(rng) for _ in range(rng.randint(1, 6))]
        _spoil(rng, town, agent, texts)
        _work_off(rng, town, agent)
        told = f"{[text[:300] for text in texts]}"
        buried = [letter.text for letter in town.store.inboxes.dead(agent.id)]
        left = [text for kind in ("inbox", "urgent", "claimed") for text in towns.texts(town, kind, agent.id)]
        assert not [text for text in texts if not is_mail(text) and text not in buried], told
        assert not [text for text in left if not is_mail(text) or parse(text).is_actionable], told
        ended = {e.get("message_id") for e in towns.events(town, "message_acked", "message_dead")}
        assert set(good) <= ended, told
        assert towns.task_now(town, task).state.is_terminal, told


def _spoil(rng: random.Random, town: Town, agent: Agent, texts: list[str]) -> None:
    redis, keys = town.store.redis, town.store.keys
    for text in texts:
        redis.lpush(rng.choice([keys.inbox(agent.id), keys.urgent(agent.id)]), text)
        redis.hset(keys.attempts(agent.id), rng.choice(["m", *WORDS]), rng.choice((*WORDS, *NASTY)))
    bad_task = make_task(TaskState.ASSIGNED, assigned_to=agent.id)
    redis.set(keys.task(bad_task.id), mutated(rng, bad_task.to_dict()))
    lead = make_message("task_assign", to=agent.id, task_id=bad_task.id)
    redis.rpush(keys.inbox(agent.id), lead.raw)
    redis.hset(keys.attempts(agent.id), lead.id, rng.choice(WORDS))
    stranger = make_agent("mate")
    redis.set(keys.agent(stranger.id), mutated(rng, stranger.to_dict()))
    redis.hset(keys.agents, rng.choice(WORDS), stranger.id)


def _work_off(rng: random.Random, town: Town, agent: Agent) -> None:
    room = Mailroom(town, agent.id, 1)
    post = Post(agent.id, agent.name, 1)
    for turn in range(TURNS):
        look = room.look("true", {})
        if room.answer(look, look.agent.state, None):
            continue
        if not look.batch.is_actionable:
            return
        claim = room.claim(look)
        if claim is None:
            continue
        render(_prompt(town, post, claim, look, room))
        kind = rng.choice(KINDS) if turn < TURNS / 2 else OutcomeKind.OK
        settle(town, agent.id, 1, Round(Outcome(kind, ESCAPE), run=f"{agent.id}:1:{turn}", number=turn))
    raise AssertionError("its mail has no end")


def test_a_running_town(tmp_path: Path, stubborn: Path) -> None:
    """Real actors: the same processes go on, every unreadable text is kept, good mail and other agents are served."""
    with RunningTown(tmp_path / "town", stubborn) as town:
        town.spawn("ann", "bob", rounds=1000)
        town.wait_idle("ann", "bob")
        actors = {name: town.actor(name) for name in ("ann", "bob")}
        keys, redis, ann = town.town.store.keys, town.town.store.redis, town.agent("ann").id
        texts = [text for rng in cases("running", 60) if not is_mail(text := bad_mail(rng))] + [HUGE]
        for text in texts:
            redis.lpush(keys.inbox(ann), text)
        for number, rng in enumerate(cases("wishes", 20)):
            redis.hset(keys.wanted, f"nobody{number}", _no_wish(rng))
            redis.xadd(keys.events, {"data": mutated(rng, {"event_type": "task_started", "agent_id": ann})})
        for name in ("ann", "bob", "ann"):
            town.task_done(name)
        dead = [letter.text for letter in town.town.store.inboxes.dead(ann)]
        assert sorted(dead) == sorted(texts)
        assert {name: town.actor(name) for name in actors} == actors
        assert not town.events("agent_gave_up", "agent_restarted")


def _no_wish(rng: random.Random) -> str:
    text = mutated(rng, make_wish("nobody").to_dict())
    return text if text[:1] != "{" else dump({"name": "nobody", "epoch": text[:300]})


def test_an_unreadable_claim_is_kept(town: Town) -> None:
    """A claimed text that is no message is not acked by a success: it goes back, and is buried with its text."""
    agent = towns.register(town)
    towns.give_mail(town, agent)
    claim = towns.claim_all(town, agent)
    town.store.redis.rpush(town.store.keys.claimed(agent.id), "no message", "no other")
    settle(town, agent.id, 1, Round(Outcome(OutcomeKind.OK)))
    _work_off(random.Random(1), town, agent)  # noqa: S311  no secrets
    assert [letter.text for letter in town.store.inboxes.dead(agent.id)] == ["no message", "no other"]
    assert claim.messages[0].id in {e["message_id"] for e in towns.events(town, "message_acked")}
