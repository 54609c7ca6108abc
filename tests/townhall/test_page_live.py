"""The page in a real browser: it shows the town, follows it, and comes back after trouble."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import argon2
import pytest
from argon2.profiles import CHEAPEST

from tests.support.browser import OBSERVE, OpenPage, no_long_task
from tests.support.builders import make_item, make_mission
from tests.support.missions import put_mission
from tests.support.redis_server import TestRedis
from tests.support.town import register, same_town
from tests.support.townhall import TownHall, make_town
from tests.support.waiting import wait_until
from tests.townhall.conftest import OpenHall
from tinytown.services import backlog, tasks, web_codes
from tinytown.services.caller import Caller
from tinytown.town import Town, open_town

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

WITHIN_MS = 200
KEY = "a-key-for-the-page"
HOSTILE = "<img src=x onerror=alert(1)>\u202e\u001b[31mred\u001b]0;title\u0007<script>alert(2)</script>"
# Resolves with the time (ms since 1970) when an element with this text has been drawn.
SEEN = """text => { window.seen = new Promise(done => {
  const look = () => document.body.innerText.includes(text) ? done(Date.now()) : requestAnimationFrame(look);
  look(); }) ; return true; }"""


ASSIGNED_TWICE = (
    "[...document.querySelectorAll('#feed .kind')].filter(e => e.innerText === 'task assigned').length === 2"
)
STREAMS = """window.streams = []; window.EventSource = class extends EventSource {
  constructor(...given) { super(...given); window.streams.push(this); } }"""
TURN = """hidden => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange')); }"""
LOGGED = """text => { window.seen = new Promise(done => {
  const look = () => document.querySelector('.log').lastElementChild.previousElementSibling.textContent
    .includes(text) ? done(Date.now()) : setTimeout(look, 20);
  look(); }) ; return true; }"""


def texts(page: Page, selector: str) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]


def in_column(page: Page, column: str, text: str) -> None:
    page.locator(f"[data-column={column}] .card", has_text=text).wait_for()


def test_an_empty_town_says_what_to_do_next(hall: TownHall, open_page: OpenPage) -> None:
    """Each part without anything names the command that would fill it."""
    page = open_page(hall)
    said = "\n".join(texts(page, ".empty"))
    for words in ("Nothing waits for you", "tt assign", "tt spawn", "tt mission start"):
        assert words in said
    assert page.locator(".column").count() == 5


def test_the_whole_town_is_shown_and_followed(town: Town, hall: TownHall, open_page: OpenPage) -> None:
    """Agents, tasks by column, what needs a person, a drawn mission; a change is drawn within 200 ms."""
    register(town, "ann")
    register(town, "bob", wanted=False)
    tasks.assign(town, "ann", "Write the parser", Caller())
    parked = backlog.add(town, "Some day", [], Caller())
    mission = make_mission(stopped_at="2026-01-02T03:04:05Z")
    first = make_item(mission, 1, title="The schema")
    put_mission(town, mission, first, make_item(mission, 2, title="The service", depends_on=[first.id]))
    page = open_page(hall)
    in_column(page, "waiting", "Write the parser")
    in_column(page, "waiting", "Some day")
    assert "no supervisor" in " ".join(texts(page, ".need"))
    assert texts(page, "tbody th .open") == ["ann", "bob"]
    page.locator(".box", has_text="The service").wait_for()
    assert page.locator(".edge").count() == 1
    delays = []
    for number in range(10):
        text = f"fresh task {number}"
        page.evaluate(SEEN, text)
        began = time.time() * 1000
        tasks.assign(town, "ann", text, Caller())
        delays.append(page.evaluate("window.seen") - began)
    print(f"drawn after (ms): {sorted(map(round, delays))}")  # noqa: T201
    assert sorted(delays)[7] < WITHIN_MS, delays
    tasks.cancel(town, parked.id, "not now", Caller())
    in_column(page, "done", "cancelled: not now")
    assert page.locator("#feed li", has_text="task cancelled").first.is_visible()
    whose = page.locator("#feed li", has_text="assigned to 'ann'").first
    assert whose.locator(".who").inner_text() == "ann"


