"""What tools say of themselves, and how arguments become inputs: without a process, without a town."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from mcp.shared.exceptions import MCPError

from tinytown.errors import AgentNotFound, RedisNotInstalled, TinytownError
from tinytown.townhall.mcp import tools
from tinytown.townhall.mcp.tools import FORMER_INPUTS, FORMER_NAMES, Tools
from tinytown.townhall.verbs import VERBS, Verb

TOOLS = Tools()


def called(name: str, **arguments: Any) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """What the verb would have been asked (None: nothing), and the envelope."""
    asked: list[dict[str, Any]] = []

    async def ask(_verb: Verb, inputs: dict[str, Any]) -> Any:
        asked.append(inputs)
        return {}

    answer = asyncio.run(TOOLS.call(TOOLS.find(name), arguments, ask))
    return (asked[0] if asked else None), answer.structured_content


def failing(error: Exception) -> Any:
    """The answer where the verb raises this."""

    async def ask(_verb: Verb, _inputs: dict[str, Any]) -> Any:
        raise error

    return asyncio.run(TOOLS.call(VERBS["agent.list"], {}, ask))


def test_there_is_a_tool_for_every_verb() -> None:
    """By the verb's own name, dots included."""
    assert [tool.name for tool in TOOLS.listed] == list(VERBS)


@pytest.mark.parametrize("underscore", [False, True])
def test_names_are_allowed_and_differ(underscore: bool) -> None:  # noqa: FBT001
    """Dots are legal; with underscore, every name fits the hosts that take letters, digits and _ alone, up to 64."""
    names = [tool.name for tool in Tools(underscore=underscore).listed]
    pattern = r"[a-zA-Z0-9_]{1,64}" if underscore else r"[A-Za-z0-9._]{1,128}"
    assert all(re.fullmatch(pattern, name) for name in names)
    known = [*VERBS, *FORMER_NAMES]
    assert len({tools.shown(name) for name in known}) == len(known)


@pytest.mark.parametrize("tool", TOOLS.listed, ids=lambda tool: tool.name)
def test_schemas_are_sound(tool: Any) -> None:
    """Both are JSON Schema of an object; inputs take nothing unknown, the envelope has its three fields."""
    for schema in (tool.input_schema, tool.output_schema):
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
    assert tool.input_schema["additionalProperties"] is False
    assert set(tool.input_schema.get("properties", {})) == set(VERBS[tool.name].inputs)
    assert list(tool.output_schema["properties"]) == ["success", "data", "error"]
    assert tool.output_schema["required"] == ["success", "data", "error"]


@pytest.mark.parametrize("tool", TOOLS.listed, ids=lambda tool: tool.name)
def test_annotations_are_those_of_the_verb(tool: Any) -> None:
    """Reading is neither destructive nor of more effect when repeated; nothing reaches out of the town."""
    verb, said = VERBS[tool.name], tool.annotations
    assert said.read_only_hint is verb.is_read
    assert said.destructive_hint is verb.is_destructive
    assert said.idempotent_hint is (verb.is_read or verb.is_idempotent)
    assert said.open_world_hint is False
    assert not (said.read_only_hint and said.destructive_hint)
    assert tool.title == said.title == verb.title
    assert tool.description == verb.help


def test_former_names_lead_to_verbs_and_inputs() -> None:
    """Each one is a name that nothing else has, for one that there is."""
    assert not set(FORMER_NAMES) & set(VERBS)
    assert set(FORMER_NAMES.values()) <= set(VERBS)
    for name, renamed in FORMER_INPUTS.items():
        inputs = VERBS[name].inputs
        assert not set(renamed) & set(inputs)
        assert set(renamed.values()) <= set(inputs)


def test_a_tool_is_found_by_either_name() -> None:
    """A host may have its own idea of dots; names of other versions are taken."""
    for name in ("task.list_pending", "task_list_pending"):
        assert TOOLS.find(name).name == "task.list_pending"
    for name in ("mission.status", "mission_status"):
        assert TOOLS.find(name).name == "mission.get_status"
    with pytest.raises(MCPError, match="Unknown tool: nothing"):
        TOOLS.find("nothing")


def test_former_inputs_are_taken_beside_ours() -> None:
    """`description` is what others call the text of a task."""
    asked, _ = called("task.assign", agent="backend", description="do it")
    assert asked == {"agent": "backend", "task": "do it", "tags": []}
    asked, _ = called("message.send", **{"to": "backend", "message": "hi", "from": "reviewer"})
    assert asked is not None
    assert asked["sender"] == "reviewer"


def test_one_input_under_two_names_is_refused() -> None:
    """Nobody can know which was meant."""
    asked, envelope = called("task.assign", agent="backend", task="this", description="that")
    assert asked is None
    assert envelope["error"] == "'description' and 'task' are one input. Give task alone."


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"agent": "backend"}, "task: Field required. Its inputs: agent, task, tags."),
        ({"agent": "backend", "task": "x", "colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"agent": ["backend"], "task": "x"}, "agent: Input should be a valid string"),
        ({"agent": "backend", "task": ""}, "task: String should have at least 1 character"),
        ({"agent": "backend", "task": "x", "tags": [1]}, "tags.0: Input should be a valid string"),
        ({"x" * 5000: 1}, "…"),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments: dict[str, Any], text: str) -> None:
    """With the input's name and what it should be; the verb is not asked."""
    asked, envelope = called("task.assign", **arguments)
    assert asked is None
    assert text in envelope["error"]
    assert "\n" not in envelope["error"]
    assert len(envelope["error"]) < 500


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AgentNotFound("x"), "Agent not found: x. See the agents with: tt list"),
        (RedisNotInstalled("Install it."), "Redis not found. Please install Redis 8.0+"),
        (TinytownError("No full stop", None), "No full stop"),
    ],
)
def test_expected_errors_are_one_line_with_their_remedy(error: TinytownError, text: str) -> None:
    """What happened and what helps; `is_error` is set."""
    answer = failing(error)
    assert answer.is_error
    assert answer.structured_content["error"].startswith(text)
    assert "\n" not in answer.structured_content["error"]


def test_unexpected_errors_tell_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The log has all of it, who asked learns nothing of what is inside."""
    answer = failing(ZeroDivisionError("secret detail"))
    assert answer.is_error
    assert answer.structured_content == {"success": False, "data": None, "error": tools.UNEXPECTED}
    assert "secret detail" in caplog.text
