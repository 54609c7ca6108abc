"""Text of models, issues and strangers comes up in many places; on a terminal and in log files it stays text."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.security.in_one_process import run_all, show_all
from tests.support import town as towns
from tests.support.cli import TT, Tt
from tests.support.repository import commit_all, make_repository
from tests.support.waiting import wait_until
from tinytown.town import Town

pytestmark = pytest.mark.slow

# Clipboard, hyperlink, title, colour, cursor, bracketed paste, a C1 control as a character, right to left, return.
EVIL = (
    "\x1b]52;c;cm0gLXJm\x07\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\\x1b]0;title\x07\x1b[8mhidden\x1b[2A"
    "\x1b[201~rm -rf ~\x9b2J\u202egnp.exe\u2066\rAgent 'root': all is well\x08\x7f"
)
CONTROLS = {chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))} | set(
    "\u202a\u202b\u202d\u202e\u2066\u2069"
)
_COLOUR = re.compile(r"\x1b\[(0|1|2|3[1-4])m")


def hostile(text: str) -> set[str]:
    """The control characters in what a terminal was shown, colours of our own left out."""
    return CONTROLS & set(_COLOUR.sub("", text))


def assert_harmless(tt: Tt, *commands: str | tuple[str, ...]) -> None:
    """None of these commands says anything to the terminal, and the text was among what they showed."""
    given = [command if isinstance(command, tuple) else tuple(command.split()) for command in commands]
    texts = show_all(tt, given)
    for args, shown in zip(given, texts, strict=True):
        assert not hostile(shown), (args, hostile(shown))
        assert "Traceback" not in shown, shown
    assert "\\x1b]52;c;cm" in "".join(texts)


def test_what_a_model_says(made: Tt) -> None:
    """In logs, events, results, activity, reasons and in the supervisor's log; bytes that are no text as well."""
    said = EVIL.encode() + b"\x9b31m \xff\xfe evil\n"
    made.ok("spawn", "backend")
    done = made.ok("assign", "backend", f"fake: bytes {said.hex()}").out.split()[2]
    made.ok("wait", done, "--timeout", "20")
    made.ok("send", "backend", "--query", f"fake: bytes {said.hex()}\nfake: exit 3")
    wait_until((made.cwd / ".tt" / "logs" / "backend_round_2.log").exists, what="the second round")
    made.ok("kill", "backend")
    made("wait", "backend", "--timeout", "20")
    assert_harmless(
        made, "logs backend", "logs backend --round 1", "events", "history", f"task show {done}", "status --deep",
        "list", "why backend", f"why {done}", "inbox --all --dead", "inbox conductor", "task list", "wait backend",
    )  # fmt: skip
    for file in (made.cwd / ".tt" / "supervisor.log", made.cwd / ".tt" / "logs" / "backend.log"):
        assert not hostile(file.read_text()), file
    assert (made.cwd / ".tt" / "logs" / "backend_round_1.log").read_bytes() == said  # what the model said, exactly
    assert made.ok("logs", "backend", "--round", "1").out.encode("utf-8", "surrogateescape") == said


def test_what_a_person_or_program_says(tt_on: tuple[Tt, Town]) -> None:
    """Task texts, messages, roles, tags, reasons and results, in every command that shows them."""
    tt, town = tt_on
    agent = towns.register(town, "backend", wanted=False, role_id=EVIL, reason=EVIL, cli=EVIL)
    task, _ = towns.give_task(town, agent, description=EVIL, tags=[EVIL], extra={EVIL: EVIL}, assigned_by=EVIL)
    towns.give_mail(town, agent, "query", question=EVIL)
    towns.give_mail(town, agent, "informational", summary=EVIL)
    tt.ok("backlog", "add", EVIL, "--tags", EVIL)
    tt.ok("send", "conductor", "--info", EVIL)
    assert_harmless(
        tt, "list", "status --deep --tasks", "task list", f"task show {task.id}", "inbox backend", "inbox --all",
        "inbox conductor", "backlog list", "why backend", f"why {task.id}", "conductor --print-context", "events",
        "history", "doctor", ("task", "fail", task.id, "--reason", EVIL), ("task", "show", EVIL), ("logs", EVIL),
        ("assign", EVIL, EVIL), ("send", EVIL, EVIL), (EVIL,), ("config", EVIL), ("sync", EVIL),
        ("--town", EVIL, "list"),
    )  # fmt: skip


