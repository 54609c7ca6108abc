"""Model CLIs at a terminal, with a person: each preset's own way to begin a conversation with a given text."""

from __future__ import annotations

import sys
from dataclasses import replace

from tinytown.config import Config
from tinytown.model_cli import catalog
from tinytown.model_cli.catalog import ModelCli

# In `prompt` there is no stdin: that is the terminal.
_ALL = (
    # The list of tools that follows a flag of claude's takes every word up to the next flag, so the text comes first.
    ModelCli("claude", ("claude", catalog.PROMPT, "--allowedTools", "Bash(tt *)"), prompt="argument"),
    ModelCli("auggie", ("auggie",), prompt="file", prompt_flag="--instruction-file"),
    ModelCli("codex", ("codex",), prompt="argument"),
    ModelCli("codex-mini", ("codex", "-m", "gpt-5.4-mini", "-c", 'model_reasoning_effort="medium"'), prompt="argument"),
    # --message-file would do what it says and leave.
    ModelCli("aider", ("aider",), prompt="file", prompt_flag="--read"),
    ModelCli("gemini", ("gemini",), prompt="argument", prompt_flag="--prompt-interactive"),
    ModelCli("copilot", ("copilot",), prompt="argument", prompt_flag="--interactive"),
    ModelCli("cursor", ("cursor-agent",), prompt="argument"),
    ModelCli("opencode", ("opencode",), prompt="argument", prompt_flag="--prompt"),
    ModelCli("demo", (sys.executable, "-P", "-m", "tinytown.model_cli.demo_conductor"), prompt="file"),
)
PRESETS: dict[str, ModelCli] = {cli.name: cli for cli in _ALL}


def lookup(name: str, config: Config) -> ModelCli:
    """As `catalog.lookup`, for a terminal. A command of the user's own gets the text as its last argument.

    It may say otherwise with {prompt}, {prompt_file} or prompt = "file". Raises Invalid.
    """
    found = catalog.lookup(name, config)
    own = config.agent_clis.get(name)
    preset = PRESETS.get(name)
    if preset is not None and (own is None or not own.command.strip()):
        return replace(preset, env=found.env, workdir=found.workdir)
    return replace(found, prompt="argument") if found.prompt == "stdin" else found
