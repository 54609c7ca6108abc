"""What is generated is current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_table_of_commands_is_current() -> None:
    """docs/commands.md is what scripts/commands would write now."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "commands.py", "--check"],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
