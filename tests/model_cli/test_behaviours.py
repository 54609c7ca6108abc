"""What the scripted CLI can do, in every adapter in which it can happen: each run's outcome, exactly.

A preset is the real one with its command replaced: where the prompt goes and how the output is read stay as they are.

What cannot happen where:

| behaviour | not in | because |
|---|---|---|
| an error with exit code 0 | text | it has no records: such a run is a success, and what it printed its answer |
| an error with another exit code | aider | its exit code is 0 whatever happened |
| a success record, and more after it | text, aider | the end of the process is the end of the work |
| a rate limit | text | text decides nothing: it is a failed run |
| a verdict | all but tinytown | the line is a part of the answer, or noise |
| words before the end | auggie | it prints one record, at its end |
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.model_cli.driving import drive, make
from tests.support.running_town import compile_stubborn
from tests.support.waiting import wait_until
from tinytown import config, processes
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.model_cli import run as runs
from tinytown.model_cli.catalog import PRESETS, ModelCli, lookup
from tinytown.model_cli.run import ModelRun

pytestmark = pytest.mark.slow

K = OutcomeKind
SPLIT = "naïve façade … 日本語 ✓ 🎉"
OWN: dict[str, dict[str, Any]] = {
    "own-text": {"command": "{stubborn}"},
    "own-file": {"command": "{stubborn} --from {prompt_file}"},
    "own-argument": {"command": "{stubborn} -m {prompt}", "env": {"STUBBORN_PROMPT": "argument"}},
    "own-shell": {"command": "cd . && {stubborn}"},
    "own-script": {"command": "{stubborn}", "format": "tinytown"},
    "own-wrapper": {"command": "{stubborn} {prompt_file}", "format": "claude-json"},
}
NAMES = (*PRESETS, *OWN)
TEXT = {"text"}
AIDER = {"aider"}  # text, with lines that are aider's own
STRICT = {"claude-json", "codex-json", "gemini-json", "cursor-json"}  # success needs a final record
SAYS_LATE = {"auggie-json"}


@pytest.fixture(scope="session")
def stubborn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripted CLI."""
    return compile_stubborn(tmp_path_factory.mktemp("stubborn"))


@dataclass
class Scripted:
    """One adapter, and runs of the scripted CLI in it."""

    cli: ModelCli
    folder: Path

    @property
    def format(self) -> str:
        """How its output is read."""
        return self.cli.format

    def begin(self, *directives: str, **changes: Any) -> ModelRun:
        """A run that has been started."""
        prompt = "\n".join(["# You are a test", *(f"stub: {directive}" for directive in directives), ""])
        mark = f"{uuid.uuid4()}:1:1"
        limits = {"log_bytes": 100_000, "round_timeout_s": 7200.0, "silence_timeout_s": 600.0}
        run = make(
            self.cli, self.folder, changes.pop("prompt", prompt), **limits | {"env": {"TINYTOWN_RUN": mark}} | changes
        )
        assert run.start() is not None
        return run

    def outcome(self, *directives: str, **changes: Any) -> Outcome:
        """A run from its start to its end."""
        run = self.begin(*directives, **changes)
        drive(run)
        return run.finish()

    def reached(self, name: str, run: ModelRun) -> None:
        """Drive until the CLI has made that file, and everything it printed before is read."""
        drive(run, (self.folder / name).exists)
        run.on_output()

    def said(self, words: str, error: str = "") -> str:
        """The text of a run that said this, then failed with that error."""
        if error and self.format in AIDER:
            return f"{words}\n{self.why(error)}"
        return "" if self.format in SAYS_LATE else words

    def why(self, error: str) -> str:
        """An error as the adapter tells it."""
        return f"litellm.APIError: APIError: {error}" if self.format in AIDER else error


