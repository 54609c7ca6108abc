"""Towns with a Redis of their own and agents that really run."""

from __future__ import annotations

import shlex
import signal
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import fake_cli
from tests.support import town as towns
from tests.support.cli import Tt
from tests.support.waiting import wait_until
from tinytown import (
    AgentHandle,
    AgentId,
    AgentModel,
    AgentNotFound,
    AgentState,
    Conflict,
    Invalid,
    MessageType,
    NotFound,
    NotInitialized,
    RedisError,
    Task,
    TaskState,
    Timeout,
    Town,
    clock,
    processes,
)
from tinytown.town import open_town

FAKE = AgentModel("fake", shlex.join([sys.executable, fake_cli.__file__]))
WITHIN_S = 30.0


def do(*directives: str) -> Task:
    """A task for the fake CLI."""
    return Task("\n".join(f"fake: {line}" for line in directives))


def state_of(town: Town, task: Task) -> TaskState:
    """As it is now."""
    found = town.channel().get_task(task.id)
    assert found is not None
    return found.state


def agent_state(handle: AgentHandle) -> AgentState:
    """As it is now."""
    found = handle.state()
    assert found is not None
    return found.state


def test_a_town_is_made_and_found(live: Town) -> None:
    """`init` makes it under its name; `connect` opens it from its folder, and only from there."""
    assert live.config().name == "live"
    assert (live.root() / "tinytown.toml").is_file()
    assert live.list_agents() == []
    with Town.connect(live.root()) as again:
        assert (again.root(), again.config().name) == (live.root(), "live")
        assert repr(again) == f"<Town live {live.root()}>"
    with pytest.raises(Conflict, match="already here"):
        Town.init(live.root(), "live")
    with pytest.raises(NotInitialized, match="Town not initialized at"):
        Town.connect(live.root() / ".tt")
    with pytest.raises(AgentNotFound, match="Agent not found: nobody"):
        live.agent("nobody")


