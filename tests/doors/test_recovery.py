"""`tt recover`, `tt reclaim`, `tt prune`: what they say, and what they do after real deaths."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import town as towns
from tests.support.cli import Tt
from tests.support.running_town import RunningTown, compile_stubborn
from tinytown import processes
from tinytown.domain.agent import Agent
from tinytown.domain.states import AgentState, TaskState
from tinytown.services import backlog
from tinytown.services.caller import Caller
from tinytown.town import Town

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stubborn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_stubborn(tmp_path_factory.mktemp("stubborn"))


@pytest.fixture
def living(tmp_path: Path, stubborn: Path) -> Iterator[RunningTown]:
    """A supervised town; the test ends it with `finish`."""
    running = RunningTown(tmp_path / "living", stubborn, supervisor={"grace_s": 2.0, "backoff_s": 0.05})
    try:
        yield running.start()
    finally:
        running.close()


def at(running: RunningTown) -> Tt:
    """`tt` for this town."""
    return Tt(running.root, town=running.root)


@pytest.fixture
def dead(town: Town) -> Agent:
    return towns.register(town, "worker-1", wanted=False)


# What they say


def test_recover_says_whom(tt: Tt, town: Town) -> None:
    """Each orphan with its state and silence; then there is none."""
    towns.register(town, "worker-1", state=AgentState.WORKING)
    towns.register(town, "worker-2", wanted=False)
    ran = tt.ok("recover")
    assert re.sub(r"heartbeat \w+ \w+ ago", "heartbeat 3d 4h ago", ran.out) == (
        "Scanning for orphaned agents...\n"
        "   Recovered 'worker-1' (Working) - last heartbeat 3d 4h ago\n"
        "\n"
        "Recovered 1 orphaned agent(s) (2 total checked)\n"
        "   Run 'tt prune' to remove them from Redis\n"
    )
    assert tt.ok("recover").out == "Scanning for orphaned agents...\n\nNo orphaned agents found (2 agents checked)\n"


def test_reclaim_without_a_goal(tt: Tt, town: Town, dead: Agent) -> None:
    """A preview: nothing is changed, nothing is started."""
    assert tt.ok("reclaim").out == "Reclaiming orphaned tasks...\n\nNo tasks found in dead agent inboxes\n"
    task, _ = towns.give_task(town, dead)
    towns.give_mail(town, dead, "task", description="Update\n\x1b[2Jschema")
    before = towns.snapshot(town)
    assert tt.ok("reclaim").out == (
        "Reclaiming orphaned tasks...\n"
        "   worker-1 (Stopped): 2 message(s)\n"
        f"      task: {task.id}\n"
        "      task: Update \\x1b[2Jschema\n"
        "\n"
        "Found 2 orphaned task(s)\n"
        "   Use --to-backlog or --to <agent> to reclaim them\n"
    )
    (shape,) = tt.ok("reclaim", "--json").json
    assert (shape["agent"], shape["agent_id"], shape["state"], shape["moved"]) == ("worker-1", dead.id, "stopped", [])
    assert shape["stays"][0] == {"type": "task_assign", "task_id": task.id, "text": task.id}
    assert towns.snapshot(town) == before


def test_reclaim_to_the_backlog(tt: Tt, town: Town, dead: Agent) -> None:
    """Tasks go, other mail stays, and both are said."""
    task, _ = towns.give_task(town, dead)
    towns.give_mail(town, dead)
    assert tt.ok("reclaim", "--from", "worker-1", "--to-backlog").out == (
        "Reclaiming orphaned tasks...\n"
        "   worker-1 (Stopped): 2 message(s)\n"
        f"      → backlog: {task.id}\n"
        "      stays: query: which port?\n"
        "\n"
        "Moved 1 task(s) to backlog\n"
        "   1 other message(s) stay: only tasks go to the backlog. Move them with --to <agent>\n"
    )
    assert town.store.tasks.backlog_ids() == [task.id]


def test_reclaim_to_an_agent(tt: Tt, town: Town, dead: Agent) -> None:
    """Everything goes; the agent may be given by a prefix of its id."""
    helper = towns.register(town, "worker-2")
    task, _ = towns.give_task(town, dead)
    towns.give_mail(town, dead)
    assert tt.ok("reclaim", "--to", helper.id[:8]).out == (
        "Reclaiming orphaned tasks...\n"
        "   worker-1 (Stopped): 2 message(s)\n"
        f"      → worker-2: {task.id}\n"
        "      → worker-2: which port?\n"
        "\n"
        "Moved 1 task(s) and 1 other message(s) to 'worker-2'\n"
    )
    assert len(towns.texts(town, "inbox", helper.id)) == 2
    assert tt.ok("reclaim", "--to", "worker-2", "--json").json[0]["moved"] == []


def test_reclaim_where_nobody_has_ended(tt: Tt, town: Town) -> None:
    """It says so."""
    towns.register(town)
    for args in ((), ("--to-backlog",)):
        ran = tt.ok("reclaim", *args)
        assert ran.out == "Reclaiming orphaned tasks...\n\nNo dead agents found with tasks to reclaim\n"


def test_reclaim_is_refused(tt: Tt, town: Town, dead: Agent) -> None:
    """Unknown or ended goals, sources that have not ended: one line, nothing changed."""
    towns.give_task(town, dead)
    towns.register(town, "alive")
    before = towns.snapshot(town)
    for args, said in (
        (("--to", "nobody"), "Error: Agent not found: nobody"),
        (("--to", "worker-1"), "Error: Agent 'worker-1' has ended (Stopped)."),
        (("--from", "alive"), "Error: Agent 'alive' not found or not in terminal state"),
        (("--from", "nobody", "--to-backlog"), "Error: Agent 'nobody' not found or not in terminal state"),
    ):
        assert tt.fails("reclaim", *args).complaint[0] == said
    assert towns.snapshot(town) == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--to-backlog", "--to", "x"), "Give one of --to-backlog, --to and --cancel."),
        (("--cancel",), "--cancel goes with --orphan-tasks."),
        (("--orphan-tasks", "--to", "x"), "--orphan-tasks goes with --to-backlog or --cancel."),
        (("--orphan-tasks", "--from", "x"), "--orphan-tasks goes with --to-backlog or --cancel."),
        (("--orphan-tasks", "--to-backlog", "--cancel"), "Give one of --to-backlog, --to and --cancel."),
    ],
)
def test_reclaim_options_that_do_not_fit(tt: Tt, args: tuple[str, ...], said: str) -> None:
    """A usage error."""
    assert said in tt.fails("reclaim", *args, code=2).err


def test_orphan_tasks(tt: Tt, town: Town, dead: Agent) -> None:
    """Listed with the reason, then requeued or cancelled."""
    assert tt.ok("reclaim", "--orphan-tasks").out == "No orphan tasks found\n"
    task, _ = towns.give_task(town, dead)
    listed = f"Found 1 orphan task(s):\n   task {task.id} (state=Assigned) → worker-1 [assignee terminal]\n\n"
    ran = tt.ok("reclaim", "--orphan-tasks")
    assert ran.out == f"{listed}   Use --to-backlog or --cancel to settle them\n"
    (shape,) = tt.ok("reclaim", "--orphan-tasks", "--json").json
    assert (shape["id"], shape["agent"], shape["reason"]) == (task.id, "worker-1", "agent_terminal")
    assert tt.ok("reclaim", "--orphan-tasks", "--to-backlog").out == f"{listed}Requeued 1 orphan task(s)\n"
    assert town.store.tasks.backlog_ids() == [task.id]
    again, _ = towns.give_task(town, dead)
    assert tt.ok("reclaim", "--orphan-tasks", "--cancel").out.endswith("Cancelled 1 orphan task(s)\n")
    assert towns.task_now(town, again).result == "Cancelled: assignee is in a terminal state"


def test_prune(tt: Tt, town: Town, dead: Agent) -> None:
    """Whom it removed; then there is nobody."""
    failed = towns.register(town, "worker-2", wanted=False, state=AgentState.ERROR)
    assert tt.ok("prune").out == (
        f"Removed worker-1 ({dead.id}) - Stopped\nRemoved worker-2 ({failed.id}) - Error\nPruned 2 agent(s)\n"
    )
    assert tt.ok("prune").out == "No agents to prune.\n"


def test_prune_keeps_unread_mail(tt: Tt, town: Town, dead: Agent) -> None:
    """It says where it is and what helps, removes the others, and fails; that remedy works, and so does force."""
    task, _ = towns.give_task(town, dead)
    towns.register(town, "worker-2", wanted=False)
    ran = tt("prune")
    assert ran.code == 1
    assert ran.out.endswith("Pruned 1 agent(s)\n")
    assert ran.complaint == [
        f"Kept worker-1 ({dead.id}) - 1 unread message(s). Next: tt reclaim --from worker-1 --to-backlog",
        "Error: 1 agent(s) kept.",
        "To destroy what they hold: tt prune --force",
    ]
    tt.ok("reclaim", "--from", "worker-1", "--to-backlog")
    assert "Removed worker-1" in tt.ok("prune").out
    last = towns.register(town, "worker-3", wanted=False)
    towns.give_task(town, last)
    towns.give_mail(town, last)
    assert tt.ok("prune", "--force").out == (
        f"Removed worker-3 ({last.id}) - Stopped\n"
        "   1 message(s) destroyed, 1 task(s) back in the backlog\n"
        "Pruned 1 agent(s)\n"
    )
    assert len(town.store.tasks.backlog_ids()) == 2
    assert town.store.tasks.backlog_ids()[0] == task.id


def test_prune_all_from_a_round(tt: Tt, town: Town) -> None:
    """A model cannot end itself by it: refused, nothing changed."""
    agent = towns.register(town, "boss")
    before = towns.snapshot(town)
    ran = tt.fails("prune", "--all", env={"TINYTOWN_AGENT_ID": agent.id, "TINYTOWN_RUN": f"{agent.id}:1:1"})
    assert ran.complaint[0] == "Error: Agent 'boss' cannot wait for its own end in its own round."
    assert towns.snapshot(town) == before


@pytest.mark.slow
def test_a_preview_starts_nothing(made: Tt) -> None:
    """Redis is down: said, and left so."""
    made.ok("stop", "--all")
    for args in (("reclaim",), ("reclaim", "--orphan-tasks"), ("reset",)):
        assert made.fails(*args).err.startswith("Error: Redis is not running for town 'my-project'")
        assert not (made.cwd / ".tt" / "redis.sock").exists()
    assert "No orphaned agents found" in made.ok("recover").out


# What they do


@pytest.mark.fault
@pytest.mark.slow
def test_after_a_crash(living: RunningTown) -> None:
    """Supervisor and actor killed in mid-round: recover, reclaim, prune; then another agent does the work, once."""
    tt = at(living)
    living.spawn("ann", "bob")
    task = living.assign("ann", "first hang")
    waiting = living.assign("ann")
    query = living.send("ann", "which port?", kind="query")
    living.wait_run(task)
    model = living.models("ann")
    living.kill_supervisor()
    living.kill(living.actor("ann"))  # the idle one leaves by itself
    living.wait(lambda: living.agent("bob").state is AgentState.STOPPED, "the end of bob")

    assert "Recovered 'ann' (Working)" in tt.ok("recover").out

    assert not any(map(processes.is_alive, model))
    assert tt.ok("list", "--json").json[0]["state"] == "stopped"
    living.settle()
    assert "Moved 2 task(s) to backlog" in tt.ok("reclaim", "--to-backlog").out
    assert "Removed bob" in tt("prune").out
    living.start()
    living.spawn("cid")
    assert "Moved 0 task(s) and 1 other message(s) to 'cid'" in tt.ok("reclaim", "--to", "cid").out
    assert "Removed ann" in tt.ok("prune").out
    backlog.assign_all(living.town, "cid", Caller())
    living.wait_done(task, waiting)
    living.wait(lambda: any(e.get("message_id") == query.id for e in living.events("message_acked")), "the query")
    assert (len(living.runs(task)), len(living.runs(waiting))) == (2, 1)
    assert sorted(path.name for path in (living.town.state_dir / "agents").iterdir()) == ["cid"]
    living.finish()


@pytest.mark.fault
@pytest.mark.slow
def test_who_lives_is_left_alone(living: RunningTown) -> None:
    """A dead actor under a supervisor is restarted; a living one without a supervisor finishes its long run."""
    tt = at(living)
    living.spawn("ann")
    living.kill(living.actor("ann"))
    assert "No orphaned agents found" in tt.ok("recover").out
    living.wait_idle("ann")
    task = living.assign("ann", "await go")
    living.wait_run(task)
    living.kill_supervisor()
    assert "No orphaned agents found (1 agents checked)" in tt.ok("recover").out
    assert "No agents to prune." in tt.ok("prune").out
    living.go()
    living.wait_done(task)
    living.start()
    living.finish()


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("is_supervised", [True, False], ids=["supervised", "supervisor dead"])
def test_prune_all(living: RunningTown, *, is_supervised: bool) -> None:
    """Rounds get their grace time, then end uncharged; what was in hand is in the backlog; nothing lives on."""
    tt = at(living)
    living.spawn("ann", "bob")
    task, last = living.assign("ann", "first hang"), living.assign("bob", "await go")
    for each in (task, last):
        living.wait_run(each)
    actors = [living.actor(name) for name in ("ann", "bob")]
    if not is_supervised:
        living.kill_supervisor()
    living.go()

    ran = tt.ok("prune", "--all", "--force")

    assert "Waiting up to 2 s for: ann" in ran.err
    assert "Pruned 2 agent(s)" in ran.out
    assert living.task(last).state is TaskState.COMPLETED
    assert living.task(task).state is TaskState.PENDING
    assert living.town.store.tasks.backlog_ids() == [task.id]
    living.wait(lambda: not any(map(processes.is_alive, actors)), "the actors' ends")
    if not is_supervised:
        living.start()
    living.spawn("cid")
    backlog.assign_all(living.town, "cid", Caller())
    living.wait_done(task)
    living.finish()


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("is_frozen", [False, True], ids=["obeys", "frozen"])
def test_prune_all_and_a_terminal(living: RunningTown, *, is_frozen: bool) -> None:
    """An agent in a terminal ends too: in order, or, frozen by Ctrl-Z, by force."""
    tt = at(living)
    with tt.running("spawn", "ann", "--foreground") as terminal:
        living.wait(living.town.store.agents.names, "the agent")
        living.wait_idle("ann")
        if is_frozen:
            terminal.send_signal(signal.SIGSTOP)
        ran = tt.ok("prune", "--all")
        assert "Pruned 1 agent(s)" in ran.out
        assert terminal.wait(10) == (-signal.SIGKILL if is_frozen else 0)
    assert living.town.store.agents.names() == living.town.store.agents.wishes() == {}
    living.finish()


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("command", [("recover",), ("reclaim", "--to-backlog"), ("prune", "--all", "--force")])
def test_killed_in_the_middle(living: RunningTown, command: tuple[str, ...]) -> None:
    """At any moment: the invariants hold, and the same command again goes on."""
    tt = at(living)
    living.spawn("ann", "bob")
    tasks = [living.assign(name, "first hang") for name in ("ann", "bob")]
    tasks += [living.assign(name) for name in ("ann", "bob") for _ in range(10)]
    for task in tasks[:2]:
        living.wait_run(task)
    living.kill_supervisor()
    for name in ("ann", "bob"):
        living.kill(living.actor(name))
    if command[0] == "reclaim":
        tt.ok("recover")
    seen = living.town.store.events.last_id()
    for _ in range(4):  # each one is killed a little further on its way
        with tt.running(*command) as process:
            living.wait(_went_on(living, seen, process), "a change, or its end")
            process.send_signal(signal.SIGKILL)
            process.wait()
        seen = living.town.store.events.last_id()
        living.check()

    tt.ok(*command)

    tt.ok("recover")
    tt.ok("reclaim", "--to-backlog")
    tt.ok("prune")
    assert living.town.store.agents.names() == {}
    assert sorted(living.town.store.tasks.backlog_ids()) == sorted(task.id for task in tasks)
    living.start()
    living.finish()


def _went_on(running: RunningTown, seen: str, process: subprocess.Popen[str]) -> Callable[[], bool]:
    return lambda: process.poll() is not None or running.town.store.events.last_id() != seen
