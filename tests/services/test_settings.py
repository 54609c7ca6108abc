"""Settings: which value counts and why; the global file keeps what it does not concern."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tests.support.town import in_processes
from tinytown import config
from tinytown.errors import ConfigInvalid, Forbidden, Invalid, NotFound, NotInitialized
from tinytown.services import settings, toml_lines
from tinytown.services.settings import Source

OLD = """\
# Mine. Do not touch.
default_cli = 'claude'   # the "best" one #1

[agent_clis] # by name
quick = "quick --go"
"odd.one" = 'odd'

[agent_clis.big]
command = "big"
workdir = "/srv"

# Towns share a server.
[redis]
use_central = false
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own; the file is not there yet."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / ".tt" / "config.toml"


@pytest.fixture
def old(home: Path) -> Path:
    """A file with comments."""
    home.parent.mkdir()
    home.write_text(OLD)
    return home


def town(folder: Path, text: str = "") -> Path:
    (folder / "tinytown.toml").write_text(f'name = "demo"\n{text}')
    return folder


def source(root: Path | None, key: str) -> tuple[object, str]:
    found = settings.get(root, key)
    return found.value, found.source.value


def test_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment over town over global over default, each named."""
    root = town(tmp_path)
    assert source(root, "default_cli") == ("claude", "default")
    settings.set_global("default_cli", "codex")
    assert source(root, "default_cli") == ("codex", "global file")
    town(tmp_path, 'default_cli = "gemini"\n[redis]\nurl = "redis://file"\npassword = "$PW"')
    monkeypatch.setenv("PW", "hush")
    assert source(root, "default_cli") == ("gemini", "town file")
    assert source(None, "default_cli") == ("codex", "global file")
    assert source(root, "redis.url") == ("redis://file", "town file")
    assert source(root, "redis.password") == ("***", "environment")
    monkeypatch.setenv("REDIS_URL", "redis://me:hush@env")
    assert source(root, "redis.url") == ("redis://me:****@env", "environment")
    assert "hush" not in str(settings.overview(root).settings)


def test_the_server_of_all_towns(tmp_path: Path) -> None:
    """Of a town that shares it few settings count; those that do not are shown as what they are there."""
    root = town(
        tmp_path, '[redis]\nuse_central = true\nuse_socket = false\nport = 7777\naof_path = "x.aof"\nserver = "/s"\n'
    )
    assert source(root, "redis.use_socket") == (True, "default")
    assert source(root, "redis.port") == (6379, "default")
    assert source(root, "redis.aof_path") == ("x.aof", "town file")
    assert source(root, "redis.server") == ("/s", "town file")
    town(tmp_path, '[redis]\nuse_central = true\nurl = "redis://file"\nport = 7777')
    assert source(root, "redis.port") == (7777, "town file")


def test_former_spellings_have_their_source(tmp_path: Path) -> None:
    """default_model is default_cli, cert_path is cert_file: in the file, by whatever name."""
    root = town(tmp_path, 'default_model = "codex"\n[townhall.tls]\ncert_path = "c"')
    assert source(root, "default_cli") == source(root, "default_model") == ("codex", "town file")
    assert source(root, "townhall.tls.cert_file") == ("c", "town file")
    assert source(root, "townhall.rest_port") == (8787, "default")


def test_keys_of_the_town_hall_are_names(tmp_path: Path) -> None:
    """A list of keys is shown as their names: no hash, no table."""
    key = '[[townhall.auth.keys]]\nname = "{}"\nhash = "$argon2id$x"\nscopes = []\n'
    root = town(tmp_path, key.format("ci") + key.format("phone"))
    rows = {setting.key: setting for setting in settings.overview(root).settings}
    assert (rows["townhall.auth.keys"].value, rows["townhall.auth.keys"].source) == (["ci", "phone"], "town file")
    assert rows["townhall.rate_limit.read_per_minute"].value == 30_000


def test_secrets_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password (also one that begins with $) and keys in a CLI's environment read ***; variables are shown."""
    root = town(
        tmp_path, '[redis]\npassword = "hush"\n[agent_clis.m.env]\nAPI_KEY = "hush"\nTOKEN = "$T"\nMODEL = "v2"'
    )
    rows = {setting.key: setting.value for setting in settings.overview(root).settings}
    assert rows["redis.password"] == rows["agent_clis.m.env.API_KEY"] == "***"
    assert (rows["agent_clis.m.env.TOKEN"], rows["agent_clis.m.env.MODEL"]) == ("$T", "v2")
    assert "hush" not in str(rows)
    monkeypatch.setenv("TINYTOWN_REDIS_PASSWORD", "$hush")
    assert settings.get(root, "redis.password").value == "***"


