"""`tt web`: a link to the page of the town hall that runs."""

from __future__ import annotations

import json
from pathlib import Path

import argon2
import httpx2
import pytest
from argon2.profiles import CHEAPEST

from tests.support.cli import Tt
from tests.support.townhall import TownHall
from tests.townhall.conftest import OpenHall
from tinytown import processes
from tinytown.services import web
from tinytown.town import Town

pytestmark = pytest.mark.slow


def test_it_says_what_to_start_when_nothing_runs(town: Town) -> None:
    """It starts nothing by itself; the file of a town hall that was killed leads nobody astray."""
    tt = Tt(town.root.parent, town=town.root)
    assert tt.fails("web").complaint[1] == "Start it in another terminal: townhall"
    hall = TownHall(town.root).start()
    assert tt.ok("web", "--no-open").out == f"{hall.url}/\n"
    hall.kill()
    assert "No town hall" in tt.fails("web").complaint[0]


def test_the_link_lets_in_once(open_hall: OpenHall) -> None:
    """With keys the link carries a code behind the #; it is good once; the page's address is in the JSON form."""
    digest = argon2.PasswordHasher.from_parameters(CHEAPEST).hash("key")
    hall = open_hall(townhall={"auth": {"mode": "api_key", "api_key_hash": digest}})
    tt = Tt(hall.root.parent, town=hall.root)
    told = tt.ok("web", "--json").json
    assert (told["url"], told["good_s"]) == (hall.url, 300.0)
    link = tt.ok("web").out.strip()
    code = link.removeprefix(f"{hall.url}/#code=")
    assert code not in (link, "")
    http = hall.client(headers={"Origin": hall.url})
    assert http.get("/page/state").status_code == 401
    assert http.post("/session", json={"code": code}).status_code == 200
    assert http.get("/page/state", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    again = httpx2.post(f"{hall.url}/session", json={"code": code}, trust_env=False)
    assert again.status_code == 401
    assert again.json()["detail"] == "This link was used already, or is too old."
    assert again.json()["remedy"] == "Make a new one: tt web"


def test_a_browser_is_led_by_a_file_of_its_own(tmp_path: Path) -> None:
    """The link is in no program's arguments: a file that only this user reads leads there, with nothing in it alive."""
    path = web.opening(tmp_path, web.Link("http://h", 'http://h/#code="><script>', 300.0))
    assert path.stat().st_mode & 0o777 == 0o600
    assert "<script>" not in path.read_text()


SPOILT = ["", "[]", "{}", '{"halls": 3}', '{"halls": [3, {}]}', '{"halls": [{"url": 3, "process": {}}]}']


@pytest.mark.parametrize("text", [*SPOILT, '{"halls": [{"url": "http://x", "process": 5}]}'])
def test_a_spoilt_file_names_no_town_hall(tmp_path: Path, text: str) -> None:
    """Whatever is in it, and when its process is another one by now."""
    (tmp_path / web.FILE).write_text(text)
    assert web.running(tmp_path) is None
    other = processes.own().to_dict() | {"started": 1}
    (tmp_path / web.FILE).write_text(json.dumps({"halls": [{"url": "http://x", "process": other}]}))
    assert web.running(tmp_path) is None
    web.announce(tmp_path, "http://127.0.0.1:1")
    assert web.running(tmp_path) == "http://127.0.0.1:1"
    assert (tmp_path / web.FILE).stat().st_mode & 0o777 == 0o600


def test_of_two_town_halls_the_one_that_is_left_is_found(open_hall: OpenHall) -> None:
    """The last that was started is named while it runs, and then the one before it."""
    first = open_hall()
    tt = Tt(first.root.parent, town=first.root)
    with TownHall(first.root) as second:
        assert tt.ok("web", "--json").json["url"] == second.url
    assert tt.ok("web", "--json").json["url"] == first.url
