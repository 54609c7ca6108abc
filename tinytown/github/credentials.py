"""The token for GitHub: from the environment, else from the `gh` command. Never an argument, in no log, in no error."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from urllib.parse import urlsplit

from tinytown.errors import Invalid
from tinytown.github.places import web_url

VARIABLES = ("GITHUB_TOKEN", "GH_TOKEN")
GH_S = 5.0


def find_token(api_url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token to use at this API; None: there is none, and only what is public can be read.

    Takes up to five seconds where `gh` hangs. Raises Invalid when a variable holds what cannot be a token.
    """
    for name in VARIABLES:
        token = environment.get(name, "").strip()
        if token:
            # httpx would repeat it in its error
            if not (token.isascii() and token.isprintable() and " " not in token):
                raise Invalid(f"{name} holds characters that no token has.", f"Set it again: export {name}=...")
            return token
    return _of_gh(urlsplit(web_url(api_url)).netloc)


def _of_gh(host: str) -> str | None:
    with tempfile.TemporaryFile() as out:
        try:
            process = subprocess.Popen(
                ["gh", "auth", "token", "--hostname", host],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return None
        try:
            code = process.wait(GH_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None
        out.seek(0)
        token = out.read().decode("ascii", "replace").strip()
    return token if code == 0 and token.isprintable() and token and " " not in token else None
