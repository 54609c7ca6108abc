"""The two small files of an actor: who it is, and the round it is in.

They are what makes a death harmless: `actor.json` proves which process held the agent, `round.json` says what
it had claimed, which model ran, and how that ended. Both live in `.tt/agents/<name>/`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from tinytown.domain.outcome import Outcome
from tinytown.domain.record import dump
from tinytown.files import make_durable, read_json, remove_half_written, sync_folder, write_atomic
from tinytown.processes import Identity, is_alive

STARTS_KEPT = 64


@dataclass(frozen=True, slots=True)
class ActorEntry:
    """Who held the agent last. `starts` are wall times in seconds of the recent spawns."""

    process: Identity
    agent_id: str
    epoch: int
    starts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class RoundEntry:
    """One round: `messages` are the claimed texts, `run` the value of TINYTOWN_RUN of its processes."""

    agent_id: str
    epoch: int
    number: int
    run: str
    messages: tuple[str, ...]
    task_id: str | None = None
    model: Identity | None = None
    outcome: Outcome | None = None
    is_settled: bool = False

    def settled(self) -> RoundEntry:
        """Nothing is left to do for it. Kept until the next claim: should Redis lose the settle, this knows better."""
        return replace(self, is_settled=True)

    def ran(self, model: Identity) -> RoundEntry:
        """With the model that runs."""
        return replace(self, model=model)

    def ended(self, outcome: Outcome) -> RoundEntry:
        """With how it ended."""
        return replace(self, outcome=outcome)


@dataclass(frozen=True, slots=True)
class Journal:
    """The files of one agent."""

    folder: Path
    _actor: Path = field(init=False)
    _round: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_actor", self.folder / "actor.json")
        object.__setattr__(self, "_round", self.folder / "round.json")

    def actor(self) -> ActorEntry | None:
        """Who held the agent last; None when nobody did or the file cannot be read."""
        raw = read_json(self._actor)
        process = Identity.from_dict(raw)
        if raw is None or process is None:
            return None
        try:
            starts = tuple(float(s) for s in raw.get("starts", ()))
            return ActorEntry(process, str(raw["agent_id"]), int(raw["epoch"]), starts)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    def write_actor(self, entry: ActorEntry) -> None:
        """Take the agent. `sync_actor` makes it durable. Raises OSError."""
        make_durable(self.folder)
        remove_half_written(self.folder)  # by a predecessor that was killed
        write_atomic(self._actor, dump(
            entry.process.to_dict()
            | {"agent_id": entry.agent_id, "epoch": entry.epoch, "starts": list(entry.starts[-STARTS_KEPT:])}
        ), sync=False)  # fmt: skip

    def sync_actor(self) -> None:
        """Make the entry survive a power loss too; before the first claim. Raises OSError."""
        fd = os.open(self._actor, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
        sync_folder(self.folder)

    def round(self) -> RoundEntry | None:
        """The round in progress; None when there is none."""
        entry = self.last_round()
        return None if entry is None or entry.is_settled else entry

    def last_round(self) -> RoundEntry | None:
        """The round in progress or the last one that was settled."""
        raw = read_json(self._round)
        if raw is None:
            return None
        try:
            outcome, task_id = raw.get("outcome"), raw.get("task_id")
            return RoundEntry(
                agent_id=str(raw["agent_id"]),
                epoch=int(raw["epoch"]),
                number=int(raw["number"]),
                run=str(raw["run"]),
                messages=tuple(str(m) for m in raw["messages"]),
                task_id=None if task_id is None else str(task_id),
                model=Identity.from_dict(raw.get("model")),
                outcome=Outcome.from_dict(outcome) if outcome else None,
                is_settled=bool(raw.get("settled")),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None

    def write_round(self, entry: RoundEntry, *, sync: bool) -> None:
        """Replace the round's entry; with `sync` it survives a power loss. Raises OSError."""
        write_atomic(self._round, dump({
            "agent_id": entry.agent_id,
            "epoch": entry.epoch,
            "number": entry.number,
            "run": entry.run,
            "messages": list(entry.messages),
            "task_id": entry.task_id,
            "model": entry.model.to_dict() if entry.model else None,
            "outcome": entry.outcome.to_dict() if entry.outcome else None,
            "settled": entry.is_settled,
        }), sync=sync)  # fmt: skip

    def close_round(self, *, keep: bool = True) -> None:
        """The round is settled; with `keep` its outcome stays known until the next claim. Never fails."""
        with contextlib.suppress(OSError):  # what stays is settled once more, and finds nothing to settle
            entry = self.last_round()
            if keep and entry is not None and entry.outcome is not None:
                self.write_round(entry.settled(), sync=False)
            else:
                self._round.unlink()

    def agent_ids(self) -> set[str]:
        """Whose files these are."""
        return {entry.agent_id for entry in (self.actor(), self.last_round()) if entry is not None}

    def discard(self, agent_ids: Collection[str]) -> bool:
        """Remove both files of these agents, and the folder if nothing else is in it; False: there are others' files.

        Those are of a new agent of that name, or of a process that lives. What it writes between a look at a file and
        its removal goes back to its place. Raises OSError.
        """
        for path in (self._actor, self._round):
            aside = path.with_suffix(".old")
            if not _is_of(path, agent_ids):
                return False
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, aside)
            if not _is_of(aside, agent_ids):
                with contextlib.suppress(FileExistsError):  # or something newer has come already
                    os.link(aside, path)
                aside.unlink()
                return False
            aside.unlink(missing_ok=True)
        remove_half_written(self.folder)
        with contextlib.suppress(OSError):  # a worktree is in it
            self.folder.rmdir()
        return True


def _is_of(path: Path, agent_ids: Collection[str]) -> bool:
    """The file is of one of these agents (or of nobody), and of no process that lives."""
    raw = read_json(path)
    if raw is None:
        return True
    agent_id = raw.get("agent_id")
    return (agent_id in agent_ids or not isinstance(agent_id, str)) and not is_alive(Identity.from_dict(raw))
