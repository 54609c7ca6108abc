"""Names and paths are names and paths: they leave no folder, reach no shell, and address nobody else's keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.security.conftest import FAKE
from tests.security.in_one_process import run_all
from tests.support import town as towns
from tests.support.cli import Tt
from tests.support.repository import commit_all, git, make_repository
from tinytown.config import Config, RedisConfig
from tinytown.store.connection import Connector
from tinytown.store.server import ManagedServer
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

pytestmark = pytest.mark.slow

BAD_NAMES = (
    "../x", "..", ".", "/etc/passwd", "a/b", "-rf", "--help", "$(touch pwned)", "`touch pwned`", "a;touch pwned", "a b",
    "a\nb", "a\x1b[31m", "\u0430dmin", "\u202eabc", "a\u0301", "", "a" * 65, "*", "[a]", "a?", "tt:x",
    "a%s", "a\\b", "'", '"',
)  # fmt: skip
FOLDERS = (
    "$HOME ${HOME} $(touch pwned) `touch pwned`", "-rf", "quote ' and \" per%cent %h", "new\nline \x1b]0;t\x07",
    "back\\slash *", "a" * 150 + "é",
)  # fmt: skip
WORKING = 2  # of them: with a round
SHELLS = {
    "shell": f"cat | {FAKE} 'append {{out}} ran'; true",
    "argument": f"{FAKE} 'append {{out}} ran' size {{prompt}} | cat",
    "quoted": f"{FAKE} 'append {{out}} ran' \"{{prompt}}\"; true",
    "file": f"{FAKE} 'append {{out}} ran' < {{prompt_file}} | cat",
}
SHELL_TEXT = (
    'x\'; touch pwned; "; touch pwned; $(touch pwned) `touch pwned` \n touch pwned \\" | touch pwned & {prompt}'
)


@pytest.fixture
def tt_on(town: Town, tmp_path: Path) -> tuple[Tt, Town]:
    """`tt` for a town on the session's Redis, without processes."""
    return Tt(town.root, env={"HOME": str(tmp_path)}), town


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_names_that_are_none(tt_on: tuple[Tt, Town]) -> None:
    """As an agent, role, nickname, town or CLI: refused before anything is made."""
    tt, town = tt_on
    towns.register(town, "backend", wanted=False)
    keys, files = set(town.store.scan()), below(town.root.parent)
    commands = [
        args
        for name in BAD_NAMES
        for args in (
            ("spawn", "--cli", "true", "--", name),
            ("spawn", "fine", "--cli", "true", f"--role={name}"),
            ("spawn", "fine", "--cli", "true", f"--nickname={name}"),
            ("spawn", "fine", "--cli", "true", f"--parent={name}"),
            ("config", f"agent_clis.{name}", "true"),
            ("restart", "--", name), ("kill", "--", name), ("worktree", "remove", "--", name),
            ("worktree", "prepare", "--", name), ("assign", "--", name, "x"), ("send", "--", name, "x"),
            ("task", "show", "--", name), ("why", "--", name), ("history", "--", name),
            ("logs", "--round=1", "--", name),
        )
        if name or not args[-1].endswith("=")
    ]  # fmt: skip
    for ran in run_all(tt, commands):
        assert ran.code in {1, 2}, ran
        assert ran.err.startswith("Error: "), ran
        assert "unexpected" not in ran.err, ran
    assert set(town.store.scan()) == keys
    assert below(town.root.parent) == files


@pytest.mark.parametrize("name", FOLDERS, ids=range(len(FOLDERS)))
def test_a_town_in_a_strange_folder(tt: Tt, name: str) -> None:
    """Init, status, save; and in some a whole round: it works in that folder, and in no other."""
    root = tt.cwd / name
    root.mkdir()
    before = below(tt.cwd)
    here = Tt(root, env=tt.env)
    try:
        here.ok("init", "--name", "town")
        for ran in run_all(
            here, [("status",), ("list", "--json"), ("save",), ("config",), ("plan", "--init"), ("towns",)]
        ):
            assert ran.code == 0, ran
            assert "\x1b" not in ran.out + ran.err
        if name in FOLDERS[:WORKING]:
            here.ok("spawn", "backend", "--cli", f"{FAKE} 'append ran.txt x'")
            here.ok("wait", here.ok("assign", "backend", "x").out.split()[2], "--timeout", "20")
            assert (root / "ran.txt").read_text() == "x\n"
    finally:
        here("stop", "--all", "--now")
    assert all(path in before or path.startswith(name) for path in below(tt.cwd))
    assert "pwned" not in "".join(below(tt.cwd)).replace(name, "")


