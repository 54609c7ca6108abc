"""How the output of each vendor is read, and how a run is judged."""

from __future__ import annotations

import json
import time
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.errors import Invalid
from tinytown.model_cli.formats import READERS, classify, reader
from tinytown.model_cli.readers import Reader, clean

pytestmark = pytest.mark.slow

K = OutcomeKind


def fed(name: str, *records: dict[str, Any] | str) -> Reader:
    found = reader(name)
    for record in records:
        found.feed((record if isinstance(record, str) else json.dumps(record)).encode())
    return found


def judged(name: str, *records: dict[str, Any] | str, exit_code: int | None = 0) -> Outcome:
    return classify(fed(name, *records), exit_code, None, None)


INIT = {"type": "system", "subtype": "init", "session_id": "s-1", "tools": []}
SAID = {"type": "assistant", "session_id": "s-1", "message": {"content": [{"type": "text", "text": "I did it."}]}}
RESULT = {"type": "result", "subtype": "success", "is_error": False, "result": "All done.", "session_id": "s-1"}
OVER = RESULT | {"is_error": True, "result": "You've hit your limit · resets 2pm"}
REJECTED = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 4102444800}}
ALLOWED = {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed", "resetsAt": 4102444800}}


def test_claude_ok() -> None:
    """The result record is the result; the session is kept; a quota notice changes nothing."""
    found = fed("claude-json", INIT, ALLOWED, SAID, RESULT)
    assert (found.final, found.ok, found.text, found.session) == (True, True, "All done.", "s-1")
    assert classify(found, 1, None, None).kind is K.OK


def test_claude_rate_limit() -> None:
    """The rejected quota gives the time; a sentence of the model about rate limits gives nothing."""
    outcome = judged("claude-json", INIT, REJECTED, OVER, exit_code=1)
    assert (outcome.kind, outcome.until) == (K.RATE_LIMITED, 4102444800.0)
    talk = {"type": "assistant", "message": {"content": [{"type": "text", "text": "429 rate limit, please /login"}]}}
    assert judged("claude-json", INIT, talk, exit_code=1).kind is K.CRASHED
    assert judged("claude-json", INIT, talk, RESULT).kind is K.OK
    assert judged("claude-json", INIT, REJECTED, RESULT).kind is K.OK


def test_claude_overloaded() -> None:
    """The end of a quota that is not used up is not that of another limit; one that is over already is none."""
    busy = RESULT | {"is_error": True, "result": "API Error: 529 Overloaded", "api_error_status": 529}
    outcome = judged("claude-json", INIT, ALLOWED, busy, exit_code=1)
    assert (outcome.kind, outcome.until) == (K.RATE_LIMITED, None)
    over = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 1_000_000_000}}
    assert judged("claude-json", INIT, over, busy).until is None
    assert judged("tinytown", 'tinytown-outcome: {"kind": "rate_limited", "until": 1}').until is None


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"result": "Invalid API key · Please run /login"}, K.AUTH_FAILED),
        ({"result": "no", "api_error_status": 401}, K.AUTH_FAILED),
        ({"result": "no", "api_error_status": 429}, K.RATE_LIMITED),
        ({"result": "Prompt is too long"}, K.CONTEXT_FULL),
        ({"result": None, "subtype": "error_max_turns"}, K.CONTEXT_FULL),
        ({"result": None, "subtype": "error_during_execution", "errors": ["boom"]}, K.CRASHED),
    ],
)
def test_claude_errors(fields: dict[str, Any], kind: OutcomeKind) -> None:
    """`is_error` tells, `subtype: success` does not; status and the vendor's sentence give the class."""
    assert judged("claude-json", INIT, RESULT | {"is_error": True} | fields).kind is kind


def test_claude_question() -> None:
    """A question that nobody could answer is handed to a person."""
    asked = {"tool_name": "AskUserQuestion", "tool_input": {"questions": [{"question": "Which port?"}]}}
    outcome = judged("claude-json", RESULT | {"permission_denials": [asked]})
    assert (outcome.kind, outcome.detail) == (K.NEEDS_INPUT, "Which port?")


