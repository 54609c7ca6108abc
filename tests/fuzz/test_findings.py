"""What fuzzing found, one plain test each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.fuzz.forked import tt
from tests.support import town as towns
from tests.support.builders import AT, make_agent, make_message, make_task, make_wish
from tinytown import config, processes
from tinytown.domain.agent import Agent
from tinytown.domain.message import Unreadable, parse
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.record import DEPTH
from tinytown.domain.states import TaskState
from tinytown.errors import ConfigInvalid, Invalid
from tinytown.files import read_json
from tinytown.journal import Journal
from tinytown.processes import Identity
from tinytown.services import registry
from tinytown.services.plan import entries, toml_file
from tinytown.services.settlement import Round, settle
from tinytown.store.agents import counters, read_wish
from tinytown.store.inboxes import read_dead_letter
from tinytown.store.tasks import read_task
from tinytown.town import Town, find_root

DIGITS = "9" * 5000
DEEP = "[" * 6000


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("description", 5), ("description", None), ("tags", "x"), ("tags", [1]), ("state", []), ("depends_on", [None]),
     ("assigned_to", {}), ("description", "\ud800")],
)  # fmt: skip
def test_a_task_with_a_field_of_another_type(name: str, wrong: object) -> None:
    """It is no record: those who read lists of tasks would fall over it, and nobody could write it again."""
    task = make_task()
    assert read_task(json.dumps(task.to_dict() | {name: wrong}), task.id) is None


@pytest.mark.parametrize(
    ("name", "wrong"), [("epoch", "1"), ("epoch", True), ("name", "../x"), ("name", None), ("cli", []), ("state", 1)]
)
def test_an_agent_with_a_field_of_another_type(name: str, wrong: object) -> None:
    """It is no record; a name is the name of a folder."""
    with pytest.raises(ValueError):  # noqa: PT011  any of its kinds
        Agent.from_json(json.dumps(make_agent().to_dict() | {name: wrong}))


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity", "9" * 400])
def test_a_wish_without_a_time(number: str) -> None:
    """The supervisor counts with it."""
    assert read_wish(make_wish(since=7.5).to_json().replace("7.5", number)) is None


@pytest.mark.parametrize("kind", ["task", "message", "wish"])
def test_records_that_nobody_could_write_again(kind: str) -> None:
    """Nesting that just passes the parser ends the interpreter's patience where it is written."""
    deep = "[" * (DEPTH + 1) + "]" * (DEPTH + 1)
    task = make_task()
    if kind == "task":
        assert read_task(f'{task.to_json()[:-1]},"x":{deep}}}', task.id) is None
    elif kind == "wish":
        assert read_wish(f'{make_wish().to_json()[:-1]},"x":{deep}}}') is None
    else:
        with pytest.raises(Unreadable):
            parse(f'{make_message("query").raw[:-1]},"x":{deep}}}')


def test_a_reason_is_short() -> None:
    """Megabytes as a type or priority are not repeated in the reason."""
    for text in ('{"type":"%s"}', '{"type":"ping","priority":"%s"}'):
        with pytest.raises(Unreadable) as caught:
            parse(text % ("x" * 5_000_000))
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("attempts", ["1e999", "NaN", "[]", DIGITS])
def test_dead_letters(attempts: str) -> None:
    """A count that is none, or nesting, makes it an unreadable letter, shown as it is."""
    text = f'{{"message":"x","reason":"y","at":"{AT}","attempts":{attempts}}}'
    assert read_dead_letter(text).text == text
    assert read_dead_letter(DEEP).text == DEEP


def test_counters_by_hand() -> None:
    """What is no number counts as nothing."""
    assert counters({"a": "x", "b": DIGITS, "c": "3", "d": "-1"}) == {"a": 0, "b": 0, "c": 3, "d": 0}


def test_events_nested_too_deeply(town: Town) -> None:
    """An event that nobody can read is an empty one."""
    town.store.redis.xadd(town.store.keys.events, {"data": DEEP})
    assert towns.events(town) == [] or {} in [event for _id, event in town.store.events.newest(5)]


@pytest.mark.parametrize(
    "change",
    [{"outcome": 5}, {"outcome": "x"}, {"epoch": float("inf")}, {"number": float("nan")}, {"messages": None},
     {"outcome": {"kind": "ok", "detail": 5}}, {"outcome": {"kind": "ok", "until": float("nan")}}],
)  # fmt: skip
def test_journals_of_other_types(tmp_path: Path, change: dict[str, object]) -> None:
    """There is no round, and no error."""
    sound = {"agent_id": "a", "epoch": 1, "number": 2, "run": "r", "messages": ["m"]}
    (tmp_path / "round.json").write_text(json.dumps(sound | change))
    assert Journal(tmp_path).last_round() is None
    (tmp_path / "round.json").write_text(DEEP)
    assert read_json(tmp_path / "round.json") is None


@pytest.mark.parametrize("pid", [float("inf"), -1, 0, 10**30])
def test_no_process(pid: float) -> None:
    """A number that is no pid names nobody."""
    assert Identity.from_dict({"pid": pid, "started": 1}) is None
    assert not processes.is_alive(Identity.from_dict({"pid": pid, "started": 1}))


