"""The conductor's mail, taken out by who has read it: what was named, and nothing else."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.support.mcp import connected, over_stdio
from tests.support.town import events, register, texts
from tests.support.verb_calls import ask, send
from tinytown import ids
from tinytown.services import messages
from tinytown.services.caller import Caller
from tinytown.town import Town

pytestmark = pytest.mark.slow
BOX = ids.SUPERVISOR_ID


def put(town: Town, *said: str) -> list[str]:
    """Messages for people; their ids."""
    return [messages.send(town, "conductor", text, Caller(), kind="info").id for text in said]


def push(town: Town, *texts: str | bytes) -> None:
    """What somebody puts into the mailbox by hand."""
    town.store.redis.rpush(town.store.keys.inbox(BOX), *texts)


def shown(http: httpx2.Client, **inputs: Any) -> dict[str, Any]:
    box: dict[str, Any] = ask(http, "agent.inbox", agent="conductor", **inputs)
    return box


def take(http: httpx2.Client, message_ids: list[str]) -> tuple[list[str], int]:
    """What a call took, and how many are left."""
    done = ask(http, "message.acknowledge", message_ids=message_ids)
    assert done["acknowledged"] == len(done["message_ids"])
    return done["message_ids"], done["left"]


def test_what_comes_meanwhile_stays(town: Town, http: httpx2.Client) -> None:
    """Mail between the look and the call, urgent or not; a repeat takes nothing, and each has one event."""
    read = put(town, "one", "two")
    assert [one["id"] for one in shown(http)["messages"]] == read
    late = [*put(town, "three"), messages.send(town, "conductor", "now!", Caller(), urgent=True).id]
    assert take(http, read) == (read, 2)
    assert take(http, read) == ([], 2)
    assert {one["id"] for one in shown(http)["messages"]} == set(late)
    assert [event["message_id"] for event in events(town, "message_acked")] == read


def test_unknown_ids_are_harmless(town: Town, http: httpx2.Client) -> None:
    """They are passed over; the beginning of an id is none, for another message could have it tomorrow."""
    (known,) = put(town, "one")
    assert take(http, ["never", known[:8], "", known.upper()]) == ([], 1)
    assert take(http, ["never", known, known]) == ([known], 0)


@pytest.mark.parametrize("given", [{}, {"message_ids": []}, {"message_ids": ["x"] * 1001}, {"message_ids": "x"}])
def test_somebody_must_say_what_was_read(town: Town, http: httpx2.Client, given: dict[str, Any]) -> None:
    """Nothing, too much at once, or no list: refused, and all of it stays."""
    put(town, "one")
    assert send(http, "message.acknowledge", **given).status_code == 422
    assert len(texts(town, "inbox", BOX)) == 1


def test_many_at_once(town: Town, http: httpx2.Client) -> None:
    """As many as a call takes."""
    read = [ids.new_id() for _ in range(1000)]
    push(town, *(json.dumps({"id": one, "type": "informational", "summary": "x"}) for one in read))
    assert take(http, read) == (read, 0)


def test_an_agents_mail_stays(town: Town, http: httpx2.Client) -> None:
    """It is its own, whoever names it."""
    agent = register(town, "backend")
    own = messages.send(town, "backend", "do it", Caller()).id
    assert take(http, [own]) == ([], 0)
    assert len(texts(town, "inbox", agent.id)) == 1


def test_two_at_once_take_each_message_once(town: Town, http: httpx2.Client) -> None:
    """In sum; none is taken twice, none is lost."""
    read = put(town, *(str(n) for n in range(150)))
    with ThreadPoolExecutor(4) as pool:
        parts = [found for found, _left in pool.map(lambda _n: take(http, read), range(4))]
    assert sorted(one for part in parts for one in part) == sorted(read)
    assert sorted(event["message_id"] for event in events(town, "message_acked")) == sorted(read)


def test_what_is_no_message_is_shown_and_taken_out(town: Town, http: httpx2.Client) -> None:
    """With an id made of its text, also where that is no text; another text stays."""
    push(town, "not a message", b"\xff{", '{"type": "shout"}')
    first, second, third = shown(http)["broken"]
    assert [one["text"] for one in (first, second, third)] == ["not a message", "\ufffd{", '{"type": "shout"}']
    assert shown(http, limit=2)["broken"] == [first, second]
    assert take(http, [second["id"], first["id"]]) == ([first["id"], second["id"]], 1)
    assert [one["id"] for one in shown(http)["broken"]] == [third["id"]]
    assert shown(http)["unreadable"] == 1


def test_the_same_by_hand_is_as_many_messages(town: Town, http: httpx2.Client) -> None:
    """Without an id of its own a text has one made of it: each time it is named, one goes."""
    text = '{"type": "informational", "summary": "built"}'
    push(town, text, text)
    box = shown(http)
    assert [one["text"] for one in shown(http, limit=1)["messages"]] == ["built"]
    named = [one["id"] for one in box["messages"]]
    assert len(set(named)) == 1
    push(town, text)
    assert take(http, named) == (named, 1)


def test_an_ai_tool_does_the_same(town: Town) -> None:
    """Over MCP: what it has read, and no more."""
    with connected(over_stdio(town.root)) as host:
        (read,) = put(town, "one")
        push(town, b"\xff{")
        box = host.call("agent.inbox", agent="conductor")
        (late,) = put(town, "two")
        given = [box["messages"][0]["id"], box["broken"][0]["id"], "never"]
        done = host.call("message.acknowledge", message_ids=given)
        assert done == {"acknowledged": 2, "message_ids": [read, box["broken"][0]["id"]], "left": 1}
        assert host.call("message.acknowledge", message_ids=given)["acknowledged"] == 0
        assert [one["id"] for one in host.call("agent.inbox", agent="conductor")["messages"]] == [late]
        assert "message_ids" in host.refused("message.acknowledge")
