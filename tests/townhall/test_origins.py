"""From where a request may come: decisions on Host, Origin and Sec-Fetch-Site."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.townhall.auth import origins

REACHED = "10.1.2.3"
ALLOWED = ("town.example.com", "[fd00::5]")


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8787", "LOCALHOST:1", "127.0.0.1:8787", "[::1]:8787", "[::1]", "10.1.2.3:80",
     "town.example.com", "Town.Example.com:443", "[fd00::5]:8787"],
)  # fmt: skip
def test_our_hosts(host: str) -> None:
    """Names of the loopback, the address that was reached, allowed names; the port says nothing."""
    assert origins.is_our_host(host, REACHED, ALLOWED)


@pytest.mark.parametrize(
    "host",
    ["", None, "evil.example", "evil.example:8787", "localhost.evil.example", "127.0.0.1.evil.example", "10.1.2.4",
     "localhost@evil.example", "evil.example#localhost", "evil.example/localhost", "xtown.example.com", "a b",
     "[::1", "localhost:x", "127.0.0.2", "0.0.0.0"],  # noqa: S104
)  # fmt: skip
def test_foreign_hosts(host: str | None) -> None:
    """Anything else, however much it looks like one of ours."""
    assert not origins.is_our_host(host, REACHED, ALLOWED)


def test_the_reached_address_in_other_words() -> None:
    """IPv6 addresses have several spellings."""
    assert origins.is_our_host("[fd00:0:0::1]:80", "fd00::1", ())
    assert not origins.is_our_host("[fd00::2]", "fd00::1", ())
    assert not origins.is_our_host("10.1.2.3", None, ())


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "expected"),
    [
        ("http://localhost:8787", "localhost:8787", "http", True),
        ("http://127.0.0.1:8787", "127.0.0.1:8787", "http", True),
        ("https://town.example.com", "town.example.com", "https", True),
        ("https://town.example.com", "town.example.com:443", "https", True),
        ("https://town.example.com", "town.example.com", "http", True),  # a proxy took https off
        ("http://town.example.com", "town.example.com", "https", False),
        ("http://localhost:3000", "localhost:8787", "http", False),  # another program of this machine
        ("http://localhost:8787", "127.0.0.1:8787", "http", False),
        ("http://evil.example", "localhost:8787", "http", False),
        ("http://localhost:8787.evil.example", "localhost:8787", "http", False),
        ("http://localhost:8787@evil.example", "localhost:8787", "http", False),
        ("http://localhost:8787/", "localhost:8787", "http", False),  # no browser sends a path
        ("null", "localhost:8787", "http", False),
        ("", "localhost:8787", "http", False),
        ("file://", "localhost:8787", "http", False),
        ("http://[::1]:8787", "[::1]:8787", "http", True),
        ("http://[::1:8787", "[::1]:8787", "http", False),
    ],
)
def test_our_origin(origin: str, host: str, scheme: str, *, expected: bool) -> None:
    """The very server that was asked, by the very name, and not over a worse scheme."""
    assert origins.is_our_origin(origin, host, scheme) is expected


@pytest.mark.parametrize(
    ("headers", "foreign", "ours"),
    [
        ({}, False, False),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, False, True),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, False, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, False, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, True, False),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, True, False),
        ({"origin": "http://localhost:8787"}, False, True),
    ],
)
def test_what_the_browser_says(headers: dict[str, str], *, foreign: bool, ours: bool) -> None:
    """Parts of foreign pages are refused, links from there are not; a change by cookie comes from our page."""
    assert origins.is_foreign_fetch("GET", headers) is foreign
    is_from_elsewhere = headers.get("sec-fetch-site") in {"cross-site", "same-site"}
    assert origins.is_foreign_fetch("POST", headers) is is_from_elsewhere  # a form of another page navigates, too
    assert origins.is_from_our_page(headers) is ours


@QUICK
@given(st.text(), st.text())
def test_any_text(host: str, origin: str) -> None:
    """Whatever is in a header: a decision, no exception."""
    assert origins.is_our_host(host, REACHED, ALLOWED) in {True, False}
    assert origins.is_our_origin(origin, host, "http") in {True, False}
