"""Agents as stored: records, wishes, counters, leases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinytown.domain.agent import Agent, Wish
from tinytown.errors import Invalid
from tinytown.store.keys import LEASE_TTL_S
from tinytown.store.transaction import Transaction

if TYPE_CHECKING:
    from tinytown.store import Store


_DIGITS = 19  # of the largest number that Redis counts to


@dataclass(frozen=True, slots=True)
class AgentRow:
    """Everything the store knows of one agent. The raw texts are for expectations."""

    agent: Agent
    raw: str
    wish: Wish | None
    wish_raw: str | None
    stats: dict[str, int]


class Agents:
    """Read agents; build the parts of transactions that concern them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.keys

    def names(self) -> dict[str, str]:
        """Current names and their ids."""
        return dict(self._store.call(lambda r: r.hgetall(self._keys.agents)))

    def rows(self, agent_ids: Iterable[str], *, strangers: bool = False) -> list[AgentRow]:
        """The agents with these ids, in order; records that are gone or unreadable are left out.

        So is what is another agent's record (copied by hand): only who looks for these takes `strangers`.
        """
        wanted = list(agent_ids)
        answers = self._store.read(*(command for i in wanted for command in self._commands(i)))
        rows = (self._row(*answers[3 * n : 3 * n + 3]) for n in range(len(wanted)))
        pairs = zip(rows, wanted, strict=True)
        return [row for row, agent_id in pairs if row is not None and (strangers or row.agent.id == agent_id)]

    def row(self, agent_id: str) -> AgentRow | None:
        """One agent; None when there is no record."""
        found = self.rows([agent_id])
        return found[0] if found else None

    def all(self) -> list[AgentRow]:
        """Every agent with a name, in the order of names."""
        return self.rows(i for _name, i in sorted(self.names().items()))

    def wishes(self) -> dict[str, str]:
        """Agent id -> raw wish of everything that users want to run."""
        return dict(self._store.call(lambda r: r.hgetall(self._keys.wanted)))

    def lease(self, name: str) -> str | None:
        """The owner token; None when nobody holds it."""
        found: str | None = self._store.call(lambda r: r.get(self._keys.lease(name)))
        return found

    def _commands(self, agent_id: str) -> tuple[tuple[str, ...], ...]:
        keys = self._keys
        return (
            ("GET", keys.agent(agent_id)),
            ("HGET", keys.wanted, agent_id),
            ("HGETALL", keys.stats(agent_id)),
        )

    @staticmethod
    def _row(raw: str | None, wish_raw: str | None, stats: object) -> AgentRow | None:
        if raw is None:
            return None
        try:
            agent = Agent.from_json(raw)
        except ValueError:
            return None
        return AgentRow(agent, raw, read_wish(wish_raw), wish_raw, counters(stats))


def read_wish(raw: str | None) -> Wish | None:
    """The wish in this text; None when there is none or it cannot be read."""
    if raw is None:
        return None
    try:
        return Wish.from_json(raw)
    except (ValueError, Invalid):
        return None


def counters(answer: object) -> dict[str, int]:
    """The answer of HGETALL on a hash of counters (a flat list or a mapping)."""
    pairs = answer.items() if isinstance(answer, dict) else zip(*[iter(answer)] * 2, strict=True)  # type: ignore[call-overload]
    return {str(name): count(value) for name, value in pairs}


def count(value: object) -> int:
    """One counter's value; 0 for what is none, and for more than Redis counts to."""
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < _DIGITS else 0


def save_agent(tx: Transaction, raw: str | None, agent: Agent) -> str:
    """Replace the record (`raw`: as it was read, None: it is new); returns the new raw text."""
    text = agent.to_json()
    tx.expect(tx.keys.agent(agent.id), raw, f"agent {agent.name}")
    tx.do("SET", tx.keys.agent(agent.id), text)
    return text


def save_wish(tx: Transaction, agent_id: str, raw: str | None, wish: Wish | None) -> str | None:
    """Replace or (None) remove what users want of the agent, with its mirror flags; returns the new raw text."""
    keys = tx.keys
    tx.expect_field(keys.wanted, agent_id, raw, f"wish {agent_id}")
    if wish is None:
        tx.do("HDEL", keys.wanted, agent_id)
        tx.do("DEL", keys.stop(agent_id))
        tx.do("DEL", keys.pause(agent_id))
        return None
    text = wish.to_json()
    tx.do("HSET", keys.wanted, agent_id, text)
    old = read_wish(raw)
    for key, flag, before in (
        (keys.stop(agent_id), wish.stop, old.stop if old else None),
        (keys.pause(agent_id), wish.pause, old.pause if old else None),
    ):
        if flag and flag != before:
            tx.do("SET", key, "1")
        elif flag != before and not flag:  # a flag that was set by hand stays when the wish says nothing new
            tx.do("DEL", key)
    return text


def take_lease(tx: Transaction, name: str, token: str) -> None:
    """Hold the lease from now for its time to live."""
    tx.do("SET", tx.keys.lease(name), token, "EX", LEASE_TTL_S)