@pytest.fixture(params=NAMES)
def scripted(request: pytest.FixtureRequest, stubborn: Path, tmp_path: Path) -> Scripted:
    """Each adapter."""
    name = request.param
    if name in OWN:
        own = OWN[name] | {"command": OWN[name]["command"].replace("{stubborn}", str(stubborn))}
        cli = lookup(name, config.build({"name": "town", "agent_clis": {name: own}}, Path("tinytown.toml")))
    else:
        cli = replace(PRESETS[name], argv=(str(stubborn), *PRESETS[name].argv[1:]))
    return Scripted(
        replace(cli, env=cli.env | {"STUBBORN_DIR": str(tmp_path), "STUBBORN_FORMAT": cli.format}), tmp_path
    )


def without(*formats: set[str]) -> Callable[[Any], Any]:
    """Only for the other adapters; the table above says why."""
    left = [name for name in NAMES if not any(_format(name) in group for group in formats)]
    return pytest.mark.parametrize("scripted", left, indirect=True)


def only(*formats: set[str]) -> Callable[[Any], Any]:
    """Only for these adapters."""
    kept = [name for name in NAMES if any(_format(name) in group for group in formats)]
    return pytest.mark.parametrize("scripted", kept, indirect=True)


def _format(name: str) -> str:
    return PRESETS[name].format if name in PRESETS else OWN[name].get("format", "text")


def test_succeeds(scripted: Scripted) -> None:
    """The last message is the answer."""
    assert scripted.outcome("say Looking.", 'say It "works".') in {
        Outcome(K.OK, "", 'It "works".', None, 0),
        Outcome(K.OK, "", 'Looking.\nIt "works".', None, 0),  # text is kept as a whole
    }


def test_fails(scripted: Scripted) -> None:
    """An error record says why, else the exit code and the last lines."""
    outcome = scripted.outcome("say I try.", "fail no such model")
    if scripted.format in TEXT:
        assert outcome == Outcome(K.CRASHED, "exit code 1: I try. | no such model", "I try.\nno such model", None, 1)
    else:
        text, code = scripted.said("I try.", "no such model"), 0 if scripted.format in AIDER else 1
        assert outcome == Outcome(K.CRASHED, scripted.why("no such model"), text, None, code)


@without(TEXT)
def test_exit_0_on_an_error(scripted: Scripted) -> None:
    """The error record counts, not the exit code."""
    outcome = scripted.outcome("say I try.", "error-exit-0 no such model")
    text = scripted.said("I try.", "no such model")
    assert outcome == Outcome(K.CRASHED, scripted.why("no such model"), text, None, 0)


@only(TEXT)
def test_exit_0_on_an_error_without_records(scripted: Scripted) -> None:
    """What text says decides nothing: its exit code is all there is."""
    outcome = scripted.outcome("say I try.", "error-exit-0 429 rate limit, unauthorized")
    assert outcome == Outcome(K.OK, "", "I try.\n429 rate limit, unauthorized", None, 0)


def test_lies_about_success(scripted: Scripted) -> None:
    """Success words and a good exit code do not make a success of a failed record (in text, of a bad exit code)."""
    outcome = scripted.outcome("lie")
    words, why = "All done, every test passes.", "the model could not be reached"
    if scripted.format in TEXT:
        assert outcome == Outcome(K.CRASHED, f"exit code 1: {words} | {why}", f"{words}\n{why}", None, 1)
    else:
        assert outcome == Outcome(K.CRASHED, scripted.why(why), scripted.said(words, why), None, 0)


@without(TEXT, AIDER)
def test_success_and_a_bad_exit_code(scripted: Scripted) -> None:
    """A success record stands, whatever the process made of its end."""
    assert scripted.outcome("say Done.", "succeed", "exit 3") == Outcome(K.OK, "", "Done.", None, 3)


def test_bad_exit_code_alone(scripted: Scripted) -> None:
    """Without a record the exit code is all there is, with the last lines of text."""
    outcome = scripted.outcome("say Half.", "exit 3")
    words = ": Half." if scripted.format in TEXT | AIDER | {"tinytown"} else ""
    assert outcome == Outcome(K.CRASHED, f"exit code 3{words}", scripted.said("Half."), None, 3)


