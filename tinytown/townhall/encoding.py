"""Answers as bytes. Text that came out of Redis may hold bytes that are no UTF-8: they are shown as U+FFFD."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError


def encoded(answer: BaseModel) -> bytes:
    """An answer as JSON."""
    try:
        return answer.model_dump_json().encode()
    except PydanticSerializationError:
        return as_json(answer.model_dump())


def as_json(value: Any) -> bytes:
    """A value made of dicts, lists, text and numbers as JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return readable(text).encode()


def readable(text: str) -> str:
    """The text in characters that every reader takes."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def cleaned(value: Any) -> Any:
    """A value with all its texts readable."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(one) for one in value]
    return value
