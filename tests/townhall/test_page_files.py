"""The page's files: what may reach them, what they may reach, and that they are what they are said to be."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import httpx2
import pytest

from tinytown.townhall import page

pytestmark = pytest.mark.slow

STATIC = Path(page.__file__).parent / "static"
VENDOR = STATIC / "vendor"
OWN = sorted([*STATIC.glob("*.js"), *STATIC.glob("*.html"), *STATIC.glob("*.css")])
MOST = 120_000  # bytes of what is ours


def test_vendored_files_are_what_the_manifest_says() -> None:
    """Each is named there with version and licence, and has the digest that is written there."""
    named = json.loads((VENDOR / "manifest.json").read_text())
    there = {path.name for path in VENDOR.iterdir()} - {"manifest.json"}
    assert {row["file"] for row in named} | {row["licence_file"] for row in named} == there
    for row in named:
        assert set(row) == {"file", "name", "version", "source", "sha256", "licence", "licence_file"}
        assert hashlib.sha256((VENDOR / row["file"]).read_bytes()).hexdigest() == row["sha256"]


def test_own_files_make_no_markup_of_text_and_reach_nothing_outside() -> None:
    """No innerHTML and its like, no inline script or style, no address of another server; small enough to be read."""
    banned = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc")
    outside = re.compile(r"""["'(]\s*(?:https?:)?//(?!www\.w3\.org/)""")
    for path in OWN:
        text = path.read_text()
        assert not banned.search(text), path
        assert not outside.search(text), path
    html = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    assert sum(path.stat().st_size for path in OWN) < MOST


def test_every_file_is_served_under_the_policy(shared_http: httpx2.Client) -> None:
    """The page and each file it is made of: nothing from elsewhere, not framed, not sniffed, not kept unasked."""
    for path in ("/", *(f"/page/{each.name}" for each in [*STATIC.iterdir(), *VENDOR.glob("*.js")] if each.is_file())):
        answer = shared_http.get(path)
        assert answer.status_code == 200, path
        headers = answer.headers
        assert headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-cache"
        again = shared_http.get(path, headers={"If-None-Match": headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert shared_http.get("/").headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("name", ["nothing.js", "manifest.json", "%2e%2e%2fboard.py", "..%2froutes.py", "vendor"])
def test_nothing_else_is_served(shared_http: httpx2.Client, name: str) -> None:
    """A name that is none of the page's files is not found."""
    assert shared_http.get(f"/page/{name}").status_code == 404
