"""Terminals get emoji and colour, pipes get words; nobody's text speaks to a terminal."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support import town as towns
from tests.support.cli import TT, Tt
from tinytown.town import Town

pytestmark = pytest.mark.slow

EVIL = "\x1b[31mred\x1b]0;title\x07 \x9b2J\r\u202egnp.exe"


def test_emoji_only_on_a_terminal(tt: Tt, town: Town) -> None:
    """The same command: icons on a terminal, none on a pipe; the state is an icon or a word."""
    towns.give_task(town, towns.register(town, wanted=False), description="Fix it")
    _code, shown = tt.on_terminal("status", "--tasks")
    assert f"🏘️  Town: {town.name}\n" in shown
    assert "🤖 Agents: 1\n" in shown
    assert " 📌 " in shown
    piped = tt.ok("status", "--tasks").out
    assert f"Town: {town.name}\n" in piped
    assert "assigned" in piped
    assert not any(icon in piped for icon in ("🏘", "📂", "📡", "🤖", "📌"))


def test_colour_only_where_it_is_wanted(tt: Tt, town: Town) -> None:
    """On a terminal; not with NO_COLOR, on a dumb terminal, or on a pipe."""
    towns.register(town, wanted=False)
    assert "\x1b[" in tt.on_terminal("list")[1]
    assert "\x1b[" not in tt.on_terminal("list", env={"NO_COLOR": "1"})[1]
    assert "\x1b[" not in tt.on_terminal("list", env={"TERM": "dumb"})[1]
    assert "\x1b[" not in tt.ok("list").out


def test_errors_on_a_terminal(tt: Tt) -> None:
    """The same two lines, the first word in colour."""
    code, shown = tt.on_terminal("task", "show", "abcd")
    assert code == 1
    assert shown == "\x1b[31mError:\x1b[0m Task not found: abcd\nSee the tasks with: tt task list\n"


def test_nobodys_text_speaks_to_the_terminal(tt: Tt, town: Town) -> None:
    """Escape sequences in tasks, messages, results and errors are spelled out wherever a person reads them."""
    agent = towns.register(town, "backend", wanted=False, reason=EVIL)
    task, _ = towns.give_task(town, agent, description=EVIL)
    towns.give_mail(town, agent, "query", question=EVIL)
    tt.ok("task", "complete", task.id, "--result", EVIL)
    for args in (
        ("list",),
        ("status", "--tasks", "--deep"),
        ("task", "list"),
        ("task", "show", task.id),
        ("inbox", "backend"),
        ("inbox", "--all"),
        ("task", "show", EVIL),
        (EVIL,),
    ):
        shown = tt.on_terminal(*args, env={"NO_COLOR": "1"})[1]
        assert not set("\x1b\x07\x9b\r\u202e") & set(shown), args
        assert "\\x1b[31mred" in shown or "not found" in shown or "No such" in shown, args
    for args in (("list",), ("task", "list"), ("inbox", "--all")):
        assert "\x1b" not in tt.ok(*args).out


def test_json_is_safe_and_exact(tt: Tt, town: Town) -> None:
    """No raw control character, and every character comes back."""
    towns.give_task(town, towns.register(town), description=EVIL)
    ran = tt.ok("task", "list", "--json")
    assert not set("\x1b\x07\x9b\r\u202e") & set(ran.out)
    assert ran.json[0]["description"] == EVIL


def test_results_and_talk_go_apart(tt: Tt, town: Town) -> None:
    """Hints are on stderr, so that stdout of --json is JSON and nothing else."""
    towns.register(town)
    ran = tt.ok("list", "--json")
    assert len(ran.json) == 1
    assert "\x1b" not in ran.out


def test_a_reader_that_leaves(tt: Tt, town: Town) -> None:
    """A closed pipe ends the command without a word."""
    agent = towns.register(town)
    towns.give_task(town, agent, description="x")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [TT, "--town", str(town.root), "task", "list"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


def test_a_full_disk_is_said(tt: Tt, town: Town) -> None:
    """What cannot be written is an error, not a silent loss."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([TT, "--town", str(town.root), "list"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b"Error: No space left on device\n"


def test_a_locale_without_emoji(tt: Tt, town: Town) -> None:
    """What it cannot show becomes an escape, not a crash."""
    towns.give_task(town, towns.register(town), description="🏘️ é")
    ran = tt.ok("task", "list", env={"PYTHONIOENCODING": "ascii"})
    assert "\\U0001f3d8" in ran.out
