"""A small GitHub over HTTP for tests: state in memory, real shapes, faults on demand.

    with GitHub() as github:                        # a thread; port 0 of 127.0.0.1
        github.api_url                              # for [github] api_url: http://127.0.0.1:PORT/api/v3
        github.web_url                              # http://127.0.0.1:PORT, where browsers would look
        issue = github.issue("acme/web", 23, body="depends on #22")
        pull = github.pull("acme/web", 45)          # pull.url, pull.head
        pull.check("build", "failure", steps=(("Run tests", "failure"),), log="...")
        pull.review("ann", "CHANGES_REQUESTED", "Not yet.")
        issue.state = "closed"                      # any field may be changed between two requests
        pull.push(); pull.merge(by="ann"); pull.close(); pull.reopen()      # what people do on the web

Issues, pulls and their methods: `state`. Requests that were answered, newest last: `github.requests` (method, path,
status, token, body); `github.count(status=304)` counts them; `github.clear()` forgets them.

Faults answer the next `times` requests whose path contains `where` (`times=None`: until `github.mend()`):
`fail(500)`, `garbage()`, `rate_limit(in_s)`, `secondary_limit(after_s)`, `hang()` (no answer while the server lives),
`trickle()` (a byte now and then), `drop()` (the connection is closed without an answer).
`github.tokens = {"secret"}`: any other token is refused (401), and without one all repositories are hidden (404).
`github.hidden.add("acme/secret")`: 404 to everybody. `github.move("acme/web", "acme/site")`: 301 from the old name.
`github.page_limit = 2`: no page has more elements. `github.before = function`: called with each request, before it is
answered, in the server's thread: for a change at that very moment.
A merge by the API sets `merged_by` to `github.owner`. Everything may be used while requests are under way.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.support.github.http import Handler
from tests.support.github.routes import Answer, route
from tests.support.github.state import Issue, Pull


@dataclass(frozen=True)
class Request:
    """One that was answered. `status` 0: it got no answer."""

    method: str
    path: str
    status: int
    token: str | None
    body: Any = None


@dataclass
class Fault:
    """What happens in place of an answer. `times` None: always."""

    where: str
    times: int | None
    answer: Answer | None
    manner: str = "answer"


class GitHub:
    """The server; see the module's docstring."""

    def __init__(self) -> None:
        self.issues: dict[tuple[str, int], Issue] = {}
        self.pulls: dict[tuple[str, int], Pull] = {}
        self.repositories: dict[str, int] = {}
        self.moved: dict[str, str] = {}
        self.hidden: set[str] = set()
        self.tokens: set[str] | None = None
        self.owner = "owner"
        self.page_limit = 100
        self.before: Callable[[Request], None] | None = None
        self.requests: list[Request] = []
        self.over = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        github = self

        class Bound(Handler):
            world = github

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.port: int = self._server.server_address[1]
        self.web_url = f"http://127.0.0.1:{self.port}"
        self.api_url = f"{self.web_url}/api/v3"

    # State

    def issue(self, repo: str, number: int, **more: Any) -> Issue:
        """Put an issue there; fields as `state.Issue` has them."""
        made = self.issues[self._known(repo), number] = Issue(repo, number, **more)
        return made

    def pull(self, repo: str, number: int, **more: Any) -> Pull:
        """Put a pull request there; fields as `state.Pull` has them."""
        made = Pull(repo, number, f"{self.web_url}/{repo}/pull/{number}", **more)
        self.pulls[self._known(repo), number] = made
        return made

    def move(self, old: str, new: str) -> None:
        """Rename a repository with all that is in it."""
        things: list[Issue | Pull] = [*self.issues.values(), *self.pulls.values()]
        for thing in things:
            thing.repo = new if thing.repo == old else thing.repo
        self.issues = {(each.repo, each.number): each for each in self.issues.values()}
        self.pulls = {(each.repo, each.number): each for each in self.pulls.values()}
        self.repositories[new] = self.repositories.pop(old)
        self.moved[old] = new

    # Faults

    def fail(
        self, status: int, where: str = "", times: int | None = 1, message: str = "Server Error", **headers: str
    ) -> None:
        """Answer with this status; `_` in the name of a header stands for `-`."""
        made = Answer({"message": message, "documentation_url": ""}, status, _named(headers))
        self._fault(made, where, times)

    def garbage(
        self, where: str = "", times: int | None = 1, text: str = "<html>Unicorn!</html>", **headers: str
    ) -> None:
        """Answer 200 with this text, whatever was asked."""
        self._fault(Answer(text, 200, _named(headers)), where, times)

    def rate_limit(self, in_s: int, now: float, where: str = "", times: int | None = 1) -> None:
        """The hour's requests are used up, until `in_s` seconds after `now` (Unix time)."""
        headers = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(now) + in_s)}
        message = "API rate limit exceeded for 192.0.2.1. (But here's the good news: ...)"
        self._fault(Answer({"message": message}, 403, headers), where, times)

    def secondary_limit(
        self, after_s: int | None, where: str = "", times: int | None = 1, status: int = 403
    ) -> None:  # None: GitHub does not always say when
        """Too much at once."""
        headers = {} if after_s is None else {"retry-after": str(after_s)}
        message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        self._fault(Answer({"message": message}, status, headers), where, times)

    def hang(self, where: str = "", times: int | None = 1) -> None:
        """Take the request and say nothing."""
        self._fault(None, where, times, "hang")

    def trickle(self, where: str = "", times: int | None = 1) -> None:
        """Answer a byte each tenth of a second, without an end."""
        self._fault(None, where, times, "trickle")

    def drop(self, where: str = "", times: int | None = 1) -> None:
        """Close the connection without an answer."""
        self._fault(None, where, times, "drop")

    def mend(self) -> None:
        """No faults any more."""
        with self._lock:
            self._faults.clear()

    # What was asked

    def count(self, *, status: int | None = None, method: str | None = None, path: str = "") -> int:
        """How many requests had this status, this method, and this pattern in their path."""
        with self._lock:
            return sum(
                status in {None, each.status}
                and method in {None, each.method}
                and re.search(path, each.path) is not None
                for each in self.requests
            )

    def clear(self) -> None:
        """Forget what was asked."""
        with self._lock:
            self.requests.clear()

    # For the handler

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> tuple[str, Answer | None]:
        """How to answer one request, and what with."""
        token = headers.get("authorization", "").rpartition(" ")[2] or None
        if self.before is not None:
            self.before(Request(method, path, 0, token, body))
        with self._lock:
            fault = next((each for each in self._faults if each.where in path and each.times != 0), None)
            if fault is not None and fault.times is not None:
                fault.times -= 1
            if fault is not None and fault.answer is None:
                manner, found = fault.manner, None
            else:
                found = fault.answer if fault is not None else route(self, method, path, headers, token, body)
                manner = "answer"
            self.requests.append(Request(method, path, found.status if found else 0, token, body))
        return manner, found

    def opened(self, connection: socket.socket) -> None:
        """A client is there."""
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """A client has gone."""
        with self._lock:
            self._connections.discard(connection)

    # Life

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it with all its connections: from now on they are refused."""
        if self.over.is_set():
            return
        self.over.set()
        self._server.shutdown()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()

    def _known(self, repo: str) -> str:
        self.repositories.setdefault(repo, 7000 + len(self.repositories))
        return repo

    def _fault(self, answer: Answer | None, where: str, times: int | None, manner: str = "answer") -> None:
        with self._lock:
            self._faults.append(Fault(where, times, answer, manner))


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): text for name, text in headers.items()}
