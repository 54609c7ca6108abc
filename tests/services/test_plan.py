"""Push and pull: each task once, never backwards, and nothing of the file lost."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import invariants
from tests.support.builders import make_task
from tests.support.town import (
    all_tasks,
    claim_all,
    events,
    in_processes,
    mailroom,
    register,
    same_town,
    snapshot,
    task_now,
    texts,
    writing,
)
from tests.support.waiting import wait_until
from tinytown.domain.message import parse
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, Forbidden, Invalid, NotFound
from tinytown.services import backlog, dependencies, plan, tasks
from tinytown.services.caller import Caller
from tinytown.services.plan import pushing
from tinytown.services.plan.pushing import Did
from tinytown.town import Town

USER = Caller()
CHAIN = """\
# The pipeline
[meta]
description = "Sprint 1"

[[tasks]]
id = "design"     # first
description = "Design it"
agent = "backend"
tags = ["api"]

[[tasks]]
id = "build"
description = "Build it"
agent = "tester"
status = "pending"
parent = "design"
depends_on = ["design"]

[[tasks]]
id = "review"
description = "Review it"
"""


def write(town: Town, text: str) -> Path:
    plan.path(town).write_text(text)
    return plan.path(town)


def push(town: Town, text: str | None = None, **options: bool) -> dict[Did, int]:
    """Push (this text) and check the invariants; what was done, counted."""
    if text is not None:
        write(town, text)
    pushed = pushing.push(town, USER, **options)
    invariants.check(town, settled=False)
    return dict(pushed.counts)


def by_plan_id(town: Town) -> dict[str, Task]:
    return {task.plan_id or task.id[:8]: task for task in all_tasks(town).values()}


def mail_of(town: Town, agent_id: str) -> list[str | None]:
    return [parse(text).task_id for text in texts(town, "inbox", agent_id)]


@pytest.fixture
def chain(town: Town) -> dict[str, Task]:
    """CHAIN, pushed; agents backend and tester."""
    register(town)
    register(town, "tester")
    assert push(town, CHAIN) == {Did.NEW: 3}
    return by_plan_id(town)


def test_push(town: Town, chain: dict[str, Task]) -> None:
    """With an agent: assigned and mailed; without: in the backlog; with open dependencies: waiting."""
    names = town.store.agents.names()
    design, build, review = (chain[i] for i in ("design", "build", "review"))
    assert (design.state, design.assigned_to, design.tags) == (
        TaskState.ASSIGNED,
        names["backend"],
        ["api", "plan:design"],
    )
    assert mail_of(town, names["backend"]) == [design.id]
    assert (build.state, build.depends_on, build.parent_id) == (TaskState.PENDING, [design.id], design.id)
    assert [t.id for t in dependencies.unmet(town, build)] == [design.id]
    assert town.store.tasks.backlog_ids() == [review.id]
    assert {e["event_type"] for e in events(town)} == {"task_assigned", "task_created"}
    (assigned,) = events(town, "task_assigned")
    assert assigned["message_id"] == parse(texts(town, "inbox", names["backend"])[0]).id

    tasks.complete(town, design.id, None, USER)
    assert task_now(town, build).assigned_to == names["tester"]
    assert mail_of(town, names["tester"]) == [build.id]


def test_pushed_again_nothing_changes(town: Town, chain: dict[str, Task]) -> None:
    """Not a key, not an event; also after a pull, which changes the file and not the town."""
    before = snapshot(town)
    assert push(town) == {Did.UNCHANGED: 3}
    plan.pull(town)
    assert push(town) == {Did.UNCHANGED: 3}
    assert snapshot(town) == before


def test_lists_are_in_the_order_of_the_file(town: Town) -> None:
    """Whatever depends on what."""
    entries = [f'[[tasks]]\nid = "t{n}"\ndescription = "x"\ndepends_on = ["t{n + 1}"]\n' for n in range(20)]
    push(town, "".join(entries) + '[[tasks]]\nid = "t20"\ndescription = "x"\n')
    assert [task.plan_id for task in tasks.listing(town)] == [f"t{n}" for n in range(21)]


def test_default_agent(town: Town) -> None:
    """It has the tasks that name nobody, but not those that say nobody."""
    agent = register(town)
    push(
        town,
        '[meta]\ndefault_agent = "backend"\n[[tasks]]\nid = "a"\ndescription = "x"\n'
        '[[tasks]]\nid = "b"\ndescription = "x"\nagent = ""\n',
    )
    assert (by_plan_id(town)["a"].assigned_to, by_plan_id(town)["b"].assigned_to) == (agent.id, None)


def test_a_changed_plan(town: Town, chain: dict[str, Task]) -> None:
    """What has not started follows the file: text, tags, parent; nothing moves for that."""
    text = CHAIN.replace("Design it", "Design it well").replace('["api"]', '["api", "ui"]').replace("Review", "Read")
    before = mail_of(town, town.store.agents.names()["backend"])

    assert push(town, text) == {Did.CHANGED: 2, Did.UNCHANGED: 1}

    now = by_plan_id(town)
    assert (now["design"].description, now["design"].tags) == ("Design it well", ["api", "ui", "plan:design"])
    assert now["review"].description == "Read it"
    assert mail_of(town, town.store.agents.names()["backend"]) == before
    assert town.store.tasks.backlog_ids() == [now["review"].id]
    assert len(events(town, "task_updated")) == 2


def test_another_agent(town: Town, chain: dict[str, Task]) -> None:
    """The message moves with the task; a parked one is assigned; a waiting one will go to the other."""
    names = town.store.agents.names()
    text = CHAIN.replace('"tester"', '"backend"', 1).replace('"backend"', '"tester"', 1) + 'agent = "tester"\n'

    assert push(town, text) == {Did.CHANGED: 3}

    now = by_plan_id(town)
    assert mail_of(town, names["backend"]) == []
    assert mail_of(town, names["tester"]) == [now["design"].id, now["review"].id]
    assert len(events(town, "message_moved")) == 1
    tasks.complete(town, now["design"].id, None, USER)
    assert task_now(town, now["build"]).assigned_to == names["backend"]


def test_dependencies_added_and_taken_away(town: Town, chain: dict[str, Task]) -> None:
    """An assigned task goes back to wait, a waiting one is let go."""
    names = town.store.agents.names()
    build = chain["build"]
    text = CHAIN.replace('depends_on = ["design"]\n', "")
    assert push(town, text) == {Did.CHANGED: 1, Did.UNCHANGED: 2}
    assert mail_of(town, names["tester"]) == [build.id]

    assert push(town, CHAIN.replace('["design"]', '["review"]')) == {Did.CHANGED: 1, Did.UNCHANGED: 2}
    assert mail_of(town, names["tester"]) == []
    assert [t.plan_id for t in dependencies.unmet(town, task_now(town, build))] == ["review"]

    assert push(town, text.replace('agent = "tester"\n', "")) == {Did.CHANGED: 1, Did.UNCHANGED: 2}
    assert build.id in town.store.tasks.backlog_ids()
    assert task_now(town, build).planned_agent is None


def test_the_town_is_the_truth(town: Town, chain: dict[str, Task]) -> None:
    """What is running or finished stays so, whatever the file says; what somebody claimed stays his."""
    backend, tester = register(town, "other"), town.store.agents.names()["tester"]
    claim_all(town, _agent(town, "backend"))
    backlog.claim(town, chain["review"].id, "other", USER)
    write(town, CHAIN.replace("Design it", "Design it well"))

    pushed = pushing.push(town, USER)

    assert (dict(pushed.counts), pushed.held) == ({Did.RUNNING: 1, Did.UNCHANGED: 2}, ["design"])
    assert task_now(town, chain["design"]).description == "Design it"
    assert task_now(town, chain["review"]).assigned_to == backend.id
    tasks.complete(town, chain["design"].id, "done", USER)
    assert task_now(town, chain["build"]).assigned_to == tester
    assert push(town) == {Did.FINISHED: 1, Did.UNCHANGED: 2}
    assert task_now(town, chain["design"]).result == "done"


def _agent(town: Town, name: str) -> Any:
    row = town.store.agents.row(town.store.agents.names()[name])
    assert row is not None
    return row.agent


def test_reset(town: Town, chain: dict[str, Task]) -> None:
    """Finished tasks start anew in the order of the plan; those that the file calls finished too stay so."""
    for name in ("design", "build", "review"):
        tasks.complete(town, chain[name].id, None, USER)
    assert push(town) == {Did.FINISHED: 3}

    assert push(town, reset=True, dry_run=True) == {Did.RESTARTED: 3}
    assert push(town, CHAIN + 'status = "completed"\n', reset=True) == {Did.RESTARTED: 2, Did.FINISHED: 1}

    states = {name: task_now(town, task).state.value for name, task in chain.items()}
    assert states == {"design": "assigned", "build": "pending", "review": "completed"}
    assert [t.plan_id for t in dependencies.unmet(town, task_now(town, chain["build"]))] == ["design"]
    tasks.complete(town, chain["design"].id, None, USER)
    assert task_now(town, chain["build"]).state is TaskState.ASSIGNED


def test_reset_of_what_others_depend_on(town: Town, chain: dict[str, Task]) -> None:
    """Only the first is finished: it starts anew, and its dependent goes back to wait for it."""
    tasks.complete(town, chain["design"].id, None, USER)
    assert push(town, reset=True) == {Did.RESTARTED: 1, Did.CHANGED: 1, Did.UNCHANGED: 1}
    assert [t.plan_id for t in dependencies.unmet(town, task_now(town, chain["build"]))] == ["design"]
    parked = by_plan_id(town)["review"]
    assert town.store.tasks.backlog_ids() == [parked.id]


def test_finished_work_of_another_machine(town: Town) -> None:
    """New to the town and finished in the file: recorded so, though its agent is not here; dependents may start."""
    text = CHAIN.replace('tags = ["api"]', 'status = "completed"').replace('agent = "tester"\n', "")
    assert push(town, text) == {Did.NEW: 3}
    now = by_plan_id(town)
    assert (now["design"].state, now["design"].result) == (TaskState.COMPLETED, "Completed via sync")
    assert town.store.tasks.backlog_ids() == [now["build"].id, now["review"].id]
    assert [e["task_id"] for e in events(town, "task_completed")] == [now["design"].id]


def test_unknown_agents(town: Town) -> None:
    """All are named, with what to do, and nothing was changed; a finished task needs none."""
    write(town, CHAIN + 'agent = "nobody"\nstatus = "failed"\n')
    before = snapshot(town)
    with pytest.raises(NotFound, match=r"^The plan names agents that do not exist: backend, tester\.$") as refused:
        pushing.push(town, USER)
    assert refused.value.remedy == "tt spawn backend; tt spawn tester"
    assert snapshot(town) == before
    register(town)
    with pytest.raises(NotFound, match="an agent that does not exist: tester"):
        pushing.push(town, USER)
    for name in ("conductor", "two words"):  # no agent can have it
        write(town, f'[[tasks]]\nid = "a"\ndescription = "x"\nagent = "{name}"\n')
        with pytest.raises(NotFound, match=f"does not exist: {name}") as refused:
            pushing.push(town, USER)
        assert refused.value.remedy == "See the agents with: tt list"


def test_a_dry_run(town: Town, chain: dict[str, Task]) -> None:
    """It counts, and changes nothing."""
    before = snapshot(town)
    text = CHAIN.replace("Review", "Read") + '[[tasks]]\nid = "new"\ndescription = "x"\n'
    assert push(town, text, dry_run=True) == {Did.NEW: 1, Did.CHANGED: 1, Did.UNCHANGED: 2}
    assert snapshot(town) == before


def test_a_bad_plan(town: Town) -> None:
    """Refused as a whole, by everybody, before anything is changed."""
    text = '[[tasks]]\nid = "a"\ndescription = "x"\n[[tasks]]\nid = "b"\ndescription = "x"\nparent = "c"\n'
    write(town, text)
    before = snapshot(town)
    for refused in (lambda: pushing.push(town, USER), lambda: plan.pull(town), lambda: plan.load(town)):
        with pytest.raises(Invalid, match="task 'b' has the parent 'c'"):
            refused()
    assert (snapshot(town), plan.path(town).read_text()) == (before, text)


def test_pull(town: Town, chain: dict[str, Task]) -> None:
    """State and agent of the plan's tasks, in their places; the town's other tasks at the end."""
    register(town, "other")
    tasks.complete(town, chain["design"].id, "done", USER)
    backlog.claim(town, chain["review"].id, "other", USER)
    more = tasks.assign(town, "backend", "By hand:\n- one", USER, ["x"])

    pulled = plan.pull(town)

    assert (pulled.tasks, pulled.changed, pulled.added, pulled.layout_kept) == (4, 3, 1, True)
    expected = CHAIN.replace('tags = ["api"]\n', 'tags = ["api"]\nstatus = "completed"\n')
    expected = expected.replace('status = "pending"', 'status = "assigned"')
    assert plan.path(town).read_text() == (
        expected + 'status = "assigned"\nagent = "other"\n\n[[tasks]]\n'
        f'id = "{more.id[:8]}"\ndescription = """\nBy hand:\n- one"""\nagent = "backend"\nstatus = "assigned"\n'
        'tags = ["x"]\n'
    )
    before = snapshot(town)
    assert push(town) == {Did.FINISHED: 1, Did.UNCHANGED: 3}
    assert snapshot(town) == before


def test_pull_of_a_waiting_task(town: Town, chain: dict[str, Task]) -> None:
    """The agent that is to have it, when somebody changed that in the town."""
    register(town, "other")
    tasks.cancel(town, chain["build"].id, None, USER)
    tasks.retry(town, chain["build"].id, USER, to="other")
    plan.pull(town)
    assert [entry.agent for entry in plan.load(town).entries] == ["backend", "other", None]
    assert push(town) == {Did.UNCHANGED: 3}


def test_pull_into_nothing(town: Town, chain: dict[str, Task]) -> None:
    """Without a file a plan is made that says the same: ids, order, links, agents, and nobody where there is nobody."""
    plan.path(town).unlink()

    plan.pull(town)

    assert [entry.id for entry in plan.load(town).entries] == ["design", "build", "review"]
    before = snapshot(town)
    assert push(town) == {Did.UNCHANGED: 3}
    assert snapshot(town) == before


def test_pull_of_an_empty_town(town: Town) -> None:
    """Without tasks and file: an empty plan; an existing file is left as it is."""
    assert plan.pull(town).tasks == 0
    assert plan.load(town).entries == []
    path = write(town, CHAIN)
    seen = path.stat()
    plan.pull(town)
    assert (path.stat().st_ino, path.read_text()) == (seen.st_ino, CHAIN)


def test_nobody_is_pulled_as_nobody(town: Town) -> None:
    """A task of the backlog does not go to the default agent by being pulled and pushed."""
    register(town)
    task = backlog.add(town, "x", [], USER)
    write(town, '[meta]\ndefault_agent = "backend"\n')
    plan.pull(town)
    assert push(town) == {Did.UNCHANGED: 1}
    assert town.store.tasks.backlog_ids() == [task.id]


def test_tasks_that_begin_alike(town: Town) -> None:
    """Their whole ids are written; a short one in the file is refused when it became ambiguous."""
    first, second = (f"abcdef01-0000-4000-8000-00000000000{n}" for n in (1, 2))
    agent = register(town)
    for task_id in (first, second):
        with writing(town) as tx:
            tx.save_task(None, make_task(TaskState.FAILED, id=task_id, created_at=task_id, assigned_to=agent.id))
    plan.pull(town)
    assert [entry.id for entry in plan.load(town).entries] == [first, second]
    assert push_only(town) == {Did.FINISHED: 2}
    write(town, '[[tasks]]\nid = "abcdef01"\ndescription = "x"\n')
    with pytest.raises(Conflict, match="'abcdef01' is ambiguous"):
        pushing.push(town, USER)


def push_only(town: Town) -> dict[Did, int]:
    return dict(pushing.push(town, USER).counts)


def test_an_editor_that_saves_meanwhile(town: Town, chain: dict[str, Task], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it saved is kept, and pulled into; a file that never stands still is left alone."""
    tasks.complete(town, chain["design"].id, None, USER)
    real = plan.replaced
    saved: list[int] = []

    def interrupted(target: Path, old: str | None, new: str) -> bool:
        if not saved:
            saved.append(target.write_text(CHAIN + "# mine\n"))
        return real(target, old, new)

    monkeypatch.setattr(plan, "replaced", interrupted)
    plan.pull(town)
    text = plan.path(town).read_text()
    assert text.endswith("# mine\n")
    assert 'status = "completed"' in text

    monkeypatch.setattr(plan, "replaced", lambda *_: False)
    tasks.complete(town, chain["build"].id, None, USER)
    with pytest.raises(Conflict, match="being changed"):
        plan.pull(town)


