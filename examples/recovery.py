"""When things go wrong: a missing agent, a task that fails, an agent that has ended."""

from __future__ import annotations

from here import PATIENCE_S, dismiss, open_town

from tinytown import AgentHandle, AgentNotFound, Conflict, Task, TaskState, Town


def ensure(town: Town, name: str, cli: str) -> AgentHandle:
    """The agent of this name if it is alive, else a new one; that takes over mail and open tasks of an ended one."""
    try:
        handle = town.agent(name)
        agent = handle.state()
        if agent is not None and not agent.state.is_terminal():
            return handle
        print(f"{name} has ended: another one")
    except AgentNotFound:
        print(f"No {name} yet: the first one")
    return town.spawn_agent(name, cli)


def run(town: Town, worker: AgentHandle, work: str) -> Task:
    """One task, as it ended."""
    task = Task(work)
    worker.assign(task)
    worker.wait(PATIENCE_S)
    done = town.channel().get_task(task.id) or task
    print(f"{work!r} {done.state}: {done.result}")
    return done


def main() -> None:
    """Run it in a scratch folder."""
    town, cli = open_town()
    with town:
        worker = ensure(town, "worker", cli)
        failed = run(town, worker, "sum numbers.txt")  # there is no such file; it is tried three times
        if failed.state is TaskState.FAILED:
            run(town, worker, "write numbers.txt: 17 4 21")

        try:  # a task ends once
            failed.complete("all right after all")
        except Conflict as error:
            print(f"Refused: {error}")

        dismiss(worker)
        worker = ensure(town, "worker", cli)
        run(town, worker, "sum numbers.txt")
        dismiss(worker)


if __name__ == "__main__":
    main()