@pytest.mark.parametrize("how", SHELLS)
def test_a_prompt_is_no_shell_text(made: Tt, world: Path, how: str) -> None:
    """In commands that ask for a shell too the prompt is one word, wherever {prompt} stands."""
    out = world / "out put"
    command = SHELLS[how].replace("{out}", str(out))
    settings = made.cwd / "tinytown.toml"
    settings.write_text(f"{settings.read_text()}\n[agent_clis.own]\ncommand = '''{command}'''\n")
    made.ok("spawn", "backend", "--cli", "own")
    made.ok("wait", made.ok("assign", "backend", SHELL_TEXT).out.split()[2], "--timeout", "20")
    assert not list(world.rglob("pwned"))
    conductor = made.ok("conductor", "--model", "echo {prompt}").out if how == "argument" else ""
    assert not list(world.rglob("pwned")), conductor


def test_names_in_the_repository(made: Tt, world: Path) -> None:
    """Files with such names, and `copy` patterns that lead elsewhere, stay in the worktree."""
    make_repository(made.cwd)
    (world / "outside").write_text("secret")
    strange = ("-rf", "a\nb", "$(touch pwned)", "--exec=touch pwned", "'")
    for name in strange:
        (made.cwd / name).write_text("x")
    settings = made.cwd / "tinytown.toml"
    base = settings.read_text()
    commit_all(made.cwd, "strange")
    for pattern in ("../outside", "/etc/passwd", ".git/config", "a/../../outside", ".tt/redis.conf"):
        settings.write_text(f'{base}\n[agent]\nisolation = "worktree"\ncopy = ["{pattern}"]\n')
        assert "is no path inside the town" in made.fails("spawn", "backend").err
    (made.cwd / "link.env").symlink_to(world / "outside")
    (made.cwd / ".env").write_text("own")
    settings.write_text(
        f'{base}\n[agent]\nisolation = "worktree"\ncopy = [".env"]\nsetup = "echo \\"$0\\" > said.log"\n'
    )
    made.ok("spawn", "backend")
    made.ok("wait", made.ok("assign", "backend", "fake: print hello").out.split()[2], "--timeout", "20")
    tree = made.cwd / ".tt" / "agents" / "backend" / "worktree"
    assert all((tree / name).read_text() == "x" for name in strange)
    assert (tree / ".env").read_text() == "own"
    assert git(made.cwd, "branch", "--list", "--format=%(refname:short)").splitlines() == ["main", "tt/town/backend"]
    assert not list(world.rglob("pwned"))


def test_no_other_folder_configures_redis(tt: Tt) -> None:
    """A folder whose name is a pattern: the server is told what is in its own, not what a sibling's file says."""
    trap = tt.cwd / "b" / ".tt"
    trap.mkdir(parents=True)
    (trap / "redis.conf").write_text(f"port 0\ndir {trap}\ndbfilename planted\nloglevel debug\n")
    for name in ("[ab]", "?"):
        here = Tt(tt.cwd / name, env=tt.env)
        here.cwd.mkdir()
        try:
            here.ok("init", "--name", "town")
            with Connector(RedisConfig(), here.cwd / ".tt").client() as client:
                assert client.config_get("loglevel", "dir") == {"loglevel": "notice", "dir": str(here.cwd / ".tt")}
            here.ok("save")
        finally:
            here("stop", "--all", "--now")


def test_redis_conf_holds_what_was_meant(tmp_path: Path) -> None:
    """A password, a path or a file name with quotes and line ends is one argument: no line of its own."""
    evil = '"\nport 1\r\nrequirepass ""\n# \\ \x01 é'
    root = tmp_path / 'a "b"\nloglevel debug'
    (root / ".tt").mkdir(parents=True)
    config = RedisConfig(password=evil, aof_path=".tt/x\nport 2.aof")
    server = ManagedServer(config, root / ".tt")
    try:
        assert server.ensure()
        with Connector(config, root / ".tt").client() as client:
            asked = client.config_get("port", "requirepass", "loglevel", "appendfilename", "dir")
        assert asked["port"] == "0"
        assert asked["loglevel"] == "notice"
        assert asked["requirepass"] == evil
        assert asked["appendfilename"] == "x\nport 2.aof"
        assert asked["dir"] == str(root / ".tt")
        with (
            Connector(RedisConfig(), root / ".tt").client() as client,
            pytest.raises(Exception, match=r"NOAUTH|uthentication"),
        ):
            client.ping()
    finally:
        server.stop()


