"""Objectives, texts and manifest become one graph of work items."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import AT, QUICK
from tinytown import ids
from tinytown.domain.pull_request import Issue
from tinytown.domain.work import WorkItem, WorkKind, WorkStatus
from tinytown.errors import Invalid
from tinytown.missions import documents, kinds, manifest
from tinytown.missions.compiling import Compiled, Objective, compile_mission
from tinytown.missions.documents import Document

HERE = "acme/town"
MISSION = "12345678-1234-4234-8234-123456789abc"


def issue(number: int | str, title: str = "Do it", body: str = "", **fields: Any) -> Issue:
    """An open issue of the town's repository, or of `owner/repo#N`."""
    ref = f"{HERE}#{number}" if isinstance(number, int) else number
    url = f"https://github.com/{ref.replace('#', '/issues/')}"
    return Issue(ref, title, body, url, **{"is_open": True} | fields)


def build(*objectives: Objective, toml: str = "", origin: str | None = HERE) -> Compiled:
    return compile_mission(MISSION, objectives, manifest.read(toml), AT, origin=origin)


def shape(compiled: Compiled) -> dict[str, list[str]]:
    """Reference -> what it waits for, in order; `!` before what is outside."""
    refs = {item.id: item.source_ref.removeprefix(HERE) for item in compiled.items}
    return {
        refs[item.id]: [*(refs[other] for other in item.depends_on), *(f"!{ref}" for ref in item.outside)]
        for item in compiled.items
    }


def refused(*objectives: Objective, toml: str = "", origin: str | None = HERE) -> tuple[str, str | None]:
    with pytest.raises(Invalid) as caught:
        build(*objectives, toml=toml, origin=origin)
    assert "\n" not in str(caught.value)
    return str(caught.value), caught.value.remedy


def test_the_tutorial() -> None:
    """Design, implement, test: in the order of what they wait for, whatever the order given."""
    found = build(
        issue(3, "Write auth tests", "Write comprehensive tests for auth API.\n\nAfter #2."),
        issue(2, "Implement auth endpoints", "Implement it.\n\nDepends on #1.", labels=("enhancement",)),
        issue(1, "Design auth API", "Design the schema."),
    )
    assert shape(found) == {"#1": [], "#2": ["#1"], "#3": ["#2"]}
    assert [(item.number, item.kind, item.owner_role) for item in found.items] == [
        (1, WorkKind.DESIGN, None), (2, WorkKind.IMPLEMENT, "backend"), (3, WorkKind.TEST, None),
    ]  # fmt: skip
    assert found.items[1] == WorkItem(
        id=ids.derived_id(MISSION, f"{HERE}#2"), mission_id=MISSION, number=2, title="Implement auth endpoints",
        body="Implement it.\n\nDepends on #1.", source_ref=f"{HERE}#2", source_url=f"https://github.com/{HERE}/issues/2",
        created_at=AT, updated_at=AT, depends_on=[found.items[0].id], owner_role="backend", status=WorkStatus.PENDING,
    )  # fmt: skip
    assert (found.warnings, found.documents) == ([], {})


def test_what_is_outside_the_mission() -> None:
    """Dependencies across repositories are told apart by repository, not by number; the rest is outside."""
    found = build(issue(5, body="depends on o/r#5, #6 and Acme/Other#7"), issue("o/r#5", body="after #5, #6"))
    assert shape(found) == {"o/r#5": ["!o/r#6"], "#5": ["o/r#5", f"!{HERE}#6", "!Acme/Other#7"]}


def test_the_same_twice_is_once() -> None:
    """Also in other capitals; documents by path."""
    plan = Document("plan.md", "x")
    assert list(shape(build(issue(5), plan, issue("Acme/Town#5"), plan))) == ["#5", "plan.md"]


