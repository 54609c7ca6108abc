"""The vendors' JSON lines: one reader each. Unknown types and fields are passed over."""

from __future__ import annotations

from typing import Any, ClassVar

from tinytown import clock
from tinytown.domain.outcome import OutcomeKind
from tinytown.model_cli.readers import TAIL, JsonReader, as_dict, number, still_to_come


class ClaudeReader(JsonReader):
    """`claude --print --output-format stream-json`: system, assistant, user, rate_limit_event, result.

    `subtype` may be success in a failed run; only `is_error` tells.
    """

    def take(self, record: dict[str, Any]) -> None:
        """Keep what the record says."""
        session = record.get("session_id")
        self.session = session if isinstance(session, str) else self.session
        kind = record.get("type")
        if kind == "assistant":
            if isinstance(record.get("error"), str):
                self.trouble(_said(record) or record["error"], name=record["error"], until=self.limited_until)
            elif not record.get("parent_tool_use_id"):  # those of sub-agents are not the answer
                self._text = _said(record) or self._text
        elif kind == "rate_limit_event":
            self._limit(as_dict(record.get("rate_limit_info")))
        elif kind == "result":
            self._result(record)

    def describe(self, record: dict[str, Any]) -> str | None:
        """The record in words."""
        kind = record.get("type")
        if kind == "assistant":
            parts = [_part(part) for part in as_dict(record.get("message")).get("content") or []]
            return " ".join(part for part in parts if part) or None
        if kind == "rate_limit_event":
            status = as_dict(record.get("rate_limit_info")).get("status")
            return None if status == "allowed" else f"rate limit: {status}"
        if kind == "result":
            return _final(record.get("result") or record.get("subtype"), ok=not record.get("is_error"))
        return None

    def _limit(self, info: dict[str, Any]) -> None:
        """Of a quota that is not used up its end says nothing about other limits (`overloaded`)."""
        self.limited = info.get("status") == "rejected" and not info.get("isUsingOverage")
        resets = number(info.get("resetsAt")) if self.limited else None
        self.limited_until = still_to_come(resets / 1000 if resets and resets > 1e11 else resets)

    def _result(self, record: dict[str, Any]) -> None:
        failed = bool(record.get("is_error")) or str(record.get("subtype", "success")).startswith("error")
        self.end(ok=not failed, text=record.get("result"))
        if failed:
            said = record.get("result") or "; ".join(map(str, record.get("errors") or [])) or record.get("subtype")
            self.trouble(said, record.get("api_error_status"), record.get("subtype"), self.limited_until)
            if record.get("subtype") == "error_max_turns":
                self.context_full = True
        for denial in record.get("permission_denials") or []:
            if as_dict(denial).get("tool_name") == "AskUserQuestion":
                asked = as_dict(as_dict(denial).get("tool_input")).get("questions") or []
                self.question = "; ".join(str(as_dict(q).get("question", "")) for q in asked) or "a question"


class CursorReader(ClaudeReader):
    """`cursor-agent -p --output-format stream-json`: claude's shapes, tools as `tool_call` records."""

    def describe(self, record: dict[str, Any]) -> str | None:
        """The record in words."""
        if record.get("type") != "tool_call":
            return super().describe(record)
        if record.get("subtype") != "started":
            return None
        name, call = next(iter(as_dict(record.get("tool_call")).items()), ("tool", {}))
        return _tool(name.removesuffix("ToolCall"), as_dict(call).get("args"))


class AuggieReader(ClaudeReader):
    """`auggie --print --output-format json`: one result object; some versions leave out its type, or print text."""

    lenient = True

    def take(self, record: dict[str, Any]) -> None:
        """Keep what the record says."""
        super().take(record if "type" in record or "result" not in record else record | {"type": "result"})

    def noise(self, line: str) -> None:
        """Text counts as the answer until the result is there."""
        super().noise(line)
        if not self.final:
            self._text = (self._text + "\n" + line)[-TAIL:].lstrip("\n")


