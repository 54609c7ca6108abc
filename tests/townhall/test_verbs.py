"""Every verb over HTTP: done, answered in its promised form, and told in the town."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support import invariants
from tests.support.builders import make_item, make_mission
from tests.support.cli import Tt
from tests.support.missions import put_mission
from tests.support.running_town import RunningTown, compile_stubborn
from tests.support.town import agent_now, give_mail, give_task, register, task_now, texts, writing
from tests.support.townhall import TownHall
from tests.support.verb_calls import ask, send
from tinytown import clock, ids, processes
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.work import WorkStatus
from tinytown.town import Town
from tinytown.townhall.verbs import VERBS

pytestmark = pytest.mark.slow
Case = Callable[[Town, httpx2.Client, str], None]
CASES: dict[str, Case] = {}
# In need of a process that is started; below.
WITH_PROCESSES = {"agent.spawn", "agent.restart"}


def case(*names: str) -> Callable[[Case], Case]:
    """What tries these verbs; its third argument is a word that nothing else in the town is called."""

    def note(function: Case) -> Case:
        CASES.update(dict.fromkeys(names, function))
        return function

    return note


@pytest.fixture(scope="module", autouse=True)
def _supervised(shared_town: Town) -> Iterator[None]:
    """The supervisor's place is taken, so that nobody starts one."""
    lock = shared_town.supervisor_lock
    assert lock.acquire()
    yield
    lock.release()


@case("town.get", "town.get_status", "town.overview", "town.doctor")
def town_is_shown(town: Town, http: httpx2.Client, word: str) -> None:
    register(town, word)
    assert ask(http, "town.get")["name"] == town.name
    for deep in (False, True):
        shown = ask(http, "town.get_status", deep=deep)
        assert word in {agent["name"] for agent in shown["agents"]} or not deep  # the other may be 100 ms old
        assert ("activity" in shown["agents"][0]) == deep
    assert word in {agent["name"] for agent in ask(http, "town.overview")["agents"]}
    assert {"redis", "python"} <= {check["name"].partition(" ")[0] for check in ask(http, "town.doctor")["checks"]}


@case("agent.list", "agent.get", "agent.why")
def agents_are_shown(town: Town, http: httpx2.Client, word: str) -> None:
    agent = register(town, word, nickname=f"{word}-nick")
    assert agent.id in {one["id"] for one in ask(http, "agent.list")["agents"]}
    for reference in (word, f"{word}-nick", agent.id, agent.id[:13]):
        assert ask(http, "agent.get", agent=reference)["id"] == agent.id
    assert ask(http, "agent.why", agent=word)["kind"] == "agent"
    assert send(http, "agent.get", agent=f"{word}-other").status_code == 404


@case("agent.kill", "agent.interrupt", "agent.resume", "agent.close", "agent.prune")
def agents_are_steered(town: Town, http: httpx2.Client, word: str) -> None:
    agent = register(town, word)
    assert ask(http, "agent.interrupt", agent=word)["changed"]
    assert ask(http, "agent.get", agent=word)["pausing"]
    assert ask(http, "agent.resume", agent=word)["changed"]
    assert ask(http, "agent.close", agent=word)["agent"] == word
    assert ask(http, "agent.kill", agent=word, now=True) == {"status": "stopping", "agent": word}
    gone = register(town, f"{word}-gone", wanted=False)
    assert gone.name in ask(http, "agent.prune")["agents"]
    assert town.store.agents.row(gone.id) is None
    assert town.store.agents.row(agent.id) is not None


@case("agent.wait", "task.wait")
def ends_are_waited_for(town: Town, http: httpx2.Client, word: str) -> None:
    ended, working = register(town, f"{word}-a", wanted=False), register(town, f"{word}-b")
    assert ask(http, "agent.wait", agent=ended.name)["state"] == "stopped"
    assert send(http, "agent.wait", agent=working.name, timeout_s=0.1).status_code == 504
    task, _message = give_task(town, working)
    assert send(http, "task.wait", task_id=task.id, timeout_s=0.1).status_code == 504
    ask(http, "task.complete", task_id=task.id)
    assert ask(http, "task.wait", task_id=task.id)["state"] == "completed"