def test_keys_of_another_town_are_out_of_reach(town: Town) -> None:
    """No name, glob or text of one town touches the keys of another that begins or looks alike."""
    names = (f"{town.name}x", f"{town.name}.x", f"x{town.name}", town.name.upper(), town.name.replace("-", "."))
    others = [Town(town.root, Config(name=name, redis=town.config.redis)) for name in names]
    before = {}
    for other in others:
        towns.register(other, "backend", wanted=False)
        before[other.name] = {key: other.store.redis.dump(key) for key in other.store.scan()}
        assert before[other.name]
    agent = towns.register(town, "backend", wanted=False)
    for text in (
        f"tt:{names[0]}:agents",
        "*",
        "tt:*",
        "]] redis.call('FLUSHALL') --",
        "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
        "\x00",
    ):
        towns.give_task(town, agent, description=text, tags=[text])
        towns.give_mail(town, agent, "informational", summary=text)
    tt = Tt(town.root)
    for ran in run_all(tt, [("reset", "--force"), ("migrate", "--force"), ("prune", "--all"), ("recover",), ("save",)]):
        assert "unexpected" not in ran.err, ran
    for other in others:
        assert {key: other.store.redis.dump(key) for key in other.store.scan()} == before[other.name]
        other.store.close()


def test_scripts_take_any_text_as_text(town: Town) -> None:
    """The commit script's arguments are data: what looks like Lua, a command or a number comes back as it was."""
    for n, text in enumerate(
        ("", "0", "nil", "]]", "return redis.call('FLUSHALL')", "\x00\xff", "\r\n", "é" * 10, "-1", "inf")
    ):
        key = f"{town.store.keys.prefix}probe:{n}"

        def build(tx: Transaction, key: str = key, text: str = text) -> None:
            tx.do("SET", key, text)
            tx.do("RPUSH", f"{key}:list", text, text)

        change(town.store, build)
        assert town.store.redis.get(key) == text
        assert town.store.redis.lrange(f"{key}:list", 0, -1) == [text, text]


def test_completion_runs_nothing(tt: Tt) -> None:
    """Completing a word in a hostile folder opens no town and runs nothing; the script holds no path."""
    (tt.cwd / "tinytown.toml").write_text('name = "x"\n[redis]\nserver = "./evil"\n')
    (tt.cwd / "evil").write_text("#!/bin/sh\ntouch pwned\n")
    (tt.cwd / "evil").chmod(0o755)
    for shell in ("bash", "zsh", "fish"):
        script = tt.ok("completion", shell).out
        assert str(tt.cwd) not in script
        env: dict[str, str | None] = {
            "_TT_COMPLETE": f"{shell}_complete", "COMP_WORDS": "tt kill $(touch pwned)", "COMP_CWORD": "2",
        }  # fmt: skip
        tt(env=env)
    assert not (tt.cwd / "pwned").exists()
    assert sorted(os.listdir(tt.cwd)) == ["evil", "tinytown.toml"]


def test_reading_runs_nothing_of_a_repository(tt: Tt) -> None:
    """What only looks starts no program that the settings of a fresh clone name."""
    (tt.cwd / "evil").write_text("#!/bin/sh\ntouch pwned\n")
    (tt.cwd / "evil").chmod(0o755)
    (tt.cwd / "tinytown.toml").write_text(
        'name = "x"\ndefault_cli = "evil"\nconductor_cli = "./evil"\n[redis]\nserver = "./evil"\n'
        '[agent]\nsetup = "./evil"\n[agent_clis.evil]\ncommand = "./evil"\n[agent_clis.claude]\ncommand = "./evil"\n'
    )
    commands = "status,list,logs x,why x,events,history,config,towns,plan,task list,worktree list,supervise --status"
    run_all(tt, [command.split() for command in commands.split(",")])
    assert not list(tt.cwd.rglob("pwned"))
