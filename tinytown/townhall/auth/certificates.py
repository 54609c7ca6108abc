"""TLS as the settings want it. What is wrong with a certificate is said at the start, in one line."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tinytown import clock
from tinytown.config_townhall import Townhall
from tinytown.errors import Invalid

SOON = timedelta(days=14)


def context(settings: Townhall, root: Path) -> tuple[ssl.SSLContext | None, list[str]]:
    """The server's TLS (None: plain HTTP), and warnings. Relative files are below `root`. Raises Invalid."""
    tls, mtls = settings.tls, settings.mtls
    if not tls.enabled:
        if mtls.enabled or mtls.required:
            raise Invalid("[townhall.mtls] is enabled without TLS.", "Set [townhall.tls] enabled = true and its files.")
        return None, []
    cert, key = _file(tls.cert_file, "tls.cert_file", root), _file(tls.key_file, "tls.key_file", root)
    warnings = _check(cert, key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 or newer
    try:
        made.load_cert_chain(cert, key)
    except (ssl.SSLError, OSError) as error:
        raise Invalid(f"[townhall] {cert} and {key} cannot be used: {_line(error)}") from error
    if mtls.enabled or mtls.required:
        _ask_clients(made, _file(mtls.ca_file, "mtls.ca_file", root))
        made.verify_mode = ssl.CERT_REQUIRED if mtls.required else ssl.CERT_OPTIONAL
    return made, warnings


def _ask_clients(made: ssl.SSLContext, authorities: Path) -> None:
    try:
        made.load_verify_locations(authorities)
    except (ssl.SSLError, OSError) as error:
        remedy = "It must hold the certificates (PEM) of those who sign the clients' certificates."
        raise Invalid(f"[townhall] mtls.ca_file {authorities} cannot be used: {_line(error)}", remedy) from error


def _file(given: str | None, name: str, root: Path) -> Path:
    if not given:
        raise Invalid(f"[townhall] {name} is missing.", f'Set it: {name.partition(".")[2]} = "/path/to/file.pem"')
    path = root / Path(given).expanduser()
    try:
        path.read_bytes()
    except OSError as error:
        said = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise Invalid(f"[townhall] {name} {path} {said}.", "Correct the path, or let this user read it.") from error
    return path


def _check(cert: Path, key: Path) -> list[str]:
    try:
        first = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except (ValueError, IndexError) as error:
        raise Invalid(f"[townhall] tls.cert_file {cert} holds no certificate.", "It must be in PEM form.") from error
    if _public(first.public_key()) != _public_of_private(key):
        remedy = "Name the key that the certificate was made for."
        raise Invalid(f"[townhall] tls.key_file {key} does not match the certificate {cert}.", remedy)
    now = clock.now()
    if first.not_valid_after_utc <= now:
        raise Invalid(
            f"[townhall] tls.cert_file {cert} has expired on {first.not_valid_after_utc:%Y-%m-%d}.", "Renew it."
        )
    if first.not_valid_before_utc > now:
        since = f"{first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise Invalid(f"[townhall] tls.cert_file {cert} is not valid before {since}.", "Look at this machine's clock.")
    warnings = []
    if first.not_valid_after_utc - now < SOON:
        warnings.append(f"Warning: {cert} expires on {first.not_valid_after_utc:%Y-%m-%d}.")
    if key.stat().st_mode & 0o007:
        warnings.append(f"Warning: {key} is open to all users of this machine; close it: chmod 600 {key}")
    return warnings


def _public_of_private(key: Path) -> bytes:
    try:
        private = load_pem_private_key(key.read_bytes(), None)
    except TypeError as error:
        remedy = f"Store it without one: openssl pkey -in {key} -out FILE"
        raise Invalid(f"[townhall] tls.key_file {key} needs a password.", remedy) from error
    except ValueError as error:
        raise Invalid(f"[townhall] tls.key_file {key} holds no private key.", "It must be in PEM form.") from error
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _line(error: OSError) -> str:
    return (error.strerror or str(error)).splitlines()[0]