def test_end_without_a_record(scripted: Scripted) -> None:
    """A stream that breaks off is a failure where the vendor always has a last record."""
    outcome = scripted.outcome("say Half.", "exit 0")
    if scripted.format in STRICT | SAYS_LATE:
        assert outcome == Outcome(K.CRASHED, "ended without a final record", scripted.said("Half."), None, 0)
    else:
        assert outcome == Outcome(K.OK, "", "Half.", None, 0)


def test_hangs(scripted: Scripted) -> None:
    """Silence ends it; what it said is kept."""
    run = scripted.begin("say Half.", "touch there", "hang")
    scripted.reached("there", run)
    run.on_timer((run.next_due() or 0.0) + 0.001)
    drive(run)
    assert run.finish() == Outcome(K.HUNG, "no output for 600 s", scripted.said("Half."), None, None)


def test_works_too_long(scripted: Scripted) -> None:
    """A round's time is up, however much it says."""
    run = scripted.begin("say Half.", "touch there", "hang", silence_timeout_s=0.0)
    scripted.reached("there", run)
    run.on_timer((run.next_due() or 0.0) + 0.001)
    drive(run)
    assert run.finish() == Outcome(K.TIMED_OUT, "no end after 7200 s", scripted.said("Half."), None, None)


@without(TEXT, AIDER)
def test_success_and_no_end(scripted: Scripted) -> None:
    """After a success record it has its grace, then it is ended, also deaf to TERM; the success stands."""
    run = scripted.begin("say Done.", "succeed", "touch there", "hang")
    scripted.reached("there", run)
    run.on_timer((run.next_due() or 0.0) + 0.001)
    drive(run)
    assert run.finish() == Outcome(K.OK, "", "Done.", None, None)


