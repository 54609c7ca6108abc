"""TLS and client certificates, really spoken; certificates that cannot be used, said at the start in one line."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import argon2
import httpx2
import pytest
import tomli_w
import trustme
from argon2.profiles import CHEAPEST
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.townhall import PROGRAM
from tests.townhall.conftest import OpenHall
from tinytown import clock
from tinytown.config_townhall import Auth, Mtls, Tls, Townhall
from tinytown.errors import Forbidden, Invalid
from tinytown.town import Town
from tinytown.townhall.auth import certificates, startup

pytestmark = pytest.mark.slow

HASH = argon2.PasswordHasher.from_parameters(CHEAPEST).hash("the-key")
WITH_KEY = {"Authorization": "Bearer the-key"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def stored(folder: Path, cert: trustme.LeafCert, name: str = "server") -> dict[str, str]:
    """The files of a certificate."""
    made = {"cert_file": folder / f"{name}.pem", "key_file": folder / f"{name}.key"}
    cert.cert_chain_pems[0].write_to_path(made["cert_file"])
    cert.private_key_pem.write_to_path(made["key_file"])
    made["key_file"].chmod(0o600)
    return {what: str(path) for what, path in made.items()}


def trusting(authority: trustme.CA, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """What a client needs that knows the authority, and shows a certificate of its own."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client is not None:
        client.configure_cert(context)
    return context


def test_tls_is_spoken(open_hall: OpenHall, authority: trustme.CA, tmp_path: Path) -> None:
    """The address is https; who trusts the authority reads the town, in a session of a secure cookie; no plain HTTP."""
    files = stored(tmp_path, authority.issue_cert("127.0.0.1", "localhost"))
    auth = {"mode": "api_key", "api_key_hash": HASH}
    hall = open_hall(townhall={"auth": auth, "tls": {"enabled": True, **files}})
    assert hall.url.startswith("https://127.0.0.1:")
    http = hall.client(verify=trusting(authority))
    assert http.get("/v1/status", headers=WITH_KEY).status_code == 200
    assert http.get("/v1/status").status_code == 401
    page = {"Origin": hall.url}
    began = http.post("/session", json={"key": "the-key"}, headers=page)
    assert began.headers["set-cookie"].startswith("__Host-tinytown-")
    assert began.headers["set-cookie"].endswith("; Secure")
    assert http.get("/session").json()["principal"] == "api_key"
    worse = {"Origin": hall.url.replace("https", "http")}
    assert http.post("/v1/backlog", json={"description": "x"}, headers=worse).status_code == 403
    with pytest.raises(httpx2.TransportError):
        hall.client(base_url=hall.url.replace("https", "http")).get("/healthz")
    with pytest.raises(httpx2.ConnectError):
        hall.client(verify=ssl.create_default_context()).get("/healthz")


def test_clients_show_a_certificate(open_hall: OpenHall, authority: trustme.CA, tmp_path: Path) -> None:
    """With mtls required nobody is heard without a certificate of the authority, not even by /healthz."""
    files = stored(tmp_path, authority.issue_cert("127.0.0.1"))
    trust = tmp_path / "clients.pem"
    authority.cert_pem.write_to_path(trust)
    mtls = {"enabled": True, "required": True, "ca_path": str(trust)}
    hall = open_hall(townhall={"tls": {"enabled": True, **files}, "mtls": mtls})
    known = authority.issue_cert("client")
    assert hall.client(verify=trusting(authority, known)).get("/v1/status").status_code == 200
    for client in (None, trustme.CA().issue_cert("client")):
        with pytest.raises(httpx2.TransportError):
            hall.client(verify=trusting(authority, client)).get("/healthz")


def settings(files: dict[str, Any], **mtls: Any) -> Townhall:
    return Townhall(tls=Tls(enabled=True, **files), mtls=Mtls(**mtls))


Spoil = Callable[[dict[str, str], trustme.CA], None]


def _text(what: str, text: str) -> Spoil:
    return lambda files, _ca: _ignore(Path(files[what]).write_text(text))


def _ignore(_: object) -> None:
    return None


def _other_key(files: dict[str, str], ca: trustme.CA) -> None:
    ca.issue_cert("other").private_key_pem.write_to_path(files["key_file"])


def _expired(files: dict[str, str], ca: trustme.CA) -> None:
    old = ca.issue_cert("127.0.0.1", not_after=clock.now() - timedelta(days=1))
    old.cert_chain_pems[0].write_to_path(files["cert_file"])
    old.private_key_pem.write_to_path(files["key_file"])


def _locked(files: dict[str, str], _ca: trustme.CA) -> None:
    key = load_pem_private_key(Path(files["key_file"]).read_bytes(), None)
    kept = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    Path(files["key_file"]).write_bytes(kept)


SPOILT: dict[str, Spoil] = {
    "tls.cert_file is missing": lambda files, _ca: _ignore(files.pop("cert_file")),
    "tls.key_file is missing": lambda files, _ca: _ignore(files.pop("key_file")),
    "server.pem does not exist": lambda files, _ca: Path(files["cert_file"]).unlink(),
    "cannot be read: Is a directory": lambda files, _ca: files.update(key_file="/"),
    "server.pem holds no certificate": _text("cert_file", "hello"),
    "server.key holds no private key": _text("key_file", "hello"),
    "does not match the certificate": _other_key,
    "needs a password": _locked,
    "has expired on": _expired,
}


