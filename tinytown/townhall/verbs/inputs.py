"""Kinds of input that many verbs have, with their limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MOST = 500  # of one page
TEXT_MOST = 500_000  # characters

AgentRef = Annotated[str, Field(max_length=200, description="Name, nickname, id or the beginning of an id.")]
TaskRef = Annotated[str, Field(max_length=200, description="Id of a task, or the beginning of one.")]
MissionRef = Annotated[str, Field(max_length=200, description="Id of a mission, or the beginning of one.")]
ItemRef = Annotated[str, Field(max_length=300, description="Work item: its id, number, or source like #23.")]
Text = Annotated[str, Field(min_length=1, max_length=TEXT_MOST)]
Reason = Annotated[str, Field(max_length=TEXT_MOST)]
Word = Annotated[str, Field(max_length=200)]
Tags = Annotated[list[Word], Field(max_length=100)]
Now = Annotated[bool, Field(description="End the round in progress; its work goes back, uncharged.")]
Limit = Annotated[int, Field(ge=1, le=MOST, description="How many at most.")]
Rounds = Annotated[int, Field(ge=1, le=1_000_000, description="Rounds before it stops by itself.")]
