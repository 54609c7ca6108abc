"""A real git repository for tests, and its commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_ENV = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def git(where: Path, *arguments: str, code: int = 0) -> str:
    """What git prints there; it must end with this code."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | _ENV
    done = subprocess.run(["git", "-C", where, *arguments], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == code, f"git {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def make_repository(folder: Path, *, commit: bool = True) -> Path:
    """A repository on branch main, with `shared.txt` in its first commit; what a town leaves there is ignored."""
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name, value in (("user.name", "Ann"), ("user.email", "ann@localhost")):
        git(folder, "config", name, value)
    if commit:
        (folder / ".gitignore").write_text(".tt/*\n*.log\ncontrol/\n.env\nbuild/\n")
        (folder / "shared.txt").write_text("first\n")
        commit_all(folder, "first")
    return folder


def commit_all(where: Path, message: str) -> str:
    """Commit everything; returns the commit."""
    git(where, "add", "--all")
    git(where, "commit", "--quiet", "--message", message)
    return git(where, "rev-parse", "HEAD")
