"""What goes on: the town's events and growing logs as server-sent events, for as long as somebody listens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path as File
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from tinytown.errors import TinytownError, Unavailable
from tinytown.services import events, logs, tasks
from tinytown.town import Town
from tinytown.townhall import verbs
from tinytown.townhall.encoding import as_json
from tinytown.townhall.hall import Hall
from tinytown.townhall.hub import Reader
from tinytown.townhall.rest.routes import Guard, guarded
from tinytown.townhall.server import ABORT
from tinytown.townhall.verbs.inputs import AgentRef, MissionRef, TaskRef, Word

HEARTBEAT_S = 15.0
LOG_POLL_S = 0.2
LOGS_MOST = 200  # that are followed at the same time
TAIL, TAIL_MOST = 65_536, 1_000_000  # bytes
MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
BEAT = b": still here\n\n"
PLACE_MOST = 64  # characters
# operation -> the command that does the same
STREAMS = {"events.stream": "events", "agent.log_stream": "logs", "task.log_stream": "logs"}
_CONTENT = {MEDIA_TYPE: {"schema": {"type": "string", "description": "Server-sent events."}}}
_logger = logging.getLogger("tinytown.townhall")
Place = Annotated[str | None, Header(alias="Last-Event-ID", description="Go on behind this place.")]
Tail = Annotated[int, Query(ge=0, le=TAIL_MOST, description="Begin so many bytes before the end.")]
After = Annotated[str | None, Query(max_length=PLACE_MOST, description="As Last-Event-ID, for a first request.")]
Kinds = Annotated[list[Word] | None, Query(alias="type", description="Only events of these types.")]
Round = Annotated[int | None, Query(alias="round", ge=1, le=10**9, description="What the model printed in this round.")]


class EventStream(Response):
    """Sends what `body` yields until it ends, the visitor goes, the town hall leaves, or `cut` is set; then `end`."""

    media_type = MEDIA_TYPE

    def __init__(
        self, hall: Hall, body: AsyncIterator[bytes], end: Callable[[], None], cut: asyncio.Event | None = None
    ) -> None:  # fmt: skip
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._hall, self._body, self._end, self._cut = hall, body, end, cut or asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            await self._answer(scope, receive, send)
        finally:
            self._end()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if not scope["state"].get("is_head"):
            ends = (self._send_all(send), _gone(receive), self._cut.wait(), self._hall.leaving.wait())
            running = [asyncio.ensure_future(end) for end in ends]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for one in running:
                one.cancel()
            for ended in await asyncio.gather(*running, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, TinytownError | HTTPException):
                    _logger.error("a stream broke: unexpected %s", type(ended).__name__, exc_info=ended)
        if self._cut.is_set() and (abort := scope.get("extensions", {}).get(ABORT)):
            abort()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), 1.0)

    async def _send_all(self, send: Send) -> None:
        async with contextlib.aclosing(self._body) as body:  # type: ignore[type-var]
            async for block in body:
                await send({"type": "http.response.body", "body": block, "more_body": True})


def add(app: FastAPI, hall: Hall, guard: Callable[[verbs.Scope], Guard]) -> None:
    """The streams' routes."""
    options: dict[str, Any] = {
        "methods": ["GET"], "response_model": None, "response_class": EventStream, "status_code": 200,
        "route_class_override": guarded(guard(verbs.Scope.READ)),
        "responses": {200: {"content": _CONTENT, "description": "A stream without an end."}},
    }  # fmt: skip
    for path, operation, endpoint in (
        ("/v1/events/stream", "events.stream", _events(hall)),
        ("/v1/agents/{agent}/log/stream", "agent.log_stream", _agent_log(hall)),
        ("/v1/tasks/{task_id}/log/stream", "task.log_stream", _task_log(hall)),
    ):
        extra = {"x-scope": verbs.Scope.READ.value, "x-command": f"{STREAMS[operation]} --follow"}
        app.router.add_api_route(
            path, endpoint, operation_id=operation, summary=verbs.title(operation), tags=[operation.partition(".")[0]],
            openapi_extra=extra, **options,
        )  # fmt: skip


def _events(hall: Hall) -> Callable[..., Awaitable[Response]]:
    async def endpoint(
        agent: AgentRef | None = None, task: TaskRef | None = None, mission: MissionRef | None = None,
        kinds: Kinds = None, after: After = None, last_event_id: Place = None,
    ) -> Response:  # fmt: skip
        """What happens in the town, as it happens: of this agent, task, mission, of these types.

        First an event `ready` with the place where it begins. An event `reset` says that some were missed.
        """
        place = last_event_id or after or None
        if place is not None:
            events.place(place)
        wanted = await hall.run(
            lambda town: events.filter_of(town, agent=agent, task=task, mission=mission, types=kinds or [])
        )
        reader = await hall.hub.join(wanted)
        return EventStream(hall, _told(reader, place), lambda: hall.hub.leave(reader), reader.cut)

    return endpoint


async def _told(reader: Reader, place: str | None) -> AsyncIterator[bytes]:
    if place is None:
        yield _line(reader.position, as_json({"last": reader.position}), "ready")
    async for batch in reader.batches(place, HEARTBEAT_S):
        yield b"".join(_line(told.id, told.data, told.kind) for told in batch) if batch else BEAT


def _agent_log(hall: Hall) -> Callable[..., Awaitable[Response]]:
    async def endpoint(
        agent: Annotated[AgentRef, Path()], number: Round = None, tail: Tail = TAIL, last_event_id: Place = None
    ) -> Response:
        """An agent's log as it is written, or what the model prints in a round."""

        def find(town: Town) -> File:
            name = logs.name_of(town, agent)
            return logs.digest(town, name) if number is None else logs.round_path(town, name, number)

        return _log(hall, await hall.run(find), tail, last_event_id)

    return endpoint


def _task_log(hall: Hall) -> Callable[..., Awaitable[Response]]:
    async def endpoint(
        task_id: Annotated[TaskRef, Path()], tail: Tail = TAIL, last_event_id: Place = None
    ) -> Response:  # fmt: skip
        """What the model prints in the last round that worked on a task, as it is written."""

        def find(town: Town) -> File:
            return logs.round_path(town, *logs.round_of_task(town, tasks.find(town, task_id)[1]))

        return _log(hall, await hall.run(find), tail, last_event_id)

    return endpoint


def _log(hall: Hall, path: File, tail: int, place: str | None) -> Response:
    if hall.logs_followed >= LOGS_MOST:
        raise Unavailable("Too many logs are followed already.", "Try again later.")
    hall.logs_followed += 1

    def end() -> None:
        hall.logs_followed -= 1

    return EventStream(hall, _written(path, tail, place), end)


async def _written(path: File, tail: int, place: str | None) -> AsyncIterator[bytes]:
    """Blocks of a log. Nothing is read before what was read has been sent: a slow reader costs one block."""
    quiet = 0.0
    with contextlib.closing(logs.Follower(path, tail, place)) as follower:
        while True:
            text, where = follower.read()
            if text:
                yield _line(where, as_json({"text": text}))
                quiet = 0.0
                continue
            await asyncio.sleep(LOG_POLL_S)
            quiet += LOG_POLL_S
            if quiet >= HEARTBEAT_S:
                yield BEAT
                quiet = 0.0


def _line(place: str, data: bytes, kind: str = "") -> bytes:
    name = b"event: %s\n" % kind.encode() if kind else b""
    return b"id: %s\n%sdata: %s\n\n" % (place.encode(), name, data)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
