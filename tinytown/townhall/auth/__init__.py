"""Who may come in: one guard for REST and for MCP over HTTP.

A door wraps its ASGI application: `app = auth.protect(app, settings, town)`; what is not admitted is answered there
(401, 403, 421, 429 as problem documents) and never reaches it. Open to everybody are `GET /`, `/favicon.ico`,
`/healthz`, `/readyz`, the page's files (`/page/NAME.SUFFIX`), and signing in and out (`POST` and `DELETE /session`).

Inside, `auth.visitor(scope)` (any ASGI scope; with a request: `auth.visitor(request.scope)`) is the `Visitor`:
`.principal.name`, `.principal.scopes`, `.may(scope)`, `.request_id`.

* REST routes carry their scope: `Depends(auth.needs(scope))`. The guard writes changes down by their HTTP method.
* Doors whose requests do not say what they do (MCP: every call is a POST) are wrapped with `tells=True` and put each
  call into `with auth.visitor(scope).doing(verb): ...`, which checks the scope, counts changes, and writes them down.
  Over stdio the visitor is `auth.at_the_terminal(town)`; that needs nothing of the web, and loads nothing of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import ASGIApp, Scope

from tinytown.config_townhall import RateLimit, Townhall
from tinytown.town import Town
from tinytown.townhall import verbs
from tinytown.townhall.auth import refusal, visitors
from tinytown.townhall.auth.audit import AuditLog
from tinytown.townhall.auth.limits import Limits
from tinytown.townhall.auth.principals import LOCAL, Principal
from tinytown.townhall.auth.visitors import VISITOR, Visitor

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["LOCAL", "Principal", "Visitor", "at_the_terminal", "install", "needs", "protect", "visitor"]


def protect(app: ASGIApp, settings: Townhall, town: Town, *, tells: bool = False) -> ASGIApp:
    """The application behind the guard. Raises Invalid for settings that let nobody in."""
    from tinytown.townhall.auth.gate import Gate  # noqa: PLC0415  see the module
    from tinytown.townhall.auth.guard import Guard  # noqa: PLC0415

    return Guard(app, Gate(settings, town), tells=tells)


def install(app: FastAPI, settings: Townhall, town: Town) -> None:
    """The guard in front of all that the application does, and the routes of sessions. Raises Invalid."""
    from tinytown.townhall.auth import session_routes  # noqa: PLC0415  see the module
    from tinytown.townhall.auth.gate import Gate  # noqa: PLC0415
    from tinytown.townhall.auth.guard import Guard  # noqa: PLC0415

    gate = Gate(settings, town)
    app.add_middleware(Guard, gate=gate)
    session_routes.add(app, gate)


def needs(scope: verbs.Scope) -> Callable[[Request], Awaitable[None]]:
    """A dependency of routes that are for visitors with this scope."""

    async def check(request: Request) -> None:
        if not visitor(request.scope).may(scope):
            raise refusal.not_allowed(scope.value)

    return check


def visitor(scope: Scope) -> Visitor:
    """Who sent this request. Raises KeyError where no guard stands in front."""
    found: Visitor = scope["state"][VISITOR]
    return found


def at_the_terminal(town: Town) -> Visitor:
    """Whoever speaks to the program over its stdin: the town's user. One for the life of the program."""
    return visitors.at_the_terminal(AuditLog(town.state_dir), Limits(RateLimit()))
