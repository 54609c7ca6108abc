"""The command line. This file knows every command's name and one-line help, and loads none of them.

`tt --help` costs no more than click and this table; a command pays for its own module only.
"""

from __future__ import annotations

import sys

import click

from tinytown.cli.base import Entry, LazyGroup, leave, run, version

TABLE: dict[str, Entry] = {
    "init": Entry("towns", "init", "Make a town here: settings, folders, Redis.", "Town"),
    "start": Entry("towns", "start", "Start Redis and keep a connection open until Ctrl-C.", "Town"),
    "stop": Entry("towns", "stop", "Ask all agents to stop; --all also ends supervisor and Redis.", "Town"),
    "status": Entry("status", "status", "Show the town: Redis, supervisor, agents, mail, tasks.", "Town"),
    "top": Entry("top", "top", "Look at the town live: what needs you, agents, missions.", "Town"),
    "web": Entry("web", "web", "Open the town's page in a browser; the link lets in once.", "Town"),
    "supervise": Entry("supervision", "supervise", "Run the supervisor, which keeps the agents alive.", "Town"),
    "service": Entry("service", "service", "Run the supervisor as a service of systemd.", "Town"),
    "doctor": Entry("doctor", "doctor", "Check everything a town needs; say what helps.", "Town"),
    "events": Entry("events", "events", "Show what happened, or follow it as it happens.", "Town"),
    "history": Entry("events", "history", "Show the history of an agent or a task.", "Town"),
    "config": Entry("config", "config", "Show settings and where each comes from, or set a global one.", "Town"),
    "towns": Entry("towns", "list_towns", "List the towns of this machine.", "Town"),
    "save": Entry("snapshots", "save", "Save the town's state into one file that git may hold.", "Town"),
    "restore": Entry("snapshots", "restore", "Load the town's state from the saved file.", "Town"),
    "reset": Entry("reset", "reset", "Delete all agents, tasks and messages of the town.", "Town"),
    "migrate": Entry("migration", "migrate", "Take over the state of an older version.", "Town"),
    "spawn": Entry("agents", "spawn", "Create an agent and start it.", "Agents"),
    "restart": Entry("agents", "restart", "Start an agent that has ended again, with fresh rounds.", "Agents"),
    "kill": Entry("agents", "kill", "Stop an agent after its round, or at once.", "Agents"),
    "interrupt": Entry("steering", "interrupt", "Pause an agent after its round, or at once.", "Agents"),
    "resume": Entry("steering", "resume", "Let a paused agent go on.", "Agents"),
    "close": Entry("steering", "close", "Let an agent finish its mail, then stop it.", "Agents"),
    "wait": Entry("agents", "wait", "Wait until an agent or a task is done.", "Agents"),
    "list": Entry("agents", "list_agents", "List the agents and their states.", "Agents"),
    "logs": Entry("logs", "logs", "Show what an agent did, or what a round printed.", "Agents"),
    "why": Entry("why", "why", "Say what an agent or a task is waiting for.", "Agents"),
    "recover": Entry("recovery", "recover", "Find agents whose process is gone, and finish them.", "Agents"),
    "reclaim": Entry("recovery", "reclaim", "Move the work of agents that have ended.", "Agents"),
    "prune": Entry("recovery", "prune", "Remove agents that have ended.", "Agents"),
    "worktree": Entry("worktrees", "worktree", "Show, merge or remove the git worktrees of agents.", "Agents"),
    "assign": Entry("tasks", "assign", "Give an agent a task.", "Work"),
    "task": Entry("tasks", "task", "Complete, show, list, fail, cancel or retry tasks.", "Work"),
    "backlog": Entry("backlog", "backlog", "Work that waits for an agent.", "Work"),
    "send": Entry("messages", "send", "Send an agent a message.", "Work"),
    "inbox": Entry("messages", "inbox", "Show pending messages and dead letters.", "Work"),
    "plan": Entry("plan", "plan", "Show the task plan in tasks.toml, or make one.", "Work"),
    "sync": Entry("plan", "sync", "Push tasks.toml to the town, or pull the town's state into it.", "Work"),
    "mission": Entry("missions", "mission", "Work off GitHub issues and documents.", "Work"),
    "conductor": Entry("conductor", "conductor", "Talk to an AI that orchestrates the town.", "Work"),
    "bootstrap": Entry("bootstrap", "bootstrap", "Install a redis-server into ~/.tt/bin.", "More"),
    "auth": Entry("auth", "auth", "Make API keys for the town hall.", "More"),
    "completion": Entry("completion", "completion", "Print the completion script of a shell.", "More"),
}

# Former names: they work, and no list shows them.
FORMER: dict[str, Entry] = {
    "tasks": Entry("messages", "tasks", "Deprecated: use tt inbox --all.", "Work"),
    "generate-api-key": Entry("auth", "gen_key", "Make an API key: tt auth gen-key.", "More"),
}


def root() -> LazyGroup:
    """The `tt` command."""
    return LazyGroup(
        TABLE,
        FORMER,
        name="tt",
        help="Tinytown: several AI coding CLIs on one project, supervised and fed with work.",
        params=[
            click.Option(
                ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=version,
                help="Show the version and leave.",
            )
        ],
        invoke_without_command=True,
        examples="tt init\ntt spawn backend\ntt assign backend 'Build the login API'\ntt status",
    )  # fmt: skip


def main() -> None:
    """Entry point."""
    leave(run(root(), sys.argv[1:]))
