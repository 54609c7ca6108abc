"""How output is read: plain text, the outcome line of wrapper scripts, and what all JSON formats share."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from tinytown import clock
from tinytown.domain.outcome import OutcomeKind
from tinytown.model_cli.resets import resumes_at

TAIL = 8192
NOISE_TAIL = 2048
DIGEST = 200
SENTINEL = b"tinytown-outcome:"

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"
)
_AIDER_ERROR = re.compile(rb"litellm\.[A-Z]\w+: |Model \S+ has hit a token limit!")
_AIDER_METER = re.compile(rb"Tokens: \S+ sent\b")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """Without terminal escapes and controls (tabs stay); of a line drawn over itself the last version."""
    text = _ESCAPES.sub("", text).rstrip("\r\n")
    return _CONTROLS.sub("", text[text.rfind("\r") + 1 :])


def one_line(text: str, limit: int = DIGEST) -> str:
    """Any text as one short line."""
    short = " ".join(clean(part) for part in text[: limit * 4].splitlines())
    short = " ".join(short.split())
    return short if len(short) <= limit else short[: limit - 1] + "…"


class Reader:
    """What a run's output says so far. One instance per run; `feed` never raises.

    `lenient`: exit code 0 alone is success; else a final record is needed. `exit_codes`: the vendor's own.
    """

    lenient: ClassVar[bool] = True
    exit_codes: ClassVar[dict[int, tuple[OutcomeKind, str]]] = {}

    def __init__(self) -> None:
        self.final = False
        self.ok: bool | None = None
        self.session: str | None = None
        self.limited = False
        self.limited_until: float | None = None
        self.auth_failed = False
        self.context_full = False
        self.question: str | None = None
        self.error: str | None = None
        self.declared: OutcomeKind | None = None
        self._text = ""

    @property
    def text(self) -> str:
        """What the model said last, bounded."""
        return self._text[-TAIL:]

    def feed(self, line: bytes) -> None:
        """Take one line, without its end."""
        raise NotImplementedError

    def digest(self, line: bytes) -> str | None:
        """That line for the agent's log; None to drop it."""
        raise NotImplementedError

    def last_words(self) -> str:
        """The best explanation of a bad end."""
        return self.error or ""

    def trouble(self, message: object, status: object = None, name: object = None, until: float | None = None) -> None:
        """Note what an error record says, and its class where it can be told. The newest one counts.

        `until`: the end of a limit (wall time) as a field has it, which goes before what the words say.
        """
        self.error = one_line(message, 500) if isinstance(message, str) and message else self.error or "error"
        kind = trouble_class(f"{name or ''} {self.error}", status)
        if kind is None:
            return
        self.limited = kind is OutcomeKind.RATE_LIMITED
        self.auth_failed = kind is OutcomeKind.AUTH_FAILED
        self.context_full = kind is OutcomeKind.CONTEXT_FULL
        if self.limited:
            self.limited_until = until or resumes_at(self.error, clock.wall())

    def recovered(self) -> None:
        """What went wrong before did not last: the model has answered since."""
        self.error = None
        self.limited = self.auth_failed = self.context_full = False


class TextReader(Reader):
    """Plain text: the tail is the result, the exit code decides."""

    def __init__(self) -> None:
        super().__init__()
        self._tail = bytearray()

    @property
    def text(self) -> str:
        """The tail of the output."""
        raw = self._tail[-TAIL:]
        if len(self._tail) > TAIL:
            whole = raw[raw.find(b"\n") + 1 :]  # lines; of one that is longer than the tail its end
            raw = whole if whole.strip() else raw
        lines = raw.decode("utf-8", "replace").split("\n")
        return "\n".join(clean(line).rstrip() for line in lines).strip()

    def feed(self, line: bytes) -> None:
        """Keep the tail."""
        self._tail += line[-TAIL:]
        self._tail += b"\n"
        if len(self._tail) > 8 * TAIL:
            del self._tail[: -2 * TAIL]

    def digest(self, line: bytes) -> str | None:
        """The line itself."""
        return one_line(line[: 8 * DIGEST].decode("utf-8", "replace")) or None

    def last_words(self) -> str:
        """The last lines."""
        return self.error or " | ".join(line for line in self.text.split("\n")[-3:] if line)


