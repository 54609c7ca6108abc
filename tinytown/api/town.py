"""The town: where a program's work with Tinytown begins."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

from tinytown import town as towns
from tinytown.api.agent import Agent, AgentModel
from tinytown.api.channel import Channel
from tinytown.api.handle import AgentHandle, find
from tinytown.api.identifiers import given, text
from tinytown.config import AgentCli, Config

__all__ = ["Config", "Town"]


class Town:
    """A town, opened by `Town.init` or `Town.connect`.

    Agents, their supervisor and Redis go on when the program ends: `close`, and the end of a `with` block, close its
    connections and nothing else. (`tt stop --all` ends them.)

    Everything is synchronous, times are seconds. A town and all that comes from it belong to one thread of one
    process: open another in each thread, and after a fork.
    """

    def __init__(self, town: towns.Town) -> None:
        self._town = given("A town", town, towns.Town, "Town.connect(path) or Town.init(path)")

    @classmethod
    def init(cls, path: str | os.PathLike[str], name: str | None = None) -> Self:
        """Make the town of this folder (made if missing) and start its Redis.

        Without a name git's or the folder's is taken; illegal characters become `-`. Raises Conflict (there is one),
        Forbidden, ConfigInvalid, RedisNotInstalled, RedisVersionTooOld, RedisError; then nothing was changed.
        """
        from tinytown.services.towns import init  # noqa: PLC0415  only who makes a town needs it

        made = init(Path(path), name)
        if made.warning is not None:
            warnings.warn(made.warning, stacklevel=2)
        return cls(made.town)

    @classmethod
    def connect(cls, path: str | os.PathLike[str] = ".") -> Self:
        """Open the town in exactly this folder; its own Redis is started if it is down. No supervisor is needed.

        Raises NotInitialized, ConfigInvalid, RedisNotInstalled, RedisVersionTooOld, RedisError.
        """
        town = towns.open_town(os.fspath(path) or ".")
        town.ensure_redis()
        town.store.connector.check(town.store.redis)
        return cls(town)

    def spawn_agent(self, name: str, cli: str | AgentModel | None = None) -> AgentHandle:
        """Create an agent and start it, as `tt spawn` does: returns when it is up, a supervisor is started if needed.

        `cli` is a preset, one of `[agent_clis]`, a command, or an AgentModel (None: the town's default). An AgentModel
        is written into tinytown.toml first, where the supervisor reads it; the same one again changes nothing. The
        name of an agent that has ended gets a new agent, which takes over mail and open tasks. Raises Invalid,
        NotFound (the CLI's command), Conflict (the agent is alive, too many are, another CLI has the model's name),
        Timeout (registered, but not up within 5 seconds).
        """
        from tinytown.services import agents  # noqa: PLC0415  as above

        if isinstance(cli, AgentModel):
            self._register(cli)
            cli = cli.name
        asked = None if cli is None else text("A model CLI", cli)
        agent = agents.spawn(self._town, agents.SpawnRequest(text("An agent's name", name), asked))
        return AgentHandle(self._town, agent.id)

    def agent(self, name: str) -> AgentHandle:
        """A handle on an agent by its name, nickname, id or the beginning of its id. Raises AgentNotFound, Conflict."""
        return find(self._town, name)

    def list_agents(self) -> list[Agent]:
        """All agents, in the order of their names."""
        return [Agent.stored(row) for row in self._town.store.agents.all()]

    def channel(self) -> Channel:
        """The town's mail and records."""
        return Channel(self._town)

    def config(self) -> Config:
        """The settings, as they were when the town was opened (or an AgentModel was added)."""
        return self._town.config

    def root(self) -> Path:
        """The town's folder."""
        return self._town.root

    def close(self) -> None:
        """Close the connections. What is called after that opens them again."""
        self._town.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Town {self._town.name} {self._town.root}>"

    def _register(self, model: AgentModel) -> None:
        from tinytown.services import clis  # noqa: PLC0415  as above

        cli = AgentCli(model.name, model.command, model.workdir, dict(model.env))
        fresh = towns.Town(self._town.root, clis.register(self._town, cli))
        fresh.__dict__["store"] = self._town.store  # one connection for this town and the handles it gave out
        self._town = fresh
