"""Agents: seen, started, steered, stopped."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tinytown import logs as files
from tinytown.errors import AgentNotFound, Forbidden
from tinytown.model_cli import catalog
from tinytown.services import agents, logs, pruning, shapes, status, steering, waiting, why
from tinytown.services.agents import SpawnRequest
from tinytown.services.steering import Steered
from tinytown.town import Town
from tinytown.townhall import models
from tinytown.townhall.verbs.inputs import AgentRef, Now, Rounds, Word
from tinytown.townhall.verbs.registry import GET, POST, Scope, Visit, verb

WAIT_MOST_S = 300.0
LINES_MOST = 2000
LOG_BYTES = 1_000_000

Lines = Annotated[int, Field(ge=0, le=LINES_MOST, description="How many lines from the end.")]
Number = Annotated[int, Field(ge=1, le=10**9, description="A round, counted from 1.")]
Seconds = Annotated[float, Field(ge=0, le=WAIT_MOST_S, description="Give up then.")]


@verb("agent.list", GET, "/v1/agents", "list")
def list_agents(visit: Visit) -> models.Agents:
    """All agents and their states."""
    found = [models.Agent(**shapes.agent(one)) for one in status.agents(visit.town)]
    return models.Agents(agents=found, count=len(found))


@verb("agent.get", GET, "/v1/agents/{agent}", "list")
def get(visit: Visit, agent: AgentRef) -> models.Agent:
    """One agent."""
    return _shown(visit.town, agents.resolve(visit.town, agent).agent.id)


@verb("agent.spawn", POST, "/v1/agents", "spawn", Scope.MANAGE, status=201)
def spawn(
    visit: Visit, name: Word, cli: Word | None = None, max_rounds: Rounds = 10, role: Word | None = None,
    nickname: Word | None = None, parent: AgentRef | None = None,
) -> models.Started:  # fmt: skip
    """Create an agent and start it. `cli`: a preset or one of the town's own, by name."""
    wanted = cli or visit.town.config.default_cli
    if cli is not None and cli not in catalog.names(visit.town.config):
        known = ", ".join(catalog.names(visit.town.config))
        raise Forbidden(f"There is no CLI named '{cli}' here: commands are not taken.", f"Known: {known}")
    made = agents.spawn(visit.town, SpawnRequest(name, wanted, max_rounds, False, role, nickname, parent))
    return models.Started(agent_id=made.id, name=made.name, cli=made.cli, agent=_shown(visit.town, made.id))


@verb("agent.restart", POST, "/v1/agents/{agent}/restart", "restart", Scope.MANAGE)
def restart(visit: Visit, agent: AgentRef, rounds: Rounds = 10) -> models.Started:
    """Start an agent that has ended again, with fresh rounds."""
    made = agents.restart(visit.town, agent, rounds)
    return models.Started(agent_id=made.id, name=made.name, cli=made.cli, agent=_shown(visit.town, made.id))


@verb("agent.kill", POST, "/v1/agents/{agent}/kill", "kill", Scope.MANAGE, is_destructive=True, is_idempotent=True)
def kill(visit: Visit, agent: AgentRef, now: Now = False) -> models.Stopped:
    """Stop an agent after its round, or at once."""
    row = agents.kill(visit.town, agent, now=now)
    return models.Stopped(status="stopping" if row.wish is not None else "stopped", agent=row.agent.name)


@verb("agent.interrupt", POST, "/v1/agents/{agent}/interrupt", "interrupt", Scope.MANAGE, is_idempotent=True)
def interrupt(visit: Visit, agent: AgentRef, now: Now = False) -> models.Steered:
    """Pause an agent after its round, or at once: its mail waits until it is resumed."""
    return _steered(steering.interrupt(visit.town, agent, visit.caller, now=now))


@verb("agent.resume", POST, "/v1/agents/{agent}/resume", "resume", Scope.MANAGE, is_idempotent=True)
def resume(visit: Visit, agent: AgentRef) -> models.Steered:
    """Let a paused agent go on: it works on the mail that waits."""
    return _steered(steering.resume(visit.town, agent))


@verb("agent.close", POST, "/v1/agents/{agent}/close", "close", Scope.MANAGE, is_idempotent=True)
def close(visit: Visit, agent: AgentRef) -> models.Steered:
    """Let an agent finish the mail it has now, then stop it."""
    return _steered(steering.close(visit.town, agent))


@verb("agent.prune", POST, "/v1/agents/prune", "prune", Scope.MANAGE, is_destructive=True)
def prune(visit: Visit, all: bool = False, force: bool = False) -> models.Pruned:
    """Remove agents that have ended. `all`: stop the others first; `force`: also with unread mail, which is lost."""
    done = pruning.prune(visit.town, everyone=all, force=force)
    kept = [models.Kept(agent=one.agent.name, why=one.why, remedy=one.remedy) for one in done.kept]
    names = [one.agent.name for one in done.removed]
    return models.Pruned(removed=len(names), agents=names, kept=kept)


@verb("agent.why", GET, "/v1/agents/{agent}/why", "why")
def explain(visit: Visit, agent: AgentRef) -> models.Explanation:
    """What an agent is waiting for, and what helps."""
    identifier = agents.resolve(visit.town, agent).agent.id
    return models.Explanation(**shapes.explanation(why.explain(visit.town, identifier)))


@verb("agent.wait", GET, "/v1/agents/{agent}/wait", "wait", waits=True)
def wait(visit: Visit, agent: AgentRef, timeout_s: Seconds = 20.0) -> models.Waited:
    """Wait until an agent has ended. That it has not by then is an error: it timed out."""
    identifier = agents.resolve(visit.town, agent).agent.id
    return models.Waited(**shapes.waited(waiting.wait(visit.town, identifier, timeout_s)))


@verb("agent.log", GET, "/v1/agents/{agent}/log", "logs")
def log(visit: Visit, agent: AgentRef, round: Number | None = None, lines: Lines = 200) -> models.Log:
    """The end of an agent's log, or of what the model printed in a round."""
    name = logs.name_of(visit.town, agent)
    path = logs.digest(visit.town, name) if round is None else logs.round_path(visit.town, name, round)
    text = logs.tail(path, lines, LOG_BYTES).decode("utf-8", "replace") if path.exists() else ""
    numbers = files.round_numbers(visit.town.logs_dir, name)
    size = path.stat().st_size if path.exists() else 0
    return models.Log(agent=name, round=round, text=text, size=size, rounds=numbers)


def _shown(town: Town, agent_id: str) -> models.Agent:
    for one in status.agents(town):
        if one.agent.id == agent_id:
            return models.Agent(**shapes.agent(one))
    raise AgentNotFound(agent_id)


def _steered(done: Steered) -> models.Steered:
    return models.Steered(
        agent=done.agent.name, state=done.agent.state.value, changed=done.changed, in_round=done.is_in_round,
        attended=done.is_attended, ended=done.has_ended,
    )  # fmt: skip