def test_closed_issues_count_as_done() -> None:
    """They are left out with a word; nobody waits for them; nothing but closed ones is nothing to do."""
    found = build(issue(1, is_open=False), issue(2, body="depends on #1"))
    assert shape(found) == {"#2": []}
    assert found.warnings == ["#1 is closed and counts as done."]
    assert refused(issue(1, is_open=False))[0] == "There is nothing to do: #1 is closed and counts as done."


def test_pull_requests_and_nothing_are_refused() -> None:
    """A mission works on issues."""
    assert refused(issue(4, is_pull=True))[0] == f"{HERE}#4 is a pull request, not an issue."
    assert refused() == ("At least one --issue or --doc is required.", "For example: tt mission start --issue 23")


def test_circles_are_spelled_out() -> None:
    """By what people call the items."""
    said = "Work items wait for each other: "
    assert refused(issue(1, body="after #2"), issue(2, body="after #1"))[0] == f"{said}#1 -> #2 -> #1"
    assert (
        refused(issue("o/r#1", body="after acme/town#2"), issue(2, body="after o/r#1"))[0]
        == f"{said}o/r#1 -> #2 -> o/r#1"
    )
    assert refused(issue(1), toml="[[overrides]]\nissue = 1\ndepends_on = [1]")[0] == f"{said}#1 -> #1"


def test_a_document_with_a_task_list() -> None:
    """Its open items; `#N` is an issue of the town; the document's text is kept once, beside the items."""
    text = "# Plan\n\n- [ ] Write the schema\n- [ ] Build the page\n  depends on #1 and #9\n- [x] Talk\n"
    found = build(Document("docs/plan.md", text), issue(1))
    assert shape(found) == {
        "docs/plan.md#write-the-schema": [],
        "#1": [],
        "docs/plan.md#build-the-page": ["#1", f"!{HERE}#9"],
    }
    assert found.documents == {"docs/plan.md": text}
    assert found.items[2].body == "Build the page\ndepends on #1 and #9"
    assert documents.in_full(found.items[2], found.documents).endswith(text)


def test_a_document_that_is_one_item() -> None:
    """All of its text is the item's."""
    found = build(Document("docs/design.md", "# The page\n\nDepends on #4."))
    assert shape(found) == {"docs/design.md": [f"!{HERE}#4"]}
    assert (found.items[0].title, found.items[0].body) == ("The page", "# The page\n\nDepends on #4.")
    assert found.documents == {}


def test_a_document_that_links_to_issues() -> None:
    """An item that is an issue is worked on once, as the issue; one outside the mission is told."""
    plan = Document("p.md", "- [ ] #1 The API\n- [ ] [Other](https://github.com/o/r/issues/2)\n- [ ] Docs\n")
    found = build(plan, issue(1))
    assert list(shape(found)) == ["p.md#docs", "#1"]
    assert found.warnings == ["p.md: o/r#2 is an issue outside the mission; add it with --issue."]
    said, _ = refused(Document("p.md", "- [ ] #1"))
    assert said == "There is nothing to do: p.md: #1 is an issue outside the mission; add it with --issue."
    assert (
        refused(Document("p.md", "- [x] a"))[0]
        == "There is nothing to do: p.md: everything in its task list is ticked."
    )


def test_without_an_origin() -> None:
    """Issues say their repository themselves; a document's `#N` cannot be known."""
    assert shape(build(issue("o/r#1", body="after #2"), issue("o/r#2"), origin=None)) == {
        "o/r#2": [],
        "o/r#1": ["o/r#2"],
    }
    said, remedy = refused(Document("p.md", "depends on #3"), origin=None)
    assert (said, remedy) == (
        "p.md: #3 does not say which repository: the town has no GitHub origin.",
        "Write owner/repo#3.",
    )
    said, _ = refused(Document("p.md", "- [ ] #3"), origin=None)
    assert said.startswith("p.md: #3 does not say which repository")
    found = build(issue("o/r#1"), toml="[[overrides]]\nissue = 1\npriority = 4", origin=None)
    assert found.items[0].priority == 4


