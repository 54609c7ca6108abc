"""`tt config`: the manual's output outside of a town, every value with its source inside."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from tests.support.cli import Tt
from tinytown.config import RetentionConfig
from tinytown.town import Town

pytestmark = pytest.mark.slow

CLIS = "claude, auggie, codex, codex-mini, aider, gemini, copilot, cursor, opencode, demo"
RETENTION = ", ".join(f"retention.{field.name}" for field in sorted(fields(RetentionConfig), key=lambda f: f.name))


def file_of(tt: Tt) -> Path:
    return Path(str(tt.env["HOME"])) / ".tt" / "config.toml"


def test_set_get_and_show(bare: Tt) -> None:
    """As in the manual: what was set is printed, stored (0600) and shown."""
    file = file_of(bare)
    assert bare.ok("config").out == (
        f'Global config: {file} (not there yet)\n\ndefault_cli = "claude"   # default\n'
        f"redis.use_central = false   # default\n\nAvailable CLIs: {CLIS}\n"
    )  # fmt: skip
    assert bare.ok("config", "default_cli").out == "claude\n"
    assert bare.ok("config", "default_cli", "auggie").out == f'Set default_cli = "auggie"\n   Saved to: {file}\n'
    bare.ok("config", "agent_clis.my-custom", "custom-ai --mode agent")
    assert bare.ok("config", "default_cli").out == "auggie\n"
    assert bare.ok("config", "agent_clis.my-custom").out == "custom-ai --mode agent\n"
    assert bare.ok("config").out == (
        f'Global config: {file}\n\ndefault_cli = "auggie"\nredis.use_central = false   # default\n\n'
        f'[agent_clis]\nmy-custom = "custom-ai --mode agent"\n\nAvailable CLIs: {CLIS}, my-custom\n'
    )  # fmt: skip
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_was_set_has_its_effect(bare: Tt) -> None:
    """A new town gets the global default; a CLI set here can be the default."""
    bare.ok("config", "agent_clis.mine", "mine --go")
    bare.ok("config", "default_cli", "mine")
    bare.ok("init", "--name", "my-project")
    rows = {s["key"]: (s["value"], s["source"]) for s in bare.ok("config", "--json").json["settings"]}
    assert rows["default_cli"] == ("mine", "town file")
    assert rows["agent_clis.mine.command"] == ("mine --go", "global file")


def test_in_a_town(tt: Tt, town: Town) -> None:
    """Each value that counts stands beside its source; what is not set is left out, secrets are hidden."""
    file = town.root / "tinytown.toml"
    file.write_text(f'{file.read_text()}password = "hush"\n[agent]\nmax_attempts = 7\n')
    ran = tt.ok("config")
    lines = [line.split() for line in ran.out.splitlines()]
    assert ran.out.startswith(f"Town: {town.name} ({file})\nGlobal config: ")
    assert ["agent.max_attempts", "=", "7", "town", "file"] in lines
    assert ["redis.password", "=", '"***"', "town", "file"] in lines
    assert ["supervisor.hung_s", "=", "30.0", "default"] in lines
    assert "redis.server " not in ran.out
    assert "hush" not in ran.out + ran.err
    assert tt.ok("config", "redis.server").out == "\n"
    assert tt.ok("config", "agent.auto_claim").out == "true\n"


def test_json(tt: Tt, town: Town) -> None:
    """Whole ones: every key, null where nothing is set; one key; what a change did."""
    shown = tt.ok("config", "--json").json
    assert (shown["town"], shown["town_file"]) == (town.name, str(town.root / "tinytown.toml"))
    assert {"key": "redis.password", "value": None, "source": "default"} in shown["settings"]
    assert "demo" in shown["available_clis"]
    assert tt.ok("config", "max_agents", "--json").json == {"key": "max_agents", "value": 10, "source": "default"}


def test_the_town_wins(made: Tt) -> None:
    """A global value that the town overrides is set, and it is said that it does not count here."""
    ran = made.ok("config", "default_cli", "codex")
    assert ran.out.startswith('Set default_cli = "codex"\n')
    assert ran.err == 'Note: this town\'s tinytown.toml says default_cli = "claude", which counts here.\n'
    assert made.ok("config", "default_cli").out == "claude\n"
    assert made.ok("config", "default_cli", "gemini", "--json").json == {
        "key": "default_cli", "value": "gemini", "changed": True, "file": str(file_of(made)),
    }  # fmt: skip


def test_towns_share_a_server(bare: Tt) -> None:
    """The value is shown as it is stored; that towns lose sight of their data is said, once."""
    ran = bare.ok("config", "redis.use_central", "TRUE")
    assert ran.out.startswith("Set redis.use_central = true\n   Saved to: ")
    assert ran.err.startswith("Note: towns that do not set it themselves change servers")
    assert bare.ok("config", "redis.use_central", "true").err == ""
    assert bare.ok("config", "redis.use_central").out == "true\n"
    bare.ok("config", "default_cli", "codex")
    assert file_of(bare).read_text() == 'default_cli = "codex"\n\n[redis]\nuse_central = true\n'


def test_unset(bare: Tt) -> None:
    """Removed once; a second time there is nothing to remove."""
    bare.ok("config", "agent_clis.mine", "x")
    assert bare.ok("config", "--unset", "agent_clis.mine").out.startswith("Removed agent_clis.mine\n   Saved to: ")
    assert bare.ok("config", "--unset", "agent_clis.mine").out.startswith("agent_clis.mine was not set\n")
    for args in (("--unset",), ("--unset", "default_cli", "claude")):
        assert "--unset takes one KEY" in bare.fails("config", *args, code=2).err


@pytest.mark.parametrize(
    ("args", "said", "remedy"),
    [
        (("default_cli", "codx"), "Unknown CLI 'codx'.", "Did you mean 'codex'?"),
        (("defaultcli", "codex"), "Unknown config key: defaultcli", "Did you mean 'default_cli'?"),
        (("defaultcli",), "Unknown config key: defaultcli", "Did you mean 'default_cli'?"),
        (("redis", "x"), "Unknown config key: redis", "Did you mean 'redis.use_central'?"),
        (("retention",), "Unknown config key: retention", f"It is a table: {RETENTION}"),
        (
            ("zzz", "x"),
            "Unknown config key: zzz",
            "Known here: agent_clis.<name>, conductor_cli, default_cli, redis.use_central",
        ),
        (("zzz",), "Unknown config key: zzz", "See them with: tt config"),
        (("agent_clis.x", "a 'b"), "The command cannot be read: No closing quotation.", None),
        (("redis.use_central", "2"), "'redis.use_central' must be true or false, not '2'.", None),
        (("agent_clis.nobody",), "No CLI is named 'nobody'.", f"Known: {CLIS}"),
        (("max_agents", "5"), "'max_agents' is a setting of each town, not a global one.", None),
    ],
)
def test_refusals(bare: Tt, args: tuple[str, ...], said: str, remedy: str | None) -> None:
    """One line, the nearest that would do, nothing written."""
    ran = bare.fails("config", *args)
    assert ran.complaint[0] == f"Error: {said}"
    assert remedy is None or ran.complaint[1] == remedy
    assert not file_of(bare).exists()


def test_a_broken_town_does_not_hinder_a_global_change(bare: Tt) -> None:
    """Setting works where showing says what is wrong."""
    (bare.cwd / "tinytown.toml").write_text("name = ")
    bare.ok("config", "default_cli", "codex")
    assert "not valid TOML" in bare.fails("config").err
    assert "Town not initialized at /nowhere" in bare.fails("--town", "/nowhere", "config").err


def test_text_of_a_file_cannot_speak_to_the_terminal(bare: Tt) -> None:
    """An escape sequence in a command is spelled out."""
    bare.ok("config", "agent_clis.evil", "evil \x1b[2J")
    assert "\x1b[2J" not in bare.on_terminal("config")[1]
    assert "\x1b[2J" not in bare.on_terminal("config", "agent_clis.evil")[1]
