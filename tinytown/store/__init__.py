"""Redis, and the only place that knows it.

`Store` is one town's state: repositories per noun (`agents`, `tasks`, `inboxes`, `events`, `missions`) that read, and
`commit`, through which everything is written. All errors of the client arrive as the project's own.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinytown import ids
from tinytown.config import RedisConfig
from tinytown.store.agents import Agents
from tinytown.store.connection import Connector, translate
from tinytown.store.events import Events
from tinytown.store.inboxes import Inboxes
from tinytown.store.keys import Keys
from tinytown.store.tasks import Tasks
from tinytown.store.transaction import COMMIT_TOKEN_TTL_S, Stale, Transaction

if TYPE_CHECKING:
    from redis import Redis as Client

    from tinytown.store.missions import Missions

_SCRIPT = (Path(__file__).parent / "lua" / "commit.lua").read_text("utf-8")
_SCAN_PAGE = 1000
_SCRIPT_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Store:
    """One town's state in Redis. Connects on first use; must not be carried over a fork."""

    def __init__(
        self,
        town: str,
        config: RedisConfig,
        state_dir: Path,
        *,
        timeout_s: float = 2.0,
        retries: int | None = None,
        budget_s: float | None = None,
        events_kept: int = 10_000,
    ) -> None:
        self.keys = Keys(town)
        self.connector = Connector(config, state_dir)
        self.agents = Agents(self)
        self.tasks = Tasks(self)
        self.inboxes = Inboxes(self)
        self.events = Events(self)
        self._timeout_s = timeout_s
        self._retries = retries
        self._budget_s = budget_s
        self.on_retry: Callable[[], None] | None = None  # called before each repetition; set it before the first use
        self._events_kept = events_kept

    @functools.cached_property
    def redis(self) -> Client:
        """The command client: bounded time-outs and retries, for idempotent calls only."""
        return self.connector.client(
            timeout_s=self._timeout_s, retries=self._retries, on_retry=self.on_retry, budget_s=self._budget_s
        )

    @functools.cached_property
    def missions(self) -> Missions:
        """Missions, for the few commands that have to do with them: their records cost 10 ms to import."""
        from tinytown.store.missions import Missions  # noqa: PLC0415

        return Missions(self)

    def close(self) -> None:
        """Drop the connection, if there is one."""
        if "redis" in self.__dict__:
            self.redis.close()
            del self.__dict__["redis"]

    def transaction(self) -> Transaction:
        """Start a change."""
        return Transaction(self.keys, events_kept=self._events_kept)

    def commit(self, tx: Transaction) -> None:
        """Apply all of it or nothing. Raises Stale when an expectation does not hold, RedisAway.

        Safe to repeat on a lost answer: the transaction carries a token that is accepted once.
        """
        if tx.is_empty:
            return
        if tx.token is None and not tx.is_repeatable:
            tx.once(ids.new_id(), COMMIT_TOKEN_TTL_S)
        keys, argv = tx.encoded()
        answer = self.call(lambda r: self._script(r, keys, argv))
        if answer[0] == 0:
            raise Stale(tx.label(int(answer[1])))

    def call(self, function: Callable[[Client], Any]) -> Any:
        """Run `function(client)`; the client's errors become the project's."""
        with translate(self.connector):
            return function(self.redis)

    def read(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Several reads in one round trip; the answers in order."""
        with translate(self.connector):
            pipe = self.redis.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            return list(pipe.execute())

    def scan(self) -> list[str]:
        """Every key of the town, without holding the server up. Only for what deletes or rewrites all of them."""
        return sorted(set(self.call(lambda r: list(r.scan_iter(match=f"{self.keys.prefix}*", count=_SCAN_PAGE)))))

    @staticmethod
    def _script(client: Client, keys: Sequence[str], argv: Sequence[str]) -> Any:
        from redis.exceptions import NoScriptError  # noqa: PLC0415  redis costs 120 ms to import

        try:
            return client.evalsha(_SCRIPT_SHA, len(keys), *keys, *argv)
        except NoScriptError:
            return client.eval(_SCRIPT, len(keys), *keys, *argv)
