"""What users, agents and models wrote, made harmless for a terminal. The one list of what is not."""

from __future__ import annotations

import re

# C0 without tab and newline, DEL, C1, the marks that reorder text, lone surrogates.
UNSAFE = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROL = re.compile(f"[{UNSAFE}]")


def harmless(text: str) -> str:
    """The text with its lines, control characters spelled out."""
    return _CONTROL.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
