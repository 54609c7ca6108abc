"""What the cases are made of: damaged bytes, and JSON in which something is not as it should be."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from typing import Any

TIMES = float(os.environ.get("FUZZ_TIMES", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
ESCAPE = "\x1b]0;owned\x07\x1b[2J"

# JSON as text, because no encoder writes most of it. Some nest to just below what the parser takes.
NASTY = (
    "null", "true", "0", "-1", "1.5", "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "9" * 400, "9" * 5000,
    '""', '" "', '"x"', '"\\u0000"', '"\\ud800"', '"\\udcff"', '"\\u202e\\u2028"', json.dumps(ESCAPE), '"5"', '"-1"',
    '"../../etc"', '"2026-13-45T99:99:99Z"', '"9999-12-31T23:59:59.999999Z"', '"nan"', '"inf"', '"running"',
    "[]", "{}", '["x"]', "[null]", '{"a":{"b":[1]}}', "[[[[1]]]]", '{"type":"x"}', "[1e999]", '"' + "x" * 5000 + '"',
    "[" * 300 + "]" * 300, "[" * 960 + "]" * 960, "[" * 6000 + "]" * 6000, '{"a":' * 940 + "1" + "}" * 940,
)  # fmt: skip
WORDS = (
    "", " ", "\n", "x", "None", "0", "-1", "nan", "1" * 400, "9" * 5000, "{", "[]", "{}", "null", '"x"', "\x00", "\x7f",
    ESCAPE, "\u202eabc", "é" * 300, "a:b", "tt:x:task:y", "*", "../..", "[" * 6000, '{"a":' * 3000, "\ufeff{}",
    "\udcff\udcfe", "550e8400-e29b-41d4-a716-446655440000", "NaN", "Infinity", "1e999", "true", "1.5",
)  # fmt: skip


def cases(name: str, count: int) -> Iterator[random.Random]:
    """`count` (times FUZZ_TIMES) sources of chance, each with its own seed; the same in every run."""
    for number in range(max(1, int(count * TIMES))):
        yield random.Random(f"{name}:{SEED}:{number}")  # noqa: S311  no secrets


def damaged(rng: random.Random, data: bytes) -> bytes:
    """The bytes with one to three things done to them."""
    for _ in range(rng.randint(1, 3)):
        at, to = sorted(rng.randrange(len(data) + 1) for _ in "12")
        match rng.randrange(8):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at:]
            case 3:
                data = data[:to] + data[at:]
            case 4:
                data = data.replace(b"\n", b"\r\n")
            case 5:
                data = rng.choice([b"\xef\xbb\xbf", b"\x00", b"\xff\xfe"]) + data
            case 6:
                data = data[:at] + rng.choice(NASTY).encode() + data[to:]
            case 7 if data:
                flipped = bytearray(data)
                flipped[at % len(data)] ^= 1 << rng.randrange(8)
                data = bytes(flipped)
    return data


def mutated(rng: random.Random, value: Any) -> str:
    """The value as JSON in which something is missing, of another type, huge, deep, double or broken."""
    text = json.dumps(value)
    kind = rng.randrange(10)
    if kind == 0:
        return rng.choice(WORDS)
    if kind == 1:
        return rng.choice(NASTY)
    if kind == 2:
        return damaged(rng, text.encode()).decode("utf-8", "surrogateescape")
    places = [path for path in paths(value) if path]
    if not places:
        return rng.choice(NASTY)
    wrong: dict[str, str] = {}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mark = f"@{len(wrong)}@"
        wrong[json.dumps(mark)] = rng.choice(NASTY)
        value = replaced(value, rng.choice(places), mark if kind > 3 else _GONE)
    if kind == 4 and isinstance(value, dict):
        text = json.dumps(value)
        double = f"{json.dumps(rng.choice(list(value)))}:{rng.choice(NASTY)}" if value else '"a":1'
        text = text[:-1] + ("," if value else "") + double + "}"
    else:
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    for mark, fragment in wrong.items():
        text = text.replace(mark, fragment)
    return text


_GONE = object()


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside, keys and numbers; first the empty way, to itself."""
    yield above
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from paths(item, (*above, key))


def replaced(value: Any, path: tuple[Any, ...], new: object) -> Any:
    """A copy with this place changed; nothing is done where the way to it is gone."""
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict) and key in value:
        if not rest and new is _GONE:
            return {name: item for name, item in value.items() if name != key}
        return value | {key: replaced(value[key], tuple(rest), new)}
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        if not rest and new is _GONE:
            return value[:key] + value[key + 1 :]
        return [*value[:key], replaced(value[key], tuple(rest), new), *value[key + 1 :]]
    return value
