"""What an actor does with a run, in small: a selector, a time-out, and the calls."""

from __future__ import annotations

import selectors
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import fake_cli
from tinytown import clock
from tinytown.domain.outcome import Outcome
from tinytown.model_cli.catalog import ModelCli
from tinytown.model_cli.run import ModelRun

FAKE = (sys.executable, "-I", "-S", str(Path(fake_cli.__file__)))


def fake(*directives: str, **fields: Any) -> ModelCli:
    """The fake CLI with these directives as arguments."""
    return ModelCli("fake", (*FAKE, *directives), **fields)


def make(cli: ModelCli, folder: Path, prompt: str = "do it", **changes: Any) -> ModelRun:
    """A run with lenient limits."""
    settings: dict[str, Any] = {
        "env": {"TINYTOWN_RUN": f"{folder.name}:1:1"},
        "cwd": folder,
        "log": folder / "round.log",
        "runs_dir": folder / "runs",
        "log_bytes": 20_000_000,
        "round_timeout_s": 30.0,
        "silence_timeout_s": 0.0,
        "final_grace_s": 10.0,
    }
    return ModelRun(cli, prompt, **(settings | changes))


def step(run: ModelRun, at_most_s: float = 1.0) -> None:
    """Wait for one thing to happen, and pass it on."""
    due = run.next_due()
    timeout = at_most_s if due is None else max(0.0, min(at_most_s, due - clock.monotonic()))
    with selectors.DefaultSelector() as selector:
        selector.register(run.output_fd, selectors.EVENT_READ, run.on_output)
        selector.register(run.pidfd, selectors.EVENT_READ, run.on_exit)
        for key, _events in selector.select(timeout):
            key.data()
    run.on_timer(clock.monotonic())


def drive(run: ModelRun, until: Callable[[], object] | None = None, timeout: float = 20.0) -> None:
    """Go on until the run is over, or `until` holds."""
    deadline = clock.monotonic() + timeout
    while not run.is_over and not (until is not None and until()):
        assert clock.monotonic() < deadline, "the run did not get there"
        step(run, 0.02 if until else 1.0)


def outcome_of(cli: ModelCli, folder: Path, prompt: str = "do it", **changes: Any) -> Outcome:
    """Start, drive to the end, finish."""
    run = make(cli, folder, prompt, **changes)
    run.start()
    drive(run)
    return run.finish()