def test_a_link_and_its_mode_stay(town: Town, chain: dict[str, Task]) -> None:
    """A pull writes the file that the link points to, with its permissions."""
    real = town.root / "plans" / "mine.toml"
    real.parent.mkdir()
    plan.path(town).rename(real)
    real.chmod(0o640)
    plan.path(town).symlink_to(real)
    tasks.complete(town, chain["design"].id, None, USER)

    plan.pull(town)

    assert plan.path(town).is_symlink()
    assert (real.stat().st_mode & 0o777, "completed" in real.read_text()) == (0o640, True)


def test_files_that_cannot_be_used(town: Town) -> None:
    """Missing, a folder, not text: each is said."""
    with pytest.raises(NotFound, match=r"No tasks\.toml found"):
        plan.load(town)
    plan.path(town).write_bytes(b"\xff")
    with pytest.raises(Invalid, match="not UTF-8"):
        plan.load(town)
    plan.path(town).unlink()
    plan.path(town).mkdir()
    with pytest.raises(Forbidden, match="Cannot read"):
        plan.load(town)
    with pytest.raises(Conflict, match="exists already"):
        plan.init(town)


@pytest.mark.slow
def test_pushed_by_eight_at_once(town: Town) -> None:
    """One task for each id, one message for each task, and everybody is told the same total."""
    agent = register(town)
    entry = '[[tasks]]\nid = "t{0}"\ndescription = "x"\nagent = "backend"\n'
    text = "".join(entry.format(n) + (f'depends_on = ["t{n - 1}"]\n' if n % 3 == 2 else "") for n in range(1200))
    write(town, text)

    totals = in_processes(8, lambda _n: pushing.push(same_town(town), USER).counts.total(), within_s=50)

    assert totals == [1200] * 8
    found = by_plan_id(town)
    assert len(found) == len(all_tasks(town)) == 1200
    assert sorted(map(str, mail_of(town, agent.id))) == sorted(
        task.id for task in found.values() if task.state is TaskState.ASSIGNED
    )
    invariants.check(town, settled=False)


