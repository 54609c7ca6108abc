"""Which command a CLI's name means."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tinytown import config
from tinytown.errors import Invalid, NotFound
from tinytown.model_cli import formats
from tinytown.model_cli.catalog import FORMATS, PRESETS, ModelCli, check_exists, lookup


def settings(**agent_clis: Any) -> config.Config:
    return config.build({"name": "town", "agent_clis": agent_clis}, Path("tinytown.toml"))


ARGV = {
    "claude": "claude --print --output-format stream-json --verbose --dangerously-skip-permissions",
    "auggie": "auggie --print --quiet --output-format json",
    "codex": "codex exec --json --dangerously-bypass-approvals-and-sandbox --skip-git-repo-check -",
    "codex-mini": (
        "codex exec --json --dangerously-bypass-approvals-and-sandbox --skip-git-repo-check"
        ' -m gpt-5.4-mini -c model_reasoning_effort="medium" -'
    ),
    "aider": "aider --yes-always --no-auto-commits --no-stream --no-pretty",
    "gemini": "gemini --output-format stream-json --approval-mode yolo",
    "copilot": "copilot --allow-all-tools --no-ask-user --output-format json",
    "cursor": "cursor-agent -p --output-format stream-json --force",
    "opencode": "opencode run --format json --auto",
    "demo": f"{sys.executable} -P -m tinytown.model_cli.demo",
}


@pytest.mark.parametrize("name", ARGV)
def test_preset(name: str) -> None:
    """Every preset runs unattended, with a format that can be read."""
    cli = lookup(name, settings())
    assert " ".join(cli.argv) == ARGV[name]
    assert cli.format in formats.READERS
    assert cli.name == name


def test_presets_are_all_listed() -> None:
    """No preset without a line above; the light list of formats is the list of readers."""
    assert set(PRESETS) == set(ARGV)
    assert set(FORMATS) == set(formats.READERS)


def test_preset_prompts() -> None:
    """The CLIs that cannot read stdin get a file behind their flag."""
    in_file = {name: cli.prompt_flag for name, cli in PRESETS.items() if cli.prompt == "file"}
    assert in_file == {"auggie": "--instruction-file", "aider": "--message-file"}
    assert {cli.prompt for name, cli in PRESETS.items() if name not in in_file} == {"stdin"}


def test_override_keeps_the_command_of_the_preset() -> None:
    """Without `command`, only the fields that are set change."""
    cli = lookup("claude", settings(claude={"env": {"A": "1"}, "round_timeout_s": 5, "silence_timeout_s": 7}))
    assert cli.argv == PRESETS["claude"].argv
    assert cli.format == "claude-json"
    assert (cli.env, cli.round_timeout_s, cli.silence_timeout_s) == ({"A": "1"}, 5.0, 7.0)
    assert lookup("gemini", settings(gemini={"env": {"A": "1"}})).env["GEMINI_CLI_TRUST_WORKSPACE"] == "true"


def test_override_with_a_command_inherits_nothing() -> None:
    """A command of the user's own is text by stdin, also under a preset's name."""
    cli = lookup("claude", settings(claude={"command": "claude --print"}))
    assert cli == ModelCli("claude", ("claude", "--print"))
    told = lookup("claude", settings(claude={"command": "claude -p", "prompt": "argument", "format": "claude-json"}))
    assert (told.prompt, told.format) == ("argument", "claude-json")


def test_words_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` and `$VAR` work in the command, the working directory and the environment."""
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.setenv("KEY", "s3cret")
    own = {"command": "~/bin/my-agent.sh --key $KEY 'two words'", "workdir": "~/w", "env": {"API_KEY": "$KEY"}}
    cli = lookup("mine", settings(mine=own))
    assert cli.argv == ("/home/u/bin/my-agent.sh", "--key", "s3cret", "two words")
    assert cli.workdir == "/home/u/w"
    assert cli.env == {"API_KEY": "s3cret"}


@pytest.mark.parametrize("command", ["docker run -v $(pwd):/w my:1", "a | b", "A=1 agent", "a; b", "a > f", "a `b`"])
def test_shell_syntax(command: str) -> None:
    """A command that asks for a shell gets one, as it is."""
    assert lookup("mine", settings(mine={"command": command})).argv == ("/bin/sh", "-c", command)


def test_shell_gets_the_prompt_as_a_parameter() -> None:
    """The prompt never enters the string that the shell parses."""
    cli = lookup("mine", settings(mine={"command": "cd x && agent", "prompt": "argument"}))
    assert cli.argv == ("/bin/sh", "-c", 'cd x && agent "$@"', "sh")
    for written in ("agent < {prompt_file}", 'agent < "{prompt_file}"', "agent < '{prompt_file}'"):
        cli = lookup("mine", settings(mine={"command": written}))
        assert cli.argv == ("/bin/sh", "-c", 'agent < "$1"', "sh", "{prompt_file}")
        assert cli.prompt == "file"


def test_placeholders_choose_the_kind_of_prompt() -> None:
    """`{prompt_file}` and `{prompt}` say where the prompt goes."""
    assert lookup("mine", settings(mine={"command": "a --file={prompt_file}"})).prompt == "file"
    assert lookup("mine", settings(mine={"command": "a -m {prompt}"})).prompt == "argument"


def test_command_in_the_place_of_a_name(tmp_path: Path) -> None:
    """Text with a space or a slash, or a program on PATH, is the user's own command."""
    assert lookup("my-ai --fast", settings()) == ModelCli("my-ai --fast", ("my-ai", "--fast"))
    assert lookup("/opt/ai", settings()).argv == ("/opt/ai",)
    assert lookup("cat", settings()) == ModelCli("cat", ("cat",))


def test_unknown_name() -> None:
    """An unknown name is refused with the nearest one, or all."""
    with pytest.raises(Invalid, match=r"Unknown CLI 'claud'\.") as near:
        lookup("claud", settings())
    assert near.value.remedy == "Did you mean 'claude'?"
    with pytest.raises(Invalid) as far:
        lookup("zzzzzz", settings(mine={"command": "x"}))
    assert "mine" in (far.value.remedy or "")
    assert "opencode" in (far.value.remedy or "")
    with pytest.raises(Invalid):
        lookup("", settings())


def test_bad_tables() -> None:
    """No command, an unknown format, an unclosed quote: one line each."""
    with pytest.raises(Invalid, match="has no command"):
        lookup("mine", settings(mine={"env": {}}))
    with pytest.raises(Invalid, match="Unknown format 'xml'"):
        lookup("claude", settings(claude={"format": "xml"}))
    with pytest.raises(Invalid, match="cannot be read"):
        lookup("my-ai 'open", settings())


def test_check_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command must be executable: on the run's PATH, or relative to its working directory."""
    program = tmp_path / "agent.sh"
    program.write_text("#!/bin/sh\n")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotFound, match=r"Command 'claude' of CLI 'claude' was not found\.") as missing:
        check_exists(PRESETS["claude"])
    assert "[agent_clis.claude]" in (missing.value.remedy or "")
    with pytest.raises(NotFound):
        check_exists(ModelCli("mine", (str(program),)))
    program.chmod(0o755)
    check_exists(ModelCli("mine", (str(program),)))
    check_exists(ModelCli("mine", ("./agent.sh",), workdir=str(tmp_path)))
    check_exists(ModelCli("mine", ("agent.sh",), env={"PATH": str(tmp_path)}))
    check_exists(lookup("no-such-thing | x", settings()))