def test_claude_digest() -> None:
    """Text and tools in one line each; records without news are dropped."""
    found = reader("claude-json")
    tool = {"type": "tool_use", "name": "Bash", "input": {"command": "ls\n-la"}}
    lines = [INIT, SAID, {"type": "assistant", "message": {"content": [tool]}}, {"type": "user"}, RESULT]
    said = [found.digest(json.dumps(line).encode()) for line in lines]
    assert said == [None, "I did it.", "→ Bash: ls -la", None, "done: All done."]
    assert found.digest(b"npm warn \x1b[31mold\x1b[0m") == "npm warn old"


def test_codex() -> None:
    """The last agent message is the text, the turn's end the final record; `error` alone is not."""
    start = {"type": "thread.started", "thread_id": "t-1"}
    message = {"type": "item.completed", "item": {"type": "agent_message", "text": "done it"}}
    end = {"type": "turn.completed", "usage": {"input_tokens": 1}}
    retry = {"type": "error", "message": "Reconnecting... 1/5"}
    found = fed("codex-json", start, {"type": "turn.started"}, retry, message, end)
    assert (found.ok, found.text, found.session) == (True, "done it", "t-1")
    assert classify(found, 0, None, None).kind is K.OK
    assert judged("codex-json", start, message).kind is K.CRASHED
    limit = {
        "type": "turn.failed",
        "error": {"message": "You've hit your usage limit. Try again in 1 hour 30 minutes."},
    }
    outcome = judged("codex-json", start, limit, exit_code=1)
    assert outcome.kind is K.RATE_LIMITED
    assert outcome.until == pytest.approx(time.time() + 5400, abs=5)
    command = {"type": "item.started", "item": {"type": "command_execution", "command": "make"}}
    assert reader("codex-json").digest(json.dumps(command).encode()) == "→ make"


def test_gemini() -> None:
    """Pieces of a message are joined; result and exit codes classify."""
    init = {"type": "init", "session_id": "g", "model": "m"}
    pieces = [{"type": "message", "role": "assistant", "content": c, "delta": True} for c in ("It ", "works")]
    tool = {"type": "tool_use", "tool_name": "write_file", "parameters": {"file_path": "a"}}
    found = fed("gemini-json", init, pieces[1], tool, *pieces, {"type": "result", "status": "success", "stats": {}})
    assert (found.ok, found.text, found.session) == (True, "It works", "g")
    failed = {"type": "result", "status": "error", "error": {"type": "ApiError", "message": "RESOURCE_EXHAUSTED"}}
    assert judged("gemini-json", init, failed, exit_code=1).kind is K.RATE_LIMITED
    assert judged("gemini-json", {"response": "hi", "stats": {}}).kind is K.OK
    kinds = {code: judged("gemini-json", "words", exit_code=code).kind for code in (41, 42, 53, 55)}
    assert kinds == {41: K.AUTH_FAILED, 42: K.CRASHED, 53: K.CONTEXT_FULL, 55: K.NEEDS_INPUT}


def test_cursor() -> None:
    """Claude's shapes, tools in their own."""
    assert judged("cursor-json", INIT, SAID, RESULT).result == "All done."
    assert judged("cursor-json", INIT, SAID).kind is K.CRASHED
    call = {"type": "tool_call", "subtype": "started", "tool_call": {"shellToolCall": {"args": {"command": "ls"}}}}
    assert reader("cursor-json").digest(json.dumps(call).encode()) == "→ shell: ls"


def test_auggie() -> None:
    """One result object, with or without its type, or plain text."""
    assert judged("auggie-json", {"type": "result", "result": "ok", "is_error": False}).result == "ok"
    assert judged("auggie-json", {"result": "ok"}).result == "ok"
    assert judged("auggie-json", "just text").result == "just text"
    assert judged("auggie-json").kind is K.CRASHED
    assert judged("auggie-json", {"type": "result", "result": "not logged in", "is_error": True}).kind is K.AUTH_FAILED


