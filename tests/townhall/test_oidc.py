"""Tokens of a real issuer over HTTP: which are good, whose they are, how keys are looked up."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.issuer import Issuer
from tests.support.waiting import wait_until
from tinytown import clock
from tinytown.config_townhall import Auth, RateLimit
from tinytown.errors import Invalid, Unavailable
from tinytown.townhall.auth.limits import Limits
from tinytown.townhall.auth.oidc import Tokens, name_of, scopes_of
from tinytown.townhall.auth.principals import Principal
from tinytown.townhall.auth.refusal import Refused

COOL_DOWN_S = 0.05


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


def tokens(issuer: Issuer, **settings: Any) -> Tokens:
    return Tokens(Auth(**issuer.settings | settings), Limits(RateLimit()), COOL_DOWN_S)


def ask(known: Tokens, *given: str) -> list[Principal | None]:
    async def one_after_the_other() -> list[Principal | None]:
        return [await known.principal(token, "127.0.0.1") for token in given]

    return asyncio.run(one_after_the_other())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_is_its_owner(issuer: Issuer) -> None:
    """Its subject, those of its scopes that are ours, until when it is good (clocks may differ). One look is enough."""
    token = issuer.token(scope="openid town.read tinytown:town.write")
    found, other = ask(tokens(issuer), token, issuer.token(sub="bob", scp=["admin"]))
    assert found is not None
    assert other is not None
    assert (found.name, sorted(found.scopes)) == ("ann", ["town.read", "town.write"])
    assert (other.name, sorted(other.scopes)) == ("bob", ["admin"])
    assert found.expires == pytest.approx(clock.wall() + 360, abs=10)
    assert issuer.asked == {"/.well-known/openid-configuration": 1, "/keys": 1}


def test_where_the_keys_are_may_be_set(issuer: Issuer) -> None:
    """With jwks_url the issuer's document is not asked for."""
    assert ask(tokens(issuer, jwks_url=f"{issuer.url}/keys"), issuer.token())[0] is not None
    assert issuer.asked == {"/keys": 1}