class TinytownReader(TextReader):
    """Text of the user's own scripts, which may say how they ended in their last line.

    `tinytown-outcome: {"kind": "rate_limited", "until": <epoch s> | "retry_after_s": n, "detail": "..."}`;
    `kind` is any OutcomeKind but `stopped` and `unprepared`, which only the town itself can know.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: bytes | None = None

    def feed(self, line: bytes) -> None:
        """Text, or the outcome; it counts only while nothing follows it."""
        if not line.strip():
            return super().feed(line)
        if self._last is not None:
            super().feed(self._last)
            self._last = None
        kind = self._outcome(line) if line.startswith(SENTINEL) else None
        if kind is None:
            self.error = None
        self.final, self.declared = kind is not None, kind
        self.ok = kind is OutcomeKind.OK if kind else None
        if kind is None:
            return super().feed(line)
        self._last = line
        return None

    def _outcome(self, line: bytes) -> OutcomeKind | None:
        try:
            said = json.loads(line[len(SENTINEL) :])
            kind = OutcomeKind(said["kind"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        if kind in {OutcomeKind.STOPPED, OutcomeKind.UNPREPARED}:
            return None
        self.error = str(said.get("detail") or "")
        after = number(said.get("retry_after_s"))
        self.limited_until = still_to_come(number(said.get("until")))
        if self.limited_until is None and after is not None:
            self.limited_until = still_to_come(clock.wall() + after)
        return kind


class AiderReader(TextReader):
    """`aider` prints text and ends with 0 whatever happened: its own lines tell, not those of the model.

    A line of its model library is an error (it may try again); the meter that follows each reply takes it back.
    """

    def feed(self, line: bytes) -> None:
        """Text, the meter, or an error."""
        if _AIDER_METER.match(line):
            self.recovered()
            return
        super().feed(line)
        if _AIDER_ERROR.match(line):
            self.trouble(clean(line[:NOISE_TAIL].decode("utf-8", "replace")))


class JsonReader(Reader):
    """JSON lines: `take` keeps what a record says, `describe` puts it in words. Both see dicts only.

    Lines that are no JSON (warnings, stack traces) explain a bad end and decide nothing.
    """

    lenient = False

    def __init__(self) -> None:
        super().__init__()
        self._noise = ""
        self._decoded: tuple[bytes, Any] = (b"", None)

    def feed(self, line: bytes) -> None:
        """Take one line; a record of an unknown shape is passed over."""
        record = self._decode(line)
        if isinstance(record, dict):
            try:
                self.take(record)
            except (LookupError, TypeError, ValueError, AttributeError):
                return
        elif record is None and line.strip():
            self.noise(clean(line[:NOISE_TAIL].decode("utf-8", "replace")))

    def digest(self, line: bytes) -> str | None:
        """The record in words, or the line that is no record."""
        record = self._decode(line)
        if isinstance(record, dict):
            try:
                said = self.describe(record)
            except (LookupError, TypeError, ValueError, AttributeError):
                return None
            return one_line(said) or None if said else None
        if record is not None or line.lstrip().startswith(b"{"):
            return None
        return one_line(line[: 8 * DIGEST].decode("utf-8", "replace")) or None

    def last_words(self) -> str:
        """The vendor's error, else the last lines that were no records."""
        return self.error or " | ".join(line for line in self._noise.split("\n")[-3:] if line.strip())

    def take(self, record: dict[str, Any]) -> None:
        """Keep what the record says."""
        raise NotImplementedError

    def describe(self, record: dict[str, Any]) -> str | None:
        """The record in words."""
        raise NotImplementedError

    def noise(self, line: str) -> None:
        """A line that is no JSON."""
        if not line.startswith("{"):  # a record cut off at the size limit
            self._noise = (self._noise + "\n" + line)[-NOISE_TAIL:]

    def end(self, *, ok: bool, text: object = None) -> None:
        """A final record was seen."""
        self.final, self.ok = True, ok
        if ok:
            self.error = None
            if isinstance(text, str) and text.strip():
                self._text = text

    def _decode(self, line: bytes) -> Any:
        if self._decoded[0] is not line:
            try:
                value = json.loads(line) if line.lstrip()[:1] in {b"{", b"["} else None
            except (ValueError, RecursionError):
                value = None
            self._decoded = (line, value)
        return self._decoded[1]


_STATUS = {
    401: OutcomeKind.AUTH_FAILED,
    402: OutcomeKind.AUTH_FAILED,
    403: OutcomeKind.AUTH_FAILED,
    413: OutcomeKind.CONTEXT_FULL,
    429: OutcomeKind.RATE_LIMITED,
    529: OutcomeKind.RATE_LIMITED,
}
# For error records of vendors that give a sentence instead of a code; never applied to what a model says.
_SENTENCES = (
    (
        OutcomeKind.RATE_LIMITED,
        (
            r"rate.?limit|usage limit|hit your .{0,20}limit|limit reached|quota|too many requests|\b429\b"
            r"|resource.?exhausted|overloaded"
        ),
    ),
    (
        OutcomeKind.CONTEXT_FULL,
        (
            r"prompt is too long|input is too long|context.?(window|length|overflow|limit)|maximum context"
            r"|too many tokens|token limit!"
        ),
    ),
    (
        OutcomeKind.AUTH_FAILED,
        (
            r"unauthori[sz]ed|authenticat|\b401\b|not logged in|(log|sign) ?in\b|/login|invalid.{0,10}api.?key"
            r"|api.?key.{0,20}(missing|invalid|not)|token.{0,20}expired|provider.?auth|credit balance|billing"
        ),
    ),
)
_TROUBLE = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _SENTENCES)


def trouble_class(message: str, status: object = None) -> OutcomeKind | None:
    """What kind of trouble an error record means; None when it says nothing of these."""
    if isinstance(status, int) and status in _STATUS:
        return _STATUS[status]
    return next((kind for kind, pattern in _TROUBLE if pattern.search(message)), None)


def number(value: object) -> float | None:
    """A finite JSON number; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -1e15 < value < 1e15 else None


def still_to_come(at: float | None) -> float | None:
    """That time; None when it is over: a limit that goes on past its end has an unknown one."""
    return at if at is not None and at > clock.wall() else None


def as_dict(value: object) -> dict[str, Any]:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}
