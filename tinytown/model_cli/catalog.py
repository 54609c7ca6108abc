"""Which model CLIs there are: presets, the user's `[agent_clis]`, or a command typed as it is.

Imported by quick commands too: only light imports here.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass, field, replace

from tinytown.config import AgentCli, Config
from tinytown.errors import Invalid, NotFound

FORMATS = (
    "text",
    "tinytown",
    "aider",
    "claude-json",
    "codex-json",
    "gemini-json",
    "cursor-json",
    "auggie-json",
    "opencode-json",
    "copilot-json",
)
PROMPT_FILE = "{prompt_file}"
PROMPT = "{prompt}"


@dataclass(frozen=True, slots=True)
class ModelCli:
    """How one model CLI is run.

    `prompt` is stdin, file or argument: a path or the text itself is appended after `prompt_flag`, or replaces
    `{prompt_file}` / `{prompt}` where a word of `argv` has them. Time-outs in seconds; None = the town's.
    """

    name: str
    argv: tuple[str, ...]
    prompt: str = "stdin"
    prompt_flag: str | None = None
    format: str = "text"
    env: dict[str, str] = field(default_factory=dict)
    workdir: str | None = None
    round_timeout_s: float | None = None
    silence_timeout_s: float | None = None


_CODEX = ("codex", "exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check")
_ALL = (
    ModelCli(
        "claude",
        ("claude", "--print", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"),
        format="claude-json",
    ),
    ModelCli(
        "auggie",
        ("auggie", "--print", "--quiet", "--output-format", "json"),
        prompt="file",
        prompt_flag="--instruction-file",
        format="auggie-json",
    ),
    # The last word tells codex that the prompt is on stdin; with another one it would append stdin to it.
    ModelCli("codex", (*_CODEX, "-"), format="codex-json"),
    ModelCli(
        "codex-mini",
        (*_CODEX, "-m", "gpt-5.4-mini", "-c", 'model_reasoning_effort="medium"', "-"),
        format="codex-json",
    ),
    ModelCli(
        "aider",
        ("aider", "--yes-always", "--no-auto-commits", "--no-stream", "--no-pretty"),
        prompt="file",
        prompt_flag="--message-file",
        format="aider",
    ),
    # A folder that gemini was never opened in is refused without a person; its versions differ in the flag for it.
    ModelCli(
        "gemini",
        ("gemini", "--output-format", "stream-json", "--approval-mode", "yolo"),
        format="gemini-json",
        env={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
    ),
    ModelCli(
        "copilot",
        ("copilot", "--allow-all-tools", "--no-ask-user", "--output-format", "json"),
        format="copilot-json",
    ),
    ModelCli("cursor", ("cursor-agent", "-p", "--output-format", "stream-json", "--force"), format="cursor-json"),
    ModelCli("opencode", ("opencode", "run", "--format", "json", "--auto"), format="opencode-json"),
    # -P: a file that a task wrote into the working directory must not shadow a module.
    ModelCli("demo", (sys.executable, "-P", "-m", "tinytown.model_cli.demo")),
)
PRESETS: dict[str, ModelCli] = {cli.name: cli for cli in _ALL}

_SHELL = re.compile(r"[|&;<>()`]|\$\(|^\s*[A-Za-z_][A-Za-z0-9_]*=")


def lookup(name: str, config: Config) -> ModelCli:
    """The CLI of that name: the user's, a preset, or the text itself when it is a command. Raises Invalid."""
    own = config.agent_clis.get(name)
    if own is not None:
        return _configured(own, PRESETS.get(name))
    if name in PRESETS:
        return PRESETS[name]
    if name.strip() and (" " in name.strip() or "/" in name or _which(name, os.environ.get("PATH", "")) is not None):
        return _own_command(ModelCli(name, ()), name)
    raise _unknown(name, config)


def names(config: Config) -> list[str]:
    """Presets and the user's own, by name."""
    return sorted({*PRESETS, *config.agent_clis})


def check_exists(cli: ModelCli) -> None:
    """Raise NotFound when the command cannot be executed. Of a shell command only the shell is known."""
    path = cli.env.get("PATH") or os.environ.get("PATH", os.defpath)
    if _which(cli.argv[0], path, cli.workdir) is None:
        remedy = f"Install it, put its folder on PATH, or set [agent_clis.{cli.name}] command in tinytown.toml."
        if cli.name not in PRESETS:
            remedy = "Correct the command, or put its folder on PATH."
        raise NotFound(f"Command '{cli.argv[0]}' of CLI '{cli.name}' was not found.", remedy)


def _configured(own: AgentCli, preset: ModelCli | None) -> ModelCli:
    if own.format is not None and own.format not in FORMATS:
        raise Invalid(f"Unknown format '{own.format}' of CLI '{own.name}'.", f"Known: {', '.join(FORMATS)}")
    if own.command.strip():
        base = ModelCli(own.name, (), prompt=own.prompt or "stdin")
        base = _own_command(base, own.command)
    elif preset is not None:
        base = preset
        if own.prompt is not None and own.prompt != preset.prompt:
            base = replace(base, prompt=own.prompt, prompt_flag=None)
    else:
        raise Invalid(f"CLI '{own.name}' has no command.", f'Add to [agent_clis.{own.name}]: command = "..."')
    return replace(
        base,
        format=own.format or base.format,
        env=base.env | {key: _expand(value) for key, value in own.env.items()},
        workdir=_expand(own.workdir) if own.workdir else None,
        round_timeout_s=own.round_timeout_s,
        silence_timeout_s=own.silence_timeout_s,
    )


def _own_command(cli: ModelCli, command: str) -> ModelCli:
    prompt = cli.prompt
    if PROMPT_FILE in command:
        prompt = "file"
    elif PROMPT in command:
        prompt = "argument"
    if _SHELL.search(command):
        return replace(cli, argv=_shell(command, prompt), prompt=prompt)
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Invalid(f"Command of CLI '{cli.name}' cannot be read: {error}.") from error
    return replace(cli, argv=tuple(_expand(word) for word in words), prompt=prompt)


def _shell(command: str, prompt: str) -> tuple[str, ...]:
    """The user's words as they are; the prompt comes as a parameter, so no text of a task is ever parsed."""
    for mark in (PROMPT_FILE, PROMPT):
        if mark in command:
            for quoted in (f'"{mark}"', f"'{mark}'", mark):
                command = command.replace(quoted, '"$1"')
            return ("/bin/sh", "-c", command, "sh", mark)
    if prompt == "stdin":
        return ("/bin/sh", "-c", command)
    return ("/bin/sh", "-c", command + ' "$@"', "sh")


def _expand(text: str) -> str:
    return os.path.expandvars(os.path.expanduser(text))


def _which(command: str, path: str, workdir: str | None = None) -> str | None:
    """As execvp would find it; `shutil.which` costs an import that quick commands do not have."""
    folders = [""] if "/" in command else path.split(os.pathsep)
    for folder in folders:
        candidate = os.path.join(workdir or "", folder, command)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def _unknown(name: str, config: Config) -> Invalid:
    import difflib  # noqa: PLC0415  only an error needs it

    known = names(config)
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}. Or give a command in quotes."
    return Invalid(f"Unknown CLI '{name}'.", remedy)
