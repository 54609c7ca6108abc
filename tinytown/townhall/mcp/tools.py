"""Tools out of verbs: their names, schemas and annotations, and how one is called."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, TextContent, Tool, ToolAnnotations
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from tinytown.errors import Invalid, TinytownError, brief
from tinytown.townhall.encoding import cleaned
from tinytown.townhall.verbs import VERBS, Verb

Ask = Callable[[Verb, dict[str, Any]], Awaitable[Any]]
T = TypeVar("T")
UNEXPECTED = "Something unexpected went wrong; the town hall's log says what."
_log = logging.getLogger("tinytown.townhall")

# What other versions of Tinytown call a tool: taken, not listed.
FORMER_NAMES = {
    "agent.list_open": "agent.list",
    "mission.status": "mission.get_status",
    "mission.work_items": "mission.list_work",
    "mission.watches": "mission.list_watches",
    "mission.events": "mission.get_events",
    "mission.pause": "mission.stop",
}
# The same for inputs: taken beside the name in the schema, never with it.
FORMER_INPUTS = {
    "task.assign": {"description": "task"},
    "message.send": {"from": "sender"},
    "agent.spawn": {"role_id": "role", "parent_agent": "parent", "parent_agent_id": "parent"},
    "agent.wait": {"timeout_secs": "timeout_s"},
    "recovery.reclaim_tasks": {"to_agent": "to", "from": "from_agent"},
    "mission.get_status": {"include_work": "work", "include_watch": "watch"},
    "mission.get_events": {"count": "limit"},
    "mission.approve": {"work_item_id": "item"},
    "mission.reject": {"work_item_id": "item"},
}


class Envelope(BaseModel, Generic[T]):
    """What every tool answers: `data` when it was done, else in one line why not."""

    success: bool
    data: T | None
    error: str | None


class _Schema(GenerateJsonSchema):
    """A field's name says what a title made of it would say."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  pydantic's signature
        return False


class Tools:
    """All tools. With `underscore` their names have _ where the verb has a dot; a call may use either."""

    def __init__(self, *, underscore: bool = False) -> None:
        self._models = {name: verb.model() for name, verb in VERBS.items()}
        names = {name: shown(name) if underscore else name for name in VERBS}
        self.listed = [_tool(verb, names[name], self._models[name]) for name, verb in VERBS.items()]
        self._schemas = {tool.name: tool.input_schema for tool in self.listed}
        known = VERBS | {o: VERBS[n] for o, n in FORMER_NAMES.items()}
        self._verbs = known | {shown(name): verb for name, verb in known.items()}

    def find(self, name: str) -> Verb:
        """The verb of a tool. Raises MCPError."""
        found = self._verbs.get(name)
        if found is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {brief(name)}")
        return found

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """What a tool takes; None for one that is not there."""
        return self._schemas.get(name)

    def waits(self, name: Any) -> bool:
        """A call of it waits for something to happen."""
        return isinstance(name, str) and name in self._verbs and self._verbs[name].waits

    async def call(self, verb: Verb, arguments: dict[str, Any], ask: Ask) -> CallToolResult:
        """Check the arguments, ask, and wrap what comes of it; whatever goes wrong is in the answer."""
        try:
            return _answered(await ask(verb, self._inputs(verb, arguments)))
        except TinytownError as error:
            return _refused(one_line(error))
        except Exception as error:  # noqa: BLE001  nothing of an error in here may reach who asked
            _log.exception("unexpected %s in %s", type(error).__name__, verb.name)
            return _refused(UNEXPECTED)

    def _inputs(self, verb: Verb, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the verb takes them. Raises Invalid."""
        former = FORMER_INPUTS.get(verb.name, {})
        given = dict(arguments)
        for old, new in former.items():
            if old in given and new in given:
                raise Invalid(f"'{old}' and '{new}' are one input.", f"Give {new} alone.")
            if old in given:
                given[new] = given.pop(old)
        try:
            checked = self._models[verb.name].model_validate(given)
        except ValidationError as error:
            raise Invalid(_complaints(error), f"Its inputs: {', '.join(verb.inputs) or 'none'}.") from error
        return {name: getattr(checked, name) for name in verb.inputs}


def shown(name: str) -> str:
    """A tool's name for those that refuse dots: task_assign_all for task.assign_all."""
    return name.replace(".", "_")


def one_line(error: TinytownError) -> str:
    """What went wrong and what helps, as one line."""
    parts = [" ".join(part.split()) for part in (str(error), error.remedy or "") if part]
    return " ".join(part if part.endswith((".", "!", "?")) or part is parts[-1] else f"{part}." for part in parts)


def plain(answer: Any) -> Any:
    """An answer as JSON has it, in characters that every reader takes: others would end the connection."""
    return cleaned(answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer)


def text_of(value: Any) -> str:
    """A value as JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _tool(verb: Verb, name: str, takes: type[BaseModel]) -> Tool:
    return Tool(
        name=name,
        title=verb.title,
        description=verb.help,
        input_schema=_schema(takes, "validation"),
        output_schema=_schema(Envelope[verb.answer], "serialization"),  # type: ignore[name-defined]
        annotations=ToolAnnotations(
            title=verb.title,
            read_only_hint=verb.is_read,
            destructive_hint=verb.is_destructive,
            idempotent_hint=verb.is_read or verb.is_idempotent,
            open_world_hint=False,
        ),
    )


def _schema(model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
    schema = model.model_json_schema(mode=mode, schema_generator=_Schema)
    del schema["title"]
    return schema


def _answered(answer: Any) -> CallToolResult:
    return _wrapped({"success": True, "data": plain(answer), "error": None}, is_error=False)


def _refused(text: str) -> CallToolResult:
    return _wrapped({"success": False, "data": None, "error": text}, is_error=True)


def _wrapped(envelope: dict[str, Any], *, is_error: bool) -> CallToolResult:
    content = TextContent(type="text", text=text_of(envelope))
    return CallToolResult(content=[content], structured_content=envelope, is_error=is_error)


def _complaints(error: ValidationError) -> str:
    found = [(".".join(str(part) for part in one["loc"]), one["msg"]) for one in error.errors()]
    return "; ".join(f"{brief(where)}: {what}" if where else what for where, what in found[:3]) + "."
