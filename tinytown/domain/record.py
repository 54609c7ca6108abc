"""Records as JSON text: known fields typed, unknown ones kept for whoever wrote them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, Self

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def dump(value: object) -> str:
    """Compact JSON; text stays readable (UTF-8), keys keep their order."""
    return _ENCODER.encode(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A frozen value that is stored as one JSON object.

    A rewrite by this version keeps the fields of a newer one: they travel in `extra`.
    """

    extra: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Build from a decoded object. Raises ValueError or TypeError when a field has no sense."""
        known = _names(cls)
        picked = {name: raw[name] for name in known if name in raw}
        rest = {name: value for name, value in raw.items() if name not in known}
        return cls(**cls.convert(picked), extra=rest)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build from stored text. Raises ValueError when it is no JSON object of this kind."""
        try:
            raw = json.loads(text)
        except RecursionError as error:
            raise ValueError(str(error)) from error
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
