"""What issue texts say they wait for: as people write it, and what only looks like it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.missions import dependencies
from tinytown.missions.references import is_reference, key

HERE = "acme/town"


def find(text: str) -> list[str]:
    """As `#N` where the repository is the issue's own, which is #99."""
    found = dependencies.find(text, HERE, f"{HERE}#99")
    return [ref.removeprefix(HERE) for ref in found]


SAID = [
    ("This feature depends on #42.\nAfter #41 is complete, we can start this.\nBlocked by #40.", "#42 #41 #40"),
    ("Implement the authentication endpoints.\n\nDepends on #1.\n\n- Implement login endpoint", "#1"),
    ("After #2.\n\n- Unit tests", "#2"),
    ("requires #7", "#7"),
    ("We require #7 here; these depend on #8", "#7 #8"),
    ("Requires: #1,#2", "#1 #2"),
    ("DEPENDS ON #3", "#3"),
    ("depends on #1, #2 and #3", "#1 #2 #3"),
    ("depends on #1, #2, and #3", "#1 #2 #3"),
    ("depends on #1 & #2; blocked by #4 or #5", "#1 #2 #4 #5"),
    ("depends on #1 #2 #3", "#1 #2 #3"),
    ("depends on #1 as well as #2, plus #3", "#1 #2 #3"),
    ("blocked by org/other#7 and #8", "org/other#7 #8"),
    ("**Depends on:** #42", "#42"),
    ("**Depends on**: #42", "#42"),
    ("**Depends on** **#42**", "#42"),
    ("_Depends on_ _#42_", "#42"),
    ("__Blocked by__ __#42__ and *#43*", "#42 #43"),
    ("**Depends** on #5", "#5"),
    ("Depends-On: #5\nBlocked-by: #6", "#5 #6"),
    ("depends_on: #5", "#5"),
    ("Depends on:\n- #1\n- #2", "#1 #2"),
    ("Depends on:\r\n- #1\r\n- #2\r\n", "#1 #2"),
    ("Depends on:\n\n* #1\n* #2\n\nAnd #3 is another story.", "#1 #2"),
    ("Depends on:\n1. #1\n2. #2", "#1 #2"),
    ("Depends on:\n#1\n#2", "#1 #2"),
    ("Depends on:\n\n- #1\n\n- #2\n", "#1 #2"),
    ("Depends on:\n- #1 Design the API\n- #2 (must land first, see #9)\n- o/r#3", "#1 #2 o/r#3"),
    ("Depends on:\n- #1, #4\n- the docs\n- #2", "#1 #4 #2"),
    ("Depends on:\n- Auth API (#12)\n- Rate limits (#13)", "#12 #13"),
    ("Depends on:\n- #1\n  the old one, not #8\n- #2", "#1 #2"),
    ("Depends on:\n- #1\n  - details in #8\n- #2", "#1 #2"),
    ("Depends on:\n- #1 (after #5)\n- #2", "#1 #5 #2"),
    ("- Depends on:\n  - #1\n- Blocked by:\n  - #2\n- see #3", "#1 #2"),
    ("### Depends on\n\n- #1\n- [#2](https://github.com/acme/town/issues/2)\n\n### Notes\n\n- #3", "#1 #2"),
    ("### Blocked by\n\n#12\n\n### Logs\n\n_No response_", "#12"),
    ("### Blocked by\n\n_No response_\n\n### Related\n\n#12", ""),
    ("**Depends on**\n\n- #1\n- #2", "#1 #2"),
    ("It depends on\n#3, which is long", "#3"),
    ("Depends on #1,\n#2 and\n#3", "#1 #2 #3"),
    ("Depends on #1 (the API), #2 (the schema, see #9) and #3", "#1 #2 #3"),
    ("depends on issue #5 and issues #6, #7", "#5 #6 #7"),
    ("blocked by PR #5 and the pull request #6", "#5 #6"),
    ("depends on GH-5", "#5"),
    ("Depends on (#5)", "#5"),
    ("| Depends on | #3, #4 |\n| Owner | #5 |", "#3 #4"),
    ("Depends on [#12](https://github.com/acme/town/issues/12)", "#12"),
    ("Depends on [#12](url)", "#12"),
    ('Depends on [the API](https://github.com/acme/other/issues/12 "API") and [#3]', "acme/other#12 #3"),
    ("Depends on https://github.com/acme/town/issues/12.", "#12"),
    ("blocked by <https://github.com/a/b/issues/12#issuecomment-1>, https://github.com/a/b/pull/13", "a/b#12 a/b#13"),
    ("needs work, depends on acme/town#4 and Acme/Town#4 and #4", "#4"),
    ("depends on #99 and #98", "#98"),
    ("Does not depend on #1 but requires #2", "#2"),
    ("depends on #1 which is blocked by #2", "#1 #2"),
    ("<details>\n\nDepends on #3\n</details>", "#3"),
    ("<!-- links -->Depends on #3", "#3"),
    ("Depends on <!-- the API --> #3", "#3"),
    ("Depends on #1 <!-- and #2 --> and #3", "#1 #3"),
    ("Was it done?\n\n    after #1\n\nDepends on #2", "#2"),
    ("- a list\n\n    depends on #1", "#1"),
    ("Depends on: #1\n- #2 is only mentioned", "#1"),
    ("Before #1 but after #2", "#2"),
    # task lists
    ("## Tasks\n- [ ] #12\n- [x] owner/repo#3\n- [X] #14 Something\n", "#12 owner/repo#3 #14"),
    ("1. [ ] #12\n   - [ ] #13", "#12 #13"),
    ("* [ ] **#12**\n+ [ ] [Login](https://github.com/acme/town/issues/13)", "#12 #13"),
    ("```[tasklist]\n### Tasks\n- [ ] #12\n- [ ] Write the text\n```\ndepends on #4", "#12 #4"),
    ("- [ ] write tests (#12)\n- [ ] see #13\n- #14", ""),
    ("- [ ] deploy after #12", "#12"),
    ("- [ ]#12\n- [] #13\n-[ ] #14", ""),
]  # fmt: skip

