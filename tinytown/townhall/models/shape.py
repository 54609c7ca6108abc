"""What the doors answer, as OpenAPI and MCP publish it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """An object whose named fields are always there; others may be."""

    model_config = ConfigDict(extra="allow")
