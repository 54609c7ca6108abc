"""When a vendor's words say that its limit ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown.model_cli.resets import resumes_at

HERE = ZoneInfo("America/New_York")


@pytest.fixture(autouse=True, scope="module")
def local_time() -> Iterator[None]:
    """The machine is in New York."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


def at(*moment: int, zone: ZoneInfo = HERE) -> float:
    return datetime(*moment, tzinfo=zone).timestamp()  # type: ignore[misc, arg-type]


NOW = at(2026, 8, 3, 14, 0)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("try again in 2 hours 5 minutes", 7500.0),
        ("or try again in 5 days 22 hours 11 minutes.", 511_860.0),
        ("Please retry in 18.8s.", 18.8),
        ("Your quota will reset after 21h53m56s.", 78_836.0),
        ("Please retry after 2733 seconds. (user_global_rate_limited:pro)", 2733.0),
        ("Claude AI usage limit reached|1785780000", None),
        ("Claude AI usage limit reached|1985780000", 1_985_780_000 - NOW),
        ("try again later", None),
        ("rate limit of 5 m tokens", None),
        ("", None),
    ],
)
def test_spans(message: str, seconds: float | None) -> None:
    """A span counts from now; a moment that is over is none."""
    assert resumes_at(message, NOW) == (seconds and pytest.approx(NOW + seconds))


@pytest.mark.parametrize(
    ("message", "moment"),
    [
        ("You've hit your usage limit. Visit https://x.y/z or try again at 3:28 PM.", (2026, 8, 3, 15, 29)),
        ("try again at 1:58 AM.", (2026, 8, 4, 1, 59)),
        ("try again at Aug 8th, 2026 12:30 PM", (2026, 8, 8, 12, 31)),
        ("or try again at Aug 20, 2026, 7:38 AM", (2026, 8, 20, 7, 39)),
        ("You've hit your limit · resets 7pm", (2026, 8, 3, 19, 1)),
        ("You've hit your limit · resets 12am", (2026, 8, 4, 0, 1)),
        ("You've hit your limit · resets Aug 7, 11:30am", (2026, 8, 7, 11, 31)),
        ("resets Jan 2, 5pm", (2027, 1, 2, 17, 1)),
        ("Usage will reset when your monthly cycle ends on 9/23/2026.", (2026, 9, 23)),
    ],
)
def test_moments(message: str, moment: tuple[int, ...]) -> None:
    """Times of day are local, the next of their kind, and waited for to the end of their minute."""
    assert resumes_at(message, NOW) == at(*moment)


def test_zones() -> None:
    """A time zone in brackets is that of the time; an unknown one makes it unknown."""
    assert resumes_at("resets 9pm (Europe/Paris)", NOW) == at(2026, 8, 3, 21, 1, zone=ZoneInfo("Europe/Paris"))
    assert resumes_at("resets 7pm (UTC)", NOW) == at(2026, 8, 3, 19, 1, zone=ZoneInfo("UTC"))
    assert resumes_at("resets 7pm (Mars/Base)", NOW) is None


@pytest.mark.parametrize(
    "message", ["try again at 1:58 PM", "ends on 8/3/2026", "resets Feb 30, 2027 1pm", "ends on 9/31/2026"]
)
def test_no_time_to_come(message: str) -> None:
    """What is just over, or no date at all, gives no time."""
    assert resumes_at(message, NOW) is None


def test_clocks_go_back() -> None:
    """The next 1:30 after the night when the clocks go back is a day later by the clock."""
    assert resumes_at("again at 1:30 AM", at(2026, 10, 31, 12)) == at(2026, 11, 1, 1, 31)
    assert resumes_at("again at 12:30 PM", at(2026, 10, 31, 14)) == at(2026, 11, 1, 12, 31)


@QUICK
@given(st.text("again resets at in on 0123456789:/|,.()ampmhsdJanFeb ", max_size=60), st.floats(0, 4e9))
def test_anything(message: str, now: float) -> None:
    """Whatever a vendor writes raises nothing and names no time that is over."""
    until = resumes_at(f"resets {message}", now)
    assert until is None or until > now