@pytest.mark.parametrize("said", SPOILT)
def test_certificates_that_cannot_be_used(authority: trustme.CA, tmp_path: Path, said: str) -> None:
    """One line that names the file, one that helps."""
    files = stored(tmp_path, authority.issue_cert("127.0.0.1"))
    SPOILT[said](files, authority)
    with pytest.raises(Invalid, match=said) as error:
        certificates.context(settings(files), tmp_path)
    assert "\n" not in str(error.value)
    assert error.value.remedy


@pytest.mark.parametrize(
    ("mtls", "said"),
    [({"enabled": True, "required": True}, "mtls.ca_file is missing"),
     ({"required": True, "ca_file": "nowhere.pem"}, "nowhere.pem does not exist"),
     ({"enabled": True, "ca_file": "server.key"}, "cannot be used")],
)  # fmt: skip
def test_authorities_that_cannot_be_used(
    authority: trustme.CA, tmp_path: Path, mtls: dict[str, Any], said: str
) -> None:
    """The authority of the clients is checked as well; relative files are the town's."""
    stored(tmp_path, authority.issue_cert("127.0.0.1"))
    files = {"cert_file": "server.pem", "key_file": "server.key"}
    with pytest.raises(Invalid, match=said):
        certificates.context(settings(files, **mtls), tmp_path)


def test_client_certificates_need_tls(tmp_path: Path) -> None:
    """Without TLS nobody would be asked for one: refused."""
    with pytest.raises(Invalid, match="without TLS"):
        certificates.context(Townhall(mtls=Mtls(enabled=True)), tmp_path)
    assert certificates.context(Townhall(), tmp_path) == (None, [])


def test_what_deserves_a_warning(authority: trustme.CA, tmp_path: Path) -> None:
    """A certificate that ends soon, a key that everybody may read; client certificates may be optional."""
    soon = authority.issue_cert("127.0.0.1", not_after=clock.now() + timedelta(days=3))
    files = stored(tmp_path, soon)
    Path(files["key_file"]).chmod(0o644)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    made, warnings = certificates.context(settings(files, enabled=True, ca_file="ca.pem"), tmp_path)
    assert made is not None
    assert made.verify_mode is ssl.CERT_OPTIONAL
    assert made.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert ["expires on" in warnings[0], "chmod 600" in warnings[1]] == [True, True]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_on_the_loopback_nothing_is_said(host: str) -> None:
    """But where names are served that may lead through a proxy, and nobody is asked who they are."""
    assert startup.check(Townhall(), host) == []
    names = ("town.example.com",)
    assert startup.check(Townhall(allowed_hosts=names, auth=Auth(mode="oidc")), host) == []
    (warning,) = startup.check(Townhall(allowed_hosts=names), host)
    assert "whoever reaches this town hall as town.example.com" in warning


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "town.example.com"])  # noqa: S104
def test_beyond_the_loopback(host: str) -> None:
    """Never without authentication; with it there are warnings for what is still open."""
    with pytest.raises(Forbidden, match="without authentication"):
        startup.check(Townhall(), host)
    with pytest.raises(Forbidden):
        startup.check(Townhall(tls=Tls(enabled=True), mtls=Mtls(enabled=True, required=True)), host)
    key, token = Auth(mode="api_key", api_key_hash=HASH), Auth(mode="oidc")
    assert "reads keys" in startup.check(Townhall(auth=key), host)[0]
    assert "reads tokens" in startup.check(Townhall(auth=token), host)[0]
    assert "may try keys" in startup.check(Townhall(auth=key, tls=Tls(enabled=True)), host)[0]
    assert startup.check(Townhall(auth=token, tls=Tls(enabled=True)), host) == []


@pytest.mark.parametrize(
    ("tables", "bind", "said"),
    [({}, "0.0.0.0", "without authentication"),  # noqa: S104
     ({"auth": {"mode": "api_key"}}, "127.0.0.1", "there is no key"),
     ({"tls": {"enabled": True}}, "127.0.0.1", "tls.cert_file is missing")],
)  # fmt: skip
def test_it_does_not_start(town: Town, tables: dict[str, Any], bind: str, said: str) -> None:
    """What cannot be served ends the program with one line, and one that helps."""
    file = town.root / "tinytown.toml"
    file.write_text(file.read_text() + tomli_w.dumps({"townhall": tables}))
    argv = [str(PROGRAM), "--town", str(town.root), "rest", "--port", "0", "--bind", bind]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    first, second = ran.stderr.splitlines()
    assert (ran.returncode, ran.stdout) == (1, "")
    assert first.startswith("Error: ")
    assert said in first
    assert second


def test_the_address_that_was_reached_is_a_name(open_hall: OpenHall, authority: trustme.CA, tmp_path: Path) -> None:
    """Behind the address that it says come the warnings. It answers under its address, and under no other."""
    files = stored(tmp_path, authority.issue_cert("127.0.0.2"))
    Path(files["key_file"]).chmod(0o644)
    hall = open_hall("--bind", "127.0.0.2", townhall={"tls": {"enabled": True, **files}})
    first, second = hall.said.splitlines()
    assert first.endswith(f"https://127.0.0.2:{hall.port}")
    assert second.startswith("Warning: ")
    http = hall.client(verify=trusting(authority))
    assert http.get("/healthz").status_code == 200
    assert http.get("/healthz", headers={"Host": "127.0.0.3"}).status_code == 421
