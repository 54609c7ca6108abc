"""Fan out, fan in: three workers do a part each, a reviewer puts the parts together."""

from __future__ import annotations

from here import PATIENCE_S, dismiss, open_town, result

from tinytown import Task

PARTS = (10, 20, 12)


def main() -> None:
    """Run it in a scratch folder."""
    town, cli = open_town()
    with town:
        workers = [town.spawn_agent(f"worker-{n}", cli) for n in range(1, 4)]
        reviewer = town.spawn_agent("reviewer", cli)

        for worker, part in zip(workers, PARTS, strict=True):
            worker.assign(Task(f"append parts.txt: {part}"))
        for worker in workers:
            worker.wait(PATIENCE_S)
        print("All parts are there")

        task_id = reviewer.assign(Task("sum parts.txt"))
        reviewer.wait(PATIENCE_S)
        print(f"reviewer: {result(town, task_id)}")
        dismiss(reviewer, *workers)


if __name__ == "__main__":
    main()