def test_overrides() -> None:
    """Each key takes the place of what was inferred; priority decides between equals."""
    toml = """
    [[overrides]]
    issue = 1
    depends_on = []
    priority = 5
    [[overrides]]
    issue = "https://github.com/acme/town/issues/2"
    title = "Other"
    kind = "design"
    owner_role = "architect"
    verify = ["pytest -q"]
    depends_on = ["p.md#Two words", "other/repo#9", "two words", 1]
    [[overrides]]
    issue = "Two Words"
    priority = -1
    """.replace("p.md#Two words", "./p.md#two-words")
    found = build(
        issue(2, "Write tests"), Document("p.md", "## One\n## Two words"), issue(1, body="after #2"), toml=toml
    )
    assert shape(found) == {
        "#1": [],
        "p.md#one": [],
        "p.md#two-words": [],
        "#2": ["p.md#two-words", "#1", "!other/repo#9"],
    }
    last = found.items[3]
    assert (last.title, last.kind, last.owner_role, last.is_role_strict, last.verify) == (
        "Other", WorkKind.DESIGN, "architect", True, ["pytest -q"],
    )  # fmt: skip
    assert not found.items[0].is_role_strict


def test_skipped_items_count_as_done() -> None:
    """Their dependents wait neither for them nor for what they waited for; a circle through them is none."""
    toml = "[[overrides]]\nissue = 2\nskip = true"
    found = build(issue(1, body="after #3"), issue(2, body="after #1"), issue(3, body="after #2"), toml=toml)
    assert shape(found) == {"#3": [], "#1": ["#3"]}
    assert refused(issue(2), toml=toml)[0] == "There is nothing to do: the manifest skips everything."


@pytest.mark.parametrize(
    ("line", "said", "remedy"),
    [
        ("issue = 9", "mission.toml: override 1 ('9'): 'issue': '9' is not in the mission.", "The mission has: #1"),
        ("issue = 'o/r#13'", "'issue': 'o/r#13' is not in the mission.", "Did you mean 'o/r#12'?"),
        ("issue = 'Write the tect'", "is not in the mission.", "Did you mean 'Write the text'?"),
        ("issue = 'p.md#nope'", "is not in the mission.", None),
        ("issue = 'Same'", "'issue': several items are called 'Same'.", "Say which one: p.md#same, p.md#same-1"),
        ("issue = 1\n[[overrides]]\nissue = 'acme/Town#1'",
         "mission.toml: override 2 ('acme/Town#1'): acme/town#1 is there twice.", "Write one"),
        ("issue = 1\ndepends_on = [99]", "'depends_on': '99' is not in the mission.", "For an issue outside"),
        ("issue = 1\ndepends_on = ['nothing']", "'depends_on': 'nothing' is not in the mission.", "The mission has"),
        ("issue = 1\nskip = true\ndepends_on = ['nothing']", "'nothing' is not in the mission.", None),
    ],
)  # fmt: skip
def test_unknown_references(line: str, said: str, remedy: str | None) -> None:
    """The manifest names items of the mission, or issues outside in full."""
    objectives = (issue(1, "Write the text"), issue("o/r#12"), Document("p.md", "- [ ] Same\n- [ ] Same"))
    message, given = refused(*objectives, toml=f"[[overrides]]\n{line}")
    assert said in message
    assert remedy is None or (given or "").startswith(remedy)


def test_odd_texts() -> None:
    """A title is one line, and never empty; half characters are replaced."""
    found = build(issue(1, " a\n b\t", "\ud800 x"), issue(2, ""), origin=None)
    assert [item.title for item in found.items] == ["a b", f"{HERE}#2"]
    assert found.items[0].body == "? x"
    assert WorkItem.from_json(found.items[0].to_json()) == found.items[0]


def test_two_documents_of_one_name() -> None:
    """Nothing is dropped in silence."""
    assert "means two things" in refused(Document("a", "## B"), Document("a#b", "text"))[0]


