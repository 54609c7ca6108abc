"""Signing in and out: `POST`, `GET` and `DELETE /session`, for the page."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from tinytown.townhall.auth.gate import SESSION, Gate
from tinytown.townhall.auth.principals import Principal
from tinytown.townhall.auth.refusal import Refused
from tinytown.townhall.auth.visitors import VISITOR
from tinytown.townhall.rest import problems


class SignIn(BaseModel):
    """What somebody signs in with: a key (or a token), or the code of a link that `tt web` made."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = Field(None, max_length=16_384)
    code: str | None = Field(None, max_length=200)


class Session(BaseModel):
    """Who is signed in. `mode`: how this town hall knows its visitors."""

    principal: str
    scopes: list[str]
    mode: str


def add(app: FastAPI, gate: Gate) -> None:
    """The three routes; they are the page's, and not part of the contract."""

    @app.post(SESSION, operation_id="session.begin", include_in_schema=False)
    async def begin(request: Request, given: SignIn, response: Response) -> Session:
        """Sign in with a key or a code: a cookie for the page."""
        visitor = request.scope["state"][VISITOR]
        principal = await gate.sign_in(visitor.address, given.key, given.code)
        visitor.principal = principal
        if gate.mode != "none":
            response.headers["Set-Cookie"] = gate.sessions.begin(request, principal)
        return _shown(principal, gate.mode)

    @app.get(SESSION, operation_id="session.show", include_in_schema=False)
    async def show(request: Request) -> Session:
        """Who is signed in."""
        return _shown(request.scope["state"][VISITOR].principal, gate.mode)

    @app.delete(SESSION, operation_id="session.end", include_in_schema=False, status_code=204)
    async def end(request: Request, response: Response) -> None:
        """Sign out."""
        response.headers["Set-Cookie"] = gate.sessions.end(request)

    app.add_exception_handler(Refused, _refused)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return problems.answer(request, error.status, error.detail, error.remedy, error.headers)


def _shown(principal: Principal, mode: str) -> Session:
    return Session(principal=principal.name, scopes=sorted(principal.scopes), mode=mode)
