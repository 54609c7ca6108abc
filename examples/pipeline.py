"""A pipeline: stages under one parent task, tagged; it stops at the first stage that fails."""

from __future__ import annotations

from here import PATIENCE_S, dismiss, open_town

from tinytown import Task, TaskState, Town

STAGES = (
    ("developer", "write profile.txt: name, picture, biography", "code"),
    ("linter", "sort profile.txt", "style"),
    ("tester", "count profile.txt", "test"),
    ("merger", "copy profile.txt to deployed.txt", "deploy"),
)


def run_stage(town: Town, cli: str, name: str, task: Task) -> Task:
    """Give the task to an agent of this name, and return it as it ended."""
    agent = town.spawn_agent(name, cli)
    agent.assign(task)
    agent.wait(PATIENCE_S)
    dismiss(agent)
    return town.channel().get_task(task.id) or task


def main() -> None:
    """Run it in a scratch folder."""
    town, cli = open_town()
    with town:
        channel = town.channel()
        epic = Task("Implement the user's profile").with_tags(["epic"])
        channel.set_task(epic)
        for name, work, tag in STAGES:
            done = run_stage(town, cli, name, Task(work).with_tags([tag]).with_parent(epic.id))
            print(f"[{tag}] {done.state}: {done.result}")
            if done.state is not TaskState.COMPLETED:
                epic.fail(f"stage {tag} failed: {done.result}")
                break
        else:
            epic.complete(f"all {len(STAGES)} stages passed")
        channel.set_task(epic)
        print(f"epic {epic.state}: {epic.result}")


if __name__ == "__main__":
    main()