@pytest.mark.parametrize(
    ("title", "labels", "expected"),
    [
        ("Design auth API", (), WorkKind.DESIGN),
        ("[RFC] Storage", (), WorkKind.DESIGN),
        ("Proposal: new layout", (), WorkKind.DESIGN),
        ("Architecture/overview", (), WorkKind.DESIGN),
        ("Redesign the page", (), WorkKind.IMPLEMENT),
        ("Implement the design of the login", (), WorkKind.IMPLEMENT),
        ("Fix review comments not shown", (), WorkKind.IMPLEMENT),
        ("feat(ui): design tokens", (), WorkKind.IMPLEMENT),
        ("Fix the specific crash in the latest release", (), WorkKind.IMPLEMENT),
        ("Write auth tests", (), WorkKind.TEST),
        ("Testing: end to end", (), WorkKind.TEST),
        ("Fix flaky test", (), WorkKind.TEST),
        ("Test the design", (), WorkKind.TEST),
        ("Add test-mode switch", (), WorkKind.IMPLEMENT),
        ("Review the security of tokens", (), WorkKind.REVIEW),
        ("Preview pages, reviewers", (), WorkKind.IMPLEMENT),
        ("Merge gate for the release", (), WorkKind.MERGEGATE),
        ("Merge PR 5", (), WorkKind.MERGEGATE),
        ("Merge duplicate user records", (), WorkKind.IMPLEMENT),
        ("Stop merge conflicts", (), WorkKind.IMPLEMENT),
        ("Follow-up: rename the field", (), WorkKind.FOLLOWUP),
        ("Followup to the outage", (), WorkKind.FOLLOWUP),
        ("Send follow-up mails", (), WorkKind.IMPLEMENT),
        ("Login", ("tests",), WorkKind.TEST),
        ("Login", ("kind: design",), WorkKind.DESIGN),
        ("Write tests", ("type/implement",), WorkKind.IMPLEMENT),
        ("Login", ("test", "kind:review"), WorkKind.REVIEW),
        ("Login", ("needs-review", "design-system", "in review", "Tested"), WorkKind.IMPLEMENT),
    ],
)
def test_kinds(title: str, labels: tuple[str, ...], expected: WorkKind) -> None:
    """By labels and whole words of the title."""
    assert kinds.kind_of(title, labels) is expected


@pytest.mark.parametrize(
    ("title", "labels", "expected"),
    [
        ("Implement auth endpoints", (), "backend"),
        ("Build the UI", (), "frontend"),
        ("Build what we require", (), None),
        ("Server-side rendering", (), None),
        ("Write API tests", (), None),
        ("Write API tests", ("frontend",), "frontend"),
        ("Login page", ("area: backend",), "backend"),
        ("Login page", ("Backend", "role:Architect"), "architect"),
        ("Login page", ("role/api",), "backend"),
        ("Login page", ("role: a b", "infra"), "devops"),
        ("Deploy the frontend", (), "devops"),
        ("Login page", ("bug",), None),
    ],
)
def test_roles(title: str, labels: tuple[str, ...], expected: str | None) -> None:
    """By labels first, then by whole words of the title; a kind with a role of its own needs none."""
    assert kinds.role_of(title, labels, kinds.kind_of(title, labels)) == expected


