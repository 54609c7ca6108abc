"""What a plan means, and what it must not say."""

from __future__ import annotations

from typing import Any

import pytest

from tinytown.domain.states import TaskState
from tinytown.errors import Invalid
from tinytown.services.plan import entries, toml_file
from tinytown.services.plan.entries import Entry, Plan

STATES = "pending, assigned, running, completed, failed, cancelled"


def task(name: str = "a", *, description: str | None = "x", **values: Any) -> str:
    """A block of tasks.toml."""
    said = {"id": name} | ({"description": description} if description else {}) | values
    return "\n".join([*toml_file.block(said), ""])


def read(text: str) -> Plan:
    return entries.read(toml_file.parse(text))


def test_all_keys() -> None:
    """What is said, and what is meant when nothing is said; tags are clean and single."""
    plan = read(
        '[meta]\ndescription = "Sprint"\ndefault_agent = "dev"\nversion = 2\n[tool.x]\ny = 1\n'
        + task("a", agent="backend", status="failed", tags=[" x", "y", "x", ""], parent="b", depends_on=["b", "b"])
        + task("b")
    )
    first = Entry("a", "x", "backend", TaskState.FAILED, ("x", "y"), "b", ("b",))
    assert plan == Plan([first, Entry("b", "x")], "Sprint", "dev")
    assert list(map(plan.agent_of, plan.entries)) == ["backend", "dev"]
    assert plan.in_order() == [plan.entries[1], plan.entries[0]]


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ('[[tasks]]\ndescription = "x"', "tasks.toml:1: a task needs an id.", None),
        ("\n" + task(description=None), "tasks.toml:2: task 'a': a task needs a description.", None),
        (task(description=" "), "needs a description", None),
        (task(" "), "needs an id", None),
        (task("a\tb"), "an id is one line of at most 200 printable characters", None),
        (task("a" * 201), "an id is one line", None),
        ("[[tasks]]\nid = 5", "'id' must be a text", None),
        (task(tags="x"), "task 'a': 'tags' must be a list of texts.", None),
        ('[[tasks]]\nid = "a"\ndepends_on = [1]', "'depends_on' must be a list of texts", None),
        (task(depend_on=[]), "unknown key 'depend_on'", "Did you mean 'depends_on'?"),
        (task(zzz=""), "unknown key 'zzz'", f"Known: {', '.join(entries.KEYS)}."),
        (task(status="done"), "unknown status 'done'", f"Valid: {STATES}"),
        (task(tags=["plan:b"]), "are made by the town", "Leave the tag out."),
        (task() + task(), "tasks.toml:4: task 'a' is there twice (first in line 1).", "Give each an id of its own."),
        (task("abcd") + task("b", parent="abcf"),
         "tasks.toml:4: task 'b' has the parent 'abcf', which is not in the plan.", "Did you mean 'abcd'?"),
        (task(depends_on=["zz"]), "task 'a' depends on 'zz', which is not in the plan.", None),
        (task(depends_on=["a"]), "wait for each other: a -> a", "Take one of these links out."),
        (task(parent="b") + task("b", parent="a"), "tasks are parents of each other: a -> b -> a", None),
        ('tasks = [{id = "a", zzz = 1}]', "tasks.toml: task number 1: task 'a': unknown key", None),
        ('[metadata]\n[beta]\n[[task]]\nid = "a"', "unknown key 'task'", "Did you mean 'tasks'?"),
        (task() + '[[Tasks]]\nid = "b"', "unknown key 'Tasks'", "Did you mean 'tasks'?"),
        ("meta = 1", "'meta' must be a table", None),
        ("[meta]\ndefault_agent = 1", "'default_agent' in [meta] must be a text", None),
        ('[meta]\ndefault_agnet = "x"', "unknown key 'default_agnet' in [meta]", "Did you mean 'default_agent'?"),
    ],
)  # fmt: skip
def test_bad_plans(text: str, said: str, remedy: str | None) -> None:
    """Each is refused with its line, its task, and what to do where that is known."""
    with pytest.raises(Invalid) as error:
        read(text)
    assert said in str(error.value)
    if remedy is not None:
        assert error.value.remedy == remedy


def test_circles() -> None:
    """The circle alone is spelled out, not what leads to it; a long one is shortened."""
    links = {"start": ["a"], "a": ["b"], "b": ["c"], "c": ["a", "start"]}
    with pytest.raises(Invalid, match=r"wait for each other: a -> b -> c -> a$"):
        read("".join(task(name, depends_on=others) for name, others in links.items()))
    with pytest.raises(Invalid, match=r"t0 -> t1 -> .* -> \.\.\. -> .* -> t4999 -> t0$"):
        read("".join(task(f"t{n}", depends_on=[f"t{(n + 1) % 5000}"]) for n in range(5000)))
