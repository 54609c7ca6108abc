"""Messages: what is stored, what people type by hand, what is no message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import AT, MINIMAL, QUICK, by_hand, make_message
from tinytown.domain.message import ACK_TYPES, TYPES, Message, Priority, Sort, Unreadable, confirmation_of, parse
from tinytown.ids import SUPERVISOR_ID


def test_the_table_of_types_is_the_documented_one() -> None:
    """Thirteen types; tasks, queries and custom messages start a run, control messages never do."""
    assert set(TYPES) == set(MINIMAL)
    assert {t for t, row in TYPES.items() if row[0] in {Sort.TASK, Sort.QUERY}} == {
        "task",
        "task_assign",
        "query",
        "custom",
    }
    assert {t for t, row in TYPES.items() if row[0] is Sort.CONTROL} == {"ping", "status_request", "shutdown"}


@pytest.mark.parametrize("kind", MINIMAL)
def test_the_minimal_form_of_each_type(kind: str) -> None:
    """What a person types: type and payload are enough; sender, priority and id are made up."""
    message = parse(by_hand(kind))

    assert (message.type, message.sender, message.priority) == (kind, SUPERVISOR_ID, Priority.NORMAL)
    assert MINIMAL[kind].items() <= message.payload.items()
    assert message.id.startswith("hand-")
    assert parse(by_hand(kind)).id == message.id
    assert message.text
    assert message.is_actionable == (kind in {"task", "task_assign", "query", "custom"})


@pytest.mark.parametrize("kind", MINIMAL)
@pytest.mark.parametrize("priority", Priority)
def test_each_type_round_trips(kind: str, priority: Priority) -> None:
    """Stored and read, a message is the same message, and its text is kept as it was."""
    sent = make_message(kind, to="someone", priority=priority)
    read = parse(sent.raw)

    assert (read.id, read.sender, read.to, read.type, read.priority, read.created_at) == (
        sent.id, SUPERVISOR_ID, "someone", kind, priority, AT,
    )  # fmt: skip
    assert sent.payload.items() <= read.payload.items()
    assert read.raw == sent.raw
    assert parse(read.to_json()).payload == read.payload


def test_the_envelope_is_the_documented_one() -> None:
    """Stored JSON has the envelope's keys and the payload beside them, in this order."""
    stored = json.loads(make_message("task_assign", to="x", task_id="t").raw)

    assert list(stored) == ["id", "from", "to", "type", "task_id", "priority", "created_at", "correlation_id"]


def test_unknown_fields_survive() -> None:
    """A field of a newer version stays in a message that is written again."""
    message = parse(by_hand("query", colour="blue", depth=[1, {"a": None}]))

    again = json.loads(message.to_json())

    assert (again["colour"], again["depth"]) == ("blue", [1, {"a": None}])