@case("agent.log", "task.log")
def logs_are_shown(town: Town, http: httpx2.Client, word: str) -> None:
    agent = register(town, word)
    (town.logs_dir / f"{word}.log").write_text("".join(f"{n}\n" for n in range(500)))
    (town.logs_dir / f"{word}_round_3.log").write_text("printed\n")
    seen = ask(http, "agent.log", agent=word, lines=2)
    assert (seen["text"], seen["rounds"], seen["round"]) == ("498\n499\n", [3], None)
    assert ask(http, "agent.log", agent=word, round=3)["text"] == "printed\n"
    assert send(http, "agent.log", agent=word, round=4).status_code == 404
    task, _message = give_task(town, agent, ended_by=f"{agent.id}:1:3")
    assert ask(http, "task.log", task_id=task.id)["text"] == "printed\n"


@case("task.assign", "task.get", "task.why", "task.list", "task.list_pending", "task.current")
def tasks_are_given(town: Town, http: httpx2.Client, word: str) -> None:
    agent = register(town, word)
    given = [ask(http, "task.assign", agent=word, task=f"do {n}", tags=["a", "b"]) for n in range(3)]
    wanted = [one["task_id"] for one in given]
    assert [given[0]["agent_name"], given[0]["task"]["tags"]] == [word, ["a", "b"]]
    assert len(texts(town, "inbox", agent.id)) == 3
    assert ask(http, "task.get", task_id=wanted[0][:13])["description"] == "do 0"
    assert ask(http, "task.why", task_id=wanted[0])["kind"] == "task"
    assert send(http, "task.current", agent=word).status_code == 404
    found = ask(http, "task.list", agent=word, state=["assigned", "running"])
    assert [one["id"] for one in found["tasks"]] == wanted
    assert ask(http, "task.list", agent=word, state="completed")["total"] == 0
    assert set(wanted) <= {one["id"] for one in ask(http, "task.list_pending", limit=500)["tasks"]}
    first = ask(http, "task.list", agent=word, limit=2)
    rest = ask(http, "task.list", agent=word, limit=2, after=first["next"])
    assert [one["id"] for one in first["tasks"] + rest["tasks"]] == wanted
    assert [first["count"], first["total"], rest["next"]] == [2, 3, None]
    with writing(town) as tx:
        row = town.store.agents.row(agent.id)
        assert row is not None
        tx.do("SET", tx.keys.agent(agent.id), row.agent.having(current_task=wanted[0]).to_json())
    assert ask(http, "task.current", agent=word)["id"] == wanted[0]


@case("task.complete", "task.fail", "task.cancel", "task.retry")
def tasks_are_ended(town: Town, http: httpx2.Client, word: str) -> None:
    agent, other = register(town, word), register(town, f"{word}-b")
    ends = {"complete": TaskState.COMPLETED, "fail": TaskState.FAILED, "cancel": TaskState.CANCELLED}
    for verb, state in ends.items():
        task, _message = give_task(town, agent)
        told = {"result": "why"} if verb == "complete" else {"reason": "why"}
        assert ask(http, f"task.{verb}", task_id=task.id, **told)["state"] == state
        assert task_now(town, task).result == "why"
        assert send(http, f"task.{verb}", task_id=task.id).status_code == 409
        again = ask(http, "task.retry", task_id=task.id, to=other.name) if verb != "complete" else None
        assert again is None or (again["state"], again["agent"]) == ("assigned", other.name)