def test_a_clis_command(tmp_path: Path) -> None:
    """The town's, the global one, the preset's; a name that nobody has is refused with those that exist."""
    root = town(tmp_path, '[agent_clis.mine]\ncommand = "town"')
    settings.set_global("agent_clis.mine", "global --x")
    settings.set_global("agent_clis.my.dotted", "dotted")
    assert source(root, "agent_clis.mine") == ("town", "town file")
    assert source(None, "agent_clis.mine") == ("global --x", "global file")
    assert source(None, "agent_clis.my.dotted") == ("dotted", "global file")
    assert source(root, "agent_clis.codex.command")[1] == "default"
    assert "codex exec" in str(settings.get(None, "agent_clis.codex").value)
    with pytest.raises(NotFound, match="No CLI is named 'nobody'"):
        settings.get(root, "agent_clis.nobody")


def test_keys_that_are_not_there(tmp_path: Path) -> None:
    """An unknown key names the nearest; a town's key outside of a town says what to do."""
    with pytest.raises(ConfigInvalid, match=r"Unknown config key: max_agent$") as caught:
        settings.get(town(tmp_path), "max_agent")
    assert caught.value.remedy == "Did you mean 'max_agents'?"
    with pytest.raises(NotFound, match="'max_agents' is a setting of a town"):
        settings.get(None, "max_agents")


