"""One agent, one task: assign it, wait for it, see what came of it."""

from __future__ import annotations

from here import PATIENCE_S, dismiss, open_town, result

from tinytown import Task


def main() -> None:
    """Run it in a scratch folder."""
    town, cli = open_town()
    with town:
        coder = town.spawn_agent("coder", cli)
        print(f"Spawned coder: {coder.id()}")

        task = Task("write fibonacci.txt: 1 1 2 3 5 8 13 21")
        coder.assign(task)
        print(f"Assigned task {task.id}")

        state = coder.wait(PATIENCE_S)
        print(f"coder is {state}")

        print(f"The task is {result(town, task.id)}")
        dismiss(coder)


if __name__ == "__main__":
    main()