@pytest.mark.parametrize("value", [DIGITS, "[" * 900 + "]" * 900, "{a=" * 500 + "1" + "}" * 500])
def test_toml_beyond_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Numbers of thousands of digits and deep nesting are no TOML, in whichever file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".tt").mkdir()
    (tmp_path / "tinytown.toml").write_text(f'name = "t"\nx = {value}\n')
    (tmp_path / ".tt" / "towns.toml").write_text(f"x = {value}\n")
    with pytest.raises(ConfigInvalid):
        config.load(tmp_path)
    with pytest.raises(ConfigInvalid):
        registry.listing()
    with pytest.raises(Invalid):
        toml_file.parse(f'[[tasks]]\nid = "a"\nx = {value}\n')


def test_nobody_waits_for_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe in the place of the settings is refused at once."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".tt").mkdir()
    (tmp_path / "tinytown.toml").write_text('name = "t"\n')
    os.mkfifo(tmp_path / ".tt" / "config.toml")
    with pytest.raises(ConfigInvalid, match="Not a regular file"):
        config.load(tmp_path)


def test_registered_towns_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is no text is refused; a home of nobody is not found."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".tt").mkdir()
    (tmp_path / ".tt" / "towns.toml").write_text('[[towns]]\nname = "a"\npath = 5\n')
    with pytest.raises(ConfigInvalid):
        registry.listing()
    (tmp_path / ".tt" / "towns.toml").write_text('[[towns]]\nname = "a"\npath = "~nobody-here/x"\n')
    assert [seen.state for seen in registry.survey()] == [registry.State.NOT_FOUND]


def test_a_plans_errors_are_one_line() -> None:
    """Whatever stands in a task's values."""
    for key, value in (("id", "a\\nb"), ("status", "x\\n"), ("depends_on", "c\\nd"), ("id", "x" * 5000)):
        written = f'["{value}"]' if key == "depends_on" else f'"{value}"'
        rest = "".join(f'{k} = "t"\n' for k in ("id", "description") if k != key)
        with pytest.raises(Invalid) as caught:
            entries.read(toml_file.parse(f"[[tasks]]\n{rest}{key} = {written}\n"))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


def test_a_town_that_is_no_path(tmp_path: Path) -> None:
    """Names that are too long, homes of nobody and lines: there is no town, in one line of bounded length."""
    for given in ("x" * 100_000, "~nobody-here/x", "a\nb"):
        ran = tt(["status", "--town", given], tmp_path)
        assert (ran.code, ran.out, ran.complaints()) == (1, "", [])
    with pytest.raises(Exception, match="not initialized"):
        find_root("~nobody-here/x")


def test_references_of_several_lines(town: Town) -> None:
    """What was not found is named in one line, with one of remedy; a whole file is not repeated."""
    for words in (
        ("kill", "a\nb\nc"),
        ("task", "show", "a\nb"),
        ("wait", "a\nb", "--timeout", "0"),
        ("why", "x" * 100_000),
    ):
        ran = tt(["--town", str(town.root), *words], town.root)
        assert ran.code == 1
        assert len(ran.err.splitlines()) == 2
        assert len(ran.err) < 500


def test_a_record_of_another_task(town: Town) -> None:
    """A record that was copied under another id is nobody's: the mail that leads to it is buried, the rest is done."""
    agent = towns.register(town)
    task, lead = towns.give_task(town, agent)
    town.store.redis.set(town.store.keys.task(task.id), make_task(TaskState.ASSIGNED, assigned_to=agent.id).to_json())
    mail = towns.give_mail(town, agent)
    assert [message.id for message in towns.claim_all(town, agent).messages] == [mail.id]
    assert [letter.text for letter in town.store.inboxes.dead(agent.id)] == [lead.raw]


def test_a_pending_task_is_nobodys(town: Town) -> None:
    """A record that names its agent and lost its state stops no other mail."""
    agent = towns.register(town)
    task, lead = towns.give_task(town, agent)
    record = {name: value for name, value in task.to_dict().items() if name != "state"}
    town.store.redis.set(town.store.keys.task(task.id), json.dumps(record))
    mail = towns.give_mail(town, agent)
    assert [message.id for message in towns.claim_all(town, agent).messages] == [mail.id]
    assert lead.id in {event["message_id"] for event in towns.events(town, "message_acked")}


def test_a_journal_with_half_a_character(tmp_path: Path) -> None:
    """Nobody could write it again: there is no round."""
    entry = {"agent_id": "a", "epoch": 1, "number": 2, "run": "\ud800", "messages": []}
    (tmp_path / "round.json").write_text(json.dumps(entry))
    journal = Journal(tmp_path)
    assert journal.last_round() is None
    journal.close_round()


def test_attempts_by_hand(town: Town) -> None:
    """A count of attempts that is none stops nothing."""
    agent = towns.register(town)
    mail = towns.give_mail(town, agent)
    town.store.redis.hset(town.store.keys.attempts(agent.id), mapping={mail.id: "many", "other": DIGITS})
    assert towns.claim_all(town, agent).attempts == {mail.id: 0}
    assert settle(town, agent.id, 1, Round(Outcome(OutcomeKind.KILLED))).attempts == {mail.id: 1}


def test_an_event_with_half_a_change(town: Town) -> None:
    """`tt history` shows an event that says what a state was, and not what it became."""
    event = {"event_type": "task_moved", "message": "by hand", "old_state": "assigned", "timestamp": AT}
    town.store.redis.xadd(town.store.keys.events, {"data": json.dumps(event)})
    ran = tt(["--town", str(town.root), "history"], town.root)
    assert (ran.code, "by hand" in ran.out) == (0, True)


def test_a_byte_order_mark_before_settings(tmp_path: Path) -> None:
    """Some editors put one there."""
    (tmp_path / "tinytown.toml").write_bytes(b'\xef\xbb\xbfname = "x"\n')
    assert config.load(tmp_path).name == "x"
