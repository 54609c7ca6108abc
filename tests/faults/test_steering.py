"""Interrupt, resume, close and wait with real processes, while they work, die and are started again."""

from __future__ import annotations

import signal

import pytest

from tests.faults.conftest import NewTown
from tests.support.running_town import RunningTown
from tests.support.town import in_processes, same_town
from tinytown import clock
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.services import agents, messages, steering, waiting, why
from tinytown.services.caller import Caller
from tinytown.services.steering import Steered

pytestmark = [pytest.mark.slow, pytest.mark.fault]
PERSON = Caller()


def interrupt(town: RunningTown, *, now: bool = False) -> Steered:
    return steering.interrupt(town.town, "ann", PERSON, now=now)


def charged(town: RunningTown, task: Task) -> tuple[int, int]:
    """Rounds and attempts that ann was charged."""
    row = agents.resolve(town.town, "ann")
    counted = town.town.store.redis.hvals(town.town.store.keys.attempts(row.agent.id))
    assert task.assigned_to == row.agent.id
    return row.stats.get("rounds", 0), sum(map(int, counted))


def codes(town: RunningTown, reference: str) -> list[str]:
    return [reason.code for reason in why.explain(town.town, reference).reasons]


def test_an_idle_agent_pauses_at_once(town: RunningTown) -> None:
    """It is paused when the command returns, takes up nothing, answers a ping, and goes on with what waits."""
    town.spawn("ann")
    town.wait_idle("ann")
    begun = clock.monotonic()
    assert interrupt(town).agent.state is AgentState.PAUSED
    assert clock.monotonic() - begun < 1
    task = town.assign("ann")
    town.send("ann", "urgent", urgent=True)
    assert not interrupt(town).changed
    assert codes(town, task.id)[0] == "paused"
    assert not town.runs(task)
    town.check()

    done = steering.resume(town.town, "ann")

    assert done.agent.state in {AgentState.IDLE, AgentState.WORKING}
    town.wait_done(task)
    town.wait_idle("ann")


def test_a_working_agent_pauses_after_its_round(town: RunningTown) -> None:
    """The round goes on to its end and counts; the next task waits."""
    town.spawn("ann")
    task, queued = town.assign("ann", "await go"), town.assign("ann")
    town.wait_run(task)

    done = interrupt(town)

    assert (done.changed, done.is_in_round, done.agent.state) == (True, True, AgentState.WORKING)
    town.go()
    town.wait_done(task)
    town.wait(lambda: town.agent("ann").state is AgentState.PAUSED, "the pause")
    assert charged(town, queued) == (1, 0)
    assert not town.runs(queued)
    steering.resume(town.town, "ann")
    town.wait_done(queued)


def test_resume_before_the_pause_has_begun(town: RunningTown) -> None:
    """A pause that waits for the end of a round is taken back: the agent never pauses."""
    town.spawn("ann")
    task, queued = town.assign("ann", "await go"), town.assign("ann")
    town.wait_run(task)
    interrupt(town)
    assert steering.resume(town.town, "ann").agent.state is AgentState.WORKING
    town.go()
    town.wait_done(task, queued)
    assert "paused" not in {event["new_state"] for event in town.events("agent_state_changed")}


@pytest.mark.parametrize("directives", [["first hang"], ["first ignore-term", "first child kid", "first hang"]])
def test_interrupt_now_ends_the_model(town: RunningTown, directives: list[str]) -> None:
    """TERM, then KILL: its work goes back, uncharged, and is run again after a resume; no process of it is left."""
    town.spawn("ann")
    task = town.assign("ann", *directives)
    town.wait_run(task)

    done = interrupt(town, now=True)

    assert done.agent.state is AgentState.PAUSED
    assert not town.models("ann")
    assert (town.task(task).state, charged(town, task)) == (TaskState.ASSIGNED, (0, 0))
    town.check()
    steering.resume(town.town, "ann")
    town.wait_done(task)
    assert len(town.runs(task)) == 2
    assert charged(town, task) == (1, 0)


def test_interrupt_now_after_interrupt(town: RunningTown) -> None:
    """Who finds the round too long ends it with a second, stronger interrupt."""
    town.spawn("ann")
    task = town.assign("ann", "first hang")
    town.wait_run(task)
    assert interrupt(town).is_in_round
    assert interrupt(town, now=True).agent.state is AgentState.PAUSED
    steering.resume(town.town, "ann")
    town.wait_done(task)


