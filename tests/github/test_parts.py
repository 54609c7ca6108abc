"""The parts that need no server: where things are, tokens, logs, and the folder of answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinytown.errors import Invalid
from tinytown.git import do, origin_repository
from tinytown.github import logs
from tinytown.github.cache import Cache, Kept
from tinytown.github.credentials import find_token
from tinytown.github.places import Place, graphql_url, place, web_url

API = "https://api.github.com"


@pytest.mark.parametrize(
    ("api", "web", "graphql"),
    [
        (API, "https://github.com", "https://api.github.com/graphql"),
        ("https://ghe.example.com/api/v3", "https://ghe.example.com", "https://ghe.example.com/api/graphql"),
        (
            "https://api.example.com:8443/api/v3/",
            "https://api.example.com:8443",
            "https://api.example.com:8443/api/graphql",
        ),
        ("https://api.tenant.ghe.com", "https://tenant.ghe.com", "https://api.tenant.ghe.com/graphql"),
        ("http://127.0.0.1:1/api/v3", "http://127.0.0.1:1", "http://127.0.0.1:1/api/graphql"),
    ],
)
def test_where_it_is(api: str, web: str, graphql: str) -> None:
    """Browsers and GraphQL have addresses of their own."""
    assert (web_url(api), graphql_url(api)) == (web, graphql)


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("acme/web#2", Place("acme/web", 2, is_pull=False)),
        ("https://github.com/acme/web/pull/2", Place("acme/web", 2, is_pull=True)),
        ("https://github.com/acme/web/pull/2/files#r5", Place("acme/web", 2, is_pull=True)),
        ("https://github.com/acme/web/issues/2", Place("acme/web", 2, is_pull=False)),
    ],
)
def test_what_is_meant(ref: str, expected: Place) -> None:
    """Names and URLs of issues and pull requests."""
    assert place(ref, "https://github.com") == expected


@pytest.mark.parametrize("ref", ["", "#2", "acme/web", "https://github.com/acme/web", "https://evil.com/a/b/pull/1"])
def test_what_is_not(ref: str) -> None:
    """Everything else is refused."""
    with pytest.raises(Invalid):
        place(ref, "https://github.com")


@pytest.mark.parametrize(
    ("url", "web", "expected"),
    [
        ("git@github.com:acme/web.git", "https://github.com", "acme/web"),
        ("ssh://git@github.com/acme/web.git", "https://github.com", "acme/web"),
        ("https://github.com/acme/web", "https://github.com", "acme/web"),
        ("https://ann:secret@ghe.example.com/acme/web.git", "https://ghe.example.com", "acme/web"),
        ("git@ghe.example.com:acme/web.git", "https://ghe.example.com", "acme/web"),
        ("git@gitlab.com:acme/web.git", "https://github.com", None),
        ("../other", "https://github.com", None),
    ],
)
def test_the_origin(tmp_path: Path, url: str, web: str, expected: str | None) -> None:
    """Which repository of this GitHub a folder was cloned from."""
    do(tmp_path, "init", "-q")
    do(tmp_path, "remote", "add", "origin", url)

    assert origin_repository(tmp_path, web) == expected


def test_no_origin(tmp_path: Path) -> None:
    """No repository, or one without a remote, has none."""
    assert origin_repository(tmp_path, "https://github.com") is None
    do(tmp_path, "init", "-q")
    assert origin_repository(tmp_path, "https://github.com") is None


def gh(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `gh` of the test's own, first on PATH."""
    (folder / "gh").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_whose_token_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GITHUB_TOKEN before GH_TOKEN before the login of `gh`, which is asked for the right host."""
    gh(tmp_path, '[ "$*" = "auth token --hostname github.com" ] && echo gho_login', monkeypatch)

    assert find_token(API, {"GITHUB_TOKEN": " ghp_one\n", "GH_TOKEN": "ghp_two"}) == "ghp_one"
    assert find_token(API, {"GITHUB_TOKEN": " ", "GH_TOKEN": "ghp_two"}) == "ghp_two"
    assert find_token(API, {}) == "gho_login"
    assert find_token("https://ghe.example.com/api/v3", {}) is None


@pytest.mark.parametrize(
    "script", ["exit 1", "echo", "echo 'no token'; exit 1", "echo please log in", "printf 'a\\nb'"]
)
def test_no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """What `gh` says when nobody is logged in is no token."""
    gh(tmp_path, script, monkeypatch)

    assert find_token(API, {}) is None


def test_a_gh_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed with what it started; nothing of it is left (see conftest.py)."""
    monkeypatch.setattr("tinytown.github.credentials.GH_S", 0.2)
    gh(tmp_path, "sleep 100 & sleep 100", monkeypatch)

    assert find_token(API, {}) is None


def test_no_gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `gh` there is no token."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_token(API, {}) is None


@pytest.mark.parametrize("token", ["a b", "a\nb", "ü", "a\x00b"])
def test_what_is_no_token(token: str) -> None:
    """It is refused before it is in a header, and not repeated."""
    with pytest.raises(Invalid) as caught:
        find_token(API, {"GH_TOKEN": token})

    assert token not in f"{caught.value}{caught.value.remedy}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("a\n\n\n", "a"),
        ("2026-11-01T00:00:00.1234567Z a\r\n\ufeff2026-11-01T00:00:00Z  b", "a\n b"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b(B", "red x"),
        ("10%\r50%\r100%\nok", "100%\nok"),
        ("a\n##[error]first\nb\n##[error]last\ncleanup", "a\n##[error]first\nb\n##[error]last"),
        ("x" * 400, "x" * 299 + "…"),
        ("\n".join(str(n) for n in range(100)), "\n".join(str(n) for n in range(40, 100))),
    ],
)
def test_logs(text: str, expected: str) -> None:
    """The end, up to the last error, without what only a terminal wants."""
    assert logs.trimmed(text) == expected


def test_answers_are_kept_for_one_owner(tmp_path: Path) -> None:
    """What one token may see another one does not find."""
    Cache(tmp_path / "c", "ann").put("u", Kept("e", {"a": 1}, None))

    assert Cache(tmp_path / "c", "ann").get("u") == Kept("e", {"a": 1}, None)
    assert Cache(tmp_path / "c", "bob").get("u") is None
    assert Cache(tmp_path / "c", None).get("u") is None


def test_the_folder_stays_small(tmp_path: Path) -> None:
    """What was not used for long goes first; an answer that is too large is not kept at all."""
    cache = Cache(tmp_path, "ann", most_bytes=10_000)
    (tmp_path / f"x.json.{2**22 - 1}.tmp").write_text("left by a killed process")
    for number in range(50):
        cache.put(f"{number}", Kept("e", "x" * 1000, None))
        assert cache.get("0"), number
    cache.put("huge", Kept("e", "x" * 3_000_000, None))

    files = list(tmp_path.iterdir())
    assert sum(path.stat().st_size for path in files) <= 13_000
    assert all(path.suffix == ".json" for path in files)
    assert cache.get("huge") is None
    assert cache.get("49")


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """Without a folder nothing is kept, and nothing fails."""
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "c", "ann")
    cache.put("u", Kept("e", 1, None))

    assert cache.get("u") is None
