"""tasks.toml as text: read as TOML reads it, edited without touching anything else."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.errors import Invalid
from tinytown.services.plan.toml_file import block, edited, parse, quoted

COMMENTED = """\
# Our plan
[meta]
description = "Sprint"   # one

[[tasks]]  # the first
# it comes first
id = "a"
description = 'Say "hi"'
status = "pending"  # not yet

# between

[[tasks]]
description = \"\"\"
Several
[[tasks]]
status = "no"
\"\"\"
id = "b"
tags = [
  "x",  # why
]

[notes]
text = "kept"
"""
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.sampled_from(["id", "status", "agent", "description"])
VALUES = st.one_of(STRINGS, st.lists(STRINGS, max_size=3))
TASKS = st.lists(st.dictionaries(st.sampled_from(["id", "status", "agent", "tags", "description"]), VALUES), max_size=4)
LINES = st.lists(
    st.sampled_from([
        "[[tasks]]", "[[tasks]] # c", " [[ tasks ]]", '[["tasks"]]', "[tasks.sub]", "[meta]", "[notes.a]", "[notes.b]",
        "tasks = []", 'id = "a"', 'id = "b" # c', "id = 'c'", 'status = "x\\ty"', 'status = "\\ud800"', 'a.b = "x"',
        'tags = ["a", \'b\',]', "tags = [", "]", "n = 1", 'text = """', '"""', "text = '''", "'''", "", "# c", "\t",
        'id = "a"\r', "\r", 'x = "\x01"', 'x = "é\U0001f3d8"', 'x = "\\U0001F3D8"', "# \x7f", 'x = ""', 'x = """a"""',
    ]),
    max_size=12,
)  # fmt: skip


def as_toml(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


@given(lines=LINES, end=st.sampled_from(["", "\n", "\r\n"]))
@QUICK
def test_read_as_toml_reads_it(lines: list[str], end: str) -> None:
    """Whatever stands in the file, in whatever order: the same values, or refused."""
    text = "\n".join(lines) + end
    wanted = as_toml(text)
    if wanted is None or not all(isinstance(task, dict) for task in wanted.get("tasks", [])):
        with pytest.raises(Invalid):
            parse(text)
    else:
        found = parse(text)
        assert found.rest | {"tasks": found.tasks} == {"tasks": []} | wanted


@given(tasks=TASKS, added=TASKS, changes=st.dictionaries(st.integers(0, 3), st.dictionaries(KEYS, STRINGS)))
@QUICK
def test_edited_as_meant(tasks: list[Any], added: list[Any], changes: dict[int, dict[str, str]]) -> None:
    """Any text in any place comes back as it went in."""
    text = "\n".join(line for task in tasks for line in block(task))
    wanted_changes = {n: news for n, news in changes.items() if n < len(tasks)}

    new, _kept = edited(parse(text), wanted_changes, added)

    wanted = [task | wanted_changes.get(n, {}) for n, task in enumerate(tasks)] + added
    assert tomllib.loads(new).get("tasks", []) == wanted


@given(value=VALUES)
@QUICK
def test_quoting(value: Any) -> None:
    """A text or a list of texts as TOML."""
    assert tomllib.loads(f"x = {quoted(value)}")["x"] == value


def test_only_the_values_change() -> None:
    """Comments, order, layout and other tables stay; new keys come after the task's own; new tasks at the end."""
    changes = {0: {"status": "running", "agent": "backend"}, 1: {"status": "failed"}}

    new, kept = edited(parse(COMMENTED), changes, [{"id": "c", "tags": ["x", "y"]}])

    assert kept
    first = COMMENTED.replace('status = "pending"  # not yet\n', 'status = "running"  # not yet\nagent = "backend"\n')
    both = first.replace("\n[[tasks]]\ndescription", '\n[[tasks]]\nstatus = "failed"\ndescription')
    assert new == both + '\n[[tasks]]\nid = "c"\ntags = ["x", "y"]\n'


def test_windows_line_ends_stay() -> None:
    """Each line ends as it did; new lines as the others."""
    text = '[[tasks]]\r\nid = "a"\r\nstatus = "pending"\r\n'
    new, _ = edited(parse(text), {0: {"status": "failed", "agent": "x"}}, [{"id": "b"}])
    assert new == '[[tasks]]\r\nid = "a"\r\nstatus = "failed"\r\nagent = "x"\r\n\r\n[[tasks]]\r\nid = "b"\r\n'


def test_a_text_of_several_lines_keeps_them() -> None:
    """People read the file."""
    assert block({"id": "a", "description": 'one\n\ttwo "three"'}) == [
        "[[tasks]]", 'id = "a"', 'description = """', "one", '\ttwo \\"three\\""""',
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        'tasks = [{id = "a", status = "pending"}, {id = "b"}]\nx = 1\n',
        '[["tasks"]]\nid = "a"\nstatus = "pending"\n[["tasks"]]\nid = "b"\n[x]\ny = 1\n',
        '[[tasks]]\nid = "a"\nstatus = """pending"""\n[[tasks]]\nid = "b"\n',
    ],
)
def test_an_unusual_file_is_rewritten(text: str) -> None:
    """Where the lines cannot be told the values are still right, and it is said that the layout is lost."""
    new, kept = edited(parse(text), {0: {"status": "completed"}}, [{"id": "c"}])

    assert not kept
    wanted = tomllib.loads(text)
    wanted["tasks"][0]["status"] = "completed"
    wanted["tasks"].append({"id": "c"})
    assert tomllib.loads(new) == wanted


def test_a_value_that_cannot_be_kept() -> None:
    """A file that would say something else afterwards is refused (nan is not even equal to itself)."""
    with pytest.raises(Invalid, match="cannot be rewritten"):
        edited(parse("x = nan\n"), {}, [{"id": "a"}])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[tasks]\n", r"^tasks.toml: not valid TOML: .*line 1"),
        ("[[tasks]]\nid = 'a'\nid = 'b'\n", r"not valid TOML: .*line 3"),
        ("tasks = 1\n", "must be tables"),
        ("tasks = [1]\n", "must be tables"),
        ("[tasks]\n", "must be tables"),
        (f"x = {'[' * 5000}\n", "not valid TOML"),
    ],
)
def test_no_plan(text: str, said: str) -> None:
    """What is wrong, with the line where TOML knows it."""
    with pytest.raises(Invalid, match=said):
        parse(text)


def test_ten_thousand_tasks_need_no_tomllib(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain blocks of a large plan are read and edited without the slow reader."""
    text = "[meta]\n\n" + "\n".join(
        line for n in range(10_000) for line in block({"id": f"t{n}", "tags": ["a"], "status": "pending"})
    )
    calls: list[int] = []
    real = tomllib.loads

    def counted(source: str) -> dict[str, Any]:
        calls.append(len(source))
        return real(source)

    monkeypatch.setattr(tomllib, "loads", counted)

    new, kept = edited(parse(text), {n: {"status": "completed"} for n in range(10_000)}, [])

    assert kept
    assert new == text.replace("pending", "completed")
    assert sum(calls) < 100


def test_a_text_with_lines_like_heads_of_tables() -> None:
    """A list of things to do in a description costs nobody the comments of the file."""
    text = '# why\n\n[[tasks]]\nid = "a"\ndescription = """\n[ ] one\n[x] two\n"""\nstatus = "assigned"  # yes\n'

    new, kept = edited(parse(text), {0: {"status": "pending", "agent": "x"}}, [])

    assert kept
    assert new == text.replace('"assigned"  # yes\n', '"pending"  # yes\nagent = "x"\n')
