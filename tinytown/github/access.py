"""Requests to GitHub's API: with the token, bounded in time and size, conditional, page after page; never repeated.

The only room that knows githubkit. What it raises are errors of this program; none of them names the token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import githubkit
import httpx
from githubkit.exception import RequestError, RequestFailed, RequestTimeout

from tinytown import clock
from tinytown.errors import TimedOut, TinytownError, Unavailable, brief
from tinytown.github.cache import Cache, Kept
from tinytown.github.places import graphql_url
from tinytown.github.refusals import Limited, Refused, refusal

CONNECT_S, ALL_S = 5.0, 20.0
MOST_BYTES = 32_000_000
PAGE = 100  # elements; the most that GitHub gives
PAGES = 50
_HEADERS = {"X-GitHub-Api-Version": "2022-11-28"}


class Access:
    """A connection to one API. `subject` is what the next requests are about, for errors."""

    def __init__(self, api_url: str, token: str | None, cache: Cache | None = None, *, all_s: float = ALL_S) -> None:
        self.subject = "this"
        self.has_token = token is not None
        self._base = httpx.URL(api_url.rstrip("/"))
        self._cache = cache
        self._all_s = all_s
        self._deadline = 0.0
        self._github = githubkit.GitHub(
            token,
            base_url=api_url,
            user_agent="tinytown",
            timeout=httpx.Timeout(all_s, connect=min(CONNECT_S, all_s)),
            http_cache=False,  # hishel would keep the token on disk, beside each answer
            auto_retry=False,  # it waits inside, and repeats what must not be repeated
            event_hooks={"response": [self._bound]},
        )

    def get(self, path: str) -> Any:
        """The JSON at this path. Raises NotFound, Forbidden, Refused, Unavailable (Limited), TimedOut."""
        return self._page(f"{self._base}{path}").body

    def pages(self, path: str, inside: str | None = None) -> list[Any]:
        """The elements of all pages; they are the answer itself, or what it has under `inside`. Raises as `get`."""
        found: list[Any] = []
        url: str | None = f"{self._base}{path}{'&' if '?' in path else '?'}per_page={PAGE}"
        for number in range(2, PAGES + 2):
            assert url is not None
            page = self._page(url)
            part = page.body if inside is None else page.body.get(inside) if isinstance(page.body, dict) else None
            if not isinstance(part, list):
                raise self.garbled()
            found += part
            url = page.following
            if url is None and len(part) == PAGE:  # an unchanged page does not say that there is a new one behind it
                url = f"{self._base}{path}{'&' if '?' in path else '?'}per_page={PAGE}&page={number}"
            if url is None:
                return found
        raise Unavailable(f"{brief(self.subject)} has more than {PAGES * PAGE} of what was asked for.")

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """Change something, once. Raises as `get`."""
        return self._decoded(self._send("PUT", f"{self._base}{path}", body=body))

    def query(self, text: str, variables: dict[str, Any]) -> Any:
        """The `data` of a GraphQL query. Raises as `get`; Refused when GraphQL says what is wrong with it."""
        response = self._send("POST", graphql_url(str(self._base)), body={"query": text, "variables": variables})
        answer = self._decoded(response)
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
            errors = answer.get("errors") if isinstance(answer, dict) else None
            types = {error.get("type") for error in errors or [] if isinstance(error, dict)}
            if types & {"RATE_LIMIT", "RATE_LIMITED"}:
                raise self._refusal(429, response, "rate limit")
            raise Refused(f"GraphQL is refused for {brief(self.subject)}.", 422)
        return answer["data"]

    def tail(self, path: str, size: int) -> str:
        """The last `size` bytes of the text at this path, wherever it redirects to. Raises as `get`."""
        response = self._send("GET", f"{self._base}{path}", stream=True)
        kept = b""
        try:
            for chunk in response.iter_bytes():
                kept = (kept + chunk)[-size:]
        except httpx.TimeoutException as error:
            raise self._late() from error
        except httpx.HTTPError as error:
            raise self._away(error) from error
        finally:
            response.close()
        return kept.decode("utf-8", "replace")

    def garbled(self) -> Unavailable:
        """The error for an answer that is not what GitHub documents."""
        return Unavailable(f"GitHub's answer about {brief(self.subject)} cannot be understood.")

    def __enter__(self) -> Self:
        self._github.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._github.__exit__(kind, error, trace)

    def _page(self, url: str) -> Kept:
        """One answer: the one that is kept, if GitHub says that nothing has changed."""
        kept = self._cache.get(url) if self._cache else None
        response = self._send("GET", url, headers={"If-None-Match": kept.etag} if kept else {})
        if response.status_code == httpx.codes.NOT_MODIFIED and kept:
            return kept
        page = Kept(response.headers.get("etag", ""), self._decoded(response), self._following(response))
        if self._cache and page.etag:
            self._cache.put(url, page)
        return page

    def _following(self, response: httpx.Response) -> str | None:
        """The next page, if it is at this API: the token goes nowhere else."""
        url = response.links.get("next", {}).get("url")
        if url is None:
            return None
        target = httpx.URL(url)
        origin = (self._base.scheme, self._base.host, self._base.port)
        return url if (target.scheme, target.host, target.port) == origin else None

    def _send(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: Any = None, stream: bool = False
    ) -> httpx.Response:
        self._deadline = clock.monotonic() + self._all_s
        try:
            asked = self._github.request(method, url, headers=_HEADERS | (headers or {}), json=body, stream=stream)
        except RequestFailed as error:
            raise self._refusal(error.response.status_code, error.response.raw_response) from None
        except RequestTimeout:
            raise self._late() from None
        except RequestError as error:
            raise self._away(error.exc) from None
        except ValueError:  # githubkit stumbles over headers of a rate limit that hold no number
            raise Limited(60, has_token=self.has_token) from None
        return asked.raw_response

    def _bound(self, response: httpx.Response) -> None:
        """Called with each answer before its body is read."""
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Bounded(response.stream, self._deadline, response.request)

    def _decoded(self, response: httpx.Response) -> Any:
        try:
            return json.loads(response.content)
        except (ValueError, RecursionError):
            raise self.garbled() from None

    def _refusal(self, status: int, response: httpx.Response, said: str | None = None) -> TinytownError:
        if said is None:
            said = response.reason_phrase
            try:
                answer = json.loads(response.content)
                said = str(answer.get("message") or said)
            except (ValueError, RecursionError, AttributeError):
                pass  # a page for people, of some server in between
        return refusal(self.subject, status, response.headers, said.rstrip(". "), clock.now(), has_token=self.has_token)

    def _late(self) -> TimedOut:
        return TimedOut(f"GitHub did not answer within {self._all_s:g} s about {brief(self.subject)}.")

    def _away(self, error: Exception) -> Unavailable:
        said = brief(str(error)) or type(error).__name__
        return Unavailable(
            f"GitHub cannot be reached at {self._base.host}: {said}.", "Check the network and [github] api_url."
        )


class _Bounded(httpx.SyncByteStream):
    """A body that ends with an error when it takes too long or is too large."""

    def __init__(self, stream: httpx.SyncByteStream, deadline: float, request: httpx.Request) -> None:
        self._stream = stream
        self._deadline = deadline
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            if clock.monotonic() > self._deadline:
                raise httpx.ReadTimeout("it takes too long", request=self._request)
            if size > MOST_BYTES:
                raise httpx.ReadError("the answer is too large", request=self._request)
            yield chunk

    def close(self) -> None:
        self._stream.close()