@pytest.mark.parametrize("option", ["", " --now"])
def test_its_own_model_interrupts_it(town: RunningTown, option: str) -> None:
    """No deadlock: the command returns (or dies with the round), and the agent is paused."""
    town.spawn("ann")
    task = town.assign("ann", f"first run tt interrupt ann{option} > $STUBBORN_DIR/said", "first work 200")
    town.wait(lambda: town.agent("ann").state is AgentState.PAUSED, "the pause")
    if not option:
        assert "Agent will pause after its round." in (town.control / "said").read_text()
        town.wait_done(task)
        return
    assert town.task(task).state is TaskState.ASSIGNED
    steering.resume(town.town, "ann")
    town.wait_done(task)


def test_a_pause_outlives_everybody(town: RunningTown) -> None:
    """The actor is killed, the supervisor is killed, Redis is killed: paused it stays, until it is resumed."""
    town.spawn("ann")
    interrupt(town)
    task = town.assign("ann")
    for victim in ("actor", "supervisor", "redis"):
        actor = town.actor("ann")
        if victim == "actor":
            town.kill(actor)
        elif victim == "supervisor":
            town.kill_supervisor()
            town.wait(lambda: "no_supervisor" in codes(town, task.id), "the actor to leave")
            town.restart_supervisor()
        else:
            town.kill_redis()
        town.wait(
            lambda: town.agent("ann").state is AgentState.PAUSED and town.actor("ann"), f"it without its {victim}"
        )
        assert (victim == "redis") == (town.actor("ann") == actor)
        assert not town.runs(task)
    town.check_when_up()

    steering.resume(town.town, "ann")

    town.wait_done(task)
    assert len(town.runs(task)) == 1


def test_a_pause_without_a_supervisor(town: RunningTown) -> None:
    """The wish is recorded at once, and obeyed by the next supervisor."""
    town.spawn("ann")
    town.wait_idle("ann")
    town.kill_supervisor()
    town.wait(lambda: codes(town, "ann") == ["no_supervisor"], "the actor to leave")
    begun = clock.monotonic()
    done = interrupt(town)
    assert (done.changed, done.is_attended) == (True, False)
    assert clock.monotonic() - begun < 1
    task = town.assign("ann")
    town.restart_supervisor()
    town.wait(lambda: town.agent("ann").state is AgentState.PAUSED, "the pause")
    steering.resume(town.town, "ann")
    town.wait_done(task)


def test_a_frozen_actor_is_not_waited_for(town: RunningTown) -> None:
    """It does not look: the command returns in bounds, and the pause comes when it does."""
    town.spawn("ann")
    town.wait_idle("ann")
    actor = town.actor("ann")
    town.kill(actor, signal.SIGSTOP)
    begun = clock.monotonic()
    assert interrupt(town).agent.state is AgentState.IDLE
    assert 4 < clock.monotonic() - begun < 8
    town.kill(actor, signal.SIGCONT)
    town.wait(lambda: town.agent("ann").state is AgentState.PAUSED, "the pause")


def test_a_kill_of_a_paused_agent(town: RunningTown) -> None:
    """It ends at once; its mail stays for a restart."""
    town.spawn("ann")
    interrupt(town)
    task = town.assign("ann")
    agents.kill(town.town, "ann")
    assert waiting.for_agent(town.town, "ann", 5) is AgentState.STOPPED
    agents.restart(town.town, "ann")
    town.wait_done(task)


def test_close_works_off_what_waits(town: RunningTown) -> None:
    """Everything that was there is done, in order; what came later waits for the next life; then it has stopped."""
    town.spawn("ann")
    queued = [town.assign("ann", "await go"), town.assign("ann"), town.assign("ann", "first exit 1")]
    question = town.send("ann", "which port?", kind="query")
    town.send("ann", "by the way", kind="info")
    town.wait_run(queued[0])

    done = steering.close(town.town, "ann")

    assert (done.changed, done.agent.state) == (True, AgentState.DRAINING)
    late = town.assign("ann")
    assert codes(town, late.id) == ["late"]
    assert not steering.close(town.town, "ann").changed
    town.go()
    ended = waiting.wait(town.town, "ann", 15)
    assert (ended.state, ended.reason) == (AgentState.STOPPED, "closed, its mail is done")
    assert all(town.task(task).state is TaskState.COMPLETED for task in queued)
    assert question.id not in {m.id for m in messages.mailbox(town.town, "ann").messages}
    assert (town.task(late).state, town.runs(late)) == (TaskState.ASSIGNED, [])
    town.check()
    agents.restart(town.town, "ann")
    town.wait_done(late)