@case("backlog.list", "backlog.add", "backlog.claim", "backlog.assign_all", "backlog.remove")
def backlog_is_worked_off(town: Town, http: httpx2.Client, word: str) -> None:
    agent = register(town, word)
    parked = [ask(http, "backlog.add", description=f"{word} {n}", tags=["dev"])["task_id"] for n in range(4)]
    listed = [one["id"] for one in ask(http, "backlog.list", limit=500)["backlog"]]
    assert [one for one in listed if one in parked] == parked
    assert ask(http, "backlog.claim", task_id=parked[0], agent=word)["agent_id"] == agent.id
    assert ask(http, "backlog.remove", task_id=parked[1]) == {"removed": True, "task_id": parked[1]}
    assert send(http, "backlog.remove", task_id=parked[1]).status_code == 404
    assert set(parked[2:]) <= set(ask(http, "backlog.assign_all", agent=word)["tasks"])
    assert ask(http, "backlog.list")["total"] == 0


@case("message.send", "agent.inbox", "message.acknowledge")
def mail_is_sent(town: Town, http: httpx2.Client, word: str) -> None:
    agent = register(town, word)
    sent = ask(http, "message.send", to=word, message="which port?", kind="query", urgent=True)
    assert (sent["to_agent"], sent["urgent"]) == (word, True)
    box = ask(http, "agent.inbox", agent=word)
    assert [(one["id"], one["text"]) for one in box["messages"]] == [(sent["message_id"], "which port?")]
    assert len(texts(town, "urgent", agent.id)) == 1
    ask(http, "message.send", to="conductor", message="all is well", kind="info", sender=word)
    read = {one["text"]: one["id"] for one in ask(http, "agent.inbox", agent="conductor")["messages"]}
    wanted = [read["all is well"]]
    assert ask(http, "message.acknowledge", message_ids=wanted)["message_ids"] == wanted
    assert "all is well" not in {one["text"] for one in ask(http, "agent.inbox", agent="conductor")["messages"]}


@case("message.list_dead", "message.retry_dead", "message.drop_dead")
def dead_letters_are_seen_to(town: Town, http: httpx2.Client, word: str) -> None:
    agent = register(town, word)
    for _ in range(2):
        message = give_mail(town, agent)
        with writing(town) as tx:
            letter = {"message": message.raw, "reason": "gave up", "at": clock.stamp(), "attempts": 3}
            tx.do("RPUSH", tx.keys.dead(agent.id), json.dumps(letter))
            tx.do("DEL", tx.keys.inbox(agent.id))
    found = ask(http, "message.list_dead", agent=word)["dead_letters"]
    assert [one["reason"] for one in found] == ["gave up"] * 2
    assert ask(http, "message.retry_dead", letter_id=found[0]["id"])["to_agent"] == word
    assert ask(http, "message.drop_dead", letter_id=found[1]["id"], agent=word)["dropped"]
    assert ask(http, "message.list_dead", agent=word)["count"] == 0
    assert send(http, "message.drop_dead", letter_id=found[1]["id"]).status_code == 404


@case("events.list")
def events_are_listed(town: Town, http: httpx2.Client, word: str) -> None:
    agent = register(town, word)
    task_id = ask(http, "task.assign", agent=word, task="x")["task_id"]
    ask(http, "task.complete", task_id=task_id)
    of_task = ask(http, "events.list", task=task_id)["events"]
    assert {one["task_id"] for one in of_task} == {task_id}
    assert ask(http, "events.list", agent=agent.id, type=["task_completed"])["count"] == 1
    assert ask(http, "events.list", limit=1)["last"] == town.store.events.last_id()
    assert send(http, "events.list", task=word).status_code == 404


@case("recovery.recover_agents", "recovery.reclaim_tasks", "recovery.orphan_tasks")
def what_is_left_is_found(town: Town, http: httpx2.Client, word: str) -> None:
    gone, taker = register(town, word, wanted=False), register(town, f"{word}-b")
    task, _message = give_task(town, gone)
    assert ask(http, "recovery.recover_agents")["checked"] >= 0
    assert ask(http, "recovery.reclaim_tasks", from_agent=word)["destination"] is None
    assert texts(town, "inbox", gone.id)
    assert send(http, "recovery.reclaim_tasks", to_backlog=True, to=taker.name).status_code == 400
    assert ask(http, "recovery.reclaim_tasks", from_agent=word, to=taker.name)["reclaimed"] == 1
    assert task_now(town, task).assigned_to == taker.id
    orphan, _message = give_task(town, gone)
    assert orphan.id in {one["id"] for one in ask(http, "recovery.orphan_tasks")["orphans"]}
    ask(http, "recovery.orphan_tasks", action="cancel")
    assert task_now(town, orphan).state is TaskState.CANCELLED


