"""What an answer that is none means: GitHub's statuses and headers as the errors of this program. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from tinytown.errors import Conflict, Forbidden, NotFound, TinytownError, Unavailable, brief

LEAST_S, USUAL_S, MOST_S = 1.0, 60.0, 3600.0
LOG_IN = "Set GITHUB_TOKEN, or log in with: gh auth login"


class Limited(Unavailable):
    """GitHub wants to be left alone, by every request, for `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float, *, has_token: bool) -> None:
        more = None if has_token else f"Without a token there are 60 requests an hour. {LOG_IN}"
        super().__init__(f"GitHub's rate limit is reached, for another {retry_after_s:.0f} s.", more)
        self.retry_after_s = retry_after_s


class BadToken(Forbidden):
    """The token itself is refused, whatever is asked: that says nothing about what was asked for."""


class Refused(Conflict):
    """GitHub understood and will not do it in the present state (405, 409, 422). `status` is its own."""

    def __init__(self, message: str, status: int, remedy: str | None = None) -> None:
        super().__init__(message, remedy)
        self.status = status


def refusal(
    ref: str, status: int, headers: Mapping[str, str], said: str, now: datetime, *, has_token: bool
) -> TinytownError:
    """The error for an answer with this status. `headers` in small letters; `said`: GitHub's message."""
    said = brief(said)
    if is_limit(status, headers, said):
        return Limited(retry_after_s(headers, now), has_token=has_token)
    if status == 401:
        return BadToken(f"GitHub refuses the token: {said}.", "Renew GITHUB_TOKEN, or log in with: gh auth login")
    if status in {404, 410}:
        remedy = "Is it written correctly, and may the token see the repository?" if has_token else LOG_IN
        gone = (
            "was deleted, or was never there" if status == 410 else "was not found on GitHub, or is not for all to see"
        )
        return NotFound(f"{brief(ref)} {gone}.", remedy)
    if status in {403, 451}:
        remedy = "Give the token the right to read it, and say so to the organization (SSO)." if has_token else LOG_IN
        return Forbidden(f"GitHub does not give access to {brief(ref)}: {said}.", remedy)
    if status in {405, 409, 422}:
        return Refused(f"GitHub refuses it for {brief(ref)}: {said}.", status)
    return Unavailable(f"GitHub answers {status} for {brief(ref)}: {said}.")


def is_limit(status: int, headers: Mapping[str, str], said: str) -> bool:
    """A rate limit: of the hour, or for too much at once (which does not always say how long)."""
    if status not in {403, 429}:
        return False
    spent = headers.get("x-ratelimit-remaining") == "0"
    return status == 429 or spent or "retry-after" in headers or "rate limit" in said.lower()


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds to leave it alone, by GitHub's own clock where it tells the time: ours may be wrong."""
    seconds = USUAL_S
    if headers.get("retry-after", "").isdecimal():
        seconds = float(headers["retry-after"])
    elif headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-reset", "").isdecimal():
        seconds = int(headers["x-ratelimit-reset"]) - _their_time(headers, now).timestamp()
    return min(max(seconds, LEAST_S), MOST_S)


def _their_time(headers: Mapping[str, str], now: datetime) -> datetime:
    try:
        return parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return now
