"""A team in parallel: everybody gets work at once; the whole takes as long as the longest part."""

from __future__ import annotations

from here import PATIENCE_S, dismiss, open_town, result

from tinytown import Task

WORK = {
    "frontend": "write login.html: <form>...</form>",
    "backend": "table 12 to rates.txt",
    "docs": "write manual.md: How to log in",
}


def main() -> None:
    """Run it in a scratch folder."""
    town, cli = open_town()
    with town:
        team = {name: town.spawn_agent(name, cli) for name in WORK}
        tasks = {name: team[name].assign(Task(work)) for name, work in WORK.items()}
        for name, agent in team.items():
            agent.wait(PATIENCE_S)
            print(f"{name}: {result(town, tasks[name])}")
        dismiss(*team.values())


if __name__ == "__main__":
    main()
