"""The name of a new town: from git, else from its folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tinytown import git
from tinytown.errors import Invalid

LONGEST = 64
FALLBACK = "tinytown"
_OTHER = re.compile(r"[^A-Za-z0-9._-]+")


def legal(name: str) -> str:
    """The name with what is not allowed as `-`, none at its head, at most 64 long. Raises Invalid for nothing."""
    clean = _OTHER.sub("-", name.strip()).lstrip("-")[:LONGEST]
    if not re.search(r"[A-Za-z0-9]", clean):
        raise Invalid(f"Town name {name[:40]!r} is not valid.", "Names are letters, digits, '.', '_' or '-'.")
    return clean


def derive(root: Path) -> str:
    """`<repo>-<branch>`, `<repo>-<commit>` on a detached HEAD, `<repo>`, the folder's name, or `tinytown`."""
    top = git.ask(root, "rev-parse", "--show-toplevel")
    if not top:
        return root.name if re.search(r"[A-Za-z0-9]", root.name) else FALLBACK
    repo = os.path.basename(top) or FALLBACK
    branch = git.ask(root, "symbolic-ref", "--short", "-q", "HEAD") or git.ask(root, "rev-parse", "--short", "HEAD")
    name = f"{repo}-{branch.replace('/', '-')}" if branch else repo
    return name if re.search(r"[A-Za-z0-9]", name) else FALLBACK