class CodexReader(JsonReader):
    """`codex exec --json`: thread.started, turn.*, item.*, error. An `error` may be followed by a reconnect."""

    def take(self, record: dict[str, Any]) -> None:
        """Keep what the record says."""
        kind = record.get("type")
        if kind == "thread.started":
            self.session = str(record["thread_id"])
        elif kind == "turn.started":
            self.final, self.ok = False, None
        elif kind == "turn.completed":
            self.end(ok=True)
        elif kind == "turn.failed":
            self.end(ok=False)
            self.trouble(_message(record.get("error")))
        elif kind == "error":
            self.trouble(_message(record))
        elif kind == "item.completed" and as_dict(record.get("item")).get("type") == "agent_message":
            self._text = str(record["item"].get("text") or self._text)

    def describe(self, record: dict[str, Any]) -> str | None:
        """The record in words."""
        kind = record.get("type")
        item = as_dict(record.get("item"))
        if kind == "item.completed" and item.get("type") == "agent_message":
            return str(item.get("text"))
        if kind == "item.started" and item.get("type") == "command_execution":
            return f"→ {item.get('command')}"
        if kind == "item.completed" and item.get("type") == "file_change":
            paths = [str(as_dict(change).get("path")) for change in item.get("changes") or []]
            return f"→ edit {' '.join(paths)}"
        if kind == "item.completed" and item.get("type") == "error":
            return f"error: {item.get('message')}"
        if kind in {"error", "turn.failed"}:
            return f"error: {_message(record.get('error') or record)}"
        return "done" if kind == "turn.completed" else None


class GeminiReader(JsonReader):
    """`gemini --output-format stream-json`: init, message (in pieces), tool_use, error, result; or one object."""

    exit_codes: ClassVar[dict[int, tuple[OutcomeKind, str]]] = {
        41: (OutcomeKind.AUTH_FAILED, "gemini is not logged in"),
        42: (OutcomeKind.CRASHED, "gemini refused its input"),
        44: (OutcomeKind.CRASHED, "gemini could not start its sandbox"),
        52: (OutcomeKind.CRASHED, "gemini refused its configuration"),
        53: (OutcomeKind.CONTEXT_FULL, "gemini reached its turn limit"),
        54: (OutcomeKind.CRASHED, "a tool of gemini failed"),
        55: (OutcomeKind.NEEDS_INPUT, "gemini does not trust this folder"),
    }

    def __init__(self) -> None:
        super().__init__()
        self._in_message = False

    def take(self, record: dict[str, Any]) -> None:
        """Keep what the record says."""
        kind = record.get("type")
        if kind == "message" and record.get("role") == "assistant":
            grows = self._in_message and record.get("delta")
            self._text = ((self._text if grows else "") + str(record.get("content") or ""))[-2 * TAIL :]
            self._in_message = True
            return
        self._in_message = False
        if kind == "init":
            self.session = str(record["session_id"])
        elif kind == "error" and record.get("severity") != "warning":
            self.trouble(_message(record))
        elif kind == "result":
            self.end(ok=record.get("status") != "error")
            if not self.ok:
                error = as_dict(record.get("error"))
                self.trouble(_message(error), error.get("code"), error.get("type"))
        elif kind is None and ("response" in record or "error" in record):
            self.end(ok=not record.get("error"), text=record.get("response"))
            if not self.ok:
                error = as_dict(record.get("error"))
                self.trouble(_message(record["error"]), error.get("code"), error.get("type"))

    def describe(self, record: dict[str, Any]) -> str | None:
        """The record in words; the pieces of a message are left out."""
        kind = record.get("type")
        if kind == "message" and record.get("role") == "assistant" and not record.get("delta"):
            return str(record.get("content"))
        if kind == "tool_use":
            return _tool(str(record.get("tool_name")), record.get("parameters"))
        if kind == "error":
            return f"{record.get('severity', 'error')}: {_message(record)}"
        if kind == "result":
            ok = record.get("status") != "error"
            return _final(self._text if ok else _message(record.get("error")), ok=ok)
        return None


