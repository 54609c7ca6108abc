"""What mission.toml says, and what it must not say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.domain.mission import Policy
from tinytown.domain.work import WorkKind
from tinytown.errors import Invalid
from tinytown.missions import manifest
from tinytown.missions.manifest import Manifest, Override

FULL = """
[[overrides]]
issue = 1
owner_role = "architect"
priority = 10

[[overrides]]
issue = "owner/repo#2"
depends_on = [1, "docs/plan.md#api", 1]
kind = "test"
verify = ["pytest -q", "ruff check ."]
title = "Write tests"

[[overrides]]
issue = 3
skip = true  # left out

[policy]
max_parallel = 4
reviewer_required = false
auto_merge = true
watch_interval_secs = 60
max_rounds = 3
no_checks = "wait"
"""


def test_all_keys() -> None:
    """What each key means."""
    found = manifest.read(FULL)
    assert found.overrides == (
        Override("1", "mission.toml: override 1 ('1')", owner_role="architect", priority=10),
        Override(
            "owner/repo#2", "mission.toml: override 2 ('owner/repo#2')", "Write tests", WorkKind.TEST,
            depends_on=("1", "docs/plan.md#api"), verify=("pytest -q", "ruff check ."),
        ),
        Override("3", "mission.toml: override 3 ('3')", skip=True),
    )  # fmt: skip
    assert found.policy_over(Policy()) == Policy(
        max_parallel_items=4,
        reviewer_required=False,
        auto_merge=True,
        watch_interval_secs=60,
        max_rounds=3,
        no_checks="wait",
    )


def test_what_is_not_said_stays() -> None:
    """An empty file changes nothing; an empty list is something said."""
    assert manifest.read("# nothing\n") == Manifest()
    assert Manifest().policy_over(Policy(max_rounds=9)) == Policy(max_rounds=9)
    assert manifest.read("[[overrides]]\nissue = 1\ndepends_on = []").overrides[0].depends_on == ()


def over(line: str) -> str:
    """An override with this line."""
    return f"[[overrides]]\nissue = 7\n{line}"


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("x", "m.toml: not valid TOML:", "Correct the file."),
        ("x = " + "[" * 5000, "m.toml: not valid TOML: nested too deeply", "Correct the file."),
        ("[override]", "m.toml: unknown key 'override'.", "Did you mean 'overrides'?"),
        ("zzz = 1", "m.toml: unknown key 'zzz'.", "Known: overrides, policy."),
        ("overrides = 1", "m.toml: 'overrides' must be tables: [[overrides]].", None),
        ("overrides = [1]", "must be tables", None),
        ("[[policy]]", "m.toml: 'policy' must be a table: [policy].", None),
        ("[[overrides]]\nskip = true", "m.toml: override 1: 'issue' is missing.", "Name the item"),
        ("[[overrides]]\nissue = true", "override 1: 'issue' must be an issue's number or a text, not true.", None),
        ("[[overrides]]\nissue = 0", "'issue' must be", None),
        ("[[overrides]]\nissue = ' '", "'issue' must be", None),
        ("[[overrides]]\nissue = 1." + "0" * 500, "'issue' must be", None),
        (over("owner_rol = 'x'"), "m.toml: override 1: unknown key 'owner_rol'.", "Did you mean 'owner_role'?"),
        (over("zzz = 1"), "unknown key 'zzz'", "Known: issue, title, kind,"),
        (over("owner_role = 1"), "m.toml: override 1 ('7'): 'owner_role' must be one line of text, not 1.", None),
        (over("owner_role = 'a b'"), "'owner_role' must be a role (letters", None),
        (over("priority = 'high'"), "'priority' must be a whole number from -1000000 to 1000000, not 'high'.", None),
        (over("priority = true"), "'priority' must be a whole number", None),
        (over("priority = 1" + "0" * 60), "'priority' must be a whole number", None),
        (over("priority = 0x" + "f" * 5000), "'priority' must be a whole number", None),
        (over("depends_on = 1"), "'depends_on' must be a list, not 1.", None),
        (over("depends_on = [1, []]"), "'depends_on' must be an issue's number or a text, not [].", None),
        (over("skip = 1"), "'skip' must be true or false, not 1.", None),
        (over("kind = 'tests'"), "m.toml: override 1 ('7'): unknown kind 'tests'.", "Did you mean 'test'?"),
        (over("kind = 'zzz'"), "unknown kind 'zzz'.", "Valid: design, implement, test, review, mergegate, followup"),
        (over("verify = 'pytest'"), "'verify' must be a list, not 'pytest'.", None),
        (over("verify = ['']"), "'verify' must be one line of text, not ''.", None),
        (over('verify = ["a\\nb"]'), "'verify' must be one line of text", None),
        (over("title = ''"), "'title' must be one line of text", None),
        ("[policy]\nmax_paralel = 1", "m.toml: policy: unknown key 'max_paralel'.", "Did you mean 'max_parallel'?"),
        ("[policy]\nmax_parallel = 0", "'max_parallel' must be a whole number from 1 to 1000, not 0.", None),
        ("[policy]\nmax_parallel = 1\nmax_parallel_items = 2", "'max_parallel_items' is said twice.", "Leave out one"),
        ("[policy]\nauto_merge = 'yes'", "'auto_merge' must be true or false, not 'yes'.", None),
        ("[policy]\nno_checks = 'fail'", "'no_checks' must be 'pass' or 'wait', not 'fail'.", None),
        ("[policy]\nno_checks = []", "'no_checks' must be 'pass' or 'wait'", None),
        ("[policy]\nwatch_interval_secs = 1.5", "'watch_interval_secs' must be a whole number", None),
        ("[policy]\nextra = {}", "unknown key 'extra'", None),
    ],
)  # fmt: skip
def test_refused(text: str, said: str, remedy: str | None) -> None:
    """One line that names file and key, and what was meant."""
    with pytest.raises(Invalid) as caught:
        manifest.read(text, "m.toml")
    message = str(caught.value)
    assert message.startswith("m.toml: ")
    assert said in message
    assert "\n" not in message
    assert len(message) < 250
    assert remedy is None or (caught.value.remedy or "").startswith(remedy)


KEYS = st.sampled_from(["issue", "owner_role", "priority", "depends_on", "skip", "kind", "verify", "title", "zzz",
                        "max_parallel", "no_checks", "auto_merge"])  # fmt: skip
VALUES = st.sampled_from(["1", "0", "-5", "true", "'x'", "''", "'test'", "[]", "[1]", "['a']", "[[]]", "{}", "1.5",
                          "nan", "1979-05-27", "'pass'", "'o/r#1'", "x"])  # fmt: skip
LINES = st.one_of(
    st.sampled_from(["[[overrides]]", "[policy]", "[overrides]", "[x]"]),
    st.tuples(KEYS, VALUES).map(" = ".join),
)


@QUICK
@given(st.text() | st.lists(LINES, max_size=12).map("\n".join))
def test_any_text_is_a_manifest_or_refused(text: str) -> None:
    """No text breaks the reader; each refusal is one line."""
    found = outcome(text)
    assert found == outcome(text)
    if isinstance(found, Manifest):
        found.policy_over(Policy())
    else:
        assert "\n" not in found


def outcome(text: str) -> Manifest | str:
    """What the text says, or why it says nothing."""
    try:
        return manifest.read(text)
    except Invalid as error:
        return str(error)