def test_opencode() -> None:
    """The last step's end is final; some versions leave it out; errors have names and status codes."""
    text = {"type": "text", "sessionID": "o", "part": {"type": "text", "text": "answer"}}
    tools = {"type": "step_finish", "part": {"reason": "tool-calls"}}
    stop = {"type": "step_finish", "part": {"reason": "stop"}}
    found = fed("opencode-json", {"type": "step_start"}, tools, {"type": "step_start"}, text, stop)
    assert (found.ok, found.text, found.session) == (True, "answer", "o")
    assert judged("opencode-json", text).kind is K.OK
    assert judged("opencode-json").kind is K.CRASHED
    names = {"ProviderAuthError": K.AUTH_FAILED, "ContextOverflowError": K.CONTEXT_FULL, "UnknownError": K.CRASHED}
    for name, kind in names.items():
        error = {"type": "error", "error": {"name": name, "data": {"message": "no"}}}
        assert judged("opencode-json", error, exit_code=1).kind is kind
    busy: dict[str, Any] = {
        "type": "error",
        "error": {"name": "APIError", "data": {"message": "slow down", "statusCode": 429}},
    }
    assert judged("opencode-json", busy, exit_code=1).kind is K.RATE_LIMITED
    assert judged("opencode-json", busy, exit_code=1).until is None
    for header, left in (("90", 90.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("inf", None)):
        busy["error"]["data"]["responseHeaders"] = {"retry-after": header}
        until = judged("opencode-json", busy, exit_code=1).until
        assert until == (left and pytest.approx(time.time() + left, abs=5))


def test_copilot() -> None:
    """Session events, flat messages, and the exit code of the result."""
    said = {"type": "assistant.message", "data": {"content": "made it"}}
    found = fed("copilot-json", said, {"type": "result", "sessionId": "c", "exitCode": 0})
    assert (found.ok, found.text, found.session) == (True, "made it", "c")
    assert judged("copilot-json", {"type": "message", "content": "flat"}).result == "flat"
    error = {"type": "session.error", "data": {"errorType": "authentication", "message": "no token", "statusCode": 401}}
    assert judged("copilot-json", error, exit_code=1).kind is K.AUTH_FAILED
    busy = {"type": "session.error", "data": {"errorType": "query", "message": "no answer"}}
    assert judged("copilot-json", said, busy).kind is K.CRASHED  # no result record, exit code 0
    assert judged("copilot-json", busy, error, said).kind is K.OK  # it went on


def test_text() -> None:
    """Text decides nothing: the exit code does; the tail is the result, without escapes, bounded."""
    assert judged("text", "Error: 429 rate limit").kind is K.OK
    outcome = judged("text", "\x1b[1mbad\x1b[0m", "thing", exit_code=3)
    assert (outcome.kind, outcome.detail) == (K.CRASHED, "exit code 3: bad | thing")
    long = judged("text", *[f"line {n}" for n in range(5000)], "tinytown-outcome: {}")
    assert len(long.result) <= 8192
    assert long.result.startswith("line ")
    assert len(judged("text", "é" * 100_000).result.encode()) <= 8200
    assert set(judged("text", "x" * 10_000, "", "").result) == {"x"}


def test_aider() -> None:
    """It ends with 0 whatever happened: an error of its model library counts until a reply has come."""
    meter = "Tokens: 9.4k sent, 35 received. Cost: $0.01 message, $0.01 session."
    limit = "litellm.RateLimitError: RateLimitError: OpenAIException - Please try again in 20s."
    outcome = judged("aider", "Some words.", limit, "Retrying in 0.2 seconds...")
    assert outcome.kind is K.RATE_LIMITED
    assert outcome.until == pytest.approx(time.time() + 20, abs=5)
    assert not fed("aider", limit).final  # it tries again by itself
    outcome = judged("aider", limit, "Retrying in 0.2 seconds...", "Done.", "", meter, "Applied edit to a.py")
    assert (outcome.kind, outcome.result.split("\n")[2:]) == (K.OK, ["Done.", "", "Applied edit to a.py"])
    kinds = {
        "litellm.AuthenticationError: AuthenticationError: no key": K.AUTH_FAILED,
        "Model gpt-5 has hit a token limit!": K.CONTEXT_FULL,
        "litellm.InternalServerError: boom": K.CRASHED,
        "In Python: litellm.RateLimitError: is raised": K.OK,
    }
    assert {line: judged("aider", meter, line).kind for line in kinds} == kinds
    assert judged("aider", meter, "bad", exit_code=1).detail == "exit code 1: bad"


def test_tinytown_outcome_line() -> None:
    """The last line may say how a script ended; anything after it takes that back."""
    held = judged("tinytown", "text", 'tinytown-outcome: {"kind": "rate_limited", "until": 9e9, "detail": "full"}')
    assert (held.kind, held.until, held.detail, held.result) == (K.RATE_LIMITED, 9e9, "full", "text")
    later = judged("tinytown", 'tinytown-outcome: {"kind": "rate_limited", "retry_after_s": 60}', "", exit_code=1)
    assert later.until == pytest.approx(time.time() + 60, abs=5)
    assert judged("tinytown", 'tinytown-outcome: {"kind": "auth_failed"}', "more").kind is K.OK
    assert judged("tinytown", 'tinytown-outcome: {"kind": "stopped"}').kind is K.OK
    assert judged("tinytown", "tinytown-outcome: nonsense", exit_code=2).kind is K.CRASHED
    taken_back = judged("tinytown", 'tinytown-outcome: {"kind": "ok", "detail": "old"}', "new words", exit_code=2)
    assert taken_back.detail.endswith("| new words")


@pytest.mark.parametrize(
    ("exit_code", "signal", "ended", "kind", "detail"),
    [
        (0, None, None, K.OK, ""),
        (1, None, None, K.CRASHED, "exit code 1: words"),
        (127, None, None, K.NOT_FOUND, "exit code 127: words"),
        (126, None, None, K.NOT_FOUND, "exit code 126: words"),
        (137, None, None, K.KILLED, "exit code 137: words"),
        (None, 9, None, K.KILLED, "killed by SIGKILL"),
        (None, 11, None, K.KILLED, "killed by SIGSEGV"),
        (None, 64, None, K.KILLED, "killed by SIGRTMAX"),
        (None, None, None, K.KILLED, "ended unseen"),
        (0, None, K.STOPPED, K.STOPPED, ""),
        (None, 15, K.TIMED_OUT, K.TIMED_OUT, ""),
        (None, 9, K.HUNG, K.HUNG, ""),
    ],
)
def test_classify(exit_code: int, signal: int, ended: OutcomeKind, kind: OutcomeKind, detail: str) -> None:
    """What we ended stays what we ended; else signal and exit code tell."""
    outcome = classify(fed("text", "words"), exit_code, signal, ended)
    assert (outcome.kind, outcome.detail, outcome.exit_code) == (kind, detail, exit_code)


def test_json_needs_a_final_record() -> None:
    """Exit 0 without one is no success; killed after one is."""
    assert judged("claude-json", INIT, "boom").detail == "ended without a final record: boom"
    assert classify(fed("claude-json", RESULT), None, 9, None).kind is K.OK
    assert classify(fed("claude-json", RESULT), None, 9, K.STOPPED).kind is K.STOPPED


words = st.text("ab\x1b[é \n", max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | words | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
NAMES = ("type", "subtype", "message", "item", "part", "data", "error", "result", "content", "session_id", "status")
KINDS = ("assistant", "result", "rate_limit_event", "item.completed", "turn.failed", "message", "error", "tool_call",
         "step_finish", "init", "session.error", "text", "tool_use")  # fmt: skip
records = st.dictionaries(st.sampled_from(NAMES), json_values).flatmap(
    lambda fields: st.sampled_from(KINDS).map(lambda kind: json.dumps({**fields, "type": kind}).encode())
)


@pytest.mark.parametrize("name", READERS)
@hypothesis.settings(deadline=None, max_examples=50, suppress_health_check=[hypothesis.HealthCheck.too_slow])
@given(lines=st.lists(records | st.binary(), max_size=4))
def test_no_output_breaks_a_reader(name: str, lines: list[bytes]) -> None:
    """Whatever comes out of a model, reading it raises nothing, and it can be judged."""
    found = reader(name)
    for line in lines:
        found.feed(line)
        assert found.digest(line) is None or "\x1b" not in str(found.digest(line))
    assert isinstance(classify(found, 1, None, None), Outcome)


def test_deep_json_is_passed_over() -> None:
    """A record nested beyond the parser's depth is no record."""
    deep = b'{"a":' * 100_000
    found = reader("claude-json")
    found.feed(deep)
    assert found.digest(deep) is None


def test_unknown_format() -> None:
    """An unknown format is the user's mistake."""
    with pytest.raises(Invalid):
        reader("xml")


def test_clean() -> None:
    """Escapes and controls go, tabs stay; of a progress line the last state."""
    assert clean("\x1b]0;title\x07a\tb\x1b[2K\x1b(B\x00\x9b") == "a\tb"
    assert clean("10%\r50%\r100%\r") == "100%"
