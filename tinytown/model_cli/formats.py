"""From output and exit code to an outcome: the table of readers, and the one place that judges."""

from __future__ import annotations

import signal as signals
from dataclasses import replace

from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.errors import Invalid
from tinytown.model_cli.readers import AiderReader, Reader, TextReader, TinytownReader, one_line
from tinytown.model_cli.vendors import (
    AuggieReader,
    ClaudeReader,
    CodexReader,
    CopilotReader,
    CursorReader,
    GeminiReader,
    OpencodeReader,
)

READERS: dict[str, type[Reader]] = {
    "text": TextReader,
    "tinytown": TinytownReader,
    "aider": AiderReader,
    "claude-json": ClaudeReader,
    "codex-json": CodexReader,
    "gemini-json": GeminiReader,
    "cursor-json": CursorReader,
    "auggie-json": AuggieReader,
    "opencode-json": OpencodeReader,
    "copilot-json": CopilotReader,
}
DETAIL = 500
_BY_SIGNAL = (128 + signals.SIGKILL, 128 + signals.SIGTERM)  # a shell's word for the end of its child


def reader(name: str) -> Reader:
    """A fresh reader of that output format. Raises Invalid."""
    if name not in READERS:
        raise Invalid(f"Unknown format '{name}'.", f"Known: {', '.join(READERS)}")
    return READERS[name]()


def classify(reader: Reader, exit_code: int | None, signal: int | None, ended: OutcomeKind | None) -> Outcome:
    """Judge a run that is over. Pure.

    `ended` is why we ended it (None when we did not, or only after it had reported success); `exit_code` and
    `signal` are both None when nobody saw the end. Structure comes before exit codes, both before text.
    """
    outcome = _judge(reader, exit_code, signal, ended)
    limited = outcome.kind is OutcomeKind.RATE_LIMITED
    return replace(
        outcome,
        detail=one_line(outcome.detail, DETAIL),
        result=reader.text,
        until=reader.limited_until if limited else None,
        exit_code=exit_code,
    )


def _judge(reader: Reader, exit_code: int | None, signal: int | None, ended: OutcomeKind | None) -> Outcome:
    if ended is not None:
        return Outcome(ended)
    if reader.declared is not None:
        return Outcome(reader.declared, reader.error or "")
    if reader.final and reader.ok:
        return Outcome(OutcomeKind.NEEDS_INPUT, reader.question) if reader.question else Outcome(OutcomeKind.OK)
    known = _known_trouble(reader)
    if known is not None:
        return known
    if reader.final:
        return Outcome(OutcomeKind.CRASHED, reader.last_words() or "the model CLI reported an error")
    return _by_exit(reader, exit_code, signal)


def _known_trouble(reader: Reader) -> Outcome | None:
    words = reader.last_words()
    if reader.limited:
        return Outcome(OutcomeKind.RATE_LIMITED, words or "rate limit reached")
    if reader.auth_failed:
        return Outcome(OutcomeKind.AUTH_FAILED, words or "not logged in")
    if reader.context_full:
        return Outcome(OutcomeKind.CONTEXT_FULL, words or "context full")
    return None


def _by_exit(reader: Reader, exit_code: int | None, signal: int | None) -> Outcome:
    if exit_code is None:
        return Outcome(OutcomeKind.KILLED, f"killed by {_signal_name(signal)}" if signal else "ended unseen")
    kind, meaning = reader.exit_codes.get(exit_code) or _by_code(exit_code)
    if kind is OutcomeKind.OK:
        if reader.lenient and reader.error:
            return Outcome(OutcomeKind.CRASHED, reader.error)
        if reader.lenient and (isinstance(reader, TextReader) or reader.text):
            return Outcome(OutcomeKind.OK)
        kind, meaning = OutcomeKind.CRASHED, "ended without a final record"
    words = reader.last_words()
    return Outcome(kind, f"{meaning}: {words}" if words else meaning)


def _by_code(exit_code: int) -> tuple[OutcomeKind, str]:
    meaning = f"exit code {exit_code}"
    if exit_code in {126, 127}:
        return OutcomeKind.NOT_FOUND, meaning
    if exit_code in _BY_SIGNAL:
        return OutcomeKind.KILLED, meaning
    return OutcomeKind.CRASHED if exit_code else OutcomeKind.OK, meaning


def _signal_name(signum: int) -> str:
    try:
        return signals.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