def test_each_command_of_a_remedy_is_copied_by_itself(hall: TownHall, open_page: OpenPage) -> None:
    """Words stay words, and what is no command has no button."""
    page = open_page(hall)
    script = """async text => { const { helps } = await import('/page/dom.js');
        const made = helps(text);
        return made.nodeType ? [...made.querySelectorAll('code')].map(e => e.textContent) : []; }"""
    both = "tt mission approve 4a, or tt mission reject 4a --reason ..."
    assert page.evaluate(script, both) == ["tt mission approve 4a", "tt mission reject 4a --reason ..."]
    assert page.evaluate(script, "give access to it, or tt mission cancel 4a") == ["tt mission cancel 4a"]
    assert page.evaluate(script, "See the tasks with: tt task list") == ["tt task list"]
    assert page.evaluate(script, "Use a new key.") == []


def test_hostile_text_is_text(town: Town, hall: TownHall, open_page: OpenPage) -> None:
    """Markup, terminal escapes and marks that turn text around do nothing: on a card, in a need, in the drawer."""
    register(town, "ann")
    given = tasks.assign(town, "ann", HOSTILE, Caller())
    page = open_page(hall)
    page.evaluate("() => { window.alert = () => { window.hit = true } }")
    in_column(page, "waiting", "<script>alert(2)</script>")
    tasks.fail(town, given.id, HOSTILE, Caller())
    page.locator(".need", has_text="failed").wait_for()
    page.locator(".card").first.click()
    page.locator("#drawer pre", has_text="<script>").first.wait_for()
    assert page.evaluate("window.hit") is None
    assert page.locator("#main img, #main script, #drawer img, #drawer script").count() == 0
    shown = page.locator("body").inner_text()
    assert not set("\u202e\u001b\u0007") & set(shown)
    assert "<img src=x onerror=alert(1)>red<script>" in shown


def test_a_lost_connection_is_told_and_made_good(town: Town, open_page: OpenPage) -> None:
    """Without the town hall a banner says so; when it is back the page shows what was missed, each event once."""
    register(town, "ann")
    hall = TownHall(town.root, "--port", "0").start()
    port = hall.port
    page = open_page(hall, quiet=False)
    hall.kill()
    page.wait_for_selector("#banner:not([hidden])")
    assert "lost" in page.locator("#banner").inner_text()
    tasks.assign(town, "ann", "given meanwhile", Caller())
    with TownHall(town.root, "--port", str(port)):
        in_column(page, "waiting", "given meanwhile")
        page.wait_for_selector("#banner", state="hidden")
        tasks.assign(town, "ann", "given afterwards", Caller())
        in_column(page, "waiting", "given afterwards")
        assert page.locator(".card").count() == 2
        wait_until(lambda: page.evaluate(ASSIGNED_TWICE))


def test_a_tab_that_nobody_sees_leaves_the_connections_to_others(
    town: Town, hall: TownHall, open_page: OpenPage
) -> None:
    """Hidden for ten seconds it keeps no stream open; when it is seen again it shows what happened, and follows."""
    register(town, "ann")
    page = open_page(hall, script=STREAMS)
    page.locator("tr[data-agent=ann] button").click()
    page.locator("#drawer .log").wait_for()
    wait_until(lambda: page.evaluate("window.streams.filter(one => one.readyState === 1).length === 2"))
    page.clock.install()
    page.evaluate(TURN, True)
    page.clock.fast_forward(11_000)
    wait_until(lambda: page.evaluate("window.streams.every(one => one.readyState === 2)"))
    tasks.assign(town, "ann", "given in the dark", Caller())
    page.evaluate(TURN, False)
    in_column(page, "waiting", "given in the dark")
    wait_until(lambda: page.evaluate("window.streams.filter(one => one.readyState === 1).length === 2"))


def test_redis_goes_and_comes_back(tmp_path: Path, open_page: OpenPage) -> None:
    """A town hall that cannot see its town says so, and goes on when it can."""
    with TestRedis(tmp_path / "redis") as server:
        town = make_town(server, tmp_path / "town")
        register(town, "ann")
        with TownHall(town.root) as hall:
            page = open_page(hall, quiet=False)
            page.locator("tbody .open", has_text="ann").wait_for()
            server.kill()
            page.wait_for_selector("#banner:not([hidden])")
            server.restart()
            page.wait_for_selector("#banner", state="hidden")
            fresh = same_town(town)
            tasks.assign(fresh, "ann", "after the fall", Caller())
            in_column(page, "waiting", "after the fall")
            fresh.store.close()
        town.store.close()


