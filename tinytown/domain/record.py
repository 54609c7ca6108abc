"""Records as JSON text: known fields typed, unknown ones kept for whoever wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

DEPTH = 100  # nobody who writes records nests them; far below what ends the interpreter's patience
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def dump(value: object) -> str:
    """Compact JSON; text stays readable (UTF-8), keys keep their order."""
    return _ENCODER.encode(value)


def load(text: str) -> Any:
    """What the JSON says. Raises ValueError, also for what is nested so deeply that no one could write it again."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if text.count("[") + text.count("{") > DEPTH and _is_deep(value):
        raise ValueError("nested too deeply")
    return value


def load_storable(text: str) -> Any:
    """As `load`, for what is written again: it must not hold half a character (a lone surrogate). Raises ValueError."""
    value = load(text)
    if "\\u" in text:
        try:
            dump(value).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise ValueError("half a character (a lone surrogate) in it") from error
    return value


def _is_deep(value: object) -> bool:
    level: list[Any] = [value]
    for _ in range(DEPTH):
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A frozen value that is stored as one JSON object.

    A rewrite by this version keeps the fields of a newer one: they travel in `extra`.
    """

    KINDS: ClassVar[dict[str, tuple[type, ...]]] = {}  # field -> what JSON may hold there; a list: of texts

    extra: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Build from a decoded object. Raises ValueError or TypeError when a field has no sense."""
        known = _names(cls)
        picked = {name: raw[name] for name in known if name in raw}
        kinds = cls.KINDS
        for name, value in picked.items():
            kind = type(value)
            if kind not in kinds[name] or (kind in _LOOKED_INTO and not _is_sound(value)):
                raise ValueError(f"{name} of {cls.__name__} is no {kinds[name][0].__name__}")
        rest = {name: value for name, value in raw.items() if name not in known}
        return cls(**cls.convert(picked), extra=rest)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build from stored text. Raises ValueError when it is no JSON object of this kind."""
        raw = load_storable(text)
        if not isinstance(raw, dict):
            raise ValueError(f"{cls.__name__} is not a JSON object")  # noqa: TRY004  the text is bad, not the caller
        try:
            return cls.from_dict(raw)
        except TypeError as error:
            raise ValueError(str(error)) from error

    @classmethod
    def convert(cls, picked: dict[str, Any]) -> dict[str, Any]:
        """Turn stored values into typed ones; subclasses override."""
        return picked

    def to_dict(self) -> dict[str, Any]:
        """The stored form: every known field, then the unknown ones."""
        known: dict[str, Any] = {name: getattr(self, name) for name in _names(type(self))}
        return known | self.extra

    def to_json(self) -> str:
        """The stored text."""
        return dump(self.to_dict())


_FIELDS: dict[type, tuple[str, ...]] = {}


def _names(cls: type) -> tuple[str, ...]:
    if cls not in _FIELDS:
        _FIELDS[cls] = tuple(f.name for f in fields(cls) if f.name != "extra")
    return _FIELDS[cls]


_LOOKED_INTO = (list, float, int)
_MOST = 1 << 63  # no counter and no time; what is beyond it is no number to Redis, nor always one to arithmetic


def _is_sound(value: Any) -> bool:
    return all(type(item) is str for item in value) if isinstance(value, list) else -_MOST < value < _MOST
