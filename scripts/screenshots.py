"""Pictures of the page for the documents: a town with real agents, whose CLI is a script, seen by a real browser."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from tests.support.browser import NAMES, PHONE
from tests.support.running_town import RunningTown
from tests.support.townhall import TownHall
from tinytown.services import backlog, messages, tasks
from tinytown.services.caller import Caller
from tinytown.services.missions import starting
from tinytown.services.missions.starting import StartRequest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MOST = 200_000  # bytes of a picture
ME = Caller()
CLI = """\
#!/bin/sh
prompt=$(cat)
say() { echo "$1"; }
case $prompt in
*"release notes"* | *"item] Read the manifest"* | *"broken link"*) say "Done: 2 files changed."; exit 0 ;;
*"payment"*) say "pytest -q tests/payment"; say "3 failed, 41 passed"; exit 1 ;;
esac
say "Reading src/login.py and its tests"
say "$ pytest -q tests/login"
say "12 passed in 0.84s"
say "Writing the token check"
say "$ git diff --stat"
say " src/login.py       | 34 +++++++++++++++++------"
say " tests/test_login.py | 21 ++++++++++++++"
while [ ! -e "$STUBBORN_DIR/go" ]; do sleep 0.2; done
"""
PLAN = """\
# Shop 2.0

- [ ] Read the manifest
- [ ] Build the graph
- [ ] Watch the builds
- [ ] Draw the page
- [ ] Merge when green
"""
MANIFEST = "[policy]\nmax_parallel_items = 2\nreviewer_required = false\n" + "".join(
    f'\n[[overrides]]\nissue = "{title}"\ndepends_on = [{before}]\n'
    for title, before in (
        ("Build the graph", '"Read the manifest"'), ("Watch the builds", '"Read the manifest"'),
        ("Draw the page", '"Build the graph"'), ("Merge when green", '"Draw the page", "Watch the builds"'),
    )
)  # fmt: skip


def main() -> int:
    """Write the pictures into the folder that is named; the exit code."""
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="tinytown-pictures-") as folder:
        os.environ["HOME"] = folder
        cli = Path(folder) / "cli"
        cli.write_text(CLI)
        cli.chmod(0o755)
        with RunningTown(Path(folder) / "shop", cli, name="shop", agent={"max_attempts": 1}) as town:
            fill(town)
            with TownHall(town.root) as hall, sync_playwright() as driver:
                path = next(found for name in NAMES if (found := shutil.which(name)))
                options = ["--no-sandbox"] if os.geteuid() == 0 else []
                browser = driver.chromium.launch(executable_path=path, args=options)
                take(browser, hall.url, out)
                browser.close()
            town.go()
    sizes = {path.name: path.stat().st_size for path in sorted(out.glob("page-*.png"))}
    print(*(f"{name}: {size // 1000} kB" for name, size in sizes.items()), sep="\n")  # noqa: T201
    return int(max(sizes.values()) > MOST)


def fill(town: RunningTown) -> None:
    """Agents, work in every column, and a mission."""
    town.spawn("backend", "frontend", "reviewer", "docs", "tester")
    town.wait_idle("backend", "frontend", "reviewer", "docs", "tester")
    done = [
        tasks.assign(town.town, "docs", text, ME)
        for text in ("Write the release notes", "Mend the broken link in README")
    ]
    tasks.assign(town.town, "tester", "Test the payment of an order without items", ME)
    town.wait_done(*done)
    for agent, text in (
        ("backend", "Build the login API"),
        ("backend", "Rotate tokens once a day"),
        ("backend", "Limit tries per address"),
        ("frontend", "Move the start page to the new theme"),
        ("frontend", "A form for the address"),
    ):
        tasks.assign(town.town, agent, text, ME)
    backlog.add(town.town, "Translate the terms into French", ["writer"], ME)
    messages.send(town.town, "conductor", "May the tests use the network?", ME, kind="query", sender="backend")
    (town.root / "plan.md").write_text(PLAN)
    (town.root / "mission.toml").write_text(MANIFEST)
    request = StartRequest((), (str(town.root / "plan.md"),), str(town.root / "mission.toml"))
    starting.start(town.town, request, ME)
    town.wait(lambda: len(town.events("task_started")) > 7, "the mission's work")


def take(browser: Browser, url: str, out: Path) -> None:
    """The page in the dark and in the light, a drawer, a phone."""
    wide: dict[str, Any] = {"viewport": {"width": 1240, "height": 960}}
    for name, options, agent in (
        ("page-dark", wide | {"color_scheme": "dark"}, None),
        ("page-drawer", wide | {"color_scheme": "light"}, "backend"),
        ("page-phone", {"viewport": PHONE, "color_scheme": "light"}, None),
    ):
        page = browser.new_page(locale="en-GB", **options)
        page.goto(url)
        page.wait_for_selector("#live.live.live:text('Live')")
        page.locator(".box").nth(4).wait_for()
        page.locator("td.c-cpu", has_text="%").first.wait_for(state="attached")
        if agent:
            page.locator(f"tr[data-agent={agent}] button").click()
            page.locator(".log .block").first.wait_for()
        if name == "page-dark":
            page.locator(".mission").screenshot(path=out / "page-mission.png")
            page.evaluate("scrollTo(0, 0)")
        page.evaluate("Promise.all(document.getAnimations().map(animation => animation.finished))")
        page.screenshot(path=out / f"{name}.png")
        page.close()


if __name__ == "__main__":
    sys.exit(main())
