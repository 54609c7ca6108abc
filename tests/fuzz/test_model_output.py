"""What models print, in every format: no stream breaks a reader, and how it is cut into pieces changes nothing."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.material import NASTY, TIMES, WORDS, cases, damaged, mutated
from tests.support.builders import QUICK
from tinytown import clock
from tinytown.domain.outcome import Outcome
from tinytown.model_cli.formats import READERS, classify, reader
from tinytown.model_cli.output import Output
from tinytown.processes import cpu_and_memory

pytestmark = pytest.mark.slow

RECORDS: list[dict[str, Any]] = [
    {"type": "system", "subtype": "init", "session_id": "s-1", "tools": []},
    {"type": "assistant", "message": {"content": [{"type": "text", "text": "I did it."}]}},
    {"type": "assistant", "message": {"content": [{"type": "tool_use", "name": "Bash", "input": {"command": "ls"}}]}},
    {"type": "assistant", "error": "rate_limit", "message": {"content": [{"type": "text", "text": "429"}]}},
    {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 1778565600}},
    {"type": "result", "subtype": "success", "is_error": False, "result": "All done.", "session_id": "s-1"},
    {"type": "result", "is_error": True, "errors": ["a"], "result": None, "api_error_status": 429},
    {"type": "result", "is_error": True, "result": "You've hit your limit · resets 2pm (Europe/Berlin)"},
    {"type": "result", "permission_denials": [{"tool_name": "AskUserQuestion", "tool_input": {"questions": [{}]}}]},
    {"type": "thread.started", "thread_id": "t-1"},
    {"type": "item.completed", "item": {"type": "agent_message", "text": "done it"}},
    {"type": "item.completed", "item": {"type": "file_change", "changes": [{"path": "x"}]}},
    {"type": "turn.failed", "error": {"message": "You've hit your usage limit. Try again in 1 hour 30 minutes."}},
    {"type": "error", "message": "Reconnecting... 1/5"},
    {"type": "turn.completed", "usage": {"input_tokens": 1}},
    {"type": "init", "session_id": "g", "model": "m"},
    {"type": "message", "role": "assistant", "content": "c", "delta": True},
    {"type": "result", "status": "error", "error": {"type": "ApiError", "message": "RESOURCE_EXHAUSTED", "code": 429}},
    {"response": "hi", "stats": {}},
    {"error": {"message": "x", "code": 1}},
    {"type": "tool_call", "subtype": "started", "tool_call": {"shellToolCall": {"args": {"command": "ls"}}}},
    {"type": "text", "sessionID": "o", "part": {"type": "text", "text": "answer"}},
    {"type": "step_finish", "part": {"reason": "stop"}},
    {"type": "tool_use", "part": {"tool": "bash", "state": {"input": {"command": "x"}}}},
    {"type": "error", "error": {"name": "APIError", "data": {"message": "slow down", "statusCode": 429}}},
    {"type": "assistant.message", "data": {"content": "made it"}},
    {"type": "result", "sessionId": "c", "exitCode": 0},
    {"type": "session.error", "data": {"errorType": "authentication", "message": "no token", "statusCode": 401}},
    {"type": "tool.execution_start", "data": {"toolName": "x", "arguments": {"path": "p"}}},
]
SENTINEL = {"kind": "rate_limited", "until": 1, "retry_after_s": 3, "detail": "d"}
TIMES_TOLD = (
    "Try again in {0} hours {0} minutes", "resets {0}pm", "resets {0}", "until {0}/{0}/{0}", "retry after {0}s",
    "Your cycle ends on {0}/{0}/{0}", "resets Mar {0}, {0}am (Nowhere/Land)", "reset at {0}:{0}:{0}Z",
)  # fmt: skip
NUMBERS = ("0", "1", "13", "99", "-1", "9" * 20, "9" * 400, "1e400", "nan", "2026-99-99", "٣")
UNSHOWN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
LONGEST = 210
FLOOD = 10_000_000


def stream(rng: random.Random) -> bytes:
    """A few lines: records of all vendors, most of them spoilt, and noise."""
    data = b"\n".join(_line(rng) for _ in range(rng.randint(1, 6)))
    return damaged(rng, data) if rng.random() < 0.3 else data


def _line(rng: random.Random) -> bytes:
    match rng.randrange(12):
        case 0:
            return rng.randbytes(rng.randint(0, 300))
        case 1:
            text = f"tinytown-outcome: {mutated(rng, SENTINEL)}"
        case 2:
            text = rng.choice((*WORDS, *NASTY))
        case 3:
            told = rng.choice(TIMES_TOLD).format(rng.choice(NUMBERS))
            text = json.dumps(rng.choice(RECORDS) | {"message": told, "result": told, "is_error": True})
        case _:
            text = mutated(rng, rng.choice(RECORDS))
    return text.encode("utf-8", "surrogateescape")


@contextmanager
def output(name: str, folder: Path, said: list[str]) -> Iterator[tuple[Output, Any]]:
    """A run's output and its reader; what goes into the agent's log comes into `said`."""
    found = reader(name)
    out = Output(found, folder / "round.log", 100_000, said.append)
    try:
        yield out, found
    finally:
        out.close()


def outcome_of(name: str, folder: Path, pieces: list[bytes], exit_code: int) -> Outcome:
    """Through the pipe, piece by piece, as an actor reads it."""
    said: list[str] = []
    with output(name, folder, said) as (out, found):
        for piece in pieces:
            for at in range(0, len(piece), 32_768):
                os.write(out.write_fd, piece[at : at + 32_768])
                out.drain()
        out.flush()
        outcome = classify(found, exit_code, None, None)
    assert not [line for line in said if UNSHOWN.search(line) or len(line) > LONGEST]
    assert not UNSHOWN.search(outcome.detail)
    assert Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome
    assert len(outcome.result) <= 8192
    assert len(outcome.detail) <= 500
    return outcome


def same(one: Outcome, other: Outcome) -> bool:
    """But for the moment from which `try again in ...` counts."""
    near = one.until == other.until or abs((one.until or 0) - (other.until or 0)) < 5
    return near and replace(one, until=None) == replace(other, until=None)


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    """The same bytes in pieces."""
    ends = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(0, 12)))
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


@pytest.mark.parametrize("name", READERS)
def test_spoilt_streams(name: str, tmp_path: Path) -> None:
    """Records of every vendor to every reader."""
    for rng in cases(f"output {name}", 150):
        data, code = stream(rng), rng.choice((0, 0, 1, 137, 41))
        try:
            whole = outcome_of(name, tmp_path, [data], code)
            assert same(whole, outcome_of(name, tmp_path, cut(rng, data), code))
            if len(data) < 500:
                assert same(whole, outcome_of(name, tmp_path, [bytes([byte]) for byte in data], code))
        except Exception as error:
            raise AssertionError(f"{data[:3000]!r}") from error


sound = st.sampled_from([json.dumps(record).encode() + b"\n" for record in RECORDS])
pieces = st.lists(st.binary(max_size=60) | sound, max_size=8)


@pytest.mark.parametrize("name", READERS)
@settings(QUICK, max_examples=int(40 * TIMES))
@given(given_pieces=pieces, code=st.sampled_from([0, 1, 127]))
def test_any_bytes(name: str, given_pieces: list[bytes], code: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bytes of any kind between sound records; smallest failing streams are hypothesis' business."""
    folder = tmp_path_factory.getbasetemp()
    one = outcome_of(name, folder, given_pieces, code)
    assert same(one, outcome_of(name, folder, [b"".join(given_pieces)], code))