def test_the_current_folder_is_the_default(live: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the environment names another town."""
    monkeypatch.chdir(live.root())
    monkeypatch.setenv("TINYTOWN_TOWN", "/nowhere")
    with Town.connect() as again:
        assert again.root().samefile(live.root())


def test_a_town_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works; a warning says what does not. Characters that no name may have are replaced."""
    (tmp_path / ".tt").touch()  # where the list of towns would be
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.warns(UserWarning, match="not in the list of towns"):
        town = Town.init(tmp_path / "new", "my project")
    assert town.config().name == "my-project"
    town.close()
    Tt(tmp_path, town=tmp_path / "new").ok("stop", "--all")


def test_connect_starts_redis(live: Town) -> None:
    """One that has died; the town's state is there again. No supervisor is started."""
    live.channel().set_task(task := Task("keep me"))
    server = next(p for p in map(processes.identity, open_town(str(live.root())).own_pids()) if p is not None)
    processes.send(server, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(server), what="the server's end")
    with Town.connect(live.root()) as again:
        assert state_of(again, task) is TaskState.PENDING
    assert not open_town(str(live.root())).supervisor_lock.is_taken()


def test_a_town_that_cannot_be_reached(tmp_path: Path) -> None:
    """An external server that does not answer is said at once, by `connect`."""
    (tmp_path / "tinytown.toml").write_text('name = "far"\n[redis]\nurl = "unix:///nowhere/redis.sock"\n')
    with pytest.raises(RedisError, match="not answering"):
        Town.connect(tmp_path)


def test_closing_ends_connections_only(live: Town) -> None:
    """A closed town connects again when it is used; Redis was there all the time."""
    live.channel().set_task(Task("x"))
    server = open_town(str(live.root())).own_pids()
    live.close()
    live.close()
    assert open_town(str(live.root())).own_pids() == server
    assert live.list_agents() == []


@pytest.mark.slow
def test_an_agent_works(live: Town) -> None:
    """Spawn, assign, wait: the task is completed with its output, the agent idle, the conductor told."""
    coder = live.spawn_agent("coder", FAKE)
    assert agent_state(coder) is AgentState.IDLE
    assert live.agent("coder").id() == coder.id()
    task = do("print well done")
    assert coder.assign(task) == task.id
    assert coder.wait(WITHIN_S) is AgentState.IDLE
    done = live.channel().get_task(task.id)
    assert done is not None
    assert (done.state, done.assigned_to) == (TaskState.COMPLETED, coder.id())
    assert "well done" in (done.result or "")
    agent = coder.state()
    assert agent is not None
    assert (agent.tasks_completed, agent.cli, agent.current_task) == (1, "fake", None)
    told = live.channel().try_receive(AgentId.supervisor())
    assert told is not None
    assert isinstance(told.msg_type, MessageType.TaskDone)
    with pytest.raises(Conflict, match="'coder' is alive"):
        live.spawn_agent("coder", FAKE)
    with pytest.raises(Conflict, match="run by the town"):
        live.channel().try_receive(coder.id())
    assert repr(coder) == f"<AgentHandle {coder.id()[:8]}>"


@pytest.mark.slow
def test_wait_waits_for_everything(live: Town) -> None:
    """For a run in progress and what waits behind it; a time-out says so and changes nothing; an end ends it."""
    coder = live.spawn_agent("coder", FAKE)
    first, second = do("await go"), do("print second")
    coder.assign(first)
    coder.assign(second)
    with pytest.raises(Timeout, match=r"Agent 'coder' is not done within 0\.2 s"):
        coder.wait(0.2)
    wait_until(lambda: state_of(live, first) is TaskState.RUNNING, what="the run")
    (live.root() / "go").touch()
    assert coder.wait(WITHIN_S) is AgentState.IDLE
    assert [state_of(live, task) for task in (first, second)] == [TaskState.COMPLETED, TaskState.COMPLETED]
    coder.send(MessageType.Informational(summary="starts nothing"))
    assert coder.wait(WITHIN_S) is AgentState.IDLE
    assert coder.inbox_len() == 1
    coder.send(MessageType.Shutdown())
    assert coder.wait(WITHIN_S) is AgentState.STOPPED
    start = clock.monotonic()
    assert coder.wait() is AgentState.STOPPED
    assert clock.monotonic() - start < 1.0


@pytest.mark.slow
def test_a_failing_task_and_its_worker(live: Town) -> None:
    """It fails after its attempts, the agent is idle again; an agent that ended is replaced and its work goes on."""
    coder = live.spawn_agent("coder", FAKE)
    broken = do("print no room", "exit 3")
    coder.assign(broken)
    assert coder.wait(WITHIN_S) is AgentState.IDLE
    failed = live.channel().get_task(broken.id)
    assert failed is not None
    assert failed.state is TaskState.FAILED
    assert "exit code 3" in (failed.result or "")
    coder.send(MessageType.Shutdown())
    coder.wait(WITHIN_S)
    waiting = do("print later")
    coder.assign(waiting)
    second = live.spawn_agent("coder", FAKE)
    assert second.id() != coder.id()
    second.wait(WITHIN_S)
    assert state_of(live, waiting) is TaskState.COMPLETED
    assert coder.state() is None
    with pytest.raises(AgentNotFound):
        coder.wait(0)


@pytest.mark.slow
def test_wait_sees_backlog_work(live: Town) -> None:
    """An agent with a role is not done while the backlog holds work for it."""
    Tt(live.root(), town=live.root()).ok("spawn", "tester", "--cli", "demo", "--role", "test")
    work = [Task(f"append log.txt: {n}").with_tags(["test"]) for n in range(3)]
    for task in work:
        live.channel().set_task(task)
    live.agent("tester").wait(WITHIN_S)
    assert {state_of(live, task) for task in work} == {TaskState.COMPLETED}


@pytest.mark.slow
def test_agents_answer(live: Town) -> None:
    """A status request and a ping are answered by the actor, with the request's id as correlation."""
    coder = live.spawn_agent("coder", FAKE)
    asked = [coder.send(MessageType.StatusRequest()), coder.send(MessageType.Ping())]
    answers = [live.channel().receive(AgentId.supervisor(), WITHIN_S) for _ in asked]
    assert [a and (a.correlation_id, a.msg_type) for a in answers] == [
        (asked[0], MessageType.StatusResponse(state="idle")),
        (asked[1], MessageType.Pong()),
    ]


@pytest.mark.slow
def test_a_program_run_by_a_model_speaks_for_its_agent(live: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an agent's environment, messages and assignments come from that agent."""
    coder = live.spawn_agent("coder", FAKE)
    other = live.spawn_agent("other", FAKE)
    monkeypatch.setenv("TINYTOWN_AGENT_ID", coder.id())
    monkeypatch.setenv("TINYTOWN_RUN", f"{coder.id()}:1:1")
    task = do("print x")
    other.assign(task)
    assert task.record.assigned_by == coder.id()
    other.wait(WITHIN_S)
    assert coder.inbox_len() == 1


@pytest.mark.slow
def test_models_are_written_down(live: Town, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A model is added to tinytown.toml, comments stay; a running supervisor knows it at once, with folder and env."""
    before = (live.root() / "tinytown.toml").read_text()
    live.spawn_agent("first", "demo")
    (tmp_path / "elsewhere").mkdir()
    model = AgentModel("shouter", "pwd; echo $GREETING").with_workdir(tmp_path / "elsewhere").with_env("GREETING", "hi")
    agent = live.spawn_agent("second", model)
    text = (live.root() / "tinytown.toml").read_text()
    assert text.startswith(before)
    own = tomllib.loads(text)["agent_clis"]["shouter"]
    assert own == {"command": model.command, "workdir": str(tmp_path / "elsewhere"), "env": {"GREETING": "hi"}}
    assert live.config().agent_clis["shouter"].command == model.command
    task = Task("shout")
    agent.assign(task)
    assert agent.wait(WITHIN_S) is AgentState.IDLE
    done = live.channel().get_task(task.id)
    assert done is not None
    assert (done.result or "").split() == [str(tmp_path / "elsewhere"), "hi"]
    live.spawn_agent("third", model)
    live.spawn_agent("fourth", "shouter")
    assert (live.root() / "tinytown.toml").read_text() == text


def test_models_that_are_refused(live: Town) -> None:
    """Another CLI of that name, a secret written out, a name or a command that cannot be: nothing is written."""
    path = live.root() / "tinytown.toml"
    with path.open("a") as settings:
        settings.write('[agent_clis.mine]\ncommand = "true"\n')
    before = path.read_text()
    for model, error, text in (
        (AgentModel("mine", "false"), Conflict, "another CLI 'mine'"),
        (AgentModel("claude", "false"), Conflict, "another CLI 'claude'"),
        (AgentModel("keyed", "true").with_env("API_KEY", "secret"), Invalid, "holds a secret"),
        (AgentModel("a b", "true"), Invalid, "not valid"),
        (AgentModel("open", "echo 'x"), Invalid, "quotation"),
        (AgentModel("empty", " "), Invalid, "no command"),
    ):
        with pytest.raises(error, match=text):
            live.spawn_agent("worker", model)
        assert path.read_text() == before
    with pytest.raises(NotFound, match="not found"):
        live.spawn_agent("worker", AgentModel("gone", "/nowhere/to-be-found"))
    with pytest.raises(Invalid, match="Unknown CLI 'nonesuch'"):
        live.spawn_agent("worker", "nonesuch")
    assert live.list_agents() == []


def test_a_file_that_takes_no_table(live: Town) -> None:
    """Where `agent_clis` is written in one line, nothing can be added: said, with what helps."""
    path = live.root() / "tinytown.toml"
    path.write_text('agent_clis = { mine = { command = "true" } }\n' + path.read_text())
    before = path.read_text()
    with pytest.raises(Invalid, match=r"\[agent_clis\.other\] cannot be added") as refused:
        live.spawn_agent("worker", AgentModel("other", "true"))
    assert refused.value.remedy == "Add it by hand."
    assert path.read_text() == before


def test_models_at_once(live: Town) -> None:
    """Programs that register different models at one time all find theirs in the file."""
    root = str(live.root())

    def work(number: int) -> None:
        from tinytown.config import AgentCli  # noqa: PLC0415  the child's own
        from tinytown.services import clis  # noqa: PLC0415  as above

        clis.register(open_town(root), AgentCli(f"model-{number}", "true"))

    towns.in_processes(4, work)
    found = tomllib.loads((live.root() / "tinytown.toml").read_text())["agent_clis"]
    assert sorted(found) == [f"model-{number}" for number in range(4)]