BAD: dict[str, Callable[[Issuer], str]] = {
    "expired": lambda i: i.token(exp=clock.wall() - 61),
    "not valid yet": lambda i: i.token(nbf=clock.wall() + 100),
    "without an end": lambda i: i.token(exp=None),
    "for somebody else": lambda i: i.token(aud="other-api"),
    "for nobody": lambda i: i.token(aud=None),
    "of another issuer": lambda i: i.token(iss="https://issuer.example.com"),
    "of no issuer": lambda i: i.token(iss=None),
    "signed by another": lambda i: i.token(key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "of an unknown key": lambda i: i.token(kid="other"),
    "not signed": lambda i: _base64(b'{"alg":"none","kid":"first"}') + "." + i.token().split(".")[1] + ".",
    "signed with a secret": lambda i: i.token(key=b"x" * 32, algorithm="HS256"),
    "for a name without an end": lambda i: i.token(sub="x" * 256),
    "for a name of two lines": lambda i: i.token(sub="ann\nbob"),
    "no token": lambda _: "hello",
    "empty parts": lambda _: "..",
    "not even text": lambda _: "\udcff.\udcff.\udcff",
    "deep": lambda _: _base64(b"[" * 9000) + ".e30.",
    "long": lambda i: i.token(more="x" * 20_000),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_good_token(issuer: Issuer, kind: str) -> None:
    """Whatever somebody sends: nobody is let in, nothing breaks."""
    assert ask(tokens(issuer), BAD[kind](issuer)) == [None]


def test_the_public_key_is_no_secret(issuer: Issuer) -> None:
    """A token signed with the text of the issuer's public key as if it were a secret is refused."""
    _head, body, _signature = issuer.token().split(".")
    text = f"{_base64(json.dumps({'alg': 'HS256', 'kid': 'first'}).encode())}.{body}"
    secret = json.dumps(issuer.answer("/keys")).encode()
    forged = _base64(hmac.digest(secret, text.encode(), "sha256"))
    assert ask(tokens(issuer), f"{text}.{forged}") == [None]


def test_clocks_may_differ(issuer: Issuer) -> None:
    """By clock_skew_seconds, 60 if nothing else is set."""
    late = issuer.token(exp=clock.wall() - 30)
    assert ask(tokens(issuer), late)[0] is not None
    assert ask(tokens(issuer, clock_skew_seconds=5), late) == [None]


def test_required_scopes(issuer: Issuer) -> None:
    """A token without one of them is known, and not allowed: 403."""
    known = tokens(issuer, required_scopes=("tinytown:access",))
    assert ask(known, issuer.token(scope="tinytown:access town.read"))[0] is not None
    with pytest.raises(Refused) as refused:
        ask(known, issuer.token(scope="town.read"))
    assert refused.value.status == 403
    assert 'error="insufficient_scope"' in refused.value.headers["WWW-Authenticate"]


def test_keys_rotate(issuer: Issuer) -> None:
    """A token of a new key is good as soon as the issuer may be asked again; one of the former key no more."""
    known = tokens(issuer)
    old = issuer.token()
    assert ask(known, old)[0] is not None
    issuer.rotate("second")
    wait_until(lambda: ask(known, issuer.token())[0], what="the new key")
    assert ask(known, issuer.token(key=None, kid="first")) == [None]


def test_unknown_keys_do_not_flood_the_issuer(issuer: Issuer) -> None:
    """Within the cool-down many tokens of unknown keys cost it one request at most."""
    known = Tokens(Auth(**issuer.settings), Limits(RateLimit()), 60.0)
    assert ask(known, *(issuer.token(kid=f"k{number}") for number in range(10))) == [None] * 10
    assert issuer.asked["/keys"] == 1


def test_many_wrong_tokens_wait(issuer: Issuer) -> None:
    """From one address thirty a minute are looked at; one that was right before is not held up."""
    known = tokens(issuer)
    good = issuer.token()
    assert ask(known, good)[0] is not None
    with pytest.raises(Refused) as refused:
        ask(known, *(f"a.b.{number}" for number in range(31)))
    assert refused.value.status == 429
    assert ask(known, good)[0] is not None


def test_an_issuer_that_is_away(issuer: Issuer) -> None:
    """Nobody can be known before it has answered once; afterwards its keys count on. It is asked again."""
    known = tokens(issuer)
    issuer.is_broken = True
    with pytest.raises(Unavailable, match="does not answer"):
        ask(known, issuer.token())
    issuer.is_broken = False

    def is_known_again() -> bool:
        try:
            return ask(known, issuer.token())[0] is not None
        except Unavailable:
            return False

    wait_until(is_known_again, what="the issuer's keys")
    issuer.is_broken = True
    assert ask(known, issuer.token(sub="bob"))[0] is not None
    assert ask(known, issuer.token(kid="unknown")) == [None]


@pytest.mark.parametrize(
    "document",
    [{"issuer": "https://other.example.com"}, {"jwks_uri": None}, {"jwks_uri": "file:///etc/passwd"}],
    ids=["of another", "no keys", "a file"],
)
def test_a_document_that_cannot_be_used(issuer: Issuer, document: dict[str, Any]) -> None:
    """The issuer must call itself as the settings call it, and name an address on the web."""
    issuer.document = document
    with pytest.raises(Unavailable):
        ask(tokens(issuer), issuer.token())


@pytest.mark.parametrize("missing", ["issuer", "audience"])
def test_settings_that_name_too_little(missing: str) -> None:
    """Without issuer or audience the town hall does not start."""
    given = {"issuer": "https://issuer.example.com", "audience": "a"} | {missing: None}
    with pytest.raises(Invalid, match=f"{missing} is missing"):
        Tokens(Auth(mode="oidc", **given), Limits(RateLimit()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("claims", "name"),
    [({"sub": "ann", "azp": "x"}, "ann"), ({"client_id": "ci"}, "ci"), ({"azp": "ci"}, "ci"), ({}, "token"),
     ({"sub": "web"}, "oidc:web"), ({"sub": "local"}, "oidc:local")],
)  # fmt: skip
def test_the_name_of_a_token(claims: dict[str, Any], name: str) -> None:
    """Its subject or client; nobody is taken for the town's own user."""
    assert name_of(claims) == name


@pytest.mark.parametrize(
    ("claims", "expected"),
    [({"scope": "a b"}, {"a", "b"}), ({"scp": ["a", 5, None]}, {"a"}), ({"scp": "a"}, {"a"}), ({"scope": 7}, set()),
     ({"scope": "a", "scp": ["b"]}, {"a", "b"}), ({}, set())],
)  # fmt: skip
def test_scopes_of_a_token(claims: dict[str, Any], expected: set[str]) -> None:
    """Words or a list, under either name; what is no text is no scope."""
    assert scopes_of(claims) == expected