FLOODS = {
    "one line": b"x" * FLOOD,
    "one record": b'{"type":"assistant","message":{"content":[{"type":"text","text":"' + b"y" * FLOOD + b'"}]}}',
    "empty lines": b"\n" * (FLOOD // 100),
    "zeros": bytes(FLOOD),
    "brackets": b"[" * FLOOD,
    "deep records": (b'{"a":' * 900 + b"1" + b"}" * 900 + b"\n") * 200,
    "escapes": b"\x1b]0;" * (FLOOD // 4),
    "carriage returns": b"50%\r" * (FLOOD // 4),
    "errors": b'{"type":"error","message":"again in 1 h 1 h 1 h 1 h 1 h"}\n' * 5_000,
    "broken characters": b"\xff\xfe\x80" * (FLOOD // 3),
    "controls": b"\x1b[" * (FLOOD // 2),
}


@pytest.mark.parametrize("what", FLOODS)
def test_floods(what: str, tmp_path: Path) -> None:
    """Ten megabytes of the worst cost every reader seconds at most, and no memory that grows with them."""
    for name in READERS:
        before, began = cpu_and_memory(os.getpid())[1], clock.monotonic()
        outcome_of(name, tmp_path, [FLOODS[what]], 1)
        assert clock.monotonic() - began < 5
        assert cpu_and_memory(os.getpid())[1] - before < 60_000_000
