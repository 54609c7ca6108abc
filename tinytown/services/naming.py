"""The name of a new town: from git, else from its folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tinytown.errors import Invalid

GIT_WITHIN_S = 5.0
LONGEST = 64
FALLBACK = "tinytown"
_OTHER = re.compile(r"[^A-Za-z0-9._-]+")


def legal(name: str) -> str:
    """The name with what is not allowed as `-`, at most 64 long. Raises Invalid when nothing is left."""
    clean = _OTHER.sub("-", name.strip())[:LONGEST]
    if not re.search(r"[A-Za-z0-9]", clean):
        raise Invalid(f"Town name {name[:40]!r} is not valid.", "Names are letters, digits, '.', '_' or '-'.")
    return clean


def derive(root: Path) -> str:
    """`<repo>-<branch>`, `<repo>-<commit>` on a detached HEAD, `<repo>`, the folder's name, or `tinytown`."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if not top:
        return root.name if re.search(r"[A-Za-z0-9]", root.name) else FALLBACK
    repo = os.path.basename(top) or FALLBACK
    branch = _git(root, "symbolic-ref", "--short", "-q", "HEAD") or _git(root, "rev-parse", "--short", "HEAD")
    name = f"{repo}-{branch.replace('/', '-')}" if branch else repo
    return name if re.search(r"[A-Za-z0-9]", name) else FALLBACK


def _git(root: Path, *arguments: str) -> str:
    """What git says; nothing when it fails, hangs or is not there."""
    import subprocess  # noqa: PLC0415  costs 10 ms

    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_WITHIN_S,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""
