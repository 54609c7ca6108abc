"""A real OpenID Connect issuer on a free port of the loopback: discovery, keys that rotate, tokens."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tinytown import clock

AUDIENCE = "tinytown-api"
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)  # once: it takes a tenth of a second


class Issuer:
    """A context manager. `asked` counts requests by path; `document` is laid over the discovery document."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.document: dict[str, Any] = {}
        self.is_broken = False
        self._keys: dict[str, Any] = {"first": _KEY}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Its name."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def settings(self) -> dict[str, Any]:
        """[townhall.auth] for it."""
        return {"mode": "oidc", "issuer": self.url, "audience": AUDIENCE}

    def rotate(self, kid: str) -> None:
        """A new key instead of those of now, of another kind."""
        self._keys = {kid: ec.generate_private_key(ec.SECP256R1())}

    def token(self, *, key: Any = None, kid: str | None = None, algorithm: str | None = None, **claims: Any) -> str:
        """A token that is good for five minutes; claims of None are left out."""
        own = next(iter(self._keys))
        private = key or self._keys[own]
        kind = algorithm or ("RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256")
        now = clock.wall()
        given = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300} | claims
        kept = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(kept, private, algorithm=kind, headers={"kid": kid or own})

    def answer(self, path: str) -> dict[str, Any] | None:
        """What it answers; None: nothing is there."""
        self.asked[path] += 1
        if self.is_broken:
            return None
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.document
        return {"keys": [_public(kid, key) for kid, key in self._keys.items()]} if path == "/keys" else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _public(kid: str, key: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = issuer.answer(self.path)
            body = json.dumps(found or {}).encode()
            self.send_response(200 if found else 500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            """Nothing on stderr."""

    return Handler
