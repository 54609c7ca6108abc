"""The MCP server of a town, whatever it is reached by: who may ask for what, and which verb answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    CallToolRequestParams,
    CallToolResult,
    EmptyResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    ReadResourceRequestParams,
    ReadResourceResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from tinytown import __version__
from tinytown.errors import TinytownError
from tinytown.services.caller import Caller
from tinytown.townhall.auth import Visitor
from tinytown.townhall.hall import Hall
from tinytown.townhall.mcp import prompts, resources, tools
from tinytown.townhall.mcp.changes import Changes
from tinytown.townhall.mcp.subscriptions import Subscriptions
from tinytown.townhall.mcp.tools import Ask, Tools
from tinytown.townhall.verbs import Scope, Verb

Context = ServerRequestContext[Any, Any]
VisitorOf = Callable[[Context], Visitor]
LISTS_MS = 3_600_000  # the lists are the same until the program is another
INSTRUCTIONS = (
    "Tinytown runs AI coding agents on one project. town.get_status shows how it stands; task.assign and backlog.add "
    "give work, agent.spawn starts an agent; task.why and agent.why say what something waits for. Every tool answers "
    "{success, data, error}."
)
_log = logging.getLogger("tinytown.townhall")


class Door:
    """The town over MCP. `caller`: who speaks to the town. `visitor_of`: who sent a request, and what they may do."""

    def __init__(
        self, hall: Hall, caller: Caller, visitor_of: VisitorOf, timeout_s: float, *, underscore: bool = False
    ) -> None:
        self._hall, self._caller, self._visitor_of, self._timeout_s = hall, caller, visitor_of, timeout_s
        self.tools = Tools(underscore=underscore)
        self._changes = Changes(hall)
        self._subscriptions = Subscriptions(self._changes)

    def server(self) -> Server[Any]:
        """The SDK's server with everything in it."""
        lists = CacheHint(LISTS_MS, "private")
        return Server(
            "tinytown", title="Tinytown", version=__version__, instructions=INSTRUCTIONS,
            cache_hints={"tools/list": lists, "prompts/list": lists, "resources/templates/list": lists},
            get_tool_input_schema=self.tools.input_schema,
            on_list_tools=self._list_tools, on_call_tool=self._call_tool,
            on_list_resources=self._list_resources, on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource, on_subscriptions_listen=self._listen,
            on_subscribe_resource=self._subscribe, on_unsubscribe_resource=self._subscriptions.unsubscribe,
            on_list_prompts=self._list_prompts, on_get_prompt=self._get_prompt,
        )  # fmt: skip

    def leave(self) -> None:
        """End the streams of changes."""
        self._subscriptions.close()

    def close(self) -> None:
        """Take no more calls."""
        self.leave()
        self._changes.close()
        self._hall.close()

    def _asking(self, ctx: Context) -> Ask:
        async def ask(verb: Verb, inputs: dict[str, Any]) -> Any:
            with self._visitor_of(ctx).doing(verb):
                if verb.name == "town.get_status" and not inputs.get("deep"):
                    return await self._hall.status()
                patience = float(inputs.get("timeout_s") or 0.0) if verb.waits else 0.0
                return await self._hall.call(verb, inputs, self._caller, self._timeout_s + patience)

        return ask

    async def _list_tools(self, _ctx: Context, _params: Any) -> ListToolsResult:
        return ListToolsResult(tools=self.tools.listed)

    async def _call_tool(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        verb = self.tools.find(params.name)
        return await self.tools.call(verb, params.arguments or {}, self._asking(ctx))

    async def _list_resources(self, _ctx: Context, _params: Any) -> ListResourcesResult:
        return ListResourcesResult(resources=resources.listed())

    async def _list_templates(self, _ctx: Context, _params: Any) -> ListResourceTemplatesResult:
        return ListResourceTemplatesResult(resource_templates=resources.templates())

    async def _read_resource(self, ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        return await resources.read(params.uri, self._asking(ctx))

    async def _list_prompts(self, _ctx: Context, _params: Any) -> ListPromptsResult:
        return ListPromptsResult(prompts=prompts.LISTED)

    async def _get_prompt(self, ctx: Context, params: GetPromptRequestParams) -> GetPromptResult:
        self._admit(ctx)
        try:
            return await self._hall.run(lambda town: prompts.get(town, params), timeout_s=self._timeout_s)
        except TinytownError as error:
            raise MCPError(INTERNAL_ERROR, tools.one_line(error)) from error
        except MCPError:
            raise
        except Exception as error:
            _log.exception("unexpected %s in a prompt", type(error).__name__)
            raise MCPError(INTERNAL_ERROR, tools.UNEXPECTED) from error

    async def _listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        self._admit(ctx)
        return await self._subscriptions.listen(ctx, params)

    async def _subscribe(self, ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        self._admit(ctx)
        return await self._subscriptions.subscribe(ctx, params)

    def _admit(self, ctx: Context) -> None:
        """What is no verb is for those who may read."""
        if not self._visitor_of(ctx).may(Scope.READ):
            raise MCPError(INVALID_REQUEST, f"This needs the scope {Scope.READ.value}.")
