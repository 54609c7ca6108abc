"""Who speaks: a person at a terminal, or an agent's model whose environment says so."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tinytown import ids

USER = "user"


@dataclass(frozen=True, slots=True)
class Caller:
    """`id` is the sender of messages; `run` names the model's round, or "user"."""

    id: str = ids.SUPERVISOR_ID
    run: str = USER

    @property
    def is_model(self) -> bool:
        """It is a model CLI in a round of an agent."""
        return self.run != USER


def from_environment() -> Caller:
    """The caller that TINYTOWN_AGENT_ID and TINYTOWN_RUN describe."""
    agent_id = os.environ.get("TINYTOWN_AGENT_ID", "")
    run = os.environ.get("TINYTOWN_RUN", "")
    if not ids.is_id(agent_id):
        return Caller()
    return Caller(agent_id, run or USER)