class OpencodeReader(JsonReader):
    """`opencode run --format json`: step_start, text, tool_use, step_finish, error.

    Lenient when it said something: versions are known that end well without their last step_finish.
    """

    lenient = True

    def take(self, record: dict[str, Any]) -> None:
        """Keep what the record says."""
        kind, part = record.get("type"), as_dict(record.get("part"))
        session = record.get("sessionID")
        self.session = session if isinstance(session, str) else self.session
        if kind == "text":
            self._text = str(part.get("text") or self._text)
        elif kind == "step_start":
            self.final, self.ok = False, None
        elif kind == "step_finish" and part.get("reason") == "stop":
            self.end(ok=True)
        elif kind == "error":
            error = as_dict(record.get("error"))
            data = as_dict(error.get("data"))
            self.end(ok=False)
            self.trouble(
                _message(data) or error.get("name"), data.get("statusCode"), error.get("name"), _retry_at(data)
            )

    def describe(self, record: dict[str, Any]) -> str | None:
        """The record in words."""
        kind, part = record.get("type"), as_dict(record.get("part"))
        if kind == "text":
            return str(part.get("text"))
        if kind == "tool_use":
            return _tool(str(part.get("tool")), as_dict(part.get("state")).get("input"))
        if kind == "error":
            error = as_dict(record.get("error"))
            return f"error: {_message(as_dict(error.get('data'))) or error.get('name')}"
        return None


class CopilotReader(JsonReader):
    """`copilot --output-format json`: namespaced session events, or (other models) flat message records."""

    lenient = True

    def take(self, record: dict[str, Any]) -> None:
        """Keep what the record says."""
        kind, data = record.get("type"), as_dict(record.get("data"))
        session = record.get("sessionId") or data.get("sessionId")
        self.session = session if isinstance(session, str) else self.session
        if kind == "assistant.message":
            self.recovered()
            self._text = str(data.get("content") or self._text)
        elif kind == "message" and record.get("role", "assistant") == "assistant":
            self._text = str(record.get("content") or self._text)
        elif kind == "session.error":
            self.trouble(_message(data), data.get("statusCode"), data.get("errorType"))
        elif kind == "result":
            self.end(ok=not record.get("exitCode"))

    def describe(self, record: dict[str, Any]) -> str | None:
        """The record in words."""
        kind, data = record.get("type"), as_dict(record.get("data"))
        if kind == "assistant.message":
            return str(data.get("content") or "") or None
        if kind == "message" and record.get("role", "assistant") == "assistant":
            return str(record.get("content") or "") or None
        if kind == "tool.execution_start":
            return _tool(str(data.get("toolName")), data.get("arguments"))
        if kind == "session.error":
            return f"error: {_message(data)}"
        return _final(None, ok=not record.get("exitCode")) if kind == "result" else None


def _retry_at(data: dict[str, Any]) -> float | None:
    """From the header in which the provider said it, in seconds."""
    try:
        after = float(as_dict(data.get("responseHeaders")).get("retry-after") or 0)
    except (TypeError, ValueError):  # a date
        return None
    return still_to_come(clock.wall() + after) if 0 < after < 1e9 else None


def _said(record: dict[str, Any]) -> str:
    content = as_dict(record.get("message")).get("content") or []
    return "\n".join(str(part["text"]) for part in content if as_dict(part).get("type") == "text")


def _part(part: object) -> str | None:
    block = as_dict(part)
    if block.get("type") == "text":
        return str(block.get("text"))
    if block.get("type") == "tool_use":
        return _tool(str(block.get("name")), block.get("input"))
    return None


def _tool(name: str, arguments: object) -> str:
    """The tool and the one argument that says most."""
    given = as_dict(arguments)
    for key in ("command", "file_path", "path", "filePath", "pattern", "query", "url", "description"):
        if given.get(key):
            return f"→ {name}: {given[key]}"
    return f"→ {name}"


def _message(error: object) -> str:
    if isinstance(error, str):
        return error
    return str(as_dict(error).get("message") or "")


def _final(said: object, *, ok: bool) -> str:
    word = "done" if ok else "error"
    return f"{word}: {said}" if said else word
