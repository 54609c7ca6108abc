"""MCP over stdin and stdout: nothing but the protocol, whatever comes in, and an end with the input."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import make_item, make_mission
from tests.support.cli import Tt
from tests.support.mcp import Host, Pipe, connected, over_stdio, request
from tests.support.missions import item_now, put_mission
from tests.support.town import register, task_now
from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.domain.agent import Agent
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.services import agents, supervision
from tinytown.town import Town, open_town

pytestmark = pytest.mark.slow
Start = Callable[..., Pipe]


@pytest.fixture
def start(town: Town, tmp_path: Path) -> Iterator[Start]:
    """`start(*args)`: townhall mcp-stdio of `town`, with pipes."""
    opened: list[Pipe] = []

    def start_it(*args: str, env: dict[str, str] | None = None) -> Pipe:
        given = args or ("mcp-stdio", "--town", str(town.root))
        opened.append(Pipe(*given, log=tmp_path / f"stderr-{len(opened)}", env=env, cwd=tmp_path))
        return opened[-1]

    yield start_it
    for pipe in opened:
        pipe.__exit__(None, None, None)


def call(number: int, tool: str, **arguments: Any) -> dict[str, Any]:
    return request(number, "tools/call", name=tool, arguments=arguments)


def data(answer: dict[str, Any]) -> Any:
    envelope = answer["result"]["structuredContent"]
    assert envelope["success"] is True, envelope
    return envelope["data"]


@pytest.mark.parametrize("is_before", [False, True])
def test_the_town_is_named_before_or_behind_the_command(town: Town, start: Start, is_before: bool) -> None:  # noqa: FBT001
    """As in the configuration of a desktop program: mcp-stdio --town PATH."""
    where = ("--town", str(town.root))
    pipe = start(*where, "mcp-stdio") if is_before else start("mcp-stdio", *where)
    pipe.send(call(1, "town.get"))
    assert data(pipe.answer())["name"] == town.name
    assert pipe.end() == (0, [])
    assert pipe.said == ""


def test_garbage_is_no_end(start: Start) -> None:
    """What is not the protocol is passed over, and what follows it is answered; a traceback is nowhere."""
    pipe = start()
    nonsense = (
        b"garbage{{{",
        b"",
        b"[]",
        b"17",
        b'"text"',
        b"null",
        b"\xff\xfe\x00",
        b'{"jsonrpc": "2.0"}',
        b"[" * 10_000,
    )
    pipe.send(*nonsense, b'{"jsonrpc":"2.0","id":{},"method":5}', b'{"jsonrpc":"2.0","method":"notifications/nothing"}')
    pipe.send({"jsonrpc": "2.0", "id": 77, "result": {}}, {"jsonrpc": "2.0", "method": "notifications/cancelled"})
    pipe.send(request(1, "no/such/method"), call(2, "agent.list"))
    answers = {answer["id"]: answer for answer in (pipe.answer(), pipe.answer())}
    assert answers[1]["error"]["code"] == -32601
    assert data(answers[2]) == {"agents": [], "count": 0}
    assert pipe.end() == (0, [])
    assert "Traceback" not in pipe.said


@pytest.mark.parametrize("odd", [[1], {"a": 1}, None, 1.5])
def test_odd_names_and_ids_are_no_end(start: Start, odd: Any) -> None:
    """Of a call that is to be cancelled, and of a tool."""
    pipe = start()
    pipe.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": odd}})
    pipe.send(request(1, "tools/call", name=odd, arguments={}))
    assert pipe.answer()["error"]["code"] == -32602
    pipe.send(call(2, "agent.list"))
    assert data(pipe.answer())["count"] == 0
    assert pipe.end() == (0, [])
    assert "Traceback" not in pipe.said


def test_arguments_that_are_none(start: Start) -> None:
    """An error in the answer, and the next call is answered."""
    pipe = start()
    wrong: list[Any] = [None, 5, [], "text", {"agent": {"a": [1]}}]
    for arguments in wrong:
        pipe.send(request(1, "tools/call", name="agent.get", arguments=arguments))
        answer = pipe.answer()
        assert "error" in answer or answer["result"]["isError"]
    pipe.send(call(2, "agent.list"))
    assert data(pipe.answer())["count"] == 0
    assert pipe.end() == (0, [])


def test_the_end_of_the_input_waits_for_answers(town: Town, start: Start) -> None:
    """Whatever was asked is done and answered, as in `printf ... | townhall mcp-stdio`."""
    pipe = start()
    pipe.send(*(call(number, "backlog.add", description=f"task {number}") for number in range(30)))
    code, answers = pipe.end()
    assert code == 0
    assert sorted(answer["id"] for answer in answers) == list(range(30))
    found = {data(answer)["task_id"] for answer in answers}
    assert {task_now(town, task_id).state for task_id in found} == {TaskState.PENDING}
    assert len(found) == 30


def test_what_may_last_ends_with_the_input(town: Town, start: Start) -> None:
    """Waiting for an agent, listening to changes: nobody is there any more to hear of it."""
    name = register(town, "backend").name
    pipe = start()
    pipe.send(call(1, "agent.wait", agent=name, timeout_s=250.0))
    pipe.send(request(2, "subscriptions/listen", notifications={"resourceSubscriptions": ["tinytown://agents"]}))
    assert pipe.answer()["method"] == "notifications/subscriptions/acknowledged"
    code, _rest = pipe.end(timeout=5.0)
    assert code == 0
    assert "Traceback" not in pipe.said


def test_an_empty_input(start: Start) -> None:
    """It is over before it has begun."""
    assert start().end() == (0, [])


@pytest.mark.parametrize("count", [1, 20])
def test_a_host_that_is_gone(start: Start, count: int) -> None:
    """Nobody reads the answers: it leaves, quietly, also while the other pipe is still held by somebody."""
    pipe = start()
    pipe.send(call(0, "agent.list"))
    pipe.answer()
    pipe.stdout.close()
    pipe.send(*(request(number, "tools/list") for number in range(1, count + 1)))
    assert pipe.process.wait(10) == 0
    assert "Traceback" not in pipe.said


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(start: Start, signum: int) -> None:
    """Also while it waits for input, and without a trace of how."""
    pipe = start()
    pipe.send(call(1, "agent.list"))
    pipe.answer()
    pipe.process.send_signal(signum)
    assert pipe.process.wait(5) in {0, -signum}
    assert pipe.said == ""


def test_where_there_is_no_town(tmp_path: Path, start: Start) -> None:
    """One line on stderr, none on stdout."""
    pipe = start("mcp-stdio", "--town", str(tmp_path / "nowhere"))
    assert pipe.end() == (1, [])
    assert pipe.said.startswith("Error: Town not initialized at ")


def test_redis_is_away(town: Town, start: Start) -> None:
    """An error in the answer, with what helps; it goes on."""
    (town.root / "tinytown.toml").write_text(f'name = "{town.name}"\n[redis]\nurl = "unix:///nonexistent/redis.sock"\n')
    pipe = start()
    pipe.send(call(1, "agent.list"), request(2, "resources/read", uri="tinytown://agents"))
    answers = {answer["id"]: answer for answer in (pipe.answer(), pipe.answer())}
    refused = answers[1]["result"]
    assert refused["isError"] is True
    assert refused["structuredContent"]["error"].startswith("Redis is not answering at ")
    assert answers[2]["error"]["message"] == refused["structuredContent"]["error"]
    pipe.send(request(3, "subscriptions/listen", notifications={"resourceSubscriptions": ["tinytown://agents"]}))
    assert "Redis is not answering" in pipe.answer()["error"]["message"]
    assert pipe.end() == (0, [])
    assert "Traceback" not in pipe.said


def test_names_without_dots(town: Town, start: Start) -> None:
    """For hosts that refuse them: every tool's name has _ instead."""
    pipe = start("mcp-stdio", "--town", str(town.root), "--tool-names", "underscore")
    pipe.send(request(1, "tools/list"))
    names = [tool["name"] for tool in pipe.answer()["result"]["tools"]]
    assert "task_list_pending" in names
    assert not [name for name in names if "." in name]
    pipe.send(call(2, "task_list_pending"))
    assert data(pipe.answer())["count"] == 0
    assert pipe.end() == (0, [])