def test_ignores_term(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """TERM is followed by KILL, for the whole tree."""
    monkeypatch.setattr(runs, "KILL_AFTER_S", 0.05)
    run = scripted.begin("ignore-term", "child kid", "say Half.", "touch there", "hang")
    scripted.reached("there", run)
    run.end(K.STOPPED, "stop asked for")
    drive(run)
    assert run.finish() == Outcome(K.STOPPED, "stop asked for", scripted.said("Half."), None, None)
    assert run.leader is not None
    assert not processes.is_alive(run.leader)
    assert _gone(scripted.folder / "kid")


def test_child_that_stays(scripted: Scripted) -> None:
    """A grandchild in a session of its own, deaf to TERM, with the output open, ends with the run."""
    assert scripted.outcome("child kid", "say Done.") == Outcome(K.OK, "", "Done.", None, 0)
    assert _gone(scripted.folder / "kid")


def test_ten_megabytes_on_one_line(scripted: Scripted) -> None:
    """The line is drained, the log bounded, and what comes after it is read."""
    outcome = scripted.outcome("long-line 10000000", "say Done.")
    assert outcome == Outcome(K.OK, "", "Done.", None, 0)
    assert 100_000 < (scripted.folder / "round.log").stat().st_size < 100_200


def test_ten_megabytes_of_answer(scripted: Scripted) -> None:
    """An answer of any size is a success; its end is kept."""
    outcome = scripted.outcome("long-answer 10000000")
    assert outcome == Outcome(K.OK, "", "x" * len(outcome.result), None, 0)
    assert 8000 < len(outcome.result) <= 8192


def test_ten_megabytes_in_lines(scripted: Scripted) -> None:
    """As on one line."""
    assert scripted.outcome("flood 10000000", "say Done.").result.endswith("Done.")
    assert 100_000 < (scripted.folder / "round.log").stat().st_size < 100_200


def test_split_characters(scripted: Scripted) -> None:
    """Characters whose bytes come one by one are whole in the answer."""
    assert scripted.outcome("split-utf8") == Outcome(K.OK, "", SPLIT, None, 0)


def test_never_reads(scripted: Scripted) -> None:
    """A prompt that nobody reads, of a megabyte, blocks nothing."""
    cli = replace(scripted.cli, env=scripted.cli.env | {"STUBBORN_DEAF": "1"})
    outcome = replace(scripted, cli=cli).outcome(prompt="x" * 1_000_000)
    assert outcome == Outcome(K.OK, "", "" if scripted.format in TEXT else "I did it.", None, 0)


def test_long_prompt(scripted: Scripted) -> None:
    """All of a prompt arrives, however the CLI gets it; what no command line can hold is in a file."""
    prompt = "\n".join(["x" * 1000] * 1000 + ["stub: say Read to the end.", ""])
    assert scripted.outcome(prompt=prompt) == Outcome(K.OK, "", "Read to the end.", None, 0)


def test_closes_its_output(scripted: Scripted) -> None:
    """It works on with its output closed: no record can come, so it is as if it broke off; nothing spins."""
    outcome = _closing(scripted, "say Half.")
    if scripted.format in STRICT | SAYS_LATE:
        assert outcome == Outcome(K.CRASHED, "ended without a final record", scripted.said("Half."), None, 0)
    else:
        assert outcome == Outcome(K.OK, "", "Half.", None, 0)


@without(TEXT, AIDER)
def test_closes_its_output_after_success(scripted: Scripted) -> None:
    """What was said before is enough."""
    assert _closing(scripted, "say Done.", "succeed") == Outcome(K.OK, "", "Done.", None, 0)


@without(TEXT)
@pytest.mark.parametrize("seconds", [45, 3725, 300_000])
def test_rate_limit(scripted: Scripted, seconds: int) -> None:
    """The end of the limit is read from the vendor's own record or words."""
    before = time.time()
    outcome = scripted.outcome("say I try.", f"limit {seconds}")
    assert (outcome.kind, outcome.exit_code) == (K.RATE_LIMITED, 0 if scripted.format in AIDER else 1)
    assert outcome.result.split("\n")[0] == scripted.said("I try.")
    assert outcome.until is not None
    if scripted.format == "cursor-json" and seconds > 86400:  # it names the day
        assert outcome.until == _midnight(before + seconds)
    else:  # codex says the minute
        late = 61 if scripted.format == "codex-json" and seconds > 59 else 2
        assert before + seconds - 2 <= outcome.until <= before + seconds + late


@only(TEXT)
def test_rate_limit_in_text(scripted: Scripted) -> None:
    """A failed run with the CLI's own words."""
    outcome = scripted.outcome("limit 90")
    words = "Error: 429: rate limit reached, retry in 90 s"
    assert outcome == Outcome(K.CRASHED, f"exit code 1: {words}", words, None, 1)


@only({"tinytown"})
def test_verdict(scripted: Scripted) -> None:
    """A script says how it ended; what it printed is the answer."""
    assert scripted.outcome("say Done.", "verdict ok") == Outcome(K.OK, "", "Done.", None, 0)
    assert scripted.outcome("verdict failed it broke") == Outcome(K.CRASHED, "it broke", "", None, 0)
    assert scripted.outcome("verdict needs_input Which port?").kind is K.NEEDS_INPUT
    assert scripted.outcome("verdict ok", "exit 3") == Outcome(K.OK, "", "", None, 3)
    taken_back = scripted.outcome("verdict failed it broke", "say No, it works.", "exit 0")
    assert taken_back.kind is K.OK


@without({"tinytown"})
def test_verdict_elsewhere(scripted: Scripted) -> None:
    """The line means nothing in another format."""
    outcome = scripted.outcome("say Done.", "verdict failed it broke")
    assert (outcome.kind, outcome.result.split("\n")[0]) == (K.OK, "Done.")


def _closing(scripted: Scripted, *before: str) -> Outcome:
    run = scripted.begin(*before, "close-output", "touch there", "await go")
    scripted.reached("there", run)
    assert run.next_due() is not None
    assert not run.is_over
    (scripted.folder / "go").touch()
    drive(run)
    return run.finish()


def _gone(path: Path) -> bool:
    pid = int(path.read_text().split()[-2])
    wait_until(lambda: processes.identity(pid) is None, 2.0, "the end of the child")
    return True


def _midnight(at: float) -> float:
    day = time.localtime(at)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
