"""An agent in this terminal: the same actor, without a supervisor."""

from __future__ import annotations

from setproctitle import setproctitle

from tinytown.actors.agent import AgentActor
from tinytown.actors.post import Post
from tinytown.errors import NotFound
from tinytown.signals import SignalQueue
from tinytown.supervisor.program import ACTOR_SIGNALS
from tinytown.town import Town


def run(town: Town, agent_id: str, name: str) -> int:
    """Run the agent until it has ended; its output goes to this terminal too. Ctrl-C: after the round; twice: now.

    Its wish must say `foreground`, so that a supervisor leaves it alone. Raises NotFound when it is gone.
    """
    row = town.store.agents.row(agent_id)
    if row is None or row.wish is None:
        raise NotFound(f"Agent '{name}' is gone.")
    signals = SignalQueue(ACTOR_SIGNALS)
    setproctitle(f"tt: agent {name} [starting] [{town.name}]")
    try:
        return AgentActor(town, Post(agent_id, name, row.wish.epoch, tee=1), signals, lambda: None).run()
    finally:
        signals.close()
