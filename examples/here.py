"""What the examples share: a town in the current folder, a look at results, a goodbye to agents."""

from __future__ import annotations

import argparse
import sys

from tinytown import AgentHandle, MessageType, NotInitialized, Town

PATIENCE_S = 3600.0


def open_town() -> tuple[Town, str]:
    """The town of the current folder (made if there is none), and the CLI that `--cli` names."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cli", default="demo", help="what the agents run (default: demo, which needs no AI)")
    cli: str = parser.parse_args().cli
    try:
        return Town.connect("."), cli
    except NotInitialized:
        return Town.init(".", "examples"), cli


def result(town: Town, task_id: str) -> str:
    """How the task stands, and what came of it."""
    task = town.channel().get_task(task_id)
    return f"{task.state}: {task.result}" if task is not None else "gone"


def dismiss(*agents: AgentHandle) -> None:
    """Ask the agents to stop after their work, and wait until they have."""
    for agent in agents:
        agent.send(MessageType.Shutdown())
    for agent in agents:
        agent.wait(PATIENCE_S)
