"""An MCP host for ordinary tests: the SDK's own client, in a thread with an event loop of its own."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import mcp_types as types
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ResourceUpdated, Subscription
from mcp.shared.exceptions import MCPError

from tests.support.townhall import PROGRAM

ANSWER_S = 20.0
MODERN, LEGACY = "auto", "legacy"


class Host:
    """A connection; everything is asked and awaited as a plain call."""

    def __init__(self, portal: BlockingPortal, client: Client, told: list[str]) -> None:
        self.portal = portal
        self.client = client
        self._told = told

    def result(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """What a tool answers, as it came; the SDK has compared it with the tool's output schema."""
        answer: types.CallToolResult = self.portal.call(self.client.call_tool, tool, arguments)
        assert isinstance(answer.content[0], types.TextContent)
        assert json.loads(answer.content[0].text) == answer.structured_content
        return answer

    def call(self, tool: str, **arguments: Any) -> Any:
        """The data of a call that must succeed."""
        answer = self.result(tool, arguments)
        assert answer.is_error is False, answer.structured_content
        assert answer.structured_content["success"] is True
        assert answer.structured_content["error"] is None
        return answer.structured_content["data"]

    def refused(self, tool: str, **arguments: Any) -> str:
        """The error of a call that must fail: one line."""
        answer = self.result(tool, arguments)
        assert answer.is_error is True, answer.structured_content
        assert answer.structured_content["success"] is False
        assert answer.structured_content["data"] is None
        text: str = answer.structured_content["error"]
        assert text
        assert "\n" not in text
        return text

    def tools(self) -> dict[str, types.Tool]:
        """All tools by name."""
        return {tool.name: tool for tool in self.portal.call(self.client.list_tools).tools}

    def read(self, uri: str) -> Any:
        """A resource, decoded."""
        (content,) = self.portal.call(self.client.read_resource, uri).contents
        assert isinstance(content, types.TextResourceContents)
        assert (content.uri, content.mime_type) == (uri, "application/json")
        return json.loads(content.text)

    def prompt(self, name: str, **arguments: str) -> str:
        """A prompt's text."""
        (message,) = self.portal.call(self.client.get_prompt, name, arguments).messages
        assert isinstance(message.content, types.TextContent)
        return message.content.text

    @contextlib.contextmanager
    def watching(self, *uris: str) -> Iterator[list[str]]:
        """Which of these resources were said to have changed, in the way of the connection's protocol."""
        if self.client.protocol_version >= "2026":
            told: list[str] = []
            with self.portal.wrap_async_context_manager(self.client.listen(resource_subscriptions=uris)) as heard:
                self.portal.start_task_soon(_collect, heard, told)
                yield told
            return
        self._told.clear()
        for uri in uris:
            self.portal.call(self.client.session.subscribe_resource, uri)
        yield self._told
        for uri in uris:
            self.portal.call(self.client.session.unsubscribe_resource, uri)


async def _collect(subscription: Subscription, told: list[str]) -> None:
    async for event in subscription:
        if isinstance(event, ResourceUpdated):
            told.append(event.uri)  # noqa: PERF401  as it comes, not at the end


@contextlib.contextmanager
def connected(server: Any, mode: str = MODERN) -> Iterator[Host]:
    """A host of this server: an address, or one of the transports below. `mode`: the protocol of 2026, or LEGACY."""
    told: list[str] = []

    async def hear(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            told.append(message.params.uri)

    client = Client(server, mode=mode, message_handler=hear, read_timeout_seconds=ANSWER_S)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
        yield Host(portal, client, told)


@contextlib.asynccontextmanager
async def over_stdio(
    root: Path, *args: str, env: Mapping[str, str] | None = None, log: Path | None = None
) -> AsyncIterator[Any]:
    """The real program, started by the SDK; what it says on stderr is in `log`."""
    given = {**os.environ, **(env or {})}
    server = StdioServerParameters(command=str(PROGRAM), args=["mcp-stdio", "--town", str(root), *args], env=given)
    with open(log or os.devnull, "a", encoding="utf-8") as errors:  # noqa: ASYNC230
        async with stdio_client(server, errors) as streams:
            yield streams


@contextlib.asynccontextmanager
async def over_http(
    url: str, headers: Mapping[str, str] | None = None, *, trust: ssl.SSLContext | bool = True
) -> AsyncIterator[Any]:  # fmt: skip
    """An address with these headers in each request; `trust`: whose certificates."""
    async with (
        httpx2.AsyncClient(headers=headers, timeout=ANSWER_S, trust_env=False, verify=trust) as client,
        streamable_http_client(url, http_client=client) as streams,
    ):
        yield streams


def error_of(error: BaseException) -> MCPError:
    """The protocol's error in what a task group may have wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, MCPError), repr(error)
    return error


ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def request(number: int, method: str, **params: Any) -> dict[str, Any]:
    """A request as it is on the wire, in the protocol of 2026."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params | {"_meta": ENVELOPE}}


class Pipe:
    """`townhall ARGS...` with plain pipes at its stdin and stdout. A context manager; killed at the end if it lives."""

    def __init__(self, *args: str, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        self.log = log
        given = {**os.environ, **(env or {})}
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [PROGRAM, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=given, cwd=cwd
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def send(self, *messages: dict[str, Any] | bytes) -> None:
        """Lines for its stdin."""
        for message in messages:
            self.stdin.write((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
        self.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The next line of its stdout, which must be an object of the protocol."""
        found: dict[str, Any] = json.loads(self.stdout.readline())
        assert found["jsonrpc"] == "2.0"
        return found

    def end(self, timeout: float = 15.0) -> tuple[int, list[dict[str, Any]]]:
        """Close its stdin; its exit code, and everything that it still said."""
        self.stdin.close()
        rest = [json.loads(line) for line in self.stdout.read().splitlines()]
        return self.process.wait(timeout), rest

    @property
    def said(self) -> str:
        """What it wrote on stderr."""
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        with contextlib.suppress(OSError):
            self.stdin.close()
        self.stdout.close()
        self.process.wait(10)
        print(f"--- {self.log.name}", self.said[-6000:], sep="\n")  # noqa: T201