def as_model(agent: Agent) -> dict[str, str]:
    """The environment of the agent's model in its first round."""
    return {"TINYTOWN_AGENT_ID": agent.id, "TINYTOWN_RUN": f"{agent.id}:1:1"}


def handed_in(town: Town, author: Agent) -> WorkItem:
    run = make_mission()
    item = make_item(run, status=WorkStatus.BLOCKED, author=author.id, authors=[author.name], result="built it")
    put_mission(town, run, item)
    return item


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_a_model_in_a_round_gives_its_own_verdict(town: Town, start: Start, verdict: str) -> None:
    """It is the reviewer that is named by its environment, not a person; of its own work it gives none."""
    author, reviewer = register(town, "backend"), register(town, "reviewer", role_id="reviewer")
    item = handed_in(town, author)
    said = {"mission_id": item.mission_id, "item": item.id, "reason": "the token is never checked"}

    pipe = start(env=as_model(author))
    pipe.send(call(1, f"mission.{verdict}", **said))
    assert "nobody reviews their own" in pipe.answer()["result"]["structuredContent"]["error"]
    assert pipe.end() == (0, [])

    pipe = start(env=as_model(reviewer))
    pipe.send(call(1, f"mission.{verdict}", **said), call(2, "message.send", to="backend", message="done"))
    answers = {answer["id"]: answer for answer in (pipe.answer(), pipe.answer())}
    assert data(answers[1])["id"] == item.id
    new = item_now(town, item)
    if verdict == "approve":
        assert (new.reviewer_approved, new.approved_by) == (True, "reviewer")
    else:
        assert new.rejections == ["the token is never checked"]
    assert pipe.end() == (0, [])


