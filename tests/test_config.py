"""Settings: town file over global file over defaults; whatever is in them, one line says what is wrong."""

from __future__ import annotations

import dataclasses
import math
import os
import typing
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK
from tinytown import config, config_townhall
from tinytown.config import (
    AgentCli,
    AgentConfig,
    Config,
    GithubConfig,
    MissionConfig,
    RedisConfig,
    RetentionConfig,
    SupervisorConfig,
)
from tinytown.config_townhall import Auth, Key, Mtls, RateLimit, Tls, Townhall
from tinytown.config_values import CHOICES
from tinytown.errors import ConfigInvalid, Invalid, NotInitialized

SECTIONS: dict[str, Any] = {
    "redis": RedisConfig, "agent": AgentConfig, "supervisor": SupervisorConfig, "retention": RetentionConfig,
    "mission": MissionConfig, "github": GithubConfig,
    "townhall": Townhall, "townhall.auth": Auth, "townhall.tls": Tls, "townhall.mtls": Mtls,
    "townhall.rate_limit": RateLimit,
}  # fmt: skip
OURS = ("redis", "agent", "supervisor", "retention", "mission")
WRONG: dict[str, list[Any]] = {
    "str": [5, True, [], {}, 1.5],
    "bool": [0, 1, "true", [], 0.0],
    "int": ["5", True, 1.5, [], {}],
    "float": ["5", True, [], {}],
    "tuple[str, ...]": ["x", 5, {}, [5], [[]]],
    "tuple[tinytown.config_townhall.Key, ...]": ["x", 5, {}, [5], [[]]],
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a global file, an environment without Redis."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("REDIS_URL", "TINYTOWN_REDIS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home" / ".tt").mkdir(parents=True)
    return tmp_path / "home" / ".tt"


def load(root: Path, text: str) -> Config:
    (root / "tinytown.toml").write_text(text)
    return config.load(root)


def refusal(root: Path, text: str | bytes) -> ConfigInvalid:
    (root / "tinytown.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigInvalid) as caught:
        config.load(root)
    assert str(caught.value).startswith(str(root / "tinytown.toml"))
    assert "\n" not in str(caught.value)
    assert "\n" not in (caught.value.remedy or "")
    return caught.value


def test_a_name_is_enough(tmp_path: Path) -> None:
    """Everything but the name has a default; the documented ones are these."""
    loaded = load(tmp_path, 'name = "demo"')

    assert loaded == Config(name="demo")
    assert (loaded.default_cli, loaded.max_agents) == ("claude", 10)
    assert (loaded.redis.use_socket, loaded.redis.socket_path, loaded.redis.appendfsync) == (
        True,
        ".tt/redis.sock",
        "always",
    )
    assert (loaded.agent.max_attempts, loaded.agent.round_timeout_s, loaded.agent.complete_on) == (3, 3600, "exit")
    assert (loaded.supervisor.restart_intensity, loaded.supervisor.restart_period_s) == (5, 60)
    assert loaded.warnings == ()


def test_a_town_keeps_the_name_of_before(tmp_path: Path) -> None:
    """A folder `Übung` gave the town `-bung` once. Its keys have that name, so it must open with it."""
    assert config.build({"name": "-bung"}, tmp_path).name == "-bung"
    with pytest.raises(ConfigInvalid, match="not valid"):
        config.build({"name": "a/b"}, tmp_path)


def test_no_town_file(tmp_path: Path) -> None:
    """A folder without a town file says how to make one."""
    with pytest.raises(NotInitialized, match="Run 'tt init' first"):
        config.load(tmp_path)


def _keys() -> list[tuple[str, str]]:
    rows = [("", f.name) for f in dataclasses.fields(Config) if f.name in {"name", "default_cli", "max_agents"}]
    rows += [
        (section, f.name)
        for section, cls in SECTIONS.items()
        for f in dataclasses.fields(cls)
        if f"{section}.{f.name}" not in SECTIONS
    ]
    rows += [("agent_clis.mine", f.name) for f in dataclasses.fields(AgentCli) if f.name not in {"env", "name"}]
    return rows


def _type_of(section: str, key: str) -> str:
    cls = {"": Config, "agent_clis.mine": AgentCli}.get(section) or SECTIONS[section]
    hint = str(typing.get_type_hints(cls)[key]).replace(" | None", "")
    return hint.removeprefix("<class '").removesuffix("'>")


@pytest.mark.parametrize(("section", "key"), _keys())
def test_a_value_of_the_wrong_type_is_refused(section: str, key: str) -> None:
    """Each key refuses what is not of its type, by its full name, with what it must be."""
    for wrong in WRONG[_type_of(section, key)]:
        table: dict[str, Any] = {"name": "demo"}
        inner = table
        for part in section.split(".") if section else []:
            inner = inner.setdefault(part, {})
        inner[key] = wrong
        with pytest.raises(ConfigInvalid) as caught:
            config.build(table, Path("/x/tinytown.toml"))
        full = f"{section}.{key}" if section else key
        assert f"'{full}' must be " in str(caught.value), wrong


@pytest.mark.parametrize("section", [*OURS, "townhall", "agent_clis"])
def test_a_section_must_be_a_table(tmp_path: Path, section: str) -> None:
    """A word where a table belongs is refused."""
    assert f"'{section}' must be a table" in str(refusal(tmp_path, f'name = "demo"\n{section} = "yes"'))


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ('nam = "x"\nname = "y"', "nam", "Did you mean 'name'?"),
        ('name = "y"\nmax_agent = 3', "max_agent", "Did you mean 'max_agents'?"),
        ('name = "y"\n[redis]\nbindd = "x"', "redis.bindd", "Did you mean 'redis.bind'?"),
        ('name = "y"\n[agent]\nmax_attempt = 3', "agent.max_attempt", "Did you mean 'agent.max_attempts'?"),
        ('name = "y"\n[agent_clis.m]\ncomand = "x"', "agent_clis.m.comand", "Did you mean 'agent_clis.m.command'?"),
        ('name = "y"\nzzz = 1', "zzz", "Known here: agent, "),
        ('name = "y"\ntownhal = 1', "townhal", "Did you mean 'townhall'?"),
        ('name = "y"\n[townhall]\nport = 1', "townhall.port", "Did you mean 'townhall."),
        ('name = "y"\n[townhall.auth]\nmod = 1', "townhall.auth.mod", "Did you mean 'townhall.auth.mode'?"),
        ('name = "y"\nuse_central_redis = true', "use_central_redis", "Write it under [redis]: use_central = true"),
        ('name = "y"\nuse_streams = true', "use_streams", "Remove it"),
        ('name = "y"\n[agent]\nidle_timeout_secs = 3', "agent.idle_timeout_secs", "Remove it"),
        ('name = "y"\n[townhall.rate_limit]\nrpm = 3', "townhall.rate_limit.rpm", "Did you mean 'townhall.rate_limit."),
        ('name = "y"\nwarnings = []', "warnings", None),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, text: str, key: str, remedy: str | None) -> None:
    """A misspelt key is refused with the nearest known one, or with all of them."""
    error = refusal(tmp_path, text)

    assert f"unknown key '{key}'" in str(error)
    assert remedy is None or (error.remedy or "").startswith(remedy)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name = ", "not valid TOML"),
        ('name = "a"\nname = "b"', "not valid TOML"),
        (b'name = "\xff"', "not valid TOML"),
        (b"\x00\x01", "not valid TOML"),
        ("", "'name' is missing"),
        ("[redis]", "'name' is missing"),
        ("name = 5", "'name' must be text"),
        ('name = "a"\nx = ' + "[" * 3000, "not valid TOML"),
        ('name = "a b"', "name 'a b' is not valid"),
        ('name = ""', "name '' is not valid"),
        ('name = "../x"', "is not valid"),
        ('name = "a"\n[agent_clis."my cli"]\ncommand = "x"', "name 'my cli' is not valid"),
        ('name = "a"\n[agent_clis.m]\ncommand = "x \'y"', "agent_clis.m.command"),
        ('name = "a"\n[agent_clis]\nm = "x"', "'agent_clis.m' must be a table"),
        ('name = "a"\n"two\\nlines" = 1', "unknown key"),
        ('name = "a"\n[agent_clis.m]\nname = "other"\ncommand = "x"', "agent_clis.m.name is 'other'"),
        ('name = "a"\n[redis]\nport = 65536', "'redis.port' must be 65535 or less"),
        ('name = "a"\n[townhall]\nmcp_port = 65536', "'townhall.mcp_port' must be 65535 or less"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str | bytes, part: str) -> None:
    """Broken TOML, a missing or illegal name, an unclosed quote: one line that starts with the file."""
    assert part in str(refusal(tmp_path, text))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder in the place of the file is an error in one line, no traceback."""
    (tmp_path / "tinytown.toml").mkdir()

    with pytest.raises(ConfigInvalid, match="cannot be read: Is a directory"):
        config.load(tmp_path)


@pytest.mark.parametrize("key", CHOICES)
def test_choices(key: str) -> None:
    """A word that is no choice is refused with the choices; each choice is accepted."""
    section, _, name = key.partition(".")
    for word in (*CHOICES[key], "sometimes"):
        inner: dict[str, Any] = {name: [word] if key.endswith("scopes") else word}
        if key == "townhall.auth.keys.scopes":
            inner = {"auth": {"keys": [{"name": "ann", "hash": HASH, "scopes": [word]}]}}
        elif section == "townhall":
            inner = {"auth": {name.removeprefix("auth."): inner[name]}}
        table = {"name": "demo", section: {"m": inner} if section == "agent_clis" else inner}
        if word == "sometimes":
            with pytest.raises(ConfigInvalid, match=f"must be one of {', '.join(CHOICES[key])}, not 'sometimes'"):
                config.build(table, Path("f"))
        else:
            config.build(table, Path("f"))


@pytest.mark.parametrize(
    ("section", "key", "least"),
    [("", "max_agents", 1), ("agent", "max_attempts", 1), ("agent", "batch_bytes", 1), ("supervisor", "hung_s", 5),
     ("retention", "tasks_days", 0), ("supervisor", "backoff_s", 0), ("redis", "port", 0),
     ("townhall", "rest_port", 1), ("mission", "max_parallel_items", 1), ("mission", "watch_interval_secs", 1),
     ("mission", "max_rounds", 1)],
)  # fmt: skip
def test_minimums(section: str, key: str, least: int) -> None:
    """Numbers have a smallest value; it is accepted, one less is refused."""

    def table(value: float) -> dict[str, Any]:
        return {"name": "demo"} | ({section: {key: value}} if section else {key: value})

    config.build(table(least), Path("f"))
    with pytest.raises(ConfigInvalid, match=f"must be {least} or more"):
        config.build(table(least - 1), Path("f"))


@pytest.mark.parametrize(
    "url",
    ["https://api.github.com", "https://ghe.example.com/api/v3", "https://ghe.example.com:8443/api/v3/",
     "http://127.0.0.1:8080/api/v3", "http://localhost:1", "https://api.tenant.ghe.com"],
)  # fmt: skip
def test_where_github_is(tmp_path: Path, url: str) -> None:
    """`[github] api_url` may be any https:// URL, and one of this machine."""
    assert load(tmp_path, f'name = "demo"\n[github]\napi_url = "{url}"').github.api_url == url


@pytest.mark.parametrize(
    "url",
    ["", "ghe.example.com", "http://ghe.example.com/api/v3", "ftp://x", "https://", "https://ann:hunter2@x/api/v3",
     "http://localhost.evil.example/", "https://x/api?a=b", "https://x/\\n", "http://127.0.0.1@evil.example/"],
)  # fmt: skip
def test_where_github_is_not(tmp_path: Path, url: str) -> None:
    """Nothing that would show the token on its way, or holds a password; that is not repeated."""
    error = refusal(tmp_path, f'name = "demo"\n[github]\napi_url = "{url}"')

    assert "'github.api_url' must be the https:// URL" in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("value", ["nan", "-nan", "+nan"])
def test_what_is_not_a_number_is_refused(tmp_path: Path, value: str) -> None:
    """TOML's nan is neither more nor less than any bound: it would switch a time limit off, or stop the loop."""
    refusal(tmp_path, f'name = "demo"\n[supervisor]\nhung_s = {value}')


def test_a_number_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    """An integer that no float can hold is an error of the file, not of the program."""
    refusal(tmp_path, 'name = "demo"\n[agent]\nround_timeout_s = 1' + "0" * 400)


def test_whole_numbers_are_numbers() -> None:
    """Where a number of seconds is wanted a whole number will do."""
    built = config.build({"name": "demo", "agent": {"retry_delay_s": 3}}, Path("f"))

    assert isinstance(built.agent.retry_delay_s, float)


def test_former_names(tmp_path: Path) -> None:
    """`default_model` is `default_cli`; the socket of the time before .tt/ is the one in .tt/."""
    loaded = load(tmp_path, 'name = "demo"\ndefault_model = "codex"\n[redis]\nsocket_path = "redis.sock"')

    assert (loaded.default_cli, loaded.redis.socket_path) == ("codex", ".tt/redis.sock")


@pytest.mark.parametrize("lines", [("default_cli", "default_model"), ("default_model", "default_cli")])
def test_the_present_name_wins_over_the_former(tmp_path: Path, lines: tuple[str, str]) -> None:
    """In whatever order they are written: what `tt config` sets must count."""
    given = {"default_cli": "aider", "default_model": "codex"}
    text = "".join(f'{key} = "{given[key]}"\n' for key in lines)
    assert load(tmp_path, f'name = "demo"\n{text}').default_cli == "aider"


def test_the_global_file_fills_in(tmp_path: Path, home: Path) -> None:
    """Global: default CLI, CLIs (as tables or as commands), central Redis; the town's own win, name by name."""
    (home / "config.toml").write_text(
        'default_cli = "gemini"\n[agent_clis]\nquick = "quick --go"\nmine = "global"\n[redis]\nuse_central = true\n'
    )
    plain = load(tmp_path, 'name = "demo"')
    own = load(
        tmp_path,
        'name = "demo"\ndefault_cli = "codex"\n[agent_clis.mine]\ncommand = "town"\n[redis]\nuse_central = false',
    )

    assert (plain.default_cli, plain.redis.use_central) == ("gemini", True)
    assert {n: (c.name, c.command) for n, c in plain.agent_clis.items()} == {
        "quick": ("quick", "quick --go"), "mine": ("mine", "global"),
    }  # fmt: skip
    assert (own.default_cli, own.redis.use_central, own.agent_clis["mine"].command) == ("codex", False, "town")
    assert own.agent_clis["quick"].command == "quick --go"


def test_a_broken_global_file_is_named(tmp_path: Path, home: Path) -> None:
    """An error in the global file says which file it is in."""
    (home / "config.toml").write_text("default_cli = ")
    (tmp_path / "tinytown.toml").write_text('name = "demo"')

    with pytest.raises(ConfigInvalid) as caught:
        config.load(tmp_path)
    assert str(caught.value).startswith(str(home / "config.toml"))


@pytest.mark.parametrize(
    "text", ['agent_clis = "x"', "agent_clis = [1]", 'redis = "x"', "default_cli = 5", "agent_clis = {a = 5}"]
)
def test_a_senseless_global_file_is_refused_or_ignored(tmp_path: Path, home: Path, text: str) -> None:
    """Wrong types in the global file never raise anything but ConfigInvalid."""
    (home / "config.toml").write_text(text)
    try:
        load(tmp_path, 'name = "demo"')
    except ConfigInvalid as error:
        assert "\n" not in str(error)  # noqa: PT017  either way is right


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """REDIS_URL and TINYTOWN_REDIS_PASSWORD beat the file; an empty REDIS_URL is none."""
    text = 'name = "demo"\n[redis]\nurl = "redis://file"\npassword = "$FILE_SECRET"'
    monkeypatch.setenv("REDIS_URL", "  redis://env  ")
    monkeypatch.setenv("TINYTOWN_REDIS_PASSWORD", "s3cret")
    both = load(tmp_path, text)
    monkeypatch.setenv("REDIS_URL", " ")
    blank = load(tmp_path, text)

    assert (both.redis.url, both.redis.password) == ("redis://env", "s3cret")
    assert blank.redis.url == "redis://file"


def test_a_password_from_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$VAR` is replaced by the variable, without a warning; the rest of a password is taken as it is."""
    monkeypatch.setenv("TOWN_SECRET", "pa$$word")

    loaded = load(tmp_path, 'name = "demo"\n[redis]\npassword = "$TOWN_SECRET"')

    assert loaded.redis.password == "pa$$word"  # noqa: S105  an example
    assert loaded.warnings == ()


def test_a_written_out_secret_is_warned_about(tmp_path: Path) -> None:
    """A password or a key in the versioned file is accepted with a warning that says `$VAR` and not the secret."""
    loaded = load(
        tmp_path,
        'name = "demo"\n[redis]\npassword = "hunter2"\n[agent_clis.mine]\ncommand = "x"\n'
        '[agent_clis.mine.env]\nOPENAI_API_KEY = "sk-1234"\nCOLOUR = "blue"\nOTHER_TOKEN = "$OTHER"',
    )

    assert loaded.redis.password == "hunter2"  # noqa: S105  an example
    assert len(loaded.warnings) == 2
    assert all("$VAR" in warning for warning in loaded.warnings)
    assert not any(secret in warning for warning in loaded.warnings for secret in ("hunter2", "sk-1234"))


def test_no_warning_for_what_is_no_secret(tmp_path: Path) -> None:
    """Plain settings of a CLI, and secrets from variables, deserve no warning."""
    loaded = load(tmp_path, 'name = "demo"\n[agent_clis.mine.env]\nCOLOUR = "blue"\nAPI_KEY = "$K"\nTOKEN = ""')

    assert loaded.warnings == ()


def test_the_global_password_is_not_the_town_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password from the environment is no secret in the file."""
    monkeypatch.setenv("TINYTOWN_REDIS_PASSWORD", "s3cret")

    assert load(tmp_path, 'name = "demo"\n[redis]\nport = 6380').warnings == ()


HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"
# The blocks of the manual, each as it is printed there.
MANUAL = {
    "town": """default_cli = "claude"\nmax_agents = 10
[redis]\nuse_socket = true\nsocket_path = ".tt/redis.sock"\nhost = "127.0.0.1"\nport = 6379
[agent_clis.claude]\nname = "claude"\ncommand = "claude --print"
[agent_clis.auggie]\nname = "auggie"\ncommand = "augment"\n""",
    "generated": """default_cli = "claude"\nmax_agents = 10\n[redis]\nuse_socket = true\nsocket_path = "redis.sock"
[agent_clis.codex]\nname = "codex"\ncommand = "codex"\n""",
    "remote": '[redis]\nuse_socket = false\nhost = "redis.example.com"\nport = 6379\n',
    "tcp": '[redis]\nuse_socket = false\nhost = "127.0.0.1"\nport = 6379\nbind = "127.0.0.1"\n',
    "password": '[redis]\nuse_socket = false\nhost = "localhost"\nport = 6379\npassword = "your-secret-password"\n',
    "tls": """[redis]\nuse_socket = false\nhost = "redis.example.com"\nport = 6379\npassword = "secret123"
tls_enabled = true\ntls_cert = "/etc/ssl/redis.crt"\ntls_key = "/etc/ssl/redis.key"
tls_ca_cert = "/etc/ssl/ca.crt"\n""",
    "persistence": '[redis]\npersist = true\naof_path = ".tt/redis.aof"\n',
    "custom model": """[agent_clis.my-custom-model]\nname = "my-custom-model"
command = "/path/to/my/agent --config ./agent.yaml"\nworkdir = "/path/to/working/dir"
[agent_clis.my-custom-model.env]\nAPI_KEY = "secret"\nMODEL_VERSION = "v2"\n""",
    "town hall": '[townhall]\nbind = "127.0.0.1"\nrest_port = 8787\nrequest_timeout_ms = 30000\n',
    "api key": f"""[townhall.auth]\nmode = "api_key"\napi_key_hash = "{HASH}"
api_key_scopes = ["town.read", "town.write", "agent.manage"]\n""",
    "oidc": """[townhall.auth]\nmode = "oidc"\nissuer = "https://issuer.example.com"\naudience = "tinytown-api"
jwks_url = "https://issuer.example.com/.well-known/jwks.json"
required_scopes = ["tinytown:access"]\nclock_skew_seconds = 60\n""",
    "tls of the town hall": """[townhall.tls]\nenabled = true\ncert_path = "/path/to/server.crt"
key_path = "/path/to/server.key"
[townhall.mtls]\nenabled = true\nrequired = true\nca_path = "/path/to/ca.crt"\n""",
}


@pytest.mark.parametrize("block", MANUAL)
def test_the_manuals_blocks_are_understood(tmp_path: Path, block: str) -> None:
    """A user who copies a block of the manual has a town."""
    loaded = load(tmp_path, f'name = "my-project"\n{MANUAL[block]}')

    assert not [warning for warning in loaded.warnings if "townhall" in warning]


def test_the_town_hall_is_typed(tmp_path: Path) -> None:
    """Both spellings of the certificates' files are one setting; what is left out has the manual's default."""
    tables = 'name = "x"\n[townhall.tls]\ncert_path = "c"\nkey_file = "k"\n[townhall.mtls]\nca_path = "a"\n'
    hall = config_townhall.check(load(tmp_path, tables).townhall, tmp_path)

    assert (hall.tls.cert_file, hall.tls.key_file, hall.mtls.ca_file) == ("c", "k", "a")
    assert (hall.bind, hall.rest_port, hall.request_timeout_ms, hall.auth.mode) == ("127.0.0.1", 8787, 30000, "none")
    both = f'{tables}[townhall.auth]\nmode = "none"\n'.replace("key_file", 'cert_file = "d"\nkey_file')
    assert "'townhall.tls.cert_path' and 'townhall.tls.cert_file' are one" in str(refusal(tmp_path, both))


def test_several_keys(tmp_path: Path) -> None:
    """`[[townhall.auth.keys]]`: each with a name of its own, a hash and what it may do."""
    text = f"""name = "x"
[townhall]
allowed_hosts = ["town.example.com", "[fd00::1]"]
[townhall.rate_limit]
write_per_minute = 0
[[townhall.auth.keys]]
name = "ci"
hash = "{HASH}"
scopes = ["town.read", "town.write"]
[[townhall.auth.keys]]
name = "phone"
hash = "{HASH}"
scopes = ["admin"]
"""
    hall = config_townhall.check(load(tmp_path, text).townhall, tmp_path)
    assert hall.auth.keys == (Key("ci", HASH, ("town.read", "town.write")), Key("phone", HASH, ("admin",)))
    assert hall.rate_limit == RateLimit(read_per_minute=30_000, write_per_minute=0)
    assert hall.allowed_hosts == ("town.example.com", "[fd00::1]")


ONE_KEY = f'name = "x"\n[[townhall.auth.keys]]\nname = "ci"\nhash = "{HASH}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ONE_KEY, "'townhall.auth.keys.scopes' is missing"),  # nobody gets all rights by leaving them out
        (f'{ONE_KEY}scopes = ["town.reed"]', "'townhall.auth.keys.scopes' must be one of town.read"),
        (f"{ONE_KEY}scopes = []\nscope = []", "unknown key 'townhall.auth.keys.scope'"),
        (
            f'{ONE_KEY}scopes = []\n[[townhall.auth.keys]]\nname = "ci"\nhash = "{HASH}"\nscopes = []',
            "cannot be named 'ci'",
        ),
        (f"{ONE_KEY}scopes = []".replace('"ci"', '"local"'), "cannot be named 'local'"),
        (f"{ONE_KEY}scopes = []".replace('"ci"', '""'), "cannot be named ''"),
        (f"{ONE_KEY}scopes = []".replace("$argon2id$", "tt_SECRET"), "'townhall.auth.keys.ci.hash' is no hash"),
        ('name = "x"\n[townhall]\nallowed_hosts = ["*"]', "'townhall.allowed_hosts' must be names"),
        ('name = "x"\n[townhall]\nallowed_hosts = ["a.example:80"]', "'townhall.allowed_hosts' must be names"),
        ('name = "x"\n[townhall.rate_limit]\nread_per_minute = -1', "must be 0 or more"),
        ('name = "x"\n[townhall.auth]\nissuer = "http://issuer.example.com"', "must be the https:// URL of the issuer"),
        ('name = "x"\n[townhall.auth]\njwks_url = "file:///etc/passwd"', "must be the https:// URL"),
        ('name = "x"\n[townhall.auth]\nclock_skew_seconds = 601', "must be 600 or less"),
    ],
)
def test_the_town_hall_is_checked(tmp_path: Path, text: str, said: str) -> None:
    """Keys without scopes, names that are not theirs alone, hosts that would let everybody in, tokens on the way."""
    error = refusal(tmp_path, text)
    assert said in str(error)
    assert "SECRET" not in f"{error}{error.remedy}"


def test_a_key_in_the_place_of_its_hash(tmp_path: Path) -> None:
    """The raw API key in the versioned file is refused, and not repeated on the screen."""
    error = refusal(tmp_path, 'name = "x"\n[townhall.auth]\napi_key_hash = "tt_SECRETSECRET"')

    assert "'townhall.auth.api_key_hash' is no hash" in str(error)
    assert "SECRET" not in f"{error}{error.remedy}"


@pytest.mark.parametrize(
    "text", ["[redis]\npassword = 271828", "[agent_clis.m.env]\nAPI_KEY = 271828", "[redis]\nurl = 271828"]
)
def test_a_secret_of_the_wrong_type_is_not_shown(tmp_path: Path, text: str) -> None:
    """A password without quotes is an error that does not repeat it."""
    error = refusal(tmp_path, f'name = "x"\n{text}')

    assert "must be text" in str(error)
    assert "271828" not in str(error)


def test_json_is_refused_with_the_toml_for_it(tmp_path: Path) -> None:
    """The manual shows one block as JSON; settings are TOML."""
    error = refusal(tmp_path, '{"redis": {"use_socket": true, "socket_path": "redis.sock"}}')

    assert error.remedy == "Settings are TOML, not JSON: write [redis], and under it use_socket = true"


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ('defualt_cli = "codex"', "unknown key 'defualt_cli'", "Did you mean 'default_cli'?"),
        ("max_agents = 5", "unknown key 'max_agents'", None),
        ("[redis]\nuse_centrl = true", "unknown key 'redis.use_centrl'", "Did you mean 'redis.use_central'?"),
        ('[redis]\nuse_central = "yes"', "'redis.use_central' must be true or false", None),
        ("default_cli = 5", "'default_cli' must be text", None),
        ('[agent_clis]\nm = "x \'y"', "agent_clis.m.command: No closing quotation", None),
        ('[agent_clis."my cli"]\ncommand = "x"', "'my cli' is not valid", None),
        ('[agent_clis.m]\ncomand = "x"', "unknown key 'agent_clis.m.comand'", None),
    ],
)
def test_the_global_file_is_checked_as_well(
    tmp_path: Path, home: Path, text: str, said: str, remedy: str | None
) -> None:
    """What is wrong in the global file is said with the global file's name."""
    (home / "config.toml").write_text(text)
    (tmp_path / "tinytown.toml").write_text('name = "demo"')
    with pytest.raises(ConfigInvalid) as caught:
        config.load(tmp_path)
    assert str(caught.value).startswith(f"{home / 'config.toml'}: ")
    assert said in str(caught.value)
    assert remedy is None or (caught.value.remedy or "").startswith(remedy)


def test_the_first_versions_global_file_is_no_obstacle(tmp_path: Path, home: Path) -> None:
    """It wrote host, port and password of a shared server unasked: they are ignored, and that is said."""
    (home / "config.toml").write_text(
        '[redis]\nhost = "127.0.0.1"\nport = 16379\npassword = "tt_hush"\nuse_central = true'
    )
    loaded = load(tmp_path, 'name = "demo"')

    assert loaded.redis == RedisConfig(use_central=True)
    (warning,) = loaded.warnings
    assert warning.startswith("redis.host, redis.password, redis.port in ")
    assert "ignored" in warning
    assert "hush" not in warning


def test_secrets_are_blamed_on_the_file_they_are_in(tmp_path: Path, home: Path) -> None:
    """A secret in the private global file deserves no warning; a password in the town's redis.url does."""
    (home / "config.toml").write_text('[agent_clis.mine]\ncommand = "x"\nenv = { API_KEY = "sk-1" }')
    assert load(tmp_path, 'name = "demo"').warnings == ()
    (warning,) = load(tmp_path, 'name = "demo"\n[redis]\nurl = "redis://u:hunter2@h"').warnings
    assert warning.startswith("redis.url holds a password")
    assert "hunter2" not in warning
    assert load(tmp_path, 'name = "demo"\n[redis]\nurl = "redis://u@h"').warnings == ()


SCALAR = st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.datetimes()
WORD = st.text(max_size=8)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORD, inner, max_size=2), max_leaves=4
)
KEY = WORD | st.sampled_from([f.name for f in dataclasses.fields(Config)] + ["default_model"])
INNER = WORD | st.sampled_from(
    sorted({f.name for cls in (*SECTIONS.values(), AgentCli) for f in dataclasses.fields(cls)})
)
SECTION = st.dictionaries(INNER, VALUE | st.dictionaries(INNER, VALUE, max_size=2), max_size=3)
TABLE = st.dictionaries(KEY, VALUE | SECTION, max_size=4)


@QUICK
@given(TABLE, st.sampled_from([{}, {"name": "demo"}]))
def test_any_table_is_a_config_or_one_line(table: dict[str, Any], base: dict[str, Any]) -> None:
    """Whatever a town file holds, it is a Config or ConfigInvalid, and numbers in it are numbers."""
    try:
        built = config.build(table | base, Path("tinytown.toml"))
    except ConfigInvalid as error:
        assert "\n" not in str(error)  # noqa: PT017  either way is right
        return
    assert isinstance(built, Config)
    for section in OURS:
        for value in dataclasses.asdict(getattr(built, section)).values():
            assert not (isinstance(value, float) and math.isnan(value))


@QUICK
@given(TABLE)
def test_any_global_table_is_a_config_or_one_line(table: dict[str, Any]) -> None:
    """Whatever the global file holds, the town's settings are a Config or ConfigInvalid."""
    path = Path(os.environ["HOME"]) / ".tt" / "config.toml"
    try:
        path.write_text(tomli_w.dumps(table))
    except UnicodeEncodeError:
        return
    try:
        config.build({"name": "demo"}, Path("tinytown.toml"))
    except Invalid as error:
        assert isinstance(error, ConfigInvalid)  # noqa: PT017  either way is right


def test_password_variable_that_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that names an unset variable is refused; the name is never sent as the password."""
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    with pytest.raises(ConfigInvalid, match="which is not set"):
        config.build({"name": "x", "redis": {"password": "$NO_SUCH_SECRET"}}, tmp_path / "tinytown.toml")
