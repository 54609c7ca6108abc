"""Six people at one plan: complete, cancel, retry, push, claim, remove at random; no task is stranded or doubled."""

from __future__ import annotations

import random

import pytest

from tests.support import invariants
from tests.support import town as towns
from tests.support.town import in_processes, same_town
from tinytown.domain.states import TaskState
from tinytown.errors import TinytownError
from tinytown.services import backlog, dependencies, tasks
from tinytown.services.caller import Caller
from tinytown.services.plan import pushing
from tinytown.town import Town

pytestmark = pytest.mark.slow

TASKS, PEOPLE, DEEDS = 25, 6, 60
USER = Caller()


def write_plan(town: Town, chance: random.Random, agents: list[str]) -> None:
    """A random graph: each task waits for up to three earlier ones."""
    blocks = []
    for number in range(TASKS):
        others = chance.sample(range(number), min(number, chance.randint(0, 3)))
        owner = chance.choice([*agents, ""])
        blocks += [
            "[[tasks]]", f'id = "t{number}"', f'description = "task {number}"',
            f"depends_on = {[f't{other}' for other in others]!r}", *([f'agent = "{owner}"'] if owner else []),
        ]  # fmt: skip
    (town.root / "tasks.toml").write_text("\n".join(blocks))


def do_something(town: Town, chance: random.Random, agents: list[str]) -> None:
    task = chance.choice(tasks.listing(town)).id
    match chance.choices(("complete", "cancel", "retry", "push", "claim", "remove"), (45, 10, 15, 10, 10, 10))[0]:
        case "complete":
            tasks.complete(town, task, None, USER)
        case "cancel":
            tasks.cancel(town, task, None, USER)
        case "retry":
            tasks.retry(town, task, USER)
        case "push":
            pushing.push(town, USER, reset=chance.random() < 0.3)
        case "claim":
            backlog.claim(town, task, chance.choice(agents), USER)
        case _:
            backlog.remove(town, task)


def go_on(town: Town, task_id: str) -> None:
    """The next step towards the end of this task."""
    task = tasks.find(town, task_id)[1]
    if task.state.is_terminal:
        tasks.retry(town, task_id, USER)
    elif not dependencies.unmet(town, task):
        tasks.complete(town, task_id, None, USER)


@pytest.mark.parametrize("seed", range(4))
def test_a_plan_in_a_storm(town: Town, seed: int) -> None:
    """The invariants hold; afterwards every task can be brought to its end, and nothing waits for anything."""
    agents = [towns.register(town, f"a{n}").name for n in range(3)]
    write_plan(town, random.Random(seed), agents)  # noqa: S311  no secret
    pushing.push(town, USER)

    def work(number: int) -> int:
        own, chance, done = same_town(town), random.Random(seed * PEOPLE + number), 0  # noqa: S311  no secret
        for _ in range(DEEDS):
            try:
                do_something(own, chance, agents)
            except TinytownError:  # it cannot be done to this task now
                continue
            done += 1
        return done

    assert min(in_processes(PEOPLE, work, within_s=50)) > 0
    invariants.check(town, settled=False)
    for _ in range(TASKS):
        for task in tasks.listing(town):
            if task.state is not TaskState.COMPLETED and tasks.find(town, task.id)[1].state is not TaskState.COMPLETED:
                go_on(town, task.id)
    invariants.check(town, settled=False)
    assert {task.state for task in tasks.listing(town)} <= {TaskState.COMPLETED}
    assert not [key for key in towns.snapshot(town) if ":dependents:" in key or key.endswith(":releases")]