def test_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upward from here; outside is no error unless a town was named."""
    assert settings.root_here(None) is None
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    town(tmp_path)
    monkeypatch.chdir(inner)
    assert settings.root_here(None) == tmp_path
    for variable in (True, False):
        if variable:
            monkeypatch.setenv("TINYTOWN_TOWN", "/nowhere")
        with pytest.raises(NotInitialized):
            settings.root_here(None if variable else "/nowhere")


def test_a_change_keeps_all_else(old: Path) -> None:
    """One value is another, every other character is as it was."""
    assert settings.set_global("default_cli", "codex")
    assert old.read_text() == OLD.replace("'claude'   #", '"codex"  #')
    assert settings.set_global("agent_clis.odd.one", 'say "odd" # $HOME')
    assert settings.set_global("agent_clis.big", "bigger")
    assert settings.set_global("redis.use_central", "TRUE")
    assert tomllib.loads(old.read_text()) == {
        "default_cli": "codex",
        "agent_clis": {
            "quick": "quick --go", "odd.one": 'say "odd" # $HOME', "big": {"command": "bigger", "workdir": "/srv"},
        },
        "redis": {"use_central": True},
    }  # fmt: skip
    assert [line for line in OLD.splitlines() if line.startswith("#")] == [
        line for line in old.read_text().splitlines() if line.startswith("#")
    ]


def test_unset(old: Path) -> None:
    """A key goes with its line, a CLI with its table; a second time there is nothing to do."""
    assert settings.set_global("agent_clis.big", None)
    assert settings.set_global("default_cli", None)
    assert tomllib.loads(old.read_text()) == {
        "agent_clis": {"quick": "quick --go", "odd.one": "odd"}, "redis": {"use_central": False},
    }  # fmt: skip
    assert "# Towns share a server." in old.read_text() or "/srv" not in old.read_text()
    before = old.read_text()
    assert not settings.set_global("default_cli", None)
    assert not settings.set_global("agent_clis.quick", "quick --go")
    assert old.read_text() == before


def test_a_new_file_is_private(home: Path) -> None:
    """0600, in a folder of 0700, nothing beside but the lock."""
    settings.set_global("default_cli", "codex")
    assert home.read_text() == 'default_cli = "codex"\n'
    assert (home.stat().st_mode & 0o777, home.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert sorted(os.listdir(home.parent)) == ["config.lock", "config.toml"]


def test_a_link_stays_a_link(home: Path, tmp_path: Path) -> None:
    """Who keeps the file elsewhere finds the change there."""
    home.parent.mkdir()
    real = tmp_path / "dotfiles.toml"
    real.write_text("# kept\n")
    home.symlink_to(real)
    settings.set_global("default_cli", "codex")
    assert home.is_symlink()
    assert real.read_text() == '# kept\ndefault_cli = "codex"\n'


def test_the_former_name_in_the_file(old: Path) -> None:
    """A file that says default_model goes on saying so: two names would contradict each other."""
    old.write_text('default_model = "claude"\n')
    settings.set_global("default_cli", "codex")
    assert old.read_text() == 'default_model = "codex"\n'


@pytest.mark.parametrize(
    ("key", "value", "said", "remedy"),
    [
        ("default_cli", "codx", "Unknown CLI 'codx'.", "Did you mean 'codex'?"),
        ("default_cli", "", "Unknown CLI ''.", None),
        ("conductor_cli", "gemin", "Unknown CLI 'gemin'.", "Did you mean 'gemini'?"),
        ("default_cli", "quik", "Unknown CLI 'quik'.", "Did you mean 'quick'?"),
        ("redis.use_central", "yes", "'redis.use_central' must be true or false, not 'yes'.", None),
        ("agent_clis.m", "x 'y", "The command cannot be read: No closing quotation.", None),
        ("agent_clis.m", "  ", "The command is empty.", "Remove the CLI with: tt config --unset agent_clis.m"),
        ("agent_clis.m", "\udcff", "The value of 'agent_clis.m' is not UTF-8 text.", None),
        ("agent_clis.my cli", "x", "CLI name 'my cli' is not valid.", None),
        ("agent_clis.m.workdir", "/x", "Of a CLI this command sets only the command", "Edit "),
        ("max_agents", "5", "'max_agents' is a setting of each town, not a global one.", "Set it in the town's"),
        ("redis.password", "5", "'redis.password' is a setting of each town", None),
        ("defaultcli", "codex", "Unknown config key: defaultcli", "Did you mean 'default_cli'?"),
        ("agent_clis", "x", "Unknown config key: agent_clis", "Did you mean 'agent_clis.<name>'?"),
        ("default_cli\n", "codex", "Unknown config key", None),
    ],
)
def test_what_is_refused(old: Path, key: str, value: str, said: str, remedy: str | None) -> None:
    """Nothing is written; the reason, and the nearest that would do."""
    with pytest.raises(Invalid) as caught:
        settings.set_global(key, value)
    assert str(caught.value).startswith(said)
    assert remedy is None or (caught.value.remedy or "").startswith(remedy)
    assert old.read_text() == OLD


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("default_cli = ", "not valid TOML"),
        ("zzz = 1", "unknown key 'zzz'"),
        ('default_cli = """\nclaude"""', "'default_cli' is written in a way that cannot be changed here."),
    ],
)
def test_a_file_that_cannot_be_edited(old: Path, text: str, said: str) -> None:
    """It stays as it is, and is named."""
    old.write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        settings.set_global("default_cli", "codex")
    assert str(caught.value).startswith(f"{old}: {said}")
    assert old.read_text() == text


def test_a_home_that_cannot_be_written(home: Path) -> None:
    """One error that names the file."""
    home.parent.write_text("no folder")
    with pytest.raises(Forbidden, match=f"Cannot write {home}: File exists"):
        settings.set_global("default_cli", "codex")


def test_writers_at_the_same_time(old: Path) -> None:
    """Each one's change is there in the end."""

    def work(number: int) -> bool:
        return all(settings.set_global(f"agent_clis.w{number}-{n}", f"run {n}") for n in range(4))

    assert in_processes(5, work) == [True] * 5
    stored = tomllib.loads(old.read_text())["agent_clis"]
    assert {f"w{i}-{n}" for i in range(5) for n in range(4)} <= stored.keys()
    assert config.load_global()["default_cli"] == "claude"


NAME = st.text(max_size=6) | st.sampled_from(["a", "b.c", "default_cli"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@QUICK
@given(st.sampled_from([OLD, "", OLD.replace("\n", "\r\n"), "a = [\n1,\n# a = 2\n]"]), NAME, TEXT | st.none())
def test_an_edit_is_exact_or_none(text: str, name: str, new: str | None) -> None:
    """Whatever name and value: the file decodes to the old one with that change alone, or nothing is offered."""
    for path in ((name,), ("agent_clis", name)):
        edited = toml_lines.change(text, path, new)
        if edited is None:
            continue
        before, after = tomllib.loads(text), tomllib.loads(edited)
        tables = [t if len(path) == 1 else t.get("agent_clis", {}) for t in (before, after)]
        assert tables[1].pop(name, None) == new
        tables[0].pop(name, None)
        assert tables[0] == tables[1]


def test_sources_are_words() -> None:
    """What --json prints."""
    assert [s.value for s in Source] == ["environment", "town file", "global file", "default"]
