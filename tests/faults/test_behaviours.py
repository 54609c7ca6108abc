"""What follows from each thing that the scripted CLI can do, in a town: its task, its attempts, its processes, its log.

Which outcome each adapter makes of it is in tests/model_cli/test_behaviours.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import NewTown
from tests.support.cli import TT
from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.services import messages

pytestmark = [pytest.mark.slow, pytest.mark.fault]

DONE, FAILED = TaskState.COMPLETED, TaskState.FAILED
SPLIT = "naïve façade … 日本語 ✓ 🎉"
WITH_RECORDS = ("claude-json", "codex-json", "gemini-json")


@dataclass(frozen=True)
class Case:
    """A task, and what is to come of it: state, result, and how often it was run. `cli` is the variant it runs on."""

    directives: tuple[str, ...]
    state: TaskState = DONE
    result: str = "It works."
    runs: int = 1
    cli: str = "plain"


def cases(form: str) -> dict[str, Case]:
    """By the name of the agent. Two attempts are given."""
    works = "say It works."
    done_by_hand = ('tt task complete {task} --result "by the model"', "fail no such model")
    common = {
        "works": Case((works,)),
        "fails-once": Case(("first fail no such model", works), runs=2),
        "leaves-a-child": Case(("child kid", works)),
        "is-deaf-to-term": Case(("first ignore-term", "first child rude", "first hang", works), runs=2, cli="hasty"),
        "floods": Case(("long-line 10000000", works)),
        "splits": Case(("split-utf8",), result=SPLIT),
        "completes-and-fails": Case(done_by_hand, result="by the model"),
    }
    half, no_model = ("say Half.", "exit 0"), ("say I try.", "error-exit-0 no such model")
    closes, hit_and_run = ("say Half.", "close-output"), ("say Half.", "succeed", "exit 3")
    fail = ("say I try.", "fail no such model")
    if form == "text":
        lied = "crashed: exit code 1: All done, every test passes. | the model could not be reached"
        return common | {
            "reads-nothing": Case((), result="Completed", cli="deaf"),
            "fails": Case(fail, FAILED, "crashed: exit code 1: I try. | no such model", 2),
            "errs-with-0": Case(no_model, DONE, "I try.\nno such model"),
            "lies": Case(("lie",), FAILED, lied, 2),
            "breaks-off": Case(half, DONE, "Half."),
            "closes-output": Case(closes, DONE, "Half."),
            "ends-badly": Case(hit_and_run, FAILED, "crashed: exit code 3: Half.", 2),
        }
    no_record = "crashed: ended without a final record"
    return common | {
        "reads-nothing": Case((), result="I did it.", cli="deaf"),
        "fails": Case(fail, FAILED, "crashed: no such model", 2),
        "errs-with-0": Case(no_model, FAILED, "crashed: no such model", 2),
        "lies": Case(("lie",), FAILED, "crashed: the model could not be reached", 2),
        "breaks-off": Case(half, FAILED, no_record, 2),
        "closes-output": Case(closes, FAILED, no_record, 2),
        "ends-badly": Case(hit_and_run, DONE, "Half."),
    }


def clis(stubborn: Path, control: Path, form: str) -> dict[str, Any]:
    """The scripted CLI in this format: plain, never reading its prompt, and with little patience for silence."""
    env = {"STUBBORN_DIR": str(control), "STUBBORN_FORMAT": form, "STUBBORN_TT": str(TT)}
    plain = {"command": str(stubborn), "format": form, "env": env}
    return {
        "plain": plain,
        "hasty": plain | {"silence_timeout_s": 0.5},
        "deaf": plain | {"env": env | {"STUBBORN_DEAF": "1"}},
    }


@pytest.mark.parametrize("form", ["text", *WITH_RECORDS])
def test_what_follows(new_town: NewTown, stubborn: Path, tmp_path: Path, form: str) -> None:
    """Done or given up after its attempts, with a result that says so; no process is left, no log grows without end."""
    agent = {"max_attempts": 2, "retry_delay_s": 0.02, "log_bytes": 100_000}
    town = new_town(agent=agent, agent_clis=clis(stubborn, tmp_path / "town0" / "control", form))
    given = cases(form)
    tasks: dict[str, Task] = {}
    for name, case in given.items():
        town.spawn(name, cli=case.cli)
        tasks[name] = town.assign(name, *case.directives)
    for name, case in given.items():
        town.wait_done(tasks[name], state=case.state)
    town.wait_idle(*given)
    seen = {name: (town.task(task).result, len(town.runs(task)), *charged(town, name)) for name, task in tasks.items()}
    assert seen == {
        name: (case.result, case.runs, case.runs, int(case.state is FAILED), {}) for name, case in given.items()
    }
    for kid in ("kid", "rude"):
        assert processes.identity(int((town.control / kid).read_text().split()[-2])) is None
    logs = {path.name: path.stat().st_size for path in town.town.logs_dir.glob("*_round_*.log")}
    assert logs["floods_round_1.log"] > 100_000
    assert max(logs.values()) < 100_200
    assert [mark.what for mark in town.marks() if mark.what.startswith("tt:")] == ["tt:0"]
    hung = [e["message"] for e in town.events("message_requeued") if e["task_id"] == tasks["is-deaf-to-term"].id]
    assert hung == ["hung: no output for 0.5 s"]


def test_rate_limits(new_town: NewTown, stubborn: Path, tmp_path: Path) -> None:
    """The CLI is held for all its agents until the time that its vendor named; nobody is charged for it."""
    control = tmp_path / "town0" / "control"
    town = new_town(agent_clis={form: clis(stubborn, control, form)["plain"] for form in WITH_RECORDS})
    limited, waiting = {}, {}
    for form in WITH_RECORDS:
        town.spawn(f"{form}-a", f"{form}-b", cli=form)
        limited[form] = town.assign(f"{form}-a", "first limit 2", "say It works.")
    until = {form: town.wait(lambda form=form: held(town, form), f"the hold of {form}") for form in WITH_RECORDS}
    for form in WITH_RECORDS:
        waiting[form] = town.assign(f"{form}-b", "say It works.")
    town.wait_done(*limited.values(), *waiting.values())
    for form in WITH_RECORDS:
        first, second = town.runs(limited[form])
        assert 0.9 <= until[form] - first.at_ms / 1000 <= 3.0
        assert second.at_ms >= until[form] * 1000 - 5
        assert [run.at_ms >= until[form] * 1000 - 5 for run in town.runs(waiting[form])] == [True]
        assert charged(town, f"{form}-a") == (1, 0, {})
    requeued = town.events("message_requeued")
    assert [(e["message"].split(":")[0], e["attempts"]) for e in requeued] == [("rate_limited", 0)] * 3


def held(town: RunningTown, cli: str) -> float | None:
    """When the CLI's hold ends."""
    raw = town.town.store.call(lambda r: r.get(town.town.store.keys.hold(cli)))
    return float(json.loads(raw)["until"]) if raw else None


def charged(town: RunningTown, agent: str) -> tuple[int, int, dict[str, str]]:
    """Rounds, dead letters, and attempts of messages that wait."""
    row = town.town.store.agents.row(town.agent(agent).id)
    assert row is not None
    key = town.town.store.keys.attempts(row.agent.id)
    attempts = dict(town.town.store.call(lambda r: r.hgetall(key)))
    return row.stats.get("rounds", 0), len(messages.dead_letters(town.town, agent)), attempts
