"""A team in sequence: each agent begins when the one before it is done, and builds on its files."""

from __future__ import annotations

from here import PATIENCE_S, dismiss, open_town, result

from tinytown import Task

STEPS = {
    "architect": "write api.md: POST /signup, POST /login, GET /me",
    "developer": "copy api.md to server.txt",
    "tester": "count server.txt",
    "reviewer": "upper server.txt",
}


def main() -> None:
    """Run it in a scratch folder."""
    town, cli = open_town()
    with town:
        team = {name: town.spawn_agent(name, cli) for name in STEPS}
        for name, work in STEPS.items():
            task_id = team[name].assign(Task(work))
            team[name].wait(PATIENCE_S)
            print(f"{name}: {result(town, task_id)}")
        dismiss(*team.values())


if __name__ == "__main__":
    main()
