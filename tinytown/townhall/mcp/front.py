"""In front of the guard: / means /mcp, and where tokens are asked for, who issues them can be found out (RFC 9728)."""

from __future__ import annotations

from mcp.shared.auth import ProtectedResourceMetadata
from pydantic import AnyHttpUrl, ValidationError
from starlette.datastructures import MutableHeaders, State
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinytown.config_townhall import Auth
from tinytown.townhall import verbs

MCP = "/mcp"
METADATA = "/.well-known/oauth-protected-resource"


class Front:
    """Passes everything on to `app` but questions for the issuer, which are open to everybody."""

    def __init__(self, app: ASGIApp, auth: Auth, state: State) -> None:
        self.state = state
        self._app = app
        self._auth = auth if auth.mode == "oidc" else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._auth is not None:
            request = Request(scope)
            if scope["method"] == "GET" and scope["path"] in {METADATA, METADATA + MCP}:
                await described(request, self._auth)(scope, receive, send)
                return
            send = _pointing(send, str(request.url.replace(path=METADATA + MCP, query="")))
        if scope["path"] == "/":  # to the guard that is a page, which everybody may see
            scope = {**scope, "path": MCP, "raw_path": MCP.encode()}
        await self._app(scope, receive, send)


def described(request: Request, auth: Auth) -> JSONResponse:
    """What this server is to a client that looks for a token: its own address, the issuer, the scopes there are."""
    try:
        about = ProtectedResourceMetadata(
            resource=AnyHttpUrl(str(request.url.replace(path=MCP, query=""))),
            authorization_servers=[AnyHttpUrl(auth.issuer or "")],
            scopes_supported=sorted({*auth.required_scopes, *(scope.value for scope in verbs.Scope)}),
        )
    except ValidationError:  # a Host that is none
        return JSONResponse({"error": "There is no such address."}, 400)
    # The model puts a slash behind an address without a path; clients compare the issuer's name letter by letter.
    return JSONResponse(about.model_dump(mode="json", exclude_none=True) | {"authorization_servers": [auth.issuer]})


def _pointing(send: Send, where: str) -> Send:
    """As `send`; an answer that asks for a token says where to read about it."""

    async def pointed(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in {401, 403}:
            headers = MutableHeaders(scope=message)
            if asked := headers.get("www-authenticate"):
                headers["www-authenticate"] = f'{asked}, resource_metadata="{where}"'
        await send(message)

    return pointed