NOT_SAID = [
    "",
    "See #3, closes #4, fixes #5, part of #6",
    "the specific #3",
    "hereafter #4, thereafter #5",
    "after-effects of #5, unblocked by #3, un-blocked by #4, created_after #6",
    "this is required by #3 and blocks #4, blocking #5",
    "requirements #3, requiring #4, dependency #5",
    "after the release of #3, after merging #4",
    "After:\n- #12 shows the new page",
    "after\n\n#3",
    "What it depends on.\n\n#12 is nice",
    "it is what everything depends on\n\n#12 is nice",
    "depends on the work in #3",
    "depends on: nothing. #3 is separate",
    "depends on Python 3.11 and #3",
    "Requires Python 3.11, #3 is nice",
    "depends on #0, #01, #12345678901, #3a, foo#4, a/b/c#5, &#12; \\#6",
    "# 12 depends on\n## 5",
    "depends on repo#5 and https://example.com/a/b/issues/7",
    "depends on https://example.com/x#5",
    "doesn't depend on #3, isn't blocked by #4, no longer requires #5, not yet blocked by #6, don\u2019t require #7",
    "never requires #3",
    "Run `depends on #3` first",
    "Run ``depends on `#3` `` first",
    "depends on `#3`",
    "```\ndepends on #3\n```",
    "~~~text\n```\ndepends on #3\n~~~",
    "````\n```\ndepends on #3\n```\nblocked by #4\n````",
    "- step\n  ```sh\n  # depends on #3\n  ```",
    "```\ndepends on #3",
    "Text\n\n    depends on #3\n\n    after #4\n",
    "\tdepends on #3",
    "> depends on #3",
    "- > depends on #3\n  > - [ ] #4",
    "<!-- depends on #3 -->",
    "<!--\n\nDepends on #3\n- [ ] #4\n\n-->",
    "<!-- Template: say depends on #3",
    "text <!-- depends on #3\nblocked by #4 --> end",
    "~~depends on #3~~",
    "Depends on ~~#3~~",
    "<pre>\ndepends on #3\n\nafter #4</pre> <code>after #5</code> <del>after #6</del>",
    "blocked by: none",
    "depends on ##3",
]


