"""Ids, names, and the short forms that find them."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.errors import Conflict, Invalid
from tinytown.ids import RESERVED_NAMES, SUPERVISOR_ID, check_name, derived_id, is_id, match_prefix, new_id, short

ONE = "aaaa1111-0000-4000-8000-000000000000"
TWO = "aaaa2222-0000-4000-8000-000000000000"


def test_derived_ids() -> None:
    """The same names give the same id, of version 8; other names, or the same run together, another."""
    assert derived_id("town", "a") == derived_id("town", "a")
    assert is_id(derived_id("town", "\udcff"))
    assert uuid.UUID(derived_id("town", "a")).version == 8
    assert len({derived_id("town", "a"), derived_id("towna"), derived_id("tow", "na"), derived_id("a", "town")}) == 4


def test_new_ids_are_random_version_4_uuids() -> None:
    """An id is what the uuid module calls a version 4, in its own spelling, and never the same twice."""
    made = {new_id() for _ in range(1000)}

    assert len(made) == 1000
    assert all(str(uuid.UUID(i)) == i and uuid.UUID(i).version == 4 for i in made)
    assert all(is_id(i) for i in made)
    assert short(ONE) == "aaaa1111"


@pytest.mark.parametrize("text", ["", "aaaa", ONE.upper(), ONE + "\n", ONE[:-1], " " + ONE, ONE.replace("-", "")])
def test_what_is_no_whole_id(text: str) -> None:
    """Only the whole id in its own spelling counts as one."""
    assert not is_id(text)
    assert is_id(SUPERVISOR_ID)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (ONE, ONE),
        ("aaaa1", ONE),
        ("AAAA1111", ONE),
        ("  aaaa2222- ", TWO),
        ("aaa", None),
        ("", None),
        ("bbbb", None),
        ("aaaa*", None),
        ("aaaa1 ", ONE),
        ("aaaa1111-0000-4000-8000-0000000000000", None),
    ],
)
def test_a_prefix_of_four_or_more_finds_one(reference: str, expected: str | None) -> None:
    """An unambiguous prefix of at least 4 characters finds the id, in any case, with spaces around it."""
    assert match_prefix(reference, [ONE, TWO], "Task") == expected


def test_an_ambiguous_prefix_is_refused_with_the_choices() -> None:
    """Several matches are a conflict that shows them; nothing is guessed."""
    with pytest.raises(Conflict, match="Task reference 'aaaa' is ambiguous: aaaa1111, aaaa2222"):
        match_prefix("aaaa", [ONE, TWO], "Task")


@QUICK
@given(st.text(max_size=40), st.lists(st.uuids().map(str), max_size=5, unique=True))
def test_any_reference_finds_one_or_nothing(reference: str, known: list[str]) -> None:
    """Whatever is typed, the answer is one of the ids, None or a conflict."""
    try:
        found = match_prefix(reference, known, "Agent")
    except Conflict:
        return
    assert found is None or (found in known and found.startswith(reference.strip().lower()))


@pytest.mark.parametrize("name", ["a", "back-end_1.2", "A" * 64, "a-", "...", "0", *RESERVED_NAMES])
def test_names_that_are_legal(name: str) -> None:
    """Letters, digits, dot, underscore and hyphen (not in front), 1 to 64 of them."""
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a/b",
        "../x",
        "..",
        ".",
        'a"b',
        "a'b",
        "a:b",
        "a\n",
        "a\0",
        "größe",
        "日本",
        "🏘️",
        "*",
        "-",
        "-rf",
        "--help",
        "x" * 65,
        "x" * 300,
    ],
)
def test_names_that_are_not(name: str) -> None:
    """Nothing that could leave a folder, a key or a pattern; the refusal is one short line and shows the name."""
    with pytest.raises(Invalid, match=r"name .* is not valid") as caught:
        check_name(name, "Role")
    assert str(caught.value).startswith("Role name ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert caught.value.remedy
