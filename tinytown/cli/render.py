"""How things look: the one module that knows whether a terminal reads the output.

Terminals get emoji and (unless NO_COLOR) colour; pipes and files get words. What users, agents and models
wrote is never allowed to speak to a terminal.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tinytown.terminal import harmless

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}
_OWN_COLOUR = re.compile(rf"(\x1b\[(?:0|{'|'.join(_COLOURS.values())})m)")
_SPACE = re.compile(r"[ \t\r\n]+")
_JSON_CONTROL = re.compile(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def is_terminal(stream: TextIO | None) -> bool:
    """A person reads this stream."""
    return stream is not None and stream.isatty()


def prepare_streams() -> None:
    """No character ends a command: what the locale cannot show becomes an escape."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def out(text: str = "") -> None:
    """A line of result."""
    if sys.stdout is not None:
        sys.stdout.write(_guarded(text, sys.stdout) + "\n")


def talk(text: str) -> None:
    """A line for people beside the result: hints, warnings, progress."""
    if sys.stderr is not None:
        sys.stderr.write(_guarded(text, sys.stderr) + "\n")
        sys.stderr.flush()


def flush() -> None:
    """Write out what is buffered. Raises OSError (BrokenPipeError)."""
    if sys.stdout is not None:
        sys.stdout.flush()


def icon(symbol: str) -> str:
    """The emoji and a space on a terminal; nothing elsewhere."""
    return f"{symbol} " if is_terminal(sys.stdout) else ""


def colour(text: str, name: str, stream: TextIO | None = None) -> str:
    """The text in this colour where colour is wanted."""
    if not is_terminal(stream or sys.stdout) or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_COLOURS[name]}m{text}\x1b[0m"


def clean(text: str, width: int | None = None) -> str:
    """One harmless line: white space as spaces, control characters spelled out, at most `width` characters."""
    line = harmless(_SPACE.sub(" ", text).strip())
    return line if width is None or len(line) <= width else line[: width - 3].rstrip() + "..."


def clean_block(text: str) -> str:
    """Harmless text that keeps its lines."""
    return harmless(text)


def shown(text: str) -> str:
    """Text in full: harmless on a terminal, as it is on a pipe."""
    if is_terminal(sys.stdout):
        return clean_block(text)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def indented(text: str, by: str = "      ") -> str:
    """Further lines of a text under its first."""
    return text.rstrip("\n").replace("\n", "\n" + by)


def print_json(value: Any, *, compact: bool = False) -> None:
    """An object over several lines (`compact`: on one); a list with one element per line."""
    from json import dumps  # noqa: PLC0415  only with --json

    if isinstance(value, list):
        rows = ",\n".join(dumps(row, ensure_ascii=False) for row in value)
        text = f"[\n{rows}\n]" if value else "[]"
    else:
        text = dumps(value, ensure_ascii=False, indent=None if compact else 2)
    out(_JSON_CONTROL.sub(lambda m: f"\\u{ord(m[0]):04x}", text))


def columns(rows: Iterable[tuple[str, ...]], indent: str = "  ") -> list[str]:
    """Rows as lines whose columns stand under each other; the last column is free."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1] if table else []
    return [
        (indent + "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]])).rstrip()
        for row in table
    ]


def duration(seconds: float) -> str:
    """`12s`, `45m 12s`, `1h 23m`, `3d 4h`."""
    whole = int(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // part}{smaller}"
    return f"{whole}s"


def _guarded(text: str, stream: TextIO) -> str:
    """The last gate before a terminal: our own colours pass, whatever a command forgot to clean does not."""
    if not is_terminal(stream):
        return text
    return "".join(part if n % 2 else harmless(part) for n, part in enumerate(_OWN_COLOUR.split(text)))