def test_what_was_written_by_hand(tt_on: tuple[Tt, Town]) -> None:
    """Records that somebody made with redis-cli: names, ids, states and times are text as well."""
    tt, town = tt_on
    agent = towns.register(town, "backend", wanted=False)
    keys, redis = town.store.keys, town.store.redis
    raw = redis.get(keys.agent(agent.id))
    assert isinstance(raw, str)
    record = json.loads(raw)
    record |= {"name": EVIL, "last_heartbeat": EVIL, "host": EVIL, "nickname": EVIL, "spawn_mode": EVIL}
    redis.set(keys.agent(agent.id), json.dumps(record))
    redis.hset(keys.agents, mapping={EVIL: agent.id})
    task, _ = towns.give_task(town, agent, description="x")
    raw_task = redis.get(keys.task(task.id))
    assert isinstance(raw_task, str)
    redis.set(keys.task(task.id), json.dumps(json.loads(raw_task) | {"assigned_to": EVIL, "created_at": EVIL}))
    texts = ("event_type", "agent_id", "task_id", "message", "timestamp", "old_state", "new_state")
    redis.xadd(keys.events, {"data": json.dumps(dict.fromkeys(texts, EVIL))})
    assert_harmless(
        tt, "list", "status --deep --tasks", "task list", f"task show {task.id}", "events", "history", "inbox --all",
        f"why {task.id}", "why backend", "doctor", "recover",
    )  # fmt: skip


def test_pipes(tt_on: tuple[Tt, Town]) -> None:
    """--json is exact and escaped; lists and lines are cleaned; only a text shown in full is as it is."""
    tt, town = tt_on
    agent = towns.register(town, "backend", wanted=False, reason=EVIL)
    task, _ = towns.give_task(town, agent, description=EVIL)
    towns.give_mail(town, agent, "query", question=EVIL)
    lists = ("list", "status --deep --tasks", "task list", "inbox --all", "events", "history", "why backend", "doctor")
    structured = [f"{command} --json" for command in (*lists, f"task show {task.id}", "config", "towns")]
    for ran in run_all(tt, [command.split() for command in (*lists, *structured)]):
        assert not hostile(ran.out + ran.err), ran.args
    shown = json.loads(tt.ok("task", "show", task.id, "--json").out)
    assert shown["description"] == EVIL


def test_the_foreground(made: Tt) -> None:
    """`tt spawn --foreground` shows what its model prints: as text."""
    said = EVIL.encode() + b"\x9b31m\xc3"  # half a character at the end of a block
    made.ok("spawn", "other")
    made.ok("kill", "other", "--now")
    made.ok("wait", "other", "--timeout", "20")
    made.ok("backlog", "add", f"fake: bytes {said.hex()}\nfake: bytes a90a\nfake: print visible", "--tags", "dev")
    code, shown = made.on_terminal("spawn", "here", "--foreground", "--role", "dev", "--max-rounds", "1")
    assert code == 0, shown
    assert "visible" in shown
    assert "\\x1b]52;c;cm0gLXJm\\x07" in shown
    assert "é" in shown
    assert not hostile(shown)


def test_what_git_says(made: Tt) -> None:
    """Names of branches and files, commit messages and contents of an agent's worktree."""
    make_repository(made.cwd)
    settings = made.cwd / "tinytown.toml"
    settings.write_text(settings.read_text() + '\n[agent]\nisolation = "worktree"\n')
    commit_all(made.cwd, "town")
    made.ok("spawn", "backend")
    made.ok("wait", made.ok("assign", "backend", "fake: print hello").out.split()[2], "--timeout", "20")
    made.ok("stop", "--all", "--now")
    tree = made.cwd / ".tt" / "agents" / "backend" / "worktree"
    for name in ("a\nb", "-rf", EVIL.replace("/", ""), "$(touch pwned)", "`id`", "x\x9by", ":(top)x"):
        (tree / name).write_text(EVIL + "\n")
    os.rename(tree / "shared.txt", tree / "new\tname")
    assert_harmless(made, "worktree list", "worktree diff backend", "worktree diff backend --stat")
    patch = subprocess.run(
        [TT, "worktree", "diff", "backend"],
        cwd=made.cwd,
        env=os.environ | _env(made),
        capture_output=True,
        check=True,
    ).stdout
    check = ["git", "apply", "--check", "-"]
    subprocess.run(check, input=patch, cwd=made.cwd, check=True)  # on a pipe it is the patch itself
    merged = made.ok("worktree", "merge", "backend", "--commit", EVIL)
    assert not hostile(merged.out)
    assert (made.cwd / "-rf").read_bytes() == EVIL.encode() + b"\n"
    assert not list(made.cwd.rglob("pwned"))
    for name in ("a\nb", "-rf", "$(touch pwned)"):
        (tree / name).write_text("again\n")
    assert made.ok("worktree", "remove", "backend").out.startswith("Removed")
    assert not tree.exists()


def _env(tt: Tt) -> dict[str, str]:
    return {k: v for k, v in tt.env.items() if v is not None}


@pytest.fixture
def tt_on(town: Town, tmp_path: Path) -> tuple[Tt, Town]:
    """`tt` for a town on the session's Redis, without processes."""
    return Tt(town.root, env={"HOME": str(tmp_path)}), town