@case("plan.get", "plan.push", "plan.pull")
def plan_is_pushed_and_pulled(town: Town, http: httpx2.Client, word: str) -> None:
    (town.root / "tasks.toml").write_text(f'[[tasks]]\nid = "{word}"\ndescription = "build"\n')
    assert [one["id"] for one in ask(http, "plan.get")["tasks"]] == [word]
    assert ask(http, "plan.push", dry_run=True)["total"] == 1
    assert ask(http, "plan.push")["total"] == 1
    ask(http, "task.complete", task_id=ask(http, "backlog.list")["backlog"][-1]["id"])
    assert ask(http, "plan.pull")["changed"] == 1
    assert "completed" in (town.root / "tasks.toml").read_text()


@case("mission.start", "mission.preview", "mission.list", "mission.stop", "mission.resume", "mission.note")
@case("mission.get_status", "mission.list_work", "mission.list_watches", "mission.graph", "mission.get_events")
def missions_are_run(town: Town, http: httpx2.Client, word: str) -> None:
    (town.root / f"{word}.md").write_text("- [ ] One\n- [ ] Two\n")
    assert ask(http, "mission.preview", docs=[f"{word}.md"])["dry_run"]
    assert send(http, "mission.preview", docs=["../../etc/passwd"]).status_code == 403
    mission_id = ask(http, "mission.start", docs=[f"{word}.md"])["mission"]["id"]
    assert mission_id in {one["id"] for one in ask(http, "mission.list")["missions"]}
    assert len(ask(http, "mission.get_status", mission_id=mission_id[:13], work=True)["work_items"]) == 2
    assert ask(http, "mission.list_work", mission_id=mission_id)["count"] == 2
    assert ask(http, "mission.list_watches", mission_id=mission_id)["count"] == 0
    assert len(ask(http, "mission.graph", mission_id=mission_id)["nodes"]) == 2
    ask(http, "mission.note", mission_id=mission_id, message="look here")
    assert ask(http, "mission.get_events", mission_id=mission_id, limit=1)["notes"]
    assert ask(http, "mission.stop", mission_id=mission_id)["state"]
    assert ask(http, "mission.resume", mission_id=mission_id)["id"] == mission_id
    assert ask(http, "mission.stop", mission_id=mission_id, force=True)["id"] == mission_id
    assert mission_id not in {one["id"] for one in ask(http, "mission.list")["missions"]}
    assert mission_id in {one["id"] for one in ask(http, "mission.list", all=True)["missions"]}


@case("mission.approve", "mission.reject", "mission.retry", "mission.cancel")
def work_is_judged(town: Town, http: httpx2.Client, word: str) -> None:
    run = make_mission()
    item = make_item(run, status=WorkStatus.BLOCKED, source_ref=f"acme/{word}#1", author="a", result="done")
    put_mission(town, run, item)
    where = {"mission_id": run.id, "item": f"acme/{word}#1"}
    assert ask(http, "mission.reject", **where, reason="No tests")["id"] == item.id
    assert ask(http, "mission.approve", **where)["id"] == item.id
    assert send(http, "mission.approve", **where).status_code == 409
    assert ask(http, "mission.cancel", **where, reason="no time")["status"] == "cancelled"
    assert ask(http, "mission.retry", **where)["status"] != "cancelled"


@case("town.save")
def town_is_saved(town: Town, http: httpx2.Client, word: str) -> None:
    register(town, word)
    done = ask(http, "town.save")
    assert (town.root / done["file"]).stat().st_size == done["size"]
    assert done["agents"] >= 1


@pytest.mark.parametrize("function", dict.fromkeys(CASES.values()), ids=lambda function: function.__name__)
def test_a_verb(function: Case, shared_town: Town, shared_http: httpx2.Client) -> None:
    """See the cases."""
    function(shared_town, shared_http, f"x{ids.short(ids.new_id())}")