@pytest.mark.parametrize(("text", "expected"), SAID)
def test_said(text: str, expected: str) -> None:
    """References behind a keyword or at a task list's box are dependencies, in their order, once."""
    assert find(text) == expected.split()


@pytest.mark.parametrize("text", NOT_SAID)
def test_not_said(text: str) -> None:
    """Other words, other verbs, denials, code, quotes, comments and struck text say nothing."""
    assert find(text) == []


def test_a_comment_that_never_ends_in_mid_text_is_text() -> None:
    """As GitHub shows it."""
    assert find("use <!-- to comment\n\ndepends on #3") == ["#3"]


def test_an_enterprise_server() -> None:
    """Only URLs of the server are references."""
    text = "depends on https://git.acme.example/o/r/issues/5, blocked by https://github.com/o/r/issues/6"
    assert dependencies.find(text, HERE, web="https://git.acme.example") == ("o/r#5",)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("#12", "acme/town#12"), ("**o/r#3**: do it", "o/r#3"), ("issue #4", "acme/town#4"),
        ("[Login](https://github.com/o/r/issues/5)", "o/r#5"), ("Do #12", None), ("", None), ("`#12`", None),
    ],
)  # fmt: skip
def test_what_a_line_begins_with(line: str, expected: str | None) -> None:
    """A line that is a link to an issue."""
    assert dependencies.leading(line, HERE) == expected


PIECES = st.sampled_from([
    "depends on", "after", "Blocked by", "requires", "not", " ", "\n", "\n\n", "- ", "- [ ] ", "  ", "    ", "#1", "#2",
    "o/r#3", "https://github.com/o/r/issues/4", "[", "](", ")", "(", ":", ",", " and ", "`", "``", "```\n", "~~", ">",
    "<!--", "-->", "<pre>", "</pre>", "**", "_", "word", ".", "\\", "\r\n", "\t", "#", "é", "\0", "1. ",
])  # fmt: skip


@QUICK
@given(st.text() | st.lists(PIECES, max_size=40).map("".join))
def test_any_text_can_be_read(text: str) -> None:
    """No text breaks the reader; what it finds are references, each once, and never the issue itself."""
    found = dependencies.find(text, HERE, f"{HERE}#1")
    assert all(map(is_reference, found))
    assert len({*map(key, found)}) == len(found)
    assert f"{HERE}#1" not in found
    assert found == dependencies.find(text, HERE, f"{HERE}#1")


@QUICK
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.sampled_from(["depends on", "**Requires:**", "AFTER"]),
       st.sampled_from([", ", " and ", " & ", ","]))  # fmt: skip
def test_lists_are_read_to_their_end(numbers: list[int], keyword: str, joiner: str) -> None:
    """However long a list is."""
    text = f"Words.\n\n{keyword} {joiner.join(f'#{n}' for n in numbers)}. More words about #77."
    assert find(text) == [f"#{n}" for n in dict.fromkeys(numbers)]


@pytest.mark.parametrize(
    "piece", ["`", "` ``", "[", "[a](", "<pre>", "<!--", "~~", "- [ ] ", "depends on ", "depends\n", "> ", "not ", "a-",
              "*", "(", "a/", "#", "https://github.com/", "    x\n\n", "1. "],
)  # fmt: skip
def test_no_text_takes_long(piece: str) -> None:
    """Time grows with the text, whatever it is made of."""
    text = (piece * 100_000)[:100_000]
    began = time.process_time()
    dependencies.find(text, HERE)
    assert time.process_time() - began < 5