@pytest.fixture
def guarded(open_hall: OpenHall) -> Iterator[TownHall]:
    """A town hall that asks for a key."""
    digest = argon2.PasswordHasher.from_parameters(CHEAPEST).hash(KEY)
    return open_hall(townhall={"auth": {"mode": "api_key", "api_key_hash": digest}})  # type: ignore[return-value]


def test_sign_in_by_key(guarded: TownHall, open_page: OpenPage) -> None:
    """Nothing is shown before; a wrong key is refused with the reason; the cookie is out of reach of scripts."""
    page = open_page(guarded, live=False, quiet=False)
    page.wait_for_selector("dialog#signin[open]")
    page.fill("#signin-key", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#signin .outcome .bad")
    page.fill("#signin-key", KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector("#live.live.live:text('Live')")
    assert not page.locator("dialog#signin[open]").count()
    assert page.evaluate("document.cookie") == ""
    page.reload()
    page.wait_for_selector("#live.live.live:text('Live')")


def test_what_a_key_may_not_do_is_refused_and_said(open_hall: OpenHall, open_page: OpenPage) -> None:
    """With `town.read` alone everything is seen; a button says why it did nothing."""
    digest = argon2.PasswordHasher.from_parameters(CHEAPEST).hash(KEY)
    reader = {"name": "reader", "hash": digest, "scopes": ["town.read"]}
    hall = open_hall(townhall={"auth": {"mode": "api_key", "keys": [reader]}})
    opened = open_town(str(hall.root))
    register(opened, "ann")
    opened.store.close()
    page = open_page(hall, live=False, quiet=False)
    page.fill("#signin-key", KEY)
    page.keyboard.press("Enter")
    page.locator("tr[data-agent=ann] button").click()
    page.locator("#drawer [data-action='task.assign']").click()
    page.fill("#ask-field", "anything")
    page.keyboard.press("Control+Enter")
    page.locator("#ask .outcome .bad", has_text="town.write").wait_for()


def test_sign_in_by_a_one_time_link(guarded: TownHall, open_page: OpenPage) -> None:
    """The code of the link lets in once, and does not stay in the address."""
    code = web_codes.create(guarded.root / ".tt")
    page = open_page(guarded, path=f"/#code={code}", quiet=False)
    assert page.url == f"{guarded.url}/"
    other = open_page(guarded, path=f"/#code={code}", live=False, quiet=False)
    other.wait_for_selector("dialog#signin[open] .bad")


def test_a_log_of_ten_megabytes(town: Town, hall: TownHall, tracing: Browser, open_page: OpenPage) -> None:
    """The drawer shows its end at once and what is written then; no task of the browser takes over 100 ms."""
    register(town, "ann")
    path = town.logs_dir / "ann.log"
    line = "\u001b[32m12:00:00 step %d of many that a talkative model prints in a round\u001b[0m\n"
    path.write_text("".join(line % n for n in range(130_000)))
    assert path.stat().st_size > 10_000_000
    with no_long_task(tracing, hall, 100):
        page = open_page(hall, script=OBSERVE)
        page.locator("tr[data-agent=ann] button").click()
        page.locator(".log", has_text="step 129999 of many").wait_for()
        began = time.time() * 1000
        page.evaluate(LOGGED, "the last word")
        with path.open("a") as stream:
            stream.writelines(line % n for n in range(50_000))
            stream.write("the last word <b>bold</b>\n")
            stream.write("and a line without an end")
        assert page.evaluate("window.seen") - began < 5000
        page.locator(".log", has_text="without an end").wait_for()
    assert page.locator(".log b").count() == 0
    assert page.locator(".log .block").count() <= 86
    page.keyboard.press("Escape")
    page.wait_for_selector("#drawer", state="hidden")
    assert page.evaluate("document.activeElement.innerText") == "ann"
