"""The conductor's mail is read by people: in full, and acknowledged. And the former `tt tasks`."""

from __future__ import annotations

import pytest

from tests.support import town as towns
from tests.support.builders import make_message
from tests.support.cli import Tt
from tests.support.town import in_processes, same_town
from tinytown import clock, ids
from tinytown.domain.message import Message, Priority
from tinytown.services import messages
from tinytown.town import Town, change

pytestmark = pytest.mark.slow

BOX = ids.SUPERVISOR_ID


def put(town: Town, text: str, sender: str = BOX, *, kind: str = "informational", urgent: bool = False) -> Message:
    priority = Priority.URGENT if urgent else Priority.NORMAL
    made = Message(
        ids.new_id(), sender, BOX, kind, {"question" if kind == "query" else "summary": text}, priority, clock.stamp()
    )
    change(town.store, lambda tx: tx.put(BOX, made))
    return made


def acked(town: Town) -> list[str]:
    return [event["message_id"] for event in towns.events(town, "message_acked") if "message_id" in event]


def test_it_is_shown_in_full(tt: Tt, town: Town) -> None:
    """Who, when, every line; urgent mail first; nothing is taken away by looking."""
    agent = towns.register(town, "backend")
    put(town, "line one\nline two " + "x" * 200, agent.id)
    put(town, "now!", urgent=True)
    town.store.redis.rpush(town.store.keys.inbox(BOX), "not a message")
    ran = tt.ok("inbox", "conductor")
    lines = ran.out.splitlines()
    assert lines[0] == "Inbox for 'conductor': 3 messages"
    assert lines[2].startswith("   URGENT informational from conductor, ")
    assert lines[2].endswith("s ago)")
    assert lines[3] == "      now!"
    assert lines[5].startswith("   informational from backend, ")
    assert lines[6:8] == ["      line one", "      line two " + "x" * 200]
    assert lines[9:] == ["   unreadable", "      not a message"]
    assert ran.err == "Take them out of the mailbox with: tt inbox conductor --ack-all\n"
    assert tt.ok("inbox", "supervisor").out.splitlines()[0] == lines[0]


def test_a_question_says_how_it_is_answered(tt: Tt, town: Town) -> None:
    """One of an agent's; a mission's names its own command."""
    agent = towns.register(town, "backend")
    for sender in (BOX, agent.id):
        put(town, "which port?", sender, kind="query")
        hints = tt.ok("inbox", "conductor").complaint
        wanted = ["Answer a question with: tt send AGENT 'TEXT'"] if sender == agent.id else []
        assert hints == [*wanted, "Take them out of the mailbox with: tt inbox conductor --ack-all"]


def test_it_is_acknowledged(tt: Tt, town: Town) -> None:
    """What was shown is taken out, each with an event that names it; then the mailbox is empty."""
    mail = [put(town, "one"), put(town, "two"), put(town, "three", urgent=True)]
    town.store.redis.rpush(town.store.keys.inbox(BOX), "not a message")
    ran = tt.ok("inbox", "conductor", "--ack-all")
    assert (ran.out.count("informational from"), ran.err) == (3, "Acknowledged 4 message(s).\n")
    assert sorted(acked(town)) == sorted(message.id for message in mail)
    ran = tt.ok("inbox", "conductor", "--ack-all")
    assert (ran.out, ran.err) == ("Inbox for 'conductor': 0 messages\n", "Acknowledged 0 message(s).\n")


def test_it_is_acknowledged_by_programs(tt: Tt, town: Town) -> None:
    """--json shows the same, in the shape of every mailbox; what is no message, too, before it is gone."""
    message = put(town, "one")
    town.store.redis.rpush(town.store.keys.inbox(BOX), "not a message")
    ran = tt.ok("inbox", "conductor", "--ack-all", "--json")
    assert [m["id"] for m in ran.json["messages"]] == acked(town) == [message.id]
    assert [one["text"] for one in ran.json["broken"]] == ["not a message"]
    assert towns.texts(town, "inbox", BOX) == []


def test_what_comes_meanwhile_stays(town: Town) -> None:
    """Exactly those that were read are acknowledged."""
    shown = put(town, "one")
    box = messages.mailbox(town, "conductor")
    late = put(town, "two")
    assert messages.acknowledge(town, box) == 1
    assert messages.acknowledge(town, box) == 0
    assert acked(town) == [shown.id]
    assert towns.texts(town, "inbox", BOX) == [late.to_json()]


def test_what_cannot_be_shown_is_not_acknowledged(tt: Tt, town: Town) -> None:
    """Nobody reads the output: the mail stays."""
    put(town, "x" * 100_000)
    ran = tt("inbox", "conductor", "--ack-all", prefix=("sh", "-c", '"$@" | :; exit 0', "sh"))
    assert "Acknowledged" not in ran.err
    assert len(towns.texts(town, "inbox", BOX)) == 1


def test_everybody_acknowledges_at_once(town: Town) -> None:
    """Four who read the same mail take each message once; none is lost of those that are sent meanwhile."""
    mail = [put(town, str(n)) for n in range(250)]

    def work(number: int) -> int:
        own = same_town(town)
        if number == 4:
            for n in range(20):
                put(own, f"late {n}")
            return 0
        return messages.acknowledge(own, messages.mailbox(own, "conductor"))

    counts = in_processes(5, work)

    left = messages.mailbox(town, "conductor").messages
    assert len(acked(town)) == len(set(acked(town))) == sum(counts)
    assert sum(counts) + len(left) == 270
    assert {message.id for message in mail} <= set(acked(town))


def test_an_agents_mail_is_its_own(tt: Tt, town: Town) -> None:
    """Refused with the reason; nothing is touched."""
    agent = towns.register(town, "backend")
    text = make_message("query", to=agent.id).raw
    town.store.redis.rpush(town.store.keys.inbox(agent.id), text)
    ran = tt.fails("inbox", "backend", "--ack-all")
    assert ran.err == (
        "Error: The mail of agent 'backend' is its own: its rounds take it.\n"
        "Only the conductor's mail can be acknowledged: tt inbox conductor --ack-all\n"
    )
    assert towns.texts(town, "inbox", agent.id) == [text]


@pytest.mark.parametrize(
    "others", [(), ("--all",), ("conductor", "--dead"), ("conductor", "--retry", "x"), ("conductor", "--drop", "x")]
)
def test_it_goes_with_nothing_else(tt: Tt, others: tuple[str, ...]) -> None:
    """One mailbox, by name."""
    assert "--ack-all is for one mailbox" in tt.fails("inbox", "--ack-all", *others, code=2).err


def test_the_former_tasks(tt: Tt, town: Town) -> None:
    """It does what `inbox --all` does, and says so on stderr; no list shows it."""
    towns.give_mail(town, towns.register(town, "backend"))
    ran = tt.ok("tasks")
    assert ran.err == "'tt tasks' is deprecated. Use 'tt inbox --all' instead.\n"
    assert ran.out == tt.ok("inbox", "--all").out
    assert tt.ok("tasks", "--json").json == tt.ok("inbox", "--all", "--json").json
    assert "tt inbox --all" in tt.ok("tasks", "--help").out
    assert "  tasks " not in tt.ok("--help").out
