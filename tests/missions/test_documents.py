"""Documents become items: task lists, headings, the whole; anchors that stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import AT, QUICK
from tinytown.domain.work import WorkItem
from tinytown.errors import Invalid
from tinytown.missions import documents
from tinytown.missions.documents import Document, Part

PLAN = """# Login

Users log in with **one** button.

## Tasks

- [ ] Add the `users` table
  - [ ] with a migration
  - names are unique

  A word on names.
- [x] Choose a library
  - [ ] nested in what is done
- [ ] **Write** the [page](https://example.com/x)
goes on here
* plain
  - [ ] Below a plain bullet

```
- [ ] in code
```
> - [ ] quoted
<!-- - [ ] commented -->
- [ ]
- [ ] Add the users table
"""


def parts(text: str, path: str = "docs/plan.md") -> list[tuple[str, str, str]]:
    """Anchor, title and body of each."""
    return [
        (part.ref.removeprefix(path), part.title, part.body) for part in documents.split(Document(path, text)).parts
    ]


def test_a_task_list() -> None:
    """Open items; nested ones belong to their parent's text; code, quotes, comments and empty boxes are none."""
    nested = "Add the `users` table\n- [ ] with a migration\n- names are unique\n\nA word on names."
    assert parts(PLAN) == [
        ("#add-the-users-table", "Add the users table", nested),
        ("#write-the-page", "Write the page", "**Write** the [page](https://example.com/x)\ngoes on here"),
        ("#below-a-plain-bullet", "Below a plain bullet", "Below a plain bullet"),
        ("#add-the-users-table-1", "Add the users table", "Add the users table"),
    ]
    assert documents.split(Document("x", PLAN)).ticked == 1


def test_second_level_headings() -> None:
    """Without a task list: each with its text, deeper headings included, up to the next of its level or above."""
    text = "# P\nIn\n\n## First step ##\n\nDo it.\n### Detail\nmore\n```\n## no heading\n```\n## 2\n# Notes\nend\n##\n"
    assert parts(text) == [
        ("#first-step", "First step", "Do it.\n### Detail\nmore\n```\n## no heading\n```"),
        ("#part-2", "2", ""),
    ]


def test_the_whole_is_one_item() -> None:
    """Neither list nor headings: all of the text, called by its first heading or its path."""
    assert parts("# The *plan*\n\nDo it.\n") == [("", "The plan", "# The *plan*\n\nDo it.\n")]
    assert parts("Do it.") == [("", "docs/plan.md", "Do it.")]
    assert documents.split(Document("a", "Do it.")).is_whole
    with pytest.raises(Invalid, match=r"docs/plan\.md is empty\."):
        parts(" \n\t")


def test_everything_ticked_is_no_item() -> None:
    """A list that was worked off is not looked at as headings."""
    found = documents.split(Document("a", "## A\n- [x] done\n"))
    assert (found.parts, found.ticked) == ([], 1)


def test_anchors_stay() -> None:
    """Ticking, new items, new text and Markdown marks do not move the anchors of the others."""
    before = [ref for ref, _, _ in parts("- [ ] One\n- [ ] Two\n- [ ] One\n- [ ] Three (3)")]
    after = [
        ref for ref, _, _ in parts("Intro\n\n- [x] One\n- [ ] New\n- [ ] **Two**\n  text\n- [ ] One\n- [ ] Three 3")
    ]
    assert before == ["#one", "#two", "#one-1", "#three-3"]
    assert after == ["#new", "#two", "#one-1", "#three-3"]


def test_odd_titles() -> None:
    """No anchor is empty or a number alone, no title longer than a line; a path never reads as an issue."""
    found = parts(f"- [ ] !!!\n- [ ] 5\n- [ ] Über   Größe_x\n- [ ] {'long ' * 100}")
    assert [ref for ref, _, _ in found[:3]] == ["#part", "#part-5", "#über-größe-x"]
    assert len(found[3][0]) <= documents.LONGEST_ANCHOR + 1
    assert len(found[3][1]) == documents.LONGEST_TITLE
    assert found[3][2] == ("long " * 100).strip()
    assert documents.split(Document("docs/plan#5", "x")).parts == [Part("./docs/plan#5", "docs/plan#5", "x")]


def test_in_full() -> None:
    """A part's own text comes first, then the document's; issues and whole documents have theirs already."""
    texts = {"docs/plan.md": PLAN, "a/b": "x"}

    def item(ref: str) -> WorkItem:
        return WorkItem(
            id="i", mission_id="m", number=1, title="t", source_ref=ref, body="own", created_at=AT, updated_at=AT
        )

    found = documents.in_full(item("docs/plan.md#write-the-page"), texts)
    assert found == f"own\n\nThe document that this is a part of, docs/plan.md:\n\n{PLAN}"
    assert documents.in_full(item("docs/other.md"), texts) == "own"
    assert documents.in_full(item("a/b#5"), texts) == "own"


LINES = st.sampled_from([
    "# A", "## B", "## B", "### C", "- [ ] one", "- [x] two", "  - [ ] three", "    - [ ] four", "\t- [ ] five",
    "- six", "1. [ ] seven", "", "  ", "text", "  text", "```", "> quote", "<!--", "-->", "- [ ]", "##",
    "- [ ] #5", "- [ ] 7",
])  # fmt: skip


@QUICK
@given(st.text() | st.lists(LINES, max_size=20).map("\n".join))
def test_any_text_can_be_split(text: str) -> None:
    """No text breaks it; references are different, titles one line, and splitting again gives the same."""
    document = Document("p", text)
    try:
        found = documents.split(document)
    except Invalid:
        assert not text.strip()
        return
    refs = [part.ref for part in found.parts]
    assert len({*refs}) == len(refs)
    assert all(part.title and part.title == " ".join(part.title.split()) for part in found.parts)
    assert found == documents.split(document)
