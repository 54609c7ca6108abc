"""A real browser for tests of the page: the chromium of this machine, driven by Playwright. One for each module."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.support.townhall import TownHall

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
OPTIONS = [
    "--disable-dev-shm-usage",
    "--disable-features=SpareRendererForSitePerProcess",  # a process that would outlive the test that it began in
    "--disable-extensions",
]
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PATIENCE_MS = 10_000
# The page's tasks are measured from before its first script; how long each was that took over 50 ms is kept.
OBSERVE = """window.long = []; new PerformanceObserver(list => {
  for (const entry of list.getEntries()) window.long.push(Math.round(entry.duration));
}).observe({ type: 'longtask', buffered: true });"""
OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser; tests that need it are skipped where there is none."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no chromium on this machine: apt-get install chromium, or scripts/setup --dev as root")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  a third of a second, for these tests alone

    options = [*OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=options)
        opened.new_page().goto("about:blank")  # stays: helpers of the browser start with the first page
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Pages for one test: see `pages`."""
    with pages(browser) as opened:
        yield opened


@contextlib.contextmanager
def pages(browser: Browser) -> Iterator[OpenPage]:
    """`open_page(hall, **context)`: the page of a town hall, live. At the end the console must have told of no error.

    With `live=False` nothing is waited for; `path` is what to open; `script` runs before the page's own; not `quiet`:
    the console may tell of requests that failed.
    """
    contexts, said = [], []

    def open_it(
        hall: TownHall, *, path: str = "/", script: str = "", live: bool = True, quiet: bool = True, **context: Any
    ) -> Page:  # fmt: skip
        made = browser.new_context(**{"viewport": WIDE, "locale": "en-GB", **context})
        made.set_default_timeout(PATIENCE_MS)
        contexts.append(made)
        page = made.new_page()
        if quiet:
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        if script:
            page.add_init_script(script)
        page.goto(hall.url + path)
        if live:
            page.wait_for_selector("#live.live.live:text('Live')")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not said, f"the page's console: {said}"


@pytest.fixture(scope="module")
def tracing(browser: Browser) -> Browser:
    """The browser, with the process that traces: it outlives the test that it begins in."""
    browser.start_tracing()
    browser.stop_tracing()
    return browser


@contextlib.contextmanager
def no_long_task(tracing: Browser, hall: TownHall, most_ms: float) -> Iterator[None]:
    """No task of the page that is opened in this block (with OBSERVE as its script) takes longer.

    Counted is the processor's time, which others at work on this machine do not lengthen. What the Long Tasks API says,
    which is the time of the wall, counts where nobody else is at work.
    """
    tracing.start_tracing(categories=["toplevel", "devtools.timeline"])
    try:
        yield
        told = [
            ms for context in tracing.contexts for page in context.pages for ms in page.evaluate("window.long || []")
        ]
    finally:
        trace = tracing.stop_tracing()
    used = longest_ms(json.loads(trace), hall.url)
    print(f"longest task: {used:.0f} ms of the processor; by the wall over 50 ms: {told}")  # noqa: T201
    assert 0 < used < most_ms
    if os.getloadavg()[0] < (os.cpu_count() or 1):
        assert max(told, default=0) < most_ms, told


def longest_ms(trace: dict[str, Any], url: str) -> float:
    """The processor's time, in ms, of the longest task in the main thread of the process that shows this address."""
    events = trace["traceEvents"]
    page = next(e["pid"] for e in events if e.get("args", {}).get("data", {}).get("url", "").startswith(f"{url}/page/"))
    thread = next(
        e["tid"] for e in events
        if e["pid"] == page and e.get("name") == "thread_name" and e["args"]["name"] == "CrRendererMain"
    )  # fmt: skip
    own = (e for e in events if (e["pid"], e["tid"]) == (page, thread) and e["name"].endswith("RunTask"))
    return float(max(e.get("tdur", 0) for e in own)) / 1000