def test_close_of_agents_without_work(town: RunningTown) -> None:
    """An idle one stops at once; a paused one goes on first."""
    town.spawn("ann", "bob")
    town.wait_idle("ann", "bob")
    steering.close(town.town, "bob")
    assert waiting.for_agent(town.town, "bob", 5) is AgentState.STOPPED
    interrupt(town)
    task = town.assign("ann")
    steering.close(town.town, "ann")
    assert waiting.for_agent(town.town, "ann", 10) is AgentState.STOPPED
    assert town.task(task).state is TaskState.COMPLETED


def test_close_takes_nothing_from_the_backlog(town: RunningTown) -> None:
    """Work for its role that nobody has yet is not its business any more."""
    town.spawn("ann", role="api")
    task = town.assign("ann", "await go", "run tt backlog add --tags api more")
    town.wait_run(task)
    steering.close(town.town, "ann")
    town.go()
    assert waiting.for_agent(town.town, "ann", 10) is AgentState.STOPPED
    assert len(town.town.store.tasks.backlog_ids()) == 1


def test_a_close_outlives_the_actor_and_the_supervisor(town: RunningTown) -> None:
    """Both die while it drains: it goes on draining, then stops, with everything done once."""
    town.spawn("ann")
    queued = [town.assign("ann", "first hang"), town.assign("ann")]
    town.wait_run(queued[0])
    steering.close(town.town, "ann")
    town.kill_supervisor()
    town.kill(town.actor("ann"))
    town.restart_supervisor()

    assert waiting.for_agent(town.town, "ann", 15) is AgentState.STOPPED
    town.wait_done(*queued)
    town.check()


def test_interrupt_while_it_drains(town: RunningTown) -> None:
    """A closing agent can be paused; resumed, it goes on closing."""
    town.spawn("ann")
    task, queued = town.assign("ann", "first hang"), town.assign("ann")
    town.wait_run(task)
    steering.close(town.town, "ann")
    assert interrupt(town, now=True).agent.state is AgentState.PAUSED
    assert codes(town, "ann") == ["paused", "mail"]
    assert steering.resume(town.town, "ann").agent.state is AgentState.DRAINING
    assert waiting.for_agent(town.town, "ann", 10) is AgentState.STOPPED
    town.wait_done(task, queued)


def test_mail_that_races_with_a_close(town: RunningTown) -> None:
    """Whatever was accepted is done or lies in the inbox; no run comes after the end."""
    town.spawn("ann")

    def work(number: int) -> list[str]:
        own = same_town(town.town)
        if number == 0:
            own.store.events.after(own.store.events.last_id(), 0.02)
            steering.close(own, "ann")
            return []
        return [messages.send(own, "ann", f"{number}.{n}", PERSON, kind="query").id for n in range(15)]

    town.accepted += [i for some in in_processes(4, work) for i in some]
    assert waiting.for_agent(town.town, "ann", 20) is AgentState.STOPPED
    town.check()


def test_waiting_outlives_redis(town: RunningTown) -> None:
    """The server dies and is started again while somebody waits for a task: the end is still heard of."""
    town.spawn("ann")
    task = town.assign("ann", "await go")
    town.wait_run(task)

    def work(number: int) -> str:
        own = same_town(town.town)
        if number:
            return waiting.wait(own, task.id, 30).state.value
        town.kill_redis()
        town.wait(own.store.redis.ping, "Redis")
        town.go()
        return ""

    assert in_processes(2, work, 40) == ["", "completed"]


def test_what_a_restart_waits_for(new_town: NewTown) -> None:
    """After several deaths the supervisor pauses: how long is what it says itself; then it has given up."""
    town = new_town(supervisor={"backoff_s": 20.0, "backoff_max_s": 20.0, "restart_intensity": 2})
    town.spawn("ann")
    task = town.assign("ann", "await go")
    town.wait_run(task)
    town.kill(actor := town.actor("ann"))
    town.wait(lambda: town.actor("ann") != actor, "the restart at once")
    town.kill(town.actor("ann"))
    town.wait(lambda: codes(town, task.id)[0] == "restarting", "the pause before the next start")
    (found,) = (r for r in why.explain(town.town, "ann").reasons if r.code == "restarting")
    assert 10 < (clock.parse(found.until or "") - clock.now()).total_seconds() <= 21
    assert "restart 2; it gives up after 2 in 60 s" in found.text
    town.go()
    agents.kill(town.town, "ann")
    waiting.for_agent(town.town, "ann", 5)
