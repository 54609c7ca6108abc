"""Everything that MCP has, asked by the SDK's own client of the real program, over each transport."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import mcp_types as types
import pytest
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError

from tests.support.builders import make_item, make_mission
from tests.support.mcp import LEGACY, MODERN, Host, connected, over_stdio
from tests.support.missions import item_now, put_mission
from tests.support.town import register, task_now
from tests.support.townhall import TownHall
from tests.support.waiting import wait_until
from tinytown import __version__, ids
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.work import WorkStatus
from tinytown.services import agents, backlog, tasks
from tinytown.services.caller import Caller
from tinytown.town import Town
from tinytown.townhall.mcp import prompts, resources
from tinytown.townhall.verbs import VERBS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed")]
WAYS = [("stdio", MODERN), ("stdio", LEGACY), ("http", MODERN), ("http", LEGACY), ("sse", LEGACY)]


@pytest.fixture(scope="module")
def mcp_hall(shared_town: Town) -> Iterator[TownHall]:
    with TownHall(shared_town.root, "--sse", command="mcp-http") as opened:
        yield opened


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def host(
    request: pytest.FixtureRequest, shared_town: Town, mcp_hall: TownHall, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """A connection over each transport, in the protocol of 2026 and in the one before."""
    way, mode = request.param
    log = tmp_path_factory.mktemp("log") / "stderr"
    servers: dict[str, Callable[[], Any]] = {
        "stdio": lambda: over_stdio(shared_town.root, log=log),
        "http": lambda: mcp_hall.url + "/mcp",
        "sse": lambda: sse_client(mcp_hall.url + "/sse"),
    }
    with connected(servers[way](), mode) as made:
        assert made.client.protocol_version == ("2026-07-28" if mode == MODERN else "2025-11-25")
        yield made
    assert not log.exists() or log.read_text() == ""


@pytest.fixture
def worker(shared_town: Town) -> str:
    """An idle agent that no other test uses; its name."""
    return register(shared_town, f"w-{ids.short(ids.new_id())}").name


def test_it_says_who_it_is(host: Host) -> None:
    """Name and version of the program, and what it offers."""
    assert host.client.server_info is not None
    assert (host.client.server_info.name, host.client.server_info.version) == ("tinytown", __version__)
    offered = host.client.server_capabilities
    assert offered.tools
    assert offered.prompts
    assert offered.resources
    assert offered.resources.subscribe
    assert host.client.instructions


def test_every_verb_is_a_tool(host: Host) -> None:
    """With schemas of what goes in and what comes out, and annotations."""
    found = host.tools()
    assert list(found) == list(VERBS)
    for tool in found.values():
        assert tool.input_schema["type"] == "object"
        assert tool.output_schema is not None
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is VERBS[tool.name].is_read


def test_the_town(host: Host, shared_town: Town) -> None:
    """The answers are those of REST and of `tt ... --json`."""
    assert host.call("town.get")["name"] == shared_town.name
    assert host.call("town.get_status")["root"] == str(shared_town.root)
    assert "activity" not in host.call("town.get_status").get("agents", [{}])
    assert host.call("town.get_status", deep=True)["town"] == shared_town.name


def test_agents(host: Host, shared_town: Town, worker: str) -> None:
    """Seen, paused, resumed, stopped; one that is not there is told in one line with what helps."""
    assert worker in [one["name"] for one in host.call("agent.list")["agents"]]
    assert host.call("agent.get", agent=worker)["state"] == "idle"
    assert host.call("agent.interrupt", agent=worker)["changed"] is True
    assert host.call("agent.resume", agent=worker)["changed"] is True
    assert host.call("agent.kill", agent=worker)["agent"] == worker
    assert agents.resolve(shared_town, worker).agent.state is AgentState.STOPPED
    assert host.refused("agent.kill", agent="nobody") == "Agent not found: nobody. See the agents with: tt list"
    assert "commands are not taken" in host.refused("agent.spawn", name="x", cli="rm -rf /")


def test_tasks(host: Host, shared_town: Town, worker: str) -> None:
    """Given, seen, ended; twice is a conflict."""
    given = host.call("task.assign", agent=worker, task="build it", tags=["api"])
    assert given["agent_name"] == worker
    task_id = given["task_id"]
    assert task_now(shared_town, task_id).tags == ["api"]
    assert host.call("task.get", task_id=task_id)["description"] == "build it"
    assert task_id in [one["id"] for one in host.call("task.list", agent=worker)["tasks"]]
    assert host.call("task.why", task_id=task_id)["id"] == task_id
    assert host.call("task.complete", task_id=task_id, result="built")["state"] == "completed"
    assert task_now(shared_town, task_id).state is TaskState.COMPLETED
    assert host.call("task.wait", task_id=task_id)["state"] == "completed"
    assert "completed" in host.refused("task.cancel", task_id=task_id)
    assert host.refused("task.get", task_id="none").startswith("Task not found: none.")
    assert host.refused("task.assign", agent=worker) == "task: Field required. Its inputs: agent, task, tags."


def test_a_former_name_and_its_inputs(host: Host, worker: str) -> None:
    """What other versions call it is taken, though not listed."""
    assert host.call("task.assign", agent=worker, description="as before")["task"]["description"] == "as before"
    assert host.call("agent_list_open")["count"] > 0
    assert "agent.list_open" not in host.tools()


def test_the_backlog(host: Host, shared_town: Town, worker: str) -> None:
    """Parked, listed, claimed, removed."""
    first, second = (host.call("backlog.add", description=text, tags=["x"])["task_id"] for text in ("one", "two"))
    assert {first, second} <= {one["id"] for one in host.call("backlog.list", limit=500)["backlog"]}
    assert host.call("backlog.claim", task_id=first, agent=worker)["agent_name"] == worker
    assert task_now(shared_town, first).state is TaskState.ASSIGNED
    assert host.call("backlog.remove", task_id=second) == {"removed": True, "task_id": second}
    assert "not found" in host.refused("backlog.remove", task_id=second)


def test_messages(host: Host, worker: str) -> None:
    """Sent and seen; a kind that there is not is told with those that there are."""
    sent = host.call("message.send", to=worker, message="hello", kind="info", urgent=True)
    assert sent["to_agent"] == worker
    (found,) = host.call("agent.inbox", agent=worker)["messages"]
    assert (found["id"], found["text"], found["priority"]) == (sent["message_id"], "hello", "urgent")
    assert "kind" in host.refused("message.send", to=worker, message="x", kind="shout")


def test_events_and_recovery(host: Host, worker: str) -> None:
    """The history of an agent; tasks that nobody would run."""
    host.call("task.assign", agent=worker, task="noted")
    assert "task_assigned" in [one["event_type"] for one in host.call("events.list", agent=worker)["events"]]
    assert host.call("recovery.orphan_tasks")["action"] == "list"
    assert "one of to_backlog and to" in host.refused("recovery.reclaim_tasks", to_backlog=True, to=worker)


def test_the_plan(host: Host) -> None:
    """A town without one says so."""
    assert host.refused("plan.get")


def test_missions(host: Host, shared_town: Town) -> None:
    """Seen, noted, and what was handed in approved; by its number, as a person says it."""
    run = make_mission()
    item = make_item(run, status=WorkStatus.BLOCKED, author=ids.new_id(), authors=["backend"], result="built it")
    put_mission(shared_town, run, item)
    assert run.id in [one["id"] for one in host.call("mission.list", all=True)["missions"]]
    seen = host.call("mission.status", mission_id=run.id, include_work=True)
    assert [one["id"] for one in seen["work_items"]] == [item.id]
    assert host.call("mission.graph", mission_id=run.id)["edges"] == []
    assert host.call("mission.note", mission_id=run.id, message="look here")["id"] == run.id
    assert host.call("mission.approve", mission_id=run.id, work_item_id=str(item.number))["id"] == item.id
    assert item_now(shared_town, item).reviewer_approved
    assert host.refused("mission.get_status", mission_id="none")
    assert "Not a file of this town" in host.refused("mission.preview", docs=["../../etc/passwd"])


def test_a_tool_that_is_not_there(host: Host) -> None:
    """An error of the protocol: the call itself was wrong."""
    with pytest.raises(MCPError, match=r"Unknown tool: agent\.promote") as caught:
        host.portal.call(host.client.call_tool, "agent.promote", {})
    assert caught.value.code == types.INVALID_PARAMS


def test_resources_are_listed(host: Host) -> None:
    """Those that are always there, and the families of others; all JSON."""
    listed = host.portal.call(host.client.list_resources).resources
    assert [one.uri for one in listed] == [
        "tinytown://town/current", "tinytown://agents", "tinytown://backlog", "tinytown://missions",
    ]  # fmt: skip
    families = host.portal.call(host.client.list_resource_templates).resource_templates
    assert [one.uri_template for one in families] == [
        "tinytown://agents/{agent_name}", "tinytown://tasks/{task_id}", "tinytown://missions/{mission_id}",
    ]  # fmt: skip
    assert {*(one.mime_type for one in listed), *(one.mime_type for one in families)} == {resources.MIME}


def test_resources_are_what_verbs_answer(host: Host, shared_town: Town, worker: str) -> None:
    """The same objects as from the tools; a mission with its work and its watches."""
    task = tasks.assign(shared_town, worker, "read me", Caller())
    run = make_mission()
    put_mission(shared_town, run, make_item(run))
    assert host.read("tinytown://town/current")["town"] == shared_town.name
    assert worker in [one["name"] for one in host.read("tinytown://agents")["agents"]]
    assert host.read("tinytown://backlog")["total"] == len(backlog.listing(shared_town))
    assert run.id in [one["id"] for one in host.read("tinytown://missions")["missions"]]
    assert host.read(f"tinytown://agents/{worker}") == host.call("agent.get", agent=worker)
    assert host.read(f"tinytown://tasks/{task.id}") == host.call("task.get", task_id=task.id)
    assert len(host.read(f"tinytown://missions/{run.id}")["work_items"]) == 1


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("tinytown://agents/nobody", "Agent not found: nobody. See the agents with: tt list"),
        ("tinytown://tasks/none", "Task not found: none."),
        ("tinytown://missions/none", "Mission none not found"),
        ("tinytown://nothing", "Unknown resource: tinytown://nothing"),
        ("file:///etc/passwd", "Unknown resource: file:///etc/passwd"),
    ],
)
def test_a_resource_that_is_not_there(host: Host, uri: str, text: str) -> None:
    """An error of the protocol, with the address."""
    with pytest.raises(MCPError) as caught:
        host.portal.call(host.client.read_resource, uri)
    assert caught.value.code == types.INVALID_PARAMS
    assert caught.value.message.startswith(text)
    assert caught.value.data == {"uri": uri}


def test_prompts(host: Host, shared_town: Town, worker: str) -> None:
    """What a conductor is told; what an agent is there for, with what in the backlog fits its tags."""
    listed = host.portal.call(host.client.list_prompts).prompts
    assert [one.name for one in listed] == ["conductor.startup_context", "agent.role_hint"]
    assert [(one.name, bool(one.required)) for one in listed[1].arguments or []] == [
        ("agent_name", True),
        ("tags", False),
    ]
    assert shared_town.name in host.prompt(prompts.STARTUP)
    tag = f"tag-{worker}"
    task = backlog.add(shared_town, "fits well", [tag], Caller())
    current = tasks.assign(shared_town, worker, "in hand", Caller())
    hint = host.prompt(prompts.ROLE, agent_name=worker, tags=f"other, {tag}")
    assert f"# {worker}, an agent of the town {shared_town.name}" in hint
    assert task.id in hint
    assert current.id not in hint  # it has not begun it
    assert "There is no agent of that name yet" in host.prompt(prompts.ROLE, agent_name="newcomer")


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("agent.role_hint", {}, "needs agent_name"),
        ("agent.role_hint", {"agent_name": " "}, "needs agent_name"),
        ("agent.role_hint", {"agent_name": "x" * 1000}, "at most 200 characters"),
        ("nothing", {}, "Unknown prompt: nothing"),
    ],
)
def test_a_prompt_that_cannot_be_made(host: Host, name: str, arguments: dict[str, str], text: str) -> None:
    """An error of the protocol that says what is missing."""
    with pytest.raises(MCPError, match=text) as caught:
        host.portal.call(host.client.get_prompt, name, arguments)
    assert caught.value.code == types.INVALID_PARAMS


def test_a_change_is_told_to_who_subscribed(host: Host, shared_town: Town, worker: str) -> None:
    """Of the agent and the task that changed, and of none else: made by another process, or by the connection."""
    other = register(shared_town, f"w-{ids.short(ids.new_id())}").name
    task = tasks.assign(shared_town, worker, "watched", Caller())
    mine, their, of_task = f"tinytown://agents/{worker}", f"tinytown://agents/{other}", f"tinytown://tasks/{task.id}"
    with host.watching("tinytown://agents", mine, their, of_task) as told:
        tasks.complete(shared_town, task.id, "done", Caller())
        wait_until(lambda: {mine, of_task, "tinytown://agents"} <= set(told), 10.0, "news of agent and task")
        assert their not in told
        host.call("agent.interrupt", agent=other)
        wait_until(lambda: their in told, 10.0, "news of the other agent")


def test_nothing_is_told_after_unsubscribing(host: Host, shared_town: Town, worker: str) -> None:
    """The next subscription begins anew."""
    mine = f"tinytown://agents/{worker}"
    for _ in range(2):
        with host.watching(mine) as told:
            tasks.assign(shared_town, worker, "again", Caller())
            wait_until(lambda told=told: mine in told, 10.0, "news of the agent")  # type: ignore[misc]


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "tinytown://nothing"])
def test_what_is_no_resource_cannot_be_subscribed(host: Host, uri: str) -> None:
    """It would never change."""
    with pytest.raises(MCPError, match="Unknown resource"), contextlib.ExitStack() as stack:
        stack.enter_context(host.watching(uri))