def test_every_verb_is_tried() -> None:
    """No verb is without a case."""
    assert set(CASES) | WITH_PROCESSES == set(VERBS)


def test_spawn_and_restart_start_processes(tmp_path: Path) -> None:
    """An agent that is spawned over HTTP works; killed, it is started again over HTTP, and works again."""
    with RunningTown(tmp_path / "town", compile_stubborn(tmp_path)) as running, TownHall(running.root) as hall:
        http, town = hall.client(), running.town
        made = ask(http, "agent.spawn", name="backend", cli="stub", role="dev", nickname="Bee")
        running.wait_idle("backend")
        first = running.actor("backend")
        task_id = ask(http, "task.assign", agent="Bee", task="do it")["task_id"]
        assert ask(http, "task.wait", task_id=task_id)["state"] == "completed"
        ask(http, "agent.kill", agent="backend")
        assert ask(http, "agent.wait", agent="backend")["state"] == "stopped"
        running.wait(lambda: not processes.is_alive(first), "the end of its process")
        assert ask(http, "agent.restart", agent="backend", rounds=3)["agent_id"] == made["agent_id"]
        running.wait_idle("backend")
        assert ask(http, "task.assign", agent="backend", task="again")["agent_id"] == made["agent_id"]
        assert send(http, "agent.spawn", name="other", cli="rm -rf /").status_code == 403
        assert agent_now(town, running.agent("backend")).state is not AgentState.STOPPED
        running.wait(lambda: running.agent("backend").state == "idle", "the last task's end")


def test_supervisor_and_actors_do_not_notice_its_death(tmp_path: Path) -> None:
    """SIGKILL of the town hall in the middle of work: the same processes go on, and the work comes to its end."""
    with RunningTown(tmp_path / "town", compile_stubborn(tmp_path)) as running:
        hall = TownHall(running.root).start()
        ask(hall.client(), "agent.spawn", name="backend", cli="stub")
        running.wait_idle("backend")
        before = (running.supervisor, running.actor("backend"))
        task = running.assign("backend", "await go")
        running.wait_run(task)
        with hall.client().stream("GET", "/v1/events/stream") as stream:
            next(stream.iter_lines())
            hall.kill()
        running.go()
        running.wait_done(task)
        assert (running.supervisor, running.actor("backend")) == before
        hall.close()
        running.check()


def test_a_supervisor_that_it_started_outlives_it(tmp_path: Path) -> None:
    """A spawn starts the supervisor where none runs; killed, the town hall takes nothing with it."""
    running = RunningTown(tmp_path / "town", compile_stubborn(tmp_path))
    tt = Tt(running.root)
    try:
        running.town.ensure_redis()
        hall = TownHall(running.root).start()
        ask(hall.client(), "agent.spawn", name="backend", cli="stub")
        running.wait_idle("backend")
        actor = running.actor("backend")
        hall.kill()
        hall.close()
        running.task_done("backend")
        assert running.actor("backend") == actor
    finally:
        tt("stop", "--all", "--now")
        running.close()


@pytest.mark.parametrize("verb", ["task.assign", "task.cancel"])
def test_killed_in_the_middle_of_a_write(town: Town, tmp_path: Path, verb: str) -> None:
    """SIGKILL while a write waits for Redis: it was done whole, or not at all."""
    assert town.supervisor_lock.acquire()
    agent = register(town, "backend")
    task, _message = give_task(town, agent)
    inputs = {"agent": "backend", "task": "x"} if verb == "task.assign" else {"task_id": task.id}
    for _ in range(2):
        hall = TownHall(town.root).start()
        http = hall.client()
        http.get("/v1/agents")
        pid = os.fork()
        if pid == 0:
            try:
                send(http, verb, **inputs)
            finally:
                os._exit(0)
        hall.kill()
        os.waitpid(pid, 0)
        hall.close()
        invariants.check(town, settled=False)
