"""The page on MCP says what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tinytown.townhall.mcp import prompts, resources
from tinytown.townhall.mcp.http import BODY_MOST, IDLE_S, SESSIONS_MOST
from tinytown.townhall.mcp.subscriptions import STREAMS_MOST, URIS_MOST

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "mcp.md").read_text("utf-8")


def test_the_tables_of_tools_are_current() -> None:
    """docs/mcp.md has every tool, as scripts/mcp_tools would write it now."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "mcp_tools.py", "--check"],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_every_resource_is_there() -> None:
    """With the tool that answers the same."""
    for kind in resources.KINDS:
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{kind.uri}` |")]
        assert line.endswith(f"| `{kind.verb}` |")


def test_every_prompt_is_there() -> None:
    """With its arguments."""
    for prompt in prompts.LISTED:
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{prompt.name}` |")]
        assert all(f"`{argument.name}`" in line for argument in prompt.arguments or [])


def test_the_bounds_are_those_of_the_code() -> None:
    """Sizes and numbers."""
    assert BODY_MOST == 1_000_000
    assert "at most 1 MB" in PAGE
    assert IDLE_S == 30 * 60
    assert f"of older ones {SESSIONS_MOST} are kept, half an hour" in PAGE
    assert f"{STREAMS_MOST} subscriptions can be open at once, each of at most {URIS_MOST} resources" in PAGE
