"""From where a request may come: pure decisions on headers.

A page from elsewhere, open in the browser of somebody on this machine, can send requests to a server that only this
machine reaches: straight (then `Origin` names the page) or under a name of its own that leads here (then `Host` does).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "ip6-localhost"})
_PORTS = {"http": 80, "https": 443}


def is_our_host(host: str | None, reached: str | None, allowed: Iterable[str]) -> bool:
    """`Host` is a name of the loopback, the address that was reached, or one of the allowed names."""
    name = _name(host)
    if name is None:
        return False
    return name in LOOPBACK_NAMES or _same_address(name, reached) or name in {_name(each) for each in allowed}


def is_our_origin(origin: str, host: str, scheme: str) -> bool:
    """`Origin` is the very server that `Host` names. A proxy in front may have taken https off, never put it on."""
    parts = _split(origin)
    if parts is None or parts.scheme not in _PORTS or parts.path or parts.query or parts.fragment:
        return False
    if parts.scheme not in {scheme, "https"}:
        return False
    here = _split(f"{parts.scheme}://{host}")
    return here is not None and _place(here) == _place(parts)


def is_foreign_fetch(method: str, headers: Mapping[str, str]) -> bool:
    """A browser says that a page from elsewhere asks for this, and not because somebody follows a link."""
    is_link = method in {"GET", "HEAD"} and headers.get("sec-fetch-mode") == "navigate"
    return headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not is_link


def is_from_our_page(headers: Mapping[str, str]) -> bool:
    """The page itself asks; `Origin`, where it is there, has been checked. A cookie alone proves no intention."""
    return "origin" in headers or headers.get("sec-fetch-site") == "same-origin"


def _name(host: str | None) -> str | None:
    """The name or address without the port, in lower case."""
    parts = _split(f"//{host}") if host else None
    if parts is None or parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return parts.hostname


def _place(parts: SplitResult) -> tuple[str | None, int]:
    return parts.hostname, parts.port or _PORTS[parts.scheme]


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return parts if parts.hostname else None


def _same_address(name: str, reached: str | None) -> bool:
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(reached or "")
    except ValueError:
        return False
