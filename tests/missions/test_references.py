"""Ways to name an issue, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.errors import Invalid
from tinytown.missions import references

HERE = "acme/town"
ENTERPRISE = "https://git.acme.example:8443"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("23", "acme/town#23"),
        (" #23\n", "acme/town#23"),
        ("owner/repo#23", "owner/repo#23"),
        ("My-Org/.github#1", "My-Org/.github#1"),
        ("corp_acme/a.b_c-d#9999999999", "corp_acme/a.b_c-d#9999999999"),
        ("https://github.com/owner/repo/issues/23", "owner/repo#23"),
        ("http://www.GitHub.com/owner/repo/issues/23/", "owner/repo#23"),
        ("github.com/owner/repo/issues/23", "owner/repo#23"),
        ("https://github.com/owner/repo/issues/23#issuecomment-5", "owner/repo#23"),
        ("https://github.com/owner/repo/issues/23?x=1&y=2#z", "owner/repo#23"),
    ],
)
def test_forms(text: str, expected: str) -> None:
    """Numbers, qualified references and URLs give the one form."""
    assert references.parse(text, HERE) == expected


def test_an_enterprise_server_has_urls_of_its_own() -> None:
    """URLs of the given server are read, those of github.com are refused then."""
    assert references.parse(f"{ENTERPRISE}/o/r/issues/7", HERE, ENTERPRISE) == "o/r#7"
    with pytest.raises(Invalid, match=r"is not at git\.acme\.example:8443\.") as caught:
        references.parse("https://github.com/o/r/issues/7", HERE, ENTERPRISE)
    assert caught.value.remedy == "Set [github] api_url for another server."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "An issue's reference is empty."),
        ("0", "'0' is no reference"),
        ("#023", "is no reference"),
        ("-5", "is no reference"),
        ("٣", "is no reference"),
        ("12345678901", "is no reference"),
        ("repo#5", "is no reference"),
        ("owner/repo", "is no reference"),
        ("-owner/repo#5", "is no reference"),
        ("own.er/repo#5", "is no reference"),
        ("owner/..#5", "is no reference"),
        ("owner/.#5", "is no reference"),
        (f"{'o' * 40}/repo#5", "is no reference"),
        (f"owner/{'r' * 101}#5", "is no reference"),
        ("owner/repo#5 and more", "is no reference"),
        ("https://github.com/owner/repo/issues/23x", "is no reference"),
        ("https://github.com/owner/repo/issues/", "is no reference"),
        ("https://github.com.evil.example/owner/repo/issues/3", "is no reference"),
        ("https://evil.example/owner/repo/issues/3", "is not at github.com"),
        ("https://github.com/owner/repo/pull/23", "is a pull request, not an issue."),
        ("https://github.com/owner/repo/pull/23/files#diff-1", "is a pull request"),
        ("https://elsewhere.example/owner/repo/pull/23", "is a pull request"),
    ],
)
def test_no_reference(text: str, said: str) -> None:
    """What is no issue is refused in one line, with a remedy."""
    with pytest.raises(Invalid) as caught:
        references.parse(text, HERE)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_a_number_needs_an_origin() -> None:
    """Without a repository a bare number means nothing."""
    with pytest.raises(Invalid, match="no GitHub origin") as caught:
        references.parse("#23")
    assert caught.value.remedy == "Write owner/repo#23."
    assert references.parse("o/r#23") == "o/r#23"


@pytest.mark.parametrize(
    ("remote", "web", "expected"),
    [
        ("git@github.com:owner/repo.git", references.WEB, "owner/repo"),
        ("git@github.com:/owner/repo", references.WEB, "owner/repo"),
        ("https://github.com/owner/repo.git", references.WEB, "owner/repo"),
        ("https://github.com/owner/repo/", references.WEB, "owner/repo"),
        ("https://x-access-token:abc@github.com/owner/repo", references.WEB, "owner/repo"),
        ("ssh://git@github.com:22/owner/re.po.git", references.WEB, "owner/re.po"),
        ("ssh://git@ssh.github.com:443/owner/repo.git", references.WEB, "owner/repo"),
        ("git://github.com/owner/repo.git", references.WEB, "owner/repo"),
        ("git@git.acme.example:o/r.git", ENTERPRISE, "o/r"),
        ("https://git.acme.example:8443/o/r.git", ENTERPRISE, "o/r"),
        ("http://127.0.0.1:5000/o/r.git", "http://127.0.0.1:5000", "o/r"),
        ("https://git.acme.example/o/r.git", ENTERPRISE, None),
        ("git@gitlab.com:owner/repo.git", references.WEB, None),
        ("https://github.com/owner/repo/extra", references.WEB, None),
        ("https://github.com/owner/.git", references.WEB, None),
        ("/srv/git/owner/repo.git", references.WEB, None),
        ("../repo", references.WEB, None),
        ("", references.WEB, None),
    ],
)
def test_the_repository_of_a_remote(remote: str, web: str, expected: str | None) -> None:
    """The ways git writes a GitHub remote; any other has no repository there."""
    assert references.repository_of(remote, web) == expected


def test_capitals_do_not_make_another_issue() -> None:
    """Keys are equal where GitHub sees one issue; what is no reference is its own key."""
    assert references.key("Acme/Town#5") == references.key("acme/town#5") != references.key("acme/town#6")
    assert references.key("Docs/Plan.md#A") == "Docs/Plan.md#A"
    assert references.short("Acme/Town#5", HERE) == "#5"
    assert references.short("acme/other#5", HERE) == "acme/other#5"
    assert references.short("acme/other#5", None) == "acme/other#5"
    assert references.short("docs/plan.md#a", HERE) == "docs/plan.md#a"


@QUICK
@given(st.text() | st.text(st.sampled_from("ao/#.-_15 :htps")))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    """No text breaks the parser; what it gives it reads again as the same."""
    try:
        found = references.parse(text, HERE)
    except Invalid:
        return
    assert references.is_reference(found)
    assert references.parse(found) == found
    references.split(found)
