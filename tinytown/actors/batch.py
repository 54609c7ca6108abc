"""Which messages a round takes. Pure: texts in, choice out.

Urgent before inbox, each in its order; at most one task; what fits the byte bound; control messages and
unreadable texts are picked out for the actor itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tinytown.domain.message import Message, Sort, Unreadable, parse
from tinytown.domain.standing import is_late


@dataclass(frozen=True, slots=True)
class Picked:
    """A message and the list it lies in."""

    message: Message
    urgent: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """A text that is no message, where it lies, and why."""

    text: str
    urgent: bool
    reason: str


@dataclass(slots=True)
class Batch:
    """What a look at the mail found."""

    chosen: list[Picked] = field(default_factory=list)
    control: list[Picked] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    next_due: float | None = None

    @property
    def is_actionable(self) -> bool:
        """Something in it starts a run."""
        return any(picked.message.is_actionable for picked in self.chosen)


def choose(
    urgent: Sequence[str],
    inbox: Sequence[str],
    *,
    limit_bytes: int,
    not_before: Mapping[str, float],
    now: float,
    closed_at: str | None = None,
) -> Batch:
    """Sort the mail. `not_before` holds back messages by id until a monotonic time; after `closed_at` none is taken.

    Without anything actionable nothing is chosen: information alone starts no run and stays where it is.
    """
    batch = Batch()
    candidates = []
    for text, is_urgent in [(t, True) for t in urgent] + [(t, False) for t in inbox]:
        try:
            message = parse(text)
        except Unreadable as error:
            batch.broken.append(Broken(text, is_urgent, str(error)))
            continue
        picked = Picked(message, is_urgent)
        if message.sort is Sort.CONTROL:
            batch.control.append(picked)
        elif is_late(message.created_at, closed_at):
            continue
        elif (due := not_before.get(message.id, 0.0)) > now:
            batch.next_due = min(due, batch.next_due or due)
        else:
            candidates.append(picked)
    lead = next((p for p in candidates if p.message.is_actionable), None)
    if lead is not None:
        batch.chosen = _fitting(lead, candidates, limit_bytes)
    return batch


def _fitting(lead: Picked, candidates: list[Picked], limit_bytes: int) -> list[Picked]:
    """The first actionable message whatever its size, and around it, in order, what fits."""
    task = lead if lead.message.sort is Sort.TASK else None
    left = limit_bytes - _size(lead)
    taken = {id(lead)}
    for picked in candidates:
        is_task = picked.message.sort is Sort.TASK
        if picked is lead or (is_task and task is not None) or _size(picked) > left:
            continue
        if is_task:
            task = picked
        taken.add(id(picked))
        left -= _size(picked)
    return [picked for picked in candidates if id(picked) in taken]


def _size(picked: Picked) -> int:
    return len(picked.message.raw.encode("utf-8", "surrogateescape"))