TITLES = st.text(max_size=12) | st.sampled_from(["Write tests", "Fix API", "Design", "Merge", "ends \ud800"])
WORDS = st.sampled_from(["after ", "\n", ", ", "#1", "#2", "#3", "o/r#1", "o/r#2", "p.md", "## A", "x"])
SAID = st.tuples(
    st.sampled_from(["Depends on ", "\n- [ ] ", "\n- [ ] A\n  after "]),
    st.sampled_from(["#1", "#2", "#3, #4", "o/r#1", "o/r#9"]),
).map("".join)
BODIES = st.one_of(st.just("x"), SAID, SAID, st.lists(WORDS, max_size=8).map("".join), st.text(max_size=20))
ISSUES = st.builds(
    issue, st.integers(1, 4) | st.sampled_from(["o/r#1", "O/R#2", "Acme/Town#3"]), TITLES, BODIES,
    is_open=st.sampled_from([True, True, True, False]), labels=st.lists(TITLES, max_size=2).map(tuple),
)  # fmt: skip
DOCUMENTS = st.builds(Document, st.sampled_from(["p.md", "q.md", "a/b#5"]), BODIES)
TOML = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "'acme/town#1'", "'A'"]),
        st.sampled_from(
            ["skip = true", "priority = 3", "depends_on = []", "depends_on = [1, 'o/r#9']", "kind = 'review'"]
        ),
    ).map(lambda pair: f"[[overrides]]\nissue = {pair[0]}\n{pair[1]}\n"),
    max_size=2,
).map("".join)
OBJECTIVES = st.lists(ISSUES | DOCUMENTS, max_size=7, unique_by=lambda one: getattr(one, "path", id(one)))


def outcome(objectives: list[Objective], toml: str, origin: str | None) -> Compiled | str:
    """What they give, or why they give nothing."""
    try:
        return build(*objectives, toml=toml, origin=origin)
    except Invalid as error:
        return str(error)


@QUICK
@given(OBJECTIVES, st.one_of(st.just(""), st.just(""), TOML), st.sampled_from([HERE, HERE, None]))
def test_any_objectives_are_a_graph_or_refused(objectives: list[Objective], toml: str, origin: str | None) -> None:
    """The same gives the same; each item is there once, after those it depends on, with a record that can be stored."""
    if toml:
        objectives = [issue(1, "A"), issue(2), *objectives]
    found = outcome(objectives, toml, origin)
    assert found == outcome(objectives, toml, origin)
    if isinstance(found, str):
        assert found
        assert "\n" not in found
        return
    assert [item.number for item in found.items] == list(range(1, len(found.items) + 1))
    place = {item.id: item.number for item in found.items}
    assert len(place) == len(found.items)
    assert all(place[other] < item.number for item in found.items for other in item.depends_on)
    refs = {item.source_ref.lower() for item in found.items}
    assert not any(ref.lower() in refs for ref in itertools.chain(*(item.outside for item in found.items)))
    assert all(WorkItem.from_json(item.to_json()) == item for item in found.items)


@st.composite
def links(draw: st.DrawFn) -> dict[int, list[int]]:
    """Issues and those that each waits for, without a circle, in any order."""
    count = draw(st.integers(1, 12))
    found = {
        n: draw(st.lists(st.integers(1, n - 1), unique=True, max_size=4)) if n > 1 else [] for n in range(1, count + 1)
    }
    return {n: found[n] for n in draw(st.permutations(list(found)))}


@QUICK
@given(
    links(),
    st.sets(st.integers(1, 12)),
    st.sampled_from(["Depends on: {}.", "- [ ] #99\n\nblocked by {}", "x after {}"]),
)
def test_the_graph_is_what_the_texts_say(waits: dict[int, list[int]], skipped: set[int], form: str) -> None:
    """No link more and none less, but for those to items that are skipped; in an order that keeps them all."""
    said = {
        n: form.format(" and ".join(f"#{other}" for other in others)) if others else "" for n, others in waits.items()
    }
    left = [n for n in waits if n not in skipped]
    toml = "".join(f"[[overrides]]\nissue = {n}\nskip = true\n" for n in waits if n in skipped)
    if not left:
        refused(*(issue(n) for n in waits), toml=toml)
        return
    found = shape(build(*(issue(n, body=said[n]) for n in waits), toml=toml))
    assert {ref: [other for other in others if other[0] != "!"] for ref, others in found.items()} == {
        f"#{n}": [f"#{other}" for other in waits[n] if other not in skipped] for n in left
    }
    place = {ref: n for n, ref in enumerate(found)}
    assert all(place[other] < place[ref] for ref, others in found.items() for other in others if other[0] != "!")
