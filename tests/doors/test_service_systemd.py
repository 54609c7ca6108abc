"""`tt service` under a real `systemd --user`. Only for root in a container: a machine's own systemd is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MANAGER = HERE.parent / "support" / "user_manager.sh"
NEEDED = ("/lib/systemd/systemd", "/usr/bin/systemctl", "/usr/bin/unshare", "/usr/bin/systemd-run")


def cannot() -> str | None:
    """Why it cannot be done here."""
    if os.getuid() != 0:
        return "needs root, for namespaces of its own"
    if os.path.exists("/run/systemd/system"):
        return "a systemd runs this machine; its control groups are not for tests"
    missing = [path for path in NEEDED if not os.path.exists(path)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if not os.path.isdir("/sys/fs/cgroup") or not os.access("/sys/fs/cgroup", os.W_OK):
        return "control groups cannot be written"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--cgroup", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True, check=False,
    )  # fmt: skip
    return "namespaces and mounts are not allowed here" if tried.returncode else None


@pytest.mark.slow
@pytest.mark.timeout(170)
@pytest.mark.fault
def test_the_life_of_a_service(tmp_path: Path) -> None:
    """Installed, killed, hung, reloaded, stopped, started, taken over, uninstalled: see service_life.py."""
    reason = cannot()
    if reason is not None:
        pytest.skip(reason)
    root = tmp_path / "my town 50%"
    done = subprocess.run(
        [MANAGER, tmp_path / "work", sys.executable, HERE / "service_life.py", root],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
