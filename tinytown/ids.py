"""Ids: random UUIDs; short forms for people; any unambiguous prefix finds one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from tinytown.errors import Conflict, Invalid

SUPERVISOR_ID = "00000000-0000-0000-0000-000000000001"
RESERVED_NAMES = ("supervisor", "conductor")
PREFIX_MIN = 4

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PREFIX = re.compile(r"[0-9a-f-]{4,36}")
_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,63}")  # one that begins with `-` is an option to every program


def new_id() -> str:
    """Make a random UUID (version 4), hyphenated lower case.

    Made from `os.urandom` because importing `uuid` costs a command several milliseconds.
    """
    raw = bytearray(os.urandom(16))
    return _uuid(raw, 4)


def derived_id(*names: str) -> str:
    """Make the UUID (version 8) that these names give each time."""
    from hashlib import sha256  # noqa: PLC0415  only plans need it

    return _uuid(bytearray(sha256("\0".join(names).encode("utf-8", "surrogatepass")).digest()[:16]), 8)


def _uuid(raw: bytearray, version: int) -> str:
    raw[6] = (raw[6] & 0x0F) | (version << 4)
    raw[8] = (raw[8] & 0x3F) | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Tell whether this is a whole id."""
    return _UUID.fullmatch(text) is not None


def short(identifier: str) -> str:
    """The first eight digits: what lists show, and enough to type."""
    return identifier[:8]


def is_name(text: str) -> bool:
    """Tell whether this is a legal name of an agent, role or town."""
    return _NAME.fullmatch(text) is not None and text not in {".", ".."}


def is_stored_name(text: str) -> bool:
    """As `is_name`, for one that is there already: it may begin with `-`, as names once could."""
    return is_name(f"_{text[1:]}" if text.startswith("-") else text)


def check_name(name: str, what: str = "Agent") -> str:
    """Return `name` if it is a legal name of an agent, role or town; Invalid otherwise."""
    if not is_name(name):
        shown = name if len(name) <= 40 else name[:40] + "…"
        raise Invalid(
            f"{what} name {shown!r} is not valid.",
            "Names are 1 to 64 letters, digits, '.', '_' or '-', and do not begin with '-'.",
        )
    return name


def match_prefix(reference: str, identifiers: Iterable[str], what: str) -> str | None:
    """Find the one id that starts with `reference` (4 characters or more).

    Returns None when there is none; Conflict when several match.
    """
    text = reference.strip().lower()
    if not _PREFIX.fullmatch(text):
        return None
    found = [identifier for identifier in identifiers if identifier.startswith(text)]
    if len(found) > 1:
        some = ", ".join(short(identifier) for identifier in sorted(found)[:5])
        raise Conflict(f"{what} reference '{reference}' is ambiguous: {some}", "Give more of the id.")
    return found[0] if found else None
