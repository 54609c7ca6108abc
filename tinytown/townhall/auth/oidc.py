"""Tokens of an OpenID Connect issuer: its keys are looked up when the first token comes, and again when they change.

The algorithm is never the token's choice: only signatures that need the issuer's private key count.
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from dataclasses import replace
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import jwt
from jwt import PyJWKClient
from jwt.exceptions import PyJWKClientConnectionError, PyJWKClientError, PyJWTError

from tinytown import clock
from tinytown.config_townhall import RESERVED, Auth
from tinytown.errors import Invalid, Unavailable
from tinytown.townhall.auth import refusal
from tinytown.townhall.auth.limits import Limits
from tinytown.townhall.auth.principals import Principal, with_scopes
from tinytown.townhall.auth.remembering import Remembered

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
REQUIRED = ["exp", "iss", "aud"]
ANSWER_S = 5.0  # the issuer has that long
KEYS_S = 300.0  # as old as known keys may be
COOL_DOWN_S = 10.0  # between two looks at the issuer because of an unknown key, or because it did not answer
RIGHT_S = 60.0  # a token that was right is not verified again for that long
REMEMBERED = 1000
WAITING_MOST = 32  # verifications
LENGTH_MOST = 16_384  # characters of a token
NAME_MOST = 255  # characters, as the standard says
DOCUMENT_MOST = 1_000_000  # bytes
_log = logging.getLogger("tinytown.townhall")


class Tokens:
    """What the settings say about an issuer. Used in one event loop; verifies in a thread."""

    def __init__(self, auth: Auth, limits: Limits, cool_down_s: float = COOL_DOWN_S) -> None:
        """Raises Invalid when the settings name no issuer or no audience."""
        for name, value in (("issuer", auth.issuer), ("audience", auth.audience)):
            if not value:
                raise Invalid(f'[townhall.auth] mode is "oidc", and {name} is missing.', f"Set: {name} = ...")
        self._auth = auth
        self._limits = limits
        self._keys = IssuerKeys(auth.issuer or "", auth.jwks_url, cool_down_s)
        self._right: Remembered[Principal] = Remembered(REMEMBERED)
        self._one = asyncio.Semaphore(1)
        self._waiting = 0

    async def principal(self, token: str, address: str) -> Principal | None:
        """Whose token it is; None when it is not valid here.

        Raises Refused for too many wrong ones, and when a required scope is missing; Unavailable when the issuer does
        not answer.
        """
        if len(token) > LENGTH_MOST:
            return None
        found = self._right.get(token)
        if found is not None:
            return found
        seconds = self._limits.wait("failure", address)
        if seconds or self._waiting >= WAITING_MOST:
            raise refusal.too_many(seconds or 1, "wrong tokens")
        self._waiting += 1
        try:
            async with self._one:
                claims = await asyncio.to_thread(self._claims, token)
        finally:
            self._waiting -= 1
        if claims is None:
            self._limits.take("failure", address)
            return None
        found = self._owner(claims)
        self._right.put(token, found, min(RIGHT_S, (found.expires or 0.0) - clock.wall()))
        return found

    def _claims(self, token: str) -> dict[str, Any] | None:
        try:
            key = self._keys.of(token)
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=list(ALGORITHMS), audience=self._auth.audience, issuer=self._auth.issuer,
                leeway=self._auth.clock_skew_seconds, options={"require": REQUIRED},
            )  # fmt: skip
            name_of(claims)
        except PyJWKClientConnectionError as error:
            _log.warning("the issuer of tokens does not answer: %s", error)
            raise Unavailable("The issuer of tokens does not answer.", "Try again in a moment.") from error
        except (PyJWTError, ValueError, TypeError, AttributeError, RecursionError):
            return None  # whatever somebody sends
        return claims

    def _owner(self, claims: dict[str, Any]) -> Principal:
        given = scopes_of(claims)
        missing = [scope for scope in self._auth.required_scopes if scope not in given]
        if missing:
            raise refusal.not_allowed(missing[0])
        return replace(
            with_scopes(name_of(claims), given), expires=float(claims["exp"]) + self._auth.clock_skew_seconds
        )


class IssuerKeys(PyJWKClient):
    """The issuer's keys. Where they are is what the issuer says, unless it is set.

    Known keys count on while the issuer does not answer; it is asked again at most once in `cool_down_s`.
    """

    def __init__(self, issuer: str, jwks_url: str | None, cool_down_s: float) -> None:
        super().__init__(jwks_url or issuer, lifespan=KEYS_S, timeout=ANSWER_S, cooldown_duration=cool_down_s)
        self._issuer = issuer
        self._is_found = jwks_url is not None
        self._known: Any = None
        self._failed: tuple[float, PyJWKClientConnectionError] | None = None

    def of(self, token: str) -> jwt.PyJWK:
        """The key that a token says it is signed with. Raises PyJWTError."""
        return self.get_signing_key_from_jwt(token)

    def fetch_data(self) -> Any:
        """Ask the issuer. Raises PyJWKClientConnectionError."""
        if self._failed is not None and clock.monotonic() - self._failed[0] < self.cooldown_duration:
            return self._instead(self._failed[1])
        try:
            if not self._is_found:
                self.uri, self._is_found = discovered(self._issuer), True
            self._known = super().fetch_data()
        except (PyJWKClientError, OSError, ValueError, PyJWTError) as error:
            cause = PyJWKClientConnectionError(str(error))
            self._failed = (clock.monotonic(), cause)
            return self._instead(cause)
        self._failed = None
        return self._known

    def _instead(self, cause: PyJWKClientConnectionError) -> Any:
        if self._known is None:
            raise cause
        return self._known


def name_of(claims: dict[str, Any]) -> str:
    """Who a token is for; never the name of somebody who is known without one. Raises ValueError."""
    name = next((str(claims[key]) for key in ("sub", "client_id", "azp") if claims.get(key)), "token")
    if len(name) > NAME_MOST or not name.isprintable():
        raise ValueError("the token's subject is no name")
    return f"oidc:{name}" if name in RESERVED else name


def discovered(issuer: str) -> str:
    """Where the issuer says that its keys are. Raises OSError, ValueError."""
    where = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        with urllib.request.build_opener(_NoRedirect()).open(where, timeout=ANSWER_S) as answer:
            document = json.loads(answer.read(DOCUMENT_MOST))
    except HTTPException as error:
        raise OSError(f"{where}: {error}") from error
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise ValueError(f"{where} is the document of another issuer")
    found = document.get("jwks_uri")
    safe = {"https", urlsplit(issuer).scheme}
    if not isinstance(found, str) or urlsplit(found).scheme not in safe:
        raise ValueError(f"{where} names no address of keys that can be used")
    return found


def scopes_of(claims: dict[str, Any]) -> frozenset[str]:
    """The scopes of a token: claim `scope` (words) or `scp` (a list or words)."""
    found: set[str] = set()
    for name in ("scope", "scp"):
        value = claims.get(name)
        words = value.split() if isinstance(value, str) else value
        if isinstance(words, list):
            found |= {word for word in words if isinstance(word, str)}
    return frozenset(found)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        """Nowhere else: an issuer's address is exact."""