def has_tasks(town: Town, count: int) -> bool:
    return sum(town.store.tasks.counts().values()) >= count


@pytest.mark.fault
@pytest.mark.slow
def test_killed_in_the_middle(town: Town) -> None:
    """What was pushed is whole; the next push completes it, each task once."""
    agent = register(town)
    entry = '[[tasks]]\nid = "t{0}"\ndescription = "x"\nagent = "backend"\n'
    text = "".join(entry.format(n) + (f'depends_on = ["t{n - 1}"]\n' if n % 2 else "") for n in range(5000))
    write(town, text)
    for share in (500, 2500):
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                pushing.push(same_town(town), USER)
            os._exit(0)
        wait_until(partial(has_tasks, town, share), 20)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        invariants.check(town, settled=False)
        assert not has_tasks(town, 5000)

    counts = push(town)

    assert sum(counts.values()) == 5000
    assert counts.keys() == {Did.NEW, Did.UNCHANGED}
    assert len(mail_of(town, agent.id)) == 2500
    assert push(town) == {Did.UNCHANGED: 5000}


@pytest.mark.slow
def test_completions_during_pushes(town: Town) -> None:
    """While four push the same chains again and again four complete them: nothing starts early or is forgotten."""
    agent = register(town)
    entry = '[[tasks]]\nid = "{0}-{1}"\ndescription = "x"\nagent = "backend"\n'
    links = [(c, n) for c in range(20) for n in range(5)]
    text = "".join(entry.format(c, n) + (f'depends_on = ["{c}-{n - 1}"]\n' if n else "") for c, n in links)
    push(town, text)

    def work(number: int) -> int:
        own = same_town(town)
        if number < 4:
            for _ in range(6):
                pushing.push(own, USER)
            return 0
        done, deadline = 0, time.monotonic() + 20
        while time.monotonic() < deadline and (ready := own.store.tasks.ids([TaskState.ASSIGNED])):
            for task_id in ready[number - 4 :: 4] or ready:
                with contextlib.suppress(Conflict):
                    tasks.complete(own, task_id, None, USER)
                    done += 1
        return done

    assert sum(in_processes(8, work, within_s=50)) == 100
    assert {task.state for task in all_tasks(town).values()} == {TaskState.COMPLETED}
    assert len(events(town, "task_assigned")) == 100
    invariants.check(town, settled=False)
    assert mailroom(town, agent).look("true", {}) is not None


def test_a_byte_order_mark(town: Town) -> None:
    """Some editors put one before the text: the plan is the same, and a pull that changes the file leaves it out."""
    path = plan.path(town)
    path.write_bytes(b'\xef\xbb\xbf# why\r\n[[tasks]]\r\nid = "a"\r\ndescription = "x"\r\n')
    assert pushing.push(town, Caller()).counts == {Did.NEW: 1}
    assert plan.pull(town).changed == 0
    assert path.read_bytes().startswith(b"\xef\xbb\xbf# why")
    (task,) = all_tasks(town).values()
    tasks.complete(town, task.id, "done", Caller())
    assert plan.pull(town).layout_kept
    assert path.read_bytes() == b'# why\r\n[[tasks]]\r\nid = "a"\r\ndescription = "x"\r\nstatus = "completed"\r\n'