def test_an_agent_that_is_spawned_outlives_the_host(tmp_path: Path) -> None:
    """A supervisor is started, which holds no end of the host's pipes and goes on when the host has gone."""
    tt = Tt(tmp_path / "project", env={"HOME": str(tmp_path)})
    tt.cwd.mkdir()
    tt.ok("init", "--name", "spawned")
    town = open_town(str(tt.cwd))
    try:
        pipe = Pipe("mcp-stdio", "--town", str(tt.cwd), log=tmp_path / "stderr", env={"HOME": str(tmp_path)})
        with pipe:
            pipe.send(call(1, "agent.spawn", name="backend", cli="demo"))
            assert data(pipe.answer())["name"] == "backend"
            assert pipe.end() == (0, [])  # its stdout ends: nobody else has it
            assert pipe.said == ""
        assert supervision.is_running(town)
        wait_until(lambda: agents.resolve(town, "backend").agent.state is AgentState.IDLE, 10.0, "the agent")
    finally:
        tt("stop", "--all", "--now")
        town.store.close()


def test_no_thread_and_no_process_is_left(town: Town, tmp_path: Path) -> None:
    """The program ends by itself when the SDK's client closes the input: it need not be told twice."""
    with connected(over_stdio(town.root, log=tmp_path / "stderr")) as host:
        pids = children()
        assert len(pids) == 1
        with host.watching("tinytown://agents") as told:
            register(town, "backend")
            host.call("task.assign", agent="backend", task="news")
            wait_until(lambda: told, 10.0, "news")
        found = processes.identity(pids[0])
        assert found is not None
    assert processes.identity(pids[0]) != found
    assert (tmp_path / "stderr").read_text() == ""


def children() -> list[int]:
    """The town halls that this process has started."""
    tasks = [f"/proc/{os.getpid()}/task/{thread.native_id}/children" for thread in threading.enumerate()]
    pids = [int(pid) for path in tasks for pid in Path(path).read_text().split()]
    return [pid for pid in pids if b"mcp-stdio" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_many_calls_at_once(town: Town, tmp_path: Path) -> None:
    """They are answered each with its own, however they overtake one another."""
    with connected(over_stdio(town.root, log=tmp_path / "stderr")) as host:
        asked = [host.portal.start_task_soon(added, host, f"task {number}") for number in range(100)]
        assert [future.result(30) for future in asked] == [f"task {number}" for number in range(100)]


async def added(host: Host, text: str) -> str:
    answer = await host.client.call_tool("backlog.add", {"description": text})
    description: str = answer.structured_content["data"]["task"]["description"]
    return description
