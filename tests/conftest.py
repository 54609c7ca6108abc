"""Every test process has a home, an environment and children of its own, and leaves none behind."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import leftovers, passed, warm
from tinytown import processes

if TYPE_CHECKING:
    from tests.support.redis_server import TestRedis

FOREIGN = ("TINYTOWN_", "TT_", "XDG_")
FOREIGN_NAMES = ("REDIS_URL", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "PYTHONDONTWRITEBYTECODE", "NO_COLOR")


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is imported that might read them: a home and an environment of this process alone."""
    home = tempfile.mkdtemp(prefix="tt-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name in FOREIGN_NAMES:
            del os.environ[name]
    os.environ["HOME"] = home
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ[leftovers.MARK] = uuid.uuid4().hex
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background is told to ignore it,
    for number in (signal.SIGHUP, signal.SIGQUIT):  # and would hand that on to every program it starts
        signal.signal(number, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """What has been loaded stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_process_outlives_the_session() -> Iterator[None]:
    processes.become_subreaper()
    warm.begin()
    yield
    warm.stop()
    lines = leftovers.left_over(set()) + leftovers.strangers(os.environ[leftovers.MARK])
    leftovers.reap()
    assert not lines, "the session left processes behind:\n" + "\n".join(lines)


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test(_no_process_outlives_the_session: None) -> Iterator[None]:
    # Servers of a wider scope that the test asked for are up already; fixtures of the test itself go before this.
    before = leftovers.descendants()
    yield
    lines = leftovers.left_over(before)
    assert not lines, "the test left processes behind:\n" + "\n".join(lines)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestRedis]:
    """One server for all tests of this process; a test keeps to a town name of its own and does not harm it."""
    from tests.support.redis_server import TestRedis  # noqa: PLC0415  tests of pure parts run without the store

    with TestRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test itself passed."""
    report = yield
    passed.note(item, report)
    return report
