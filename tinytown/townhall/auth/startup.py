"""What a town hall refuses to begin with, and what it warns of: pure decisions on the settings."""

from __future__ import annotations

import ipaddress

from tinytown.config_townhall import Townhall
from tinytown.errors import Forbidden


def check(settings: Townhall, host: str) -> list[str]:
    """Warnings for a town hall that listens on `host`. Raises Forbidden for one that everybody there could use."""
    if is_loopback(host):
        names = ", ".join(settings.allowed_hosts)
        is_open = settings.auth.mode == "none" and names
        said = f"Warning: whoever reaches this town hall as {names} may run commands here: there is no authentication."
        return [said] if is_open else []
    if settings.auth.mode == "none":
        raise Forbidden(
            f"The town hall does not listen on {host or 'all addresses'} without authentication:"
            " everybody there could run commands here.",
            "Make a key with 'tt auth gen-key' and set [townhall.auth] mode = \"api_key\", or bind to 127.0.0.1.",
        )
    where = f"Warning: the town hall listens on {host or 'all addresses'}, beyond this machine"
    if not settings.tls.enabled:
        what = "keys" if settings.auth.mode == "api_key" else "tokens"
        return [f"{where}, without TLS: whoever is on the way reads {what}. Set [townhall.tls]."]
    if settings.auth.mode == "api_key" and not settings.mtls.required:
        return [f"{where}: whoever reaches it may try keys. [townhall.mtls] required = true keeps strangers out."]
    return []


def is_loopback(host: str) -> bool:
    """Nobody outside of this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
