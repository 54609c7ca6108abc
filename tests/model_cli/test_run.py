"""One run, with real processes: the prompt, the output, the log, the end."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

import pytest

from tests.model_cli.driving import drive, fake, make, outcome_of
from tinytown import clock, config
from tinytown.domain.outcome import OutcomeKind
from tinytown.model_cli.catalog import ModelCli, lookup

K = OutcomeKind


def test_stdin(tmp_path: Path) -> None:
    """The prompt comes by stdin and ends there; the output is the result."""
    outcome = outcome_of(fake("cat"), tmp_path, "hällo\nworld")
    assert (outcome.kind, outcome.result, outcome.exit_code) == (K.OK, "hällo\nworld", 0)
    assert (tmp_path / "round.log").read_text() == "hällo\nworld"
    assert stat.S_IMODE((tmp_path / "round.log").stat().st_mode) == 0o600


def test_file(tmp_path: Path) -> None:
    """The prompt file is behind its flag, private, and gone at the end."""
    run = make(fake("argv", "await go", prompt="file", prompt_flag="print"), tmp_path, "secret")
    run.start()
    drive(run, lambda: run.reader.text)
    path = Path(run.reader.text)
    assert path.parent == tmp_path / "runs"
    assert path.read_text() == "secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "go").touch()
    drive(run)
    assert run.finish().kind is K.OK
    assert list((tmp_path / "runs").iterdir()) == []


def test_argument(tmp_path: Path) -> None:
    """The prompt is one word of the command line, whatever is in it; a NUL cannot be."""
    outcome = outcome_of(fake("argv", prompt="argument"), tmp_path, "print $(x) 'y'\0z")
    assert outcome.result.splitlines() == ["print $(x) 'y'�z", "$(x) 'y'�z"]


def test_large_argument(tmp_path: Path) -> None:
    """What is too long for a command line is in a file that the argument names."""
    run = make(fake("argv", "await go", prompt="argument"), tmp_path, "x" * 1_000_000)
    run.start()
    drive(run, lambda: run.reader.text)
    named = next(word for word in run.reader.text.split() if "runs/" in word)
    assert Path(named).read_text() == "x" * 1_000_000
    (tmp_path / "go").touch()
    drive(run)
    run.finish()
    assert not Path(named).exists()


def test_large_stdin(tmp_path: Path) -> None:
    """A prompt of 1 MB neither blocks nor is cut."""
    assert outcome_of(fake("size"), tmp_path, "x" * 1_000_000).result == "1000000"


def test_stdin_never_read(tmp_path: Path) -> None:
    """A model that does not read its stdin blocks nobody."""
    assert outcome_of(fake("print hi"), tmp_path, "x" * 1_000_000).kind is K.OK


def test_placeholders_and_shell(tmp_path: Path) -> None:
    """The user's shell command gets the prompt as a file or a parameter, never as shell text."""
    commands = {"a": {"command": "cat {prompt_file} | tr a-z A-Z"}, "b": {"command": "printf %s {prompt}; true"}}
    town = config.build({"name": "town", "agent_clis": commands}, Path("tinytown.toml"))
    assert outcome_of(lookup("a", town), tmp_path, "hi $(touch bad)").result == "HI $(TOUCH BAD)"
    assert outcome_of(lookup("b", town), tmp_path, "; touch bad").result == "; touch bad"
    assert not (tmp_path / "bad").exists()


def test_working_directory_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CLI's working directory and environment hold; what is meant for us alone is not passed on."""
    (tmp_path / "sub").mkdir()
    for name in ("NOTIFY_SOCKET", "WATCHDOG_PID", "TINYTOWN_REDIS_PASSWORD", "KEPT"):
        monkeypatch.setenv(name, "ours")
    asked = ("env NOTIFY_SOCKET", "env WATCHDOG_PID", "env TINYTOWN_REDIS_PASSWORD", "env KEPT", "env OWN", "env GIVEN")
    cli = fake(*asked, "env PATH", "touch here", workdir="sub", env={"OWN": "1", "GIVEN": "0", "PATH": "/user"})
    outcome = outcome_of(cli, tmp_path, env={"GIVEN": "2", "PATH": "/tt:/usr/bin"})
    assert outcome.result.split() == ["(unset)"] * 3 + ["ours", "1", "2", "/tt:/user"]
    assert (tmp_path / "sub" / "here").exists()


def test_fresh_process(tmp_path: Path) -> None:
    """The model leads a session, with all signals default and unblocked, and no descriptor of ours."""
    script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l; ps -o pid=,sid= -p $$"
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGUSR1, signal.SIGUSR2)}
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, lambda _signum, _frame: None)
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGWINCH,))
    try:
        lines = outcome_of(ModelCli("sh", ("/bin/sh", "-c", script)), tmp_path).result.split("\n")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        for signum, handler in before.items():
            signal.signal(signum, handler)
    assert [int(line.split()[1], 16) for line in lines[:2]] == [0, 0]
    assert int(lines[2]) == 4  # stdin, stdout, stderr, and the folder that ls reads
    pid, session = lines[3].split()
    assert pid == session


def test_utf8_split_over_reads(tmp_path: Path) -> None:
    """A character whose bytes come apart is one character."""
    run = make(fake("bytes 68c3", "await go", "bytes a4790a"), tmp_path)
    run.start()
    drive(run, lambda: (tmp_path / "round.log").stat().st_size == 2)
    (tmp_path / "go").touch()
    drive(run)
    assert run.finish().result == "häy"


