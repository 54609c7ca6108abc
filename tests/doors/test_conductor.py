"""`tt conductor` on a terminal, with a CLI that writes down how it was started."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import TIMEOUT_S, TT, Tt
from tinytown.ids import SUPERVISOR_ID, new_id

pytestmark = pytest.mark.slow

RECORDER = """\
import json, os, signal, sys
said = {"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(), "tty": sys.stdin.isatty()}
def on_int(*_):
    print("interrupted", flush=True)
    os._exit(3)
signal.signal(signal.SIGINT, on_int)
print("ready", flush=True)
said["read"] = sys.stdin.readline()
json.dump(said, open(sys.argv[1], "w"))
sys.exit(7)
"""


class Terminal:
    """A command on a terminal of its own, with a person who types."""

    def __init__(self, tt: Tt, *args: str, env: dict[str, str | None] | None = None) -> None:
        merged = {"TERM": "xterm-256color", **os.environ, **tt.env, **(env or {})}
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.chdir(tt.cwd)
            kept = {name: value for name, value in merged.items() if value is not None}
            os.execve(TT, [str(TT), *args], kept)  # noqa: S606  the child of pty.fork
        self.shown = ""

    def until(self, text: str) -> None:
        """Read until this was shown."""
        while text not in self.shown:
            assert self._read(), f"ended before {text!r}:\n{self.shown}"

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Its exit code, when it has shown everything."""
        while self._read():
            pass
        os.close(self._master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            if select.select([self._master], [], [], TIMEOUT_S)[0]:
                block = os.read(self._master, 65536)
                self.shown += block.decode().replace("\r\n", "\n")
                return bool(block)
        return False


@pytest.fixture
def recorder(tmp_path: Path) -> tuple[str, Path]:
    """The command of a CLI that records, and where it does."""
    script, record = tmp_path / "recorder.py", tmp_path / "record.json"
    script.write_text(RECORDER)
    return f"{sys.executable} {script} {record}", record


@pytest.fixture
def quiet(made: Tt) -> Tt:
    """A town whose Redis and supervisor are down."""
    made.ok("stop", "--all")
    return made


def test_a_conversation(quiet: Tt, recorder: tuple[str, Path]) -> None:
    """Redis and supervisor come up, the CLI has the terminal, its environment is the conductor's, its code is ours."""
    command, record = recorder
    quiet.env["TINYTOWN_REDIS_PASSWORD"] = "s3cret"  # noqa: S105  a test's
    foreign = {"TINYTOWN_AGENT_ID": new_id(), "TINYTOWN_TASK_ID": new_id()}
    terminal = Terminal(quiet, "conductor", "--model", command, env={**foreign})
    terminal.until("ready\n")
    terminal.type("Build a login.\n")
    assert terminal.end() == 7
    context = quiet.cwd / ".tt" / "conductor_context.md"
    assert "Started Redis.\n" in terminal.shown
    assert "Started the supervisor; its log is " in terminal.shown
    assert f"🚂 Starting conductor with {command} model...\n   Context: {context}\n\n   Running: " in terminal.shown
    assert f'   Running: {command} "$(cat {context})"\n\nready\n' in terminal.shown
    told: dict[str, Any] = json.loads(record.read_text())
    assert told["argv"] == [str(record), context.read_text()]
    assert (told["read"], told["tty"], told["cwd"]) == ("Build a login.\n", True, str(quiet.cwd))
    env = told["env"]
    assert (env["TINYTOWN_TOWN"], env["TINYTOWN_AGENT_NAME"]) == (str(quiet.cwd), "conductor")
    assert env["TINYTOWN_REDIS_PASSWORD"] == "s3cret"  # noqa: S105  a test's
    assert not {"TINYTOWN_AGENT_ID", "TINYTOWN_TASK_ID", "TINYTOWN_RUN"} & set(env)
    assert (Path(env["PATH"].split(":")[0]) / "tt").exists()
    assert "Supervisor: running" in quiet.ok("status").out


def test_ctrl_c_is_the_clis(made: Tt, recorder: tuple[str, Path]) -> None:
    """The CLI gets the interrupt and decides; tt is not there any more."""
    terminal = Terminal(made, "conductor", "--cli", recorder[0])
    terminal.until("ready\n")
    terminal.type("\x03")
    assert terminal.end() == 3
    assert "interrupted" in terminal.shown


def test_what_python_ignores_is_not_passed_on(made: Tt) -> None:
    """The CLI starts without ignored signals, as from a shell."""
    ran = made.ok("conductor", "--cli", "/bin/sh -c 'grep SigIgn /proc/self/status' {prompt_file}")
    assert int(ran.out.split("SigIgn:")[1], 16) == 0


def test_it_speaks_as_the_conductor(made: Tt) -> None:
    """A `tt send` from the conductor's shell comes from its mailbox, whoever's environment it was started in."""
    made.ok("spawn", "w", "--cli", "true")
    made.ok("kill", "w")
    env: dict[str, str | None] = {"TINYTOWN_AGENT_ID": new_id()}
    ran = made.ok("conductor", "--cli", "/bin/sh -c 'tt send w --info hello' {prompt_file}", env=env)
    assert "Sent info message to 'w'" in ran.out
    messages = made.ok("inbox", "w", "--json").json["messages"]
    assert [m["from"] for m in messages] == [SUPERVISOR_ID]


def test_the_settings(made: Tt) -> None:
    """conductor_cli of the town, else the user's; --model goes before both, default_cli is the last."""
    town_file = made.cwd / "tinytown.toml"
    plain = town_file.read_text().replace('default_cli = "claude"', 'default_cli = "/bin/echo default"')
    town_file.write_text(plain)
    assert "Starting conductor with /bin/echo default model...\n" in made.ok("conductor").out
    home = Path(str(made.env["HOME"])) / ".tt"
    (home / "config.toml").write_text('conductor_cli = "/bin/echo user"\n')
    assert "Starting conductor with /bin/echo user model...\n" in made.ok("conductor").out
    town_file.write_text(f'conductor_cli = "/bin/echo town"\n{plain}')
    ran = made.ok("conductor")
    assert "Starting conductor with /bin/echo town model...\n" in ran.out
    assert ran.out.count("town # Tinytown Conductor\n") == 1
    assert "with /bin/echo asked model" in made.ok("conductor", "-m", "/bin/echo asked").out


def test_what_is_refused(quiet: Tt) -> None:
    """An unknown CLI, a missing command, an agent's model: one line each, and nothing was started."""
    assert quiet.fails("conductor", "--model", "cluade").complaint == [
        "Error: Unknown CLI 'cluade'.",
        "Did you mean 'claude'?",
    ]
    ran = quiet.fails("conductor", "--model", "gemini", env={"PATH": "/bin"})
    assert ran.complaint[0] == "Error: Command 'gemini' of CLI 'gemini' was not found."
    round_of = {"TINYTOWN_AGENT_ID": new_id(), "TINYTOWN_RUN": "a:1:1"}
    ran = quiet.fails("conductor", "--cli", "demo", env={**round_of})
    assert ran.complaint[0] == "Error: An agent cannot start a conductor."
    assert quiet.ok("supervise", "--status", "--json").json["redis"] == "away"
    assert not (quiet.cwd / ".tt" / "conductor_context.md").exists()


def test_a_file_that_cannot_run(made: Tt, tmp_path: Path) -> None:
    """What exec refuses is said in a line."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF junk")
    broken.chmod(0o755)
    ran = made("conductor", "--cli", str(broken))
    assert ran.code == 1
    assert ran.complaint[-1] == f"Error: Cannot run {broken}: Exec format error."


def test_print_context(made: Tt) -> None:
    """It prints the text, writes nothing and starts nothing; a town that is down says so."""
    ran = made.ok("conductor", "--print-context")
    assert ran.out.startswith('# Tinytown Conductor\n\nYou are the **conductor** of Tinytown "my-project"')
    assert ran.err == ""
    assert not (made.cwd / ".tt" / "conductor_context.md").exists()
    assert made.ok("supervise", "--status", "--json").json["pid"] is None
    ran = made.fails("conductor", "--print-context", "--model", "demo", code=2)
    assert ran.complaint[0] == "Error: --print-context and --model exclude each other."
    made.ok("stop", "--all")
    assert "Redis is not running" in made.fails("conductor", "--print-context").err


def test_the_context_that_cannot_be_written(made: Tt) -> None:
    """The file's place is taken: said in a line, no CLI runs."""
    (made.cwd / ".tt" / "conductor_context.md").mkdir()
    ran = made("conductor", "--cli", "/bin/echo ran")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.complaint[-1].startswith(f"Error: Cannot write {made.cwd}/.tt/conductor_context.md: ")


def test_the_demo(made: Tt) -> None:
    """The demo conductor runs what is typed as tt commands, and says what it cannot read."""
    terminal = Terminal(made, "conductor", "--cli", "demo")
    terminal.until("conductor> ")
    terminal.type("backlog add 'Write a poem'\n")
    terminal.until("to the backlog\n")
    terminal.type("tt backlog list\n")
    terminal.type("send 'half\n")
    terminal.until("This line cannot be read: No closing quotation.\n")
    terminal.type("quit\n")
    assert terminal.end() == 0
    (task,) = made.ok("backlog", "list", "--json").json
    assert task["description"] == "Write a poem"
