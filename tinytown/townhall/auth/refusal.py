"""A request that is not let in: with which status, in which words."""

from __future__ import annotations

REALM = 'Bearer realm="tinytown"'


class Refused(Exception):
    """Answered as a problem document with these headers."""

    def __init__(
        self, status: int, detail: str, remedy: str | None = None, headers: dict[str, str] | None = None
    ) -> None:  # fmt: skip
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.remedy = remedy
        self.headers = headers or {}


def unknown(*, is_given: bool) -> Refused:
    """Nobody said who they are, or nobody knows the key or token. Which of its parts is wrong is not told."""
    if is_given:
        headers = {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}
        return Refused(401, "This key or token is not valid.", "Give one that is known here and not expired.", headers)
    remedy = "Send a header: Authorization: Bearer KEY, or X-API-Key: KEY"
    return Refused(401, "Authentication is needed.", remedy, {"WWW-Authenticate": REALM})


def spent() -> Refused:
    """A link's code that was used, has expired, or was never made."""
    headers = {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}
    return Refused(401, "This link was used already, or is too old.", "Make a new one: tt web", headers)


def not_allowed(scope: str) -> Refused:
    """Known, and not allowed to do this."""
    headers = {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'}
    return Refused(403, f"This needs the scope {scope}.", "Use a key that has it.", headers)


def too_many(seconds: int, what: str = "requests") -> Refused:
    """Too many of them within a minute."""
    remedy = f"Try again in {seconds} s."
    return Refused(429, f"Too many {what} within a minute.", remedy, {"Retry-After": str(seconds)})
