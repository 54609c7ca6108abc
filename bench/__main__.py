"""Run the groups, print their tables, keep them (`scripts/bench` sets up and calls this)."""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from bench import dispatch, idle, missions, peers, plan, restart, startup, townhall
from bench.rig import Bench, Group, server_name
from bench.table import Row, keep, machine, markdown

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
GROUPS: dict[str, Group] = {
    "dispatch": dispatch.measure,
    "restart": restart.measure,
    "idle": idle.measure,
    "startup": startup.measure,
    "plan": plan.measure,
    "missions": missions.measure,
    "townhall": townhall.measure,
    "peers": peers.measure,
}


def main() -> int:
    """Exit 0 when everything was measured, targets met or not; 1 when something broke."""
    options = _options()
    chosen = options.groups or [name for name in GROUPS if name != "peers"]
    if options.peers and "peers" not in chosen:
        chosen.append("peers")
    folder = Path(tempfile.mkdtemp(prefix="tinytown-bench."))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    broke = False
    try:
        bench = _prepare(folder, options)
        for name in chosen:
            broke = not _group(name, bench, write=options.write) or broke
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(broke)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure this checkout on this machine: real towns, real processes."
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; all but peers when none")
    parser.add_argument("--quick", action="store_true", help="fewer samples, for a first look")
    parser.add_argument("--write", action="store_true", help="keep the tables in docs/benchmarks.md")
    parser.add_argument("--peers", action="store_true", help="also other supervisors, installed by pip for this run")
    options = parser.parse_args()
    unknown = set(options.groups) - set(GROUPS)
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}; there are: {', '.join(GROUPS)}")
    return options


def _prepare(folder: Path, options: argparse.Namespace) -> Bench:
    """The user's own towns and settings stay out of it; bytecode is there before anything is measured."""
    os.environ["PIP_CACHE_DIR"] = os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip"))
    os.environ["HOME"] = str(folder / "home")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    for name in [n for n in os.environ if n.startswith(("TINYTOWN_", "REDIS_URL", "PYTHONDONTWRITEBYTECODE"))]:
        del os.environ[name]
    (folder / "home").mkdir()
    for package in ("tinytown", "bench"):
        compileall.compile_dir(ROOT / package, quiet=2)
    stamp = folder / "stamp"
    subprocess.run(["gcc", "-O2", "-static", "-o", str(stamp), str(ROOT / "bench" / "stamp.c")], check=True)
    return Bench(folder, stamp, options.quick, options.peers, _say)


def _group(name: str, bench: Bench, *, write: bool) -> bool:
    _say(f"== {name}")
    line = machine(server_name())
    try:
        rows = GROUPS[name](bench)
    except Exception as error:  # noqa: BLE001  the other groups are measured all the same
        traceback.print_exc()
        rows = [Row(f"{name} broke", f"{type(error).__name__}: {error}".splitlines()[0][:200])]
        write = False
    sys.stdout.write(f"\n{name}: {line}\n\n{markdown(rows)}\n\n")
    sys.stdout.flush()
    if write:
        keep(PAGE, name, line, rows)
    return not rows[0].what.endswith(" broke")


def _say(text: str) -> None:
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