def test_digest_lines(tmp_path: Path) -> None:
    """The agent's log gets clean lines, the round's log the raw bytes."""
    said: list[str] = []
    raw = "\x1b[32mgreen\x1b[0m\n"
    outcome = outcome_of(fake(f"bytes {raw.encode().hex()}", "err oops"), tmp_path, on_line=said.append)
    assert said == ["green", "oops"]
    assert outcome.result == "green\noops"
    assert (tmp_path / "round.log").read_text() == raw + "oops\n"


def test_flood_of_lines(tmp_path: Path) -> None:
    """A hundred thousand lines are all kept, and few of them told."""
    said: list[str] = []
    cli = ModelCli("sh", ("/bin/sh", "-c", "yes | head -100000"))
    assert outcome_of(cli, tmp_path, on_line=said.append).kind is K.OK
    assert (tmp_path / "round.log").stat().st_size == 200_000
    assert len(said) < 5000
    assert any(line.endswith("more lines in round.log") for line in said)


def test_ten_megabytes_on_one_line(tmp_path: Path) -> None:
    """A line without end is drained, bounded in memory, and what follows it is read."""
    outcome = outcome_of(fake("flood 10000000", "print after"), tmp_path)
    assert outcome.kind is K.OK
    assert outcome.result.endswith("after")
    assert (tmp_path / "round.log").stat().st_size == 10_000_007


def test_log_bound(tmp_path: Path) -> None:
    """Beyond the bound one note line, and nothing more; the model is drained all the same."""
    outcome = outcome_of(fake("flood 300000", "flood 300000", "print end"), tmp_path, log_bytes=1000)
    assert outcome.result.endswith("end")
    kept = (tmp_path / "round.log").read_bytes()
    assert kept.startswith(b"x" * 1000 + b"\n[tinytown: ")
    assert len(kept) < 1200


@pytest.mark.parametrize("log", ["/dev/full", "/proc/nowhere/round.log"])
def test_log_that_cannot_be_written(tmp_path: Path, log: str) -> None:
    """A full disk costs the log, not the run."""
    assert outcome_of(fake("flood 300000", "print end"), tmp_path, log=Path(log)).result.endswith("end")


def test_tee(tmp_path: Path) -> None:
    """In the foreground the output is copied; a copy that nobody reads breaks nothing."""
    read, write = os.pipe()
    assert outcome_of(fake("print hi"), tmp_path, tee=write).kind is K.OK
    assert os.read(read, 100) == b"hi\n"
    os.close(read)
    assert outcome_of(fake("print hi", "print ho"), tmp_path, tee=write).result == "hi\nho"
    os.close(write)


@pytest.mark.parametrize(
    ("directive", "kind", "detail"),
    [
        ("exit 0", K.OK, ""),
        ("exit 3", K.CRASHED, "exit code 3: words"),
        ("signal SIGSEGV", K.KILLED, "killed by SIGSEGV"),
        ("exit 127", K.NOT_FOUND, "exit code 127: words"),
    ],
)
def test_ends(tmp_path: Path, directive: str, kind: OutcomeKind, detail: str) -> None:
    """Exit code and signal arrive in the outcome."""
    outcome = outcome_of(fake("print words", directive), tmp_path)
    assert (outcome.kind, outcome.detail) == (kind, detail)


def test_vendor_format(tmp_path: Path) -> None:
    """The records of a vendor's format are read from a real process."""
    record = json.dumps(
        {"type": "result", "subtype": "success", "is_error": False, "result": "done", "session_id": "s"}
    )
    outcome = outcome_of(fake(f"print {record}", format="claude-json"), tmp_path)
    assert (outcome.kind, outcome.result) == (K.OK, "done")


def test_fds_are_given_back(tmp_path: Path) -> None:
    """A run leaves no descriptor open, and finishing again changes nothing."""
    before = sorted(os.listdir("/proc/self/fd"))
    run = make(fake("print hi", prompt="file"), tmp_path)
    run.start()
    drive(run)
    assert run.finish() is run.finish()
    assert run.is_over
    assert (run.output_fd, run.pidfd, run.next_due()) == (-1, -1, None)
    run.on_output()
    run.on_exit()
    run.on_timer(clock.monotonic())
    run.end(K.STOPPED, "late")
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("is_in_background", [False, True])
def test_script_without_first_line(tmp_path: Path, is_in_background: bool) -> None:  # noqa: FBT001  a parameter
    """A script that names no interpreter runs as a shell would run it, also below `nohup ... &`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if is_in_background else signal.SIG_DFL)
    script = tmp_path / "plain"
    script.write_text("echo ran\n")
    script.chmod(0o755)
    run = make(ModelCli("x", ("./plain",)), tmp_path)
    try:
        assert run.start() is not None
        drive(run)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert "ran" in run.finish().result


@pytest.mark.parametrize("command", ["/nowhere/agent", "no-such-agent-here", "./not-executable"])
def test_command_that_cannot_run(tmp_path: Path, command: str) -> None:
    """A missing command is an outcome, not an error; nothing is left."""
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    before = sorted(os.listdir("/proc/self/fd"))
    run = make(ModelCli("x", (command,), prompt="file"), tmp_path)
    assert run.start() is None
    assert run.is_over
    outcome = run.finish()
    assert outcome.kind is K.NOT_FOUND
    assert outcome.detail.startswith(f"cannot run '{command}'")
    assert list((tmp_path / "runs").iterdir()) == []
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_other_failures_to_start(tmp_path: Path) -> None:
    """No working directory holds the CLI; a prompt that cannot be stored is a failed attempt."""
    run = make(fake("print hi", workdir="nowhere"), tmp_path)
    assert run.start() is None
    assert (run.finish().kind, "working directory" in run.finish().detail) == (K.NOT_FOUND, True)
    run = make(fake("print hi", prompt="file"), tmp_path, runs_dir=Path("/dev/null/runs"))
    assert run.start() is None
    assert run.finish().kind is K.CRASHED