BAD = [
    ("", "not JSON"),
    ("hello", "not JSON"),
    ("[1]", "not a JSON object"),
    ("null", "not a JSON object"),
    ('"ping"', "not a JSON object"),
    ("[" * 20_000, "not JSON"),
    ("{}", "unknown message type None"),
    ('{"type":"dance"}', "unknown message type 'dance'"),
    ('{"type":["ping"]}', "unknown message type"),
    ('{"type":"TASK","description":"x"}', "unknown message type 'TASK'"),
    ('{"type":"task"}', "needs 'description' as str"),
    ('{"type":"task","description":5}', "needs 'description' as str"),
    ('{"type":"task_assign","task_id":null}', "needs 'task_id' as str"),
    ('{"type":"confirmation","ack_type":"received"}', "needs 'ack_type' as dict"),
    ('{"type":"confirmation","ack_type":{}}', "unknown ack_type"),
    ('{"type":"confirmation","ack_type":{"type":["x"]}}', "unknown ack_type"),
    ('{"type":"status_response","state":"idle","current_task":7}', "current_task"),
    ('{"type":"ping","priority":"soon"}', "soon"),
    ('{"type":"ping","priority":["high"]}', "high"),
    ('{"type":"ping","id":7}', "'id' is no text"),
    ('{"type":"ping","from":{}}', "'from' is no text"),
    ('{"type":"ping","correlation_id":1.5}', "'correlation_id' is no text"),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_what_is_no_message_says_why(text: str, reason: str) -> None:
    """Unreadable text raises with a reason that helps whoever pushed it."""
    with pytest.raises(Unreadable) as caught:
        parse(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize("where", ["id", "correlation_id", "description", "from", "unknown"])
def test_half_a_character_is_no_message(where: str) -> None:
    r"""A lone surrogate (`"\ud83d"`, half an emoji) can neither be a key nor be stored: unreadable."""
    text = json.dumps({"type": "task", "description": "x"} | {where: "a\ud83d"})
    try:
        message = parse(text)
    except Unreadable:
        return
    for value in (message.id, message.correlation_id or "", message.sender, message.to_json(), message.text):
        value.encode("utf-8", "surrogateescape")


def test_bytes_that_are_no_text_survive() -> None:
    """A message in Latin-1 comes from Redis with escaped bytes; it is read, and written back as the same bytes."""
    raw = b'{"type":"query","question":"caf\xe9"}'.decode("utf-8", "surrogateescape")

    message = parse(raw)

    assert message.raw.encode("utf-8", "surrogateescape").endswith(b'caf\xe9"}')
    assert message.to_json().encode("utf-8", "surrogateescape").count(b"\xe9") == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NEARLY = st.builds(
    lambda kind, fields, junk: json.dumps({"type": kind} | MINIMAL[kind] | fields | junk),
    st.sampled_from(list(MINIMAL)),
    st.dictionaries(
        st.sampled_from(
            ["id", "from", "to", "priority", "created_at", "correlation_id", "description", "ack_type", "task_id"]
        ),
        JSON,
        max_size=3,
    ),
    st.dictionaries(st.text(), JSON, max_size=2),
)


@QUICK
@given(st.text() | st.binary().map(lambda b: b.decode("utf-8", "surrogateescape")) | JSON.map(json.dumps) | NEARLY)
def test_any_text_is_a_message_or_unreadable(text: str) -> None:
    """No text makes parse raise anything else, and a message that was read can be shown, stored and read again."""
    try:
        message = parse(text)
    except Unreadable as error:
        assert str(error)  # noqa: PT017  either way is right
        return
    assert isinstance(message, Message)
    assert isinstance(message.text, str)
    again = parse(message.to_json())
    assert again.type == message.type
    assert json.dumps(again.payload) == json.dumps(message.payload)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("received", {"type": "received", "reason": "received"}),
        ("  Received, thanks", {"type": "received", "reason": "  Received, thanks"}),
        ("approved: go", {"type": "approved", "reason": "approved: go"}),
        ("thank you", {"type": "thanks", "reason": "thank you"}),
        ("rejected", {"type": "rejected", "reason": "No reason provided"}),
        ("Rejected:  too Big ", {"type": "rejected", "reason": "too Big"}),
        ("rejected too big", {"type": "rejected", "reason": "too big"}),
        ("fine by me", {"type": "acknowledged", "reason": "fine by me"}),
        ("", {"type": "acknowledged", "reason": ""}),
    ],
)
def test_words_become_a_confirmation(words: str, expected: dict[str, Any]) -> None:
    """The first word chooses the ack_type; a rejection keeps its reason, however it is set off."""
    assert confirmation_of(words) == expected
    assert expected["type"] in ACK_TYPES


@QUICK
@given(st.text())
def test_any_confirmation_is_a_readable_message(words: str) -> None:
    """Whatever is said, what `send --ack` makes of it can be read."""
    message = make_message("confirmation", ack_type=confirmation_of(words))

    assert parse(message.raw).sort is Sort.CONFIRMATION
