"""Names and ids as people type them: what is accepted stays where it belongs, what is not is refused in one line."""

from __future__ import annotations

import os
import string
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.builders import QUICK, make_wish
from tinytown import ids, logs
from tinytown.config import Config
from tinytown.domain.agent import Wish
from tinytown.errors import Conflict, Invalid
from tinytown.services import naming
from tinytown.store import keys
from tinytown.store.keys import TABLE, Keys
from tinytown.town import Town

LEGAL = string.ascii_letters + string.digits + "._-"


def is_legal(name: str) -> bool:
    """As the documentation has it."""
    return 1 <= len(name) <= 64 and set(name) <= set(LEGAL) and name not in {".", ".."} and name[0] != "-"


NAMES = st.text(LEGAL, min_size=1, max_size=64).filter(is_legal)
ODD = [*"aZ0._-/\\:*?[]\0\n\r\t \u202e\u200b\u2028\ufeff\ud800\u00e4\uff11\u2163\u00df", "../", "~", "$x", "a" * 64]
HOSTILE = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(ODD), max_size=9).map("".join), st.text(LEGAL))
UUIDS = st.uuids(version=4).map(str)


@QUICK
@given(HOSTILE)
@example("a\n")
@example("x" * 65)
@example("\uff11")
def test_a_name_is_legal_or_refused(name: str) -> None:
    """As it was typed or not at all; a refusal is one printable line, with what helps."""
    if is_legal(name):
        assert ids.check_name(name) == name
        return
    with pytest.raises(Invalid) as refused:
        ids.check_name(name)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300
    assert refused.value.remedy


@QUICK
@given(HOSTILE)
def test_a_wish_has_a_legal_name(name: str) -> None:
    """Also one that somebody writes into Redis by hand; names could begin with a hyphen once."""
    text = make_wish(name).to_json().encode("utf-8", "replace").decode()
    try:
        found = Wish.from_json(text)
    except (Invalid, ValueError):
        return
    assert is_legal(found.name.replace("-", "_"))


@QUICK
@given(NAMES, NAMES)
def test_a_name_stays_in_its_folder(first: str, second: str) -> None:
    """An agent's files lie in the one folder of its name, and two names share none."""
    town = Town(Path("/town"), Config(name="t"))
    folder = town.journal(first).folder
    assert Path(os.path.normpath(folder)).parent == town.state_dir / "agents"
    assert Path(os.path.normpath(town.logs_dir / f"{first}.log")).parent == town.logs_dir
    assert (folder == town.journal(second).folder) == (first == second)
    assert not (logs.is_round_log_name(first) and first == second + "_")


@QUICK
@given(NAMES, NAMES, UUIDS)
def test_a_town_stays_below_its_prefix(town: str, other: str, agent_id: str) -> None:
    """Every key says whose it is, and the pattern that finds a town's keys finds no other town's."""
    own, pattern = Keys(town), f"{Keys(other).prefix}*"
    made = [
        *own.of_agent(agent_id), own.agents, own.wanted, own.backlog, own.events, own.releases, own.hold("claude"),
        own.task(agent_id), own.tasks("pending"), own.sent(agent_id), own.dependents(agent_id), own.snapshot("x"),
    ]  # fmt: skip
    for key in made:
        found = keys.split(key)
        assert found is not None
        assert found[0] == town
        assert found[1].partition(":")[0] in TABLE
        assert fnmatchcase(key, pattern) == (town == other)
    assert {keys.owner(key) for key in own.of_agent(agent_id)} == {agent_id}


@QUICK
@given(HOSTILE)
def test_a_folder_of_any_name_gives_a_town(text: str) -> None:
    """What is not allowed becomes a hyphen; what has nothing to be named by is refused."""
    try:
        name = naming.legal(text)
    except Invalid:
        name = ""
    if not name:
        assert not set(text.strip()[:64]) & set(string.ascii_letters + string.digits)
        return
    assert ids.check_name(name, "Town") == name
    assert naming.legal(name) == name


@QUICK
@given(st.lists(UUIDS, unique=True, max_size=6), st.data())
def test_any_unambiguous_prefix_finds_its_id(known: list[str], data: st.DataObject) -> None:
    """Of four or more characters, in any case; one that fits several is refused with those it fits."""
    if not known:
        return
    wanted = data.draw(st.sampled_from(known))
    prefix = wanted[: data.draw(st.integers(4, 36))]
    typed = data.draw(st.sampled_from([prefix, prefix.upper(), f" {prefix}\n"]))
    fitting = [i for i in known if i.startswith(prefix)]
    if len(fitting) == 1:
        assert ids.match_prefix(typed, known, "Task") == wanted
    else:
        with pytest.raises(Conflict, match="ambiguous"):
            ids.match_prefix(typed, known, "Task")
    assert ids.match_prefix(prefix[:3], known, "Task") is None


@QUICK
@given(HOSTILE, st.lists(UUIDS, max_size=3))
def test_what_is_no_prefix_finds_nothing(reference: str, known: list[str]) -> None:
    """No pattern, no path, no digit of another script: only what the id begins with."""
    found = ids.match_prefix(reference, known, "Agent")
    assert found is None or found.startswith(reference.strip().lower())
    assert not ids.is_id(reference)


PARTS = st.text(st.characters(exclude_characters="\0"), max_size=30)


@QUICK
@given(st.tuples(NAMES, PARTS), st.tuples(NAMES, PARTS))
def test_a_plan_id_gives_one_task(one: tuple[str, str], other: tuple[str, str]) -> None:
    """The same town and plan id the same task, any other pair another; and it is an id that no chance gives."""
    made = ids.derived_id(*one)
    assert ids.is_id(made)
    assert made[14] == "8"
    assert (made == ids.derived_id(*other)) == (one == other)
