"""Start a town, make trouble, let it settle, read everything (`scripts/chaos` sets up and calls this)."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from chaos import report
from chaos.run import Options, Run, StartFailed
from tinytown import processes


def main() -> int:
    """Exit 0 when nothing was found, 1 when something was, 2 when no town could be started, 130 when interrupted."""
    options = _options()
    processes.become_subreaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="tinytown-chaos."))
    run = Run(folder, options)
    violations = ["the run did not come to its end"]
    try:
        run.start()
        violations = run.all()
        print(report.text(run), flush=True)  # noqa: T201
    except StartFailed as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        run.close()
        if violations or options.keep:
            print(f"The town is kept in {folder}", file=sys.stderr)  # noqa: T201
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return int(bool(violations))


def _options() -> Options:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="A town of real processes, trouble of every kind, and then a reading of everything: "
        "nothing may be lost, done twice or left over. Exit 1 when something is.",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="the trouble's; the same seed, the same choices (default: a new one)"
    )
    parser.add_argument("--agents", type=_count, default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument("--tasks", type=_count, metavar="N", help="in all (default: 2000, more for a longer run)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=_positive, default=60.0, metavar="T", help="of trouble (default: 60)")
    length.add_argument("--minutes", type=_positive, metavar="T", help="instead: a soak, for example 30")
    parser.add_argument("--settle", type=_positive, default=120.0, metavar="T", help="seconds to settle (default: 120)")
    parser.add_argument("--writers", type=_count, default=4, metavar="N", help="who give work at once (default: 4)")
    parser.add_argument(
        "--default-limits", action="store_true",
        help="restarts and attempts limited as by default: shows what is given up, and why",
    )  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep the town's folder also when nothing was found")
    given = parser.parse_args()
    seconds = given.minutes * 60 if given.minutes else given.seconds
    return Options(
        seed=given.seed if given.seed is not None else int.from_bytes(os.urandom(3), "big"),
        agents=given.agents,
        tasks=given.tasks or max(2000, round(seconds * 10)),
        seconds=seconds,
        settle_s=given.settle,
        writers=given.writers,
        limited=given.default_limits,
        keep=given.keep,
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 1")
    return int(text)


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < 1e6:
            return value
    raise argparse.ArgumentTypeError(f"{text} is no time in seconds or minutes")


if __name__ == "__main__":
    sys.exit(main())
