"""`tt bootstrap` from mirrors on this machine: what it installs, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import mirror
from tests.support.cli import Tt
from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.store import binary

pytestmark = pytest.mark.slow

REAL = mirror.real_server().version_text
# Prints until a file is there: a compiler that is cut off from its reader ends at its next line.
WAIT = "while [ ! -e {go} ]; do echo waiting; touch {begun}; sleep 0.02; done; cp {{server}} redis-server"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder in front of PATH; this machine's apt is not asked."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("apt-get", "apt-cache"):
        script(folder / name, "echo 'no network here' >&2; exit 100")
    return folder


@pytest.fixture
def tt(bare: Tt, tools: Path) -> Tt:
    """`tt` with a home without a server."""
    bare.env["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
    return bare


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    """A mirror with one good release, a candidate for one, and one that is too old."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "README").write_text(f"hash redis-99.0-rc1.tar.gz sha256 {'0' * 64} http://x/\n")
    mirror.release(folder, REAL)
    mirror.release(folder, "7.4.1")
    return folder


@pytest.fixture
def site(releases: Path) -> Iterator[str]:
    with mirror.serving(releases) as address:
        yield address


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def home(tt: Tt) -> Path:
    return Path(str(tt.env["HOME"])) / ".tt"


def server(tt: Tt) -> Path:
    return home(tt) / "bin" / "redis-server"


def is_clean(tt: Tt) -> bool:
    """There is no server, and nothing half done."""
    return not os.path.lexists(server(tt)) and not list((home(tt) / "versions").glob("*"))


def test_from_a_mirror_to_a_town(tt: Tt, site: str) -> None:
    """The newest release is downloaded, checked, built and linked; `tt init` starts it."""
    ran = tt.ok("bootstrap", "--from", site)
    assert ran.out == (
        "Redis installed successfully!\n"
        f"   Location: {server(tt)} (Redis {REAL})\n\n"
        "   Add to your PATH:\n"
        f'   export PATH="{home(tt)}/bin:$PATH"\n\n'
        "   Or add to ~/.zshrc or ~/.bashrc for persistence.\n\n"
        "   Then run: tt init\n"
    )
    assert ran.complaint == [
        f"Bootstrapping Redis latest to {home(tt)}",
        "   (This may take a few minutes to download and compile)",
        "",
        "   Reading the list of releases...",
        f"   Downloading redis-{REAL}.tar.gz...",
        f"   Unpacking redis-{REAL}.tar.gz...",
        f"   Building it (log: {home(tt)}/bootstrap.log)...",
    ]
    assert home(tt).stat().st_mode & 0o777 == 0o700
    assert "CC server.o\n" in (home(tt) / "bootstrap.log").read_text()
    (installation,) = (home(tt) / "versions").iterdir()
    assert {path.name for path in installation.iterdir()} == {"redis-server", "redis-cli"}
    assert subprocess.check_output([home(tt) / "bin" / "redis-cli"], text=True) == "cli\n"
    tt.ok("init", "--name", "x")
    pid = json.loads((tt.cwd / ".tt" / "redis.json").read_text())["pid"]
    assert os.readlink(f"/proc/{pid}/exe") == str(installation / "redis-server")


def test_again(tt: Tt, releases: Path) -> None:
    """What is there is said and kept; --force makes it anew in place of the former."""
    tt.ok("bootstrap", REAL, "--from", str(releases))
    first = server(tt).resolve()
    for args in ((), (REAL,), (f"v{REAL}",)):
        ran = tt.ok("bootstrap", *args, "--from", str(releases))
        assert ran.out == f"Redis {REAL} is already there: {server(tt)}\n"
        assert ran.complaint == ["Install it all the same with: tt bootstrap --force"]
        assert server(tt).resolve() == first
    tt.ok("bootstrap", "--force", "--from", str(releases))
    assert server(tt).resolve() != first
    assert not first.exists()


def test_one_on_path_is_enough(tt: Tt, tools: Path, releases: Path) -> None:
    """A fitting server on PATH is what towns use already; one installed beside it is named as not the first."""
    other = script(tools / "redis-server", "echo 'Redis server v=99.1.0 sha=0'")
    assert tt.ok("bootstrap").out == f"Redis 99.1.0 is already there: {other}\n"
    ran = tt.ok("bootstrap", REAL, "--from", str(releases))
    assert f"Location: {server(tt)} (Redis {REAL})" in ran.out
    assert ran.complaint[-1] == (
        f"Note: towns start {other} (Redis 99.1.0), which is on PATH. To choose this one, set in tinytown.toml under "
        f'[redis]: server = "{server(tt)}"'
    )


def test_one_tarball(tt: Tt, releases: Path, site: str) -> None:
    """A file is the user's own; one from the network needs its checksum; capitals in it are no matter."""
    tarball = releases / f"redis-{REAL}.tar.gz"
    sha256 = mirror.checksum(tarball)
    tt.ok("bootstrap", "--from", str(tarball))
    tt.ok("bootstrap", "--force", "--from", str(tarball), "--sha256", sha256.upper())
    tt.ok("bootstrap", "--force", "--from", f"{site}/{tarball.name}", "--sha256", sha256)
    ran = tt("bootstrap", "--force", "--from", str(tarball), "--sha256", "0" * 64)
    assert f"the checksum of {tarball.name} is wrong: {sha256}, not {'0' * 64}." in ran.err
    assert binary.inspect(server(tt)) is not None


@pytest.mark.parametrize(
    ("args", "code", "complaint"),
    [
        (("8.0",), 1, ["Error: Not a version of Redis: 8.0", "Write it as 8.0.2, or: latest"]),
        (("../8",), 1, ["Error: Not a version of Redis: ../8", "Write it as 8.0.2, or: latest"]),
        (
            ("7.4.1",),
            1,
            [
                "Error: Redis version 7.4.1 is too old. Tinytown requires Redis 8.0 or later.",
                "See: https://redis.io/downloads/",
            ],
        ),
        (("--model", "cluade"), 1, ["Error: Unknown CLI 'cluade'.", "Did you mean 'claude'?"]),
        (
            ("--from", "https://example.com/redis-8.0.2.tar.gz"),
            1,
            ["Error: A tarball from the network needs its checksum.", "Give it with: --sha256 HEX"],
        ),
        (
            ("--from", "/mirror", "--sha256", "0" * 64),
            1,
            ["Error: --sha256 is for one tarball; a mirror has a list of checksums."],
        ),
        (
            ("--from", "x.tar.gz", "--sha256", "abc"),
            1,
            ["Error: A SHA-256 checksum has 64 hexadecimal digits."],
        ),
        (("--sha256", "0" * 64), 2, ["Error: --sha256 needs --from.", "Try 'tt bootstrap --help' for help."]),
        (
            ("--from", "x", "--model", "demo"),
            2,
            ["Error: --from and --model exclude each other.", "Try 'tt bootstrap --help' for help."],
        ),
    ],
)
def test_what_is_refused(tt: Tt, args: tuple[str, ...], code: int, complaint: list[str]) -> None:
    """Input that cannot be meant: nothing is begun."""
    assert tt.fails("bootstrap", *args, code=code).complaint == complaint
    assert not home(tt).exists()


@pytest.mark.parametrize(
    ("where", "version", "reason"),
    [
        ("{site}", "8.99.0", "Redis 8.99.0 is not in the list of releases."),
        ("{site}/nowhere", "latest", "{site}/nowhere/README: HTTP 404 File not found."),
        ("{site}/listed", "8.5.0", "{site}/listed/redis-8.5.0.tar.gz: HTTP 404 File not found."),
        ("{site}/wrong", "latest", "the checksum of redis-8.6.0.tar.gz is wrong: "),
        ("{site}/short", REAL, f"redis-{REAL}.tar.gz: the connection ended after 1000 of 1000000 bytes."),
        ("{site}/empty", "latest", "no list of releases."),
        ("http://127.0.0.1:1", "latest", "http://127.0.0.1:1/README: Connection refused."),
        ("ftp://x", "latest", "ftp://x/README: not an http(s) address."),
        ("http://[::1", "latest", "http://[::1/README: Invalid IPv6 URL."),
        ("{folder}/nowhere", "latest", "{folder}/nowhere/README: No such file or directory."),
        ("{folder}/redis-1.tar.gz", "latest", "{folder}/redis-1.tar.gz: No such file or directory."),
        ("{folder}/broken.tar.gz", "latest", "tar -xf: exit code 2: "),
        ("{folder}", "8.7.0", "the build failed: make -j{cores}: exit code 2: "),
        ("{folder}", "8.8.0", f"the redis-server that was made is Redis {REAL}, not Redis 8.8.0."),
        ("{folder}", "8.9.0", "the redis-server that was made does not run here."),
        ("{folder}", "8.10.0", "the build made no redis-server."),
    ],
)
def test_what_goes_wrong(tt: Tt, releases: Path, site: str, where: str, version: str, reason: str) -> None:
    """One line that says why, one that says where the log (if any) is and what is quicker; nothing is left."""
    for name in ("listed", "wrong", "empty"):
        (releases / name).mkdir()
    mirror.release(releases / "listed", "8.5.0").unlink()
    mirror.release(releases / "wrong", "8.6.0", listed="0" * 64)
    (releases / "empty" / "README").write_text("<html>Log in to the proxy</html>")
    (releases / "broken.tar.gz").write_text("no tarball")
    mirror.release(releases, "8.7.0", "exit 1")
    mirror.release(releases, "8.8.0")
    mirror.release(releases, "8.9.0", "printf junk > redis-server")
    mirror.release(releases, "8.10.0", "true")
    fill = {"site": site, "folder": str(releases), "cores": str(len(os.sched_getaffinity(0)))}
    place = where.format(**fill)
    ran = tt("bootstrap", version, "--from", place)
    assert (ran.code, ran.out) == (1, "")
    error, remedy = ran.complaint[-2:]
    assert error.startswith(f"Error: Redis {version} could not be installed. {place}: ")
    assert reason.format(**fill) in error
    log = home(tt) / "bootstrap.log"
    told = f"Log: {log}. " if log.exists() else ""  # where nothing was run there is none
    assert remedy.startswith(f"{told}A quicker alternative: pip install 'tinytown[")
    assert is_clean(tt)


def test_a_failed_build_keeps_log_and_former_server(tt: Tt, releases: Path) -> None:
    """What make said is in the log and its end in the error; the server that was there stays."""
    tt.ok("bootstrap", "--from", str(releases))
    first = server(tt).resolve()
    mirror.release(releases, "8.7.0", "@echo 'zmalloc.h: fatal error: no jemalloc.h' >&2; exit 1")
    ran = tt("bootstrap", "8.7.0", "--from", str(releases))
    assert ran.complaint[-2].endswith(": the build failed: zmalloc.h: fatal error: no jemalloc.h.")
    assert "zmalloc.h: fatal error: no jemalloc.h\n" in (home(tt) / "bootstrap.log").read_text()
    assert server(tt).resolve() == first
    assert list((home(tt) / "versions").iterdir()) == [first.parent]


def test_without_a_compiler(tt: Tt, tools: Path, releases: Path) -> None:
    """What is missing is named."""
    for name in ("tar", "gzip"):
        (tools / name).symlink_to(f"/bin/{name}")
    ran = tt("bootstrap", "--from", str(releases), env={"PATH": str(tools)})
    assert "not installed: make, cc." in ran.complaint[-2]


def test_every_usual_source_says_why(tt: Tt) -> None:
    """Without a source at hand: all reasons in one line; the proxy of the environment is the way out."""
    proxy: dict[str, str | None] = {"https_proxy": "http://127.0.0.1:1"}
    ran = tt("bootstrap", env=proxy)
    error = ran.complaint[-2]
    assert "apt: apt-cache: no network here; Debian's sources: apt-get: no network here; redis.io: https://" in error
    assert error.endswith("/README: Connection refused.")
    assert is_clean(tt)


@pytest.mark.parametrize("place", ["~/.tt", "~"])
def test_a_home_that_cannot_be_written(tt: Tt, place: str) -> None:
    """Said in a line."""
    blocked = Path(place.replace("~", str(tt.env["HOME"])))
    if blocked.exists():
        blocked.rmdir()
    blocked.write_text("")
    ran = tt.fails("bootstrap")
    assert ran.complaint[0].startswith(f"Error: Cannot write {home(tt)}: ")


def test_a_full_disk(tt: Tt, site: str) -> None:
    """A write that fails ends it in a line and leaves nothing."""
    ran = tt("bootstrap", "--from", site, prefix=("sh", "-c", 'ulimit -f 0; exec "$@"', "sh"))
    assert ran.code == 1
    assert ran.complaint[-1] == f"Error: Cannot write {home(tt)}: File too large."
    assert is_clean(tt)


class Slow:
    """A mirror whose one release says that its build has begun, and waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "slow"
        self.folder.mkdir()
        self._begun, self._go = folder / "begun", folder / "go"
        mirror.release(self.folder, REAL, WAIT.format(go=self._go, begun=self._begun))

    def await_build(self) -> None:
        wait_until(self._begun.exists, what="the build")

    def go(self) -> None:
        self._go.touch()


@pytest.fixture
def slow(tmp_path: Path) -> Slow:
    return Slow(tmp_path)


@pytest.mark.fault
def test_killed_in_the_middle(tt: Tt, slow: Slow, releases: Path) -> None:
    """SIGKILL: no server, no half one, no process; the next bootstrap removes the remains and goes through."""
    with tt.running("bootstrap", "--from", str(slow.folder)) as process:
        slow.await_build()
        process.kill()
        process.wait(10)
    assert not os.path.lexists(server(tt))
    (remains,) = (home(tt) / "versions").iterdir()
    tt.ok("bootstrap", "--from", str(releases))
    assert not remains.exists()
    assert list((home(tt) / "versions").iterdir()) == [server(tt).resolve().parent]


@pytest.mark.fault
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_interrupted(tt: Tt, slow: Slow, releases: Path, force: tuple[str, ...]) -> None:
    """Ctrl-C ends the build with all its processes and takes everything back; a former server stays."""
    if force:
        tt.ok("bootstrap", "--from", str(releases))
    before = os.path.lexists(server(tt)) and server(tt).resolve()
    with tt.running("bootstrap", "--from", str(slow.folder), *force) as process:
        slow.await_build()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert (os.path.lexists(server(tt)) and server(tt).resolve()) == before
    assert len(list((home(tt) / "versions").iterdir())) == bool(force)
    assert not processes.marked("bootstrap:")


def test_two_at_once(tt: Tt, slow: Slow) -> None:
    """The second is told of the first, which goes on."""
    with tt.running("bootstrap", "--from", str(slow.folder)) as process:
        slow.await_build()
        ran = tt.fails("bootstrap", "--from", str(slow.folder))
        assert ran.complaint == [
            "Error: Another bootstrap is running.",
            f"Watch it with: tail -f {home(tt)}/bootstrap.log",
        ]
        slow.go()
        assert process.wait(20) == 0
    assert binary.inspect(server(tt)) is not None


def test_on_a_terminal(tt: Tt, releases: Path, site: str) -> None:
    """Each step stays as a line; below it something moves, and is gone at the end."""
    for old in releases.glob(f"*{REAL}*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    mirror.release(releases, REAL, "@for i in 1 2 3 4 5 6 7 8; do echo CC $$i.o; sleep 0.05; done; " + mirror.BUILD)
    code, shown = tt.on_terminal("bootstrap", "--from", site)
    assert code == 0
    assert f"🚀 Bootstrapping Redis latest to {home(tt)}\n" in shown
    assert f"   Downloading redis-{REAL}.tar.gz...\n" in shown
    assert " MB" in shown
    assert re.search(r"CC \d\.o", shown)
    assert "✅ Redis installed successfully!\n" in shown
    assert shown.rstrip().endswith("Then run: tt init")


AGENT = """\
import pathlib, re, shutil, sys
prompt = sys.stdin.read()
print("reading the release page")
target = re.search(r"redis-cli to (\\S+)", prompt)[1]
real, how = sys.argv[1:3]
pathlib.Path(sys.argv[3]).write_text(prompt)
if how != "lie":
    shutil.copy(real, target + "/redis-server")
sys.exit(how == "fail")
"""


@pytest.fixture
def agent(tmp_path: Path) -> list[str]:
    """The command of an AI that finds a server, but for how it behaves and where it notes its prompt."""
    path = tmp_path / "agent.py"
    path.write_text(AGENT)
    return [sys.executable, str(path), str(mirror.real_server().path)]


def test_by_a_model(tt: Tt, agent: list[str], tmp_path: Path) -> None:
    """The CLI gets the job as its prompt, what it says is shown, what it made is checked and linked."""
    note = tmp_path / "prompt"
    command = shlex.join([*agent, "do", str(note)])
    ran = tt.ok("bootstrap", "--model", command)
    assert ran.out.startswith("Redis installed successfully!\n")
    assert ran.err == (
        f"Bootstrapping Redis latest to {home(tt)}\n"
        f"   Using {command} to download and build Redis...\n\n"
        f"Running: {command} < {home(tt)}/bootstrap_prompt.md\n"
        "   (This may take a few minutes to download and compile)\n\n"
        "   reading the release page\n"
    )
    assert "the latest stable release of Redis, 8.0 or newer" in note.read_text()
    assert not (home(tt) / "bootstrap_prompt.md").exists()
    assert binary.inspect(server(tt)) is not None
    tt.ok("bootstrap", REAL, "--force", "--model", command)
    assert f"Get Redis {REAL} for this machine" in note.read_text()


@pytest.mark.parametrize(
    ("how", "version", "reason"),
    [
        ("lie", "latest", "no redis-server was made."),
        ("fail", "latest", "crashed: exit code 1: reading the release page."),
        ("do", "8.99.0", f"the redis-server that was made is Redis {REAL}, not Redis 8.99.0."),
    ],
)
def test_a_model_is_not_believed(tt: Tt, agent: list[str], tmp_path: Path, how: str, version: str, reason: str) -> None:
    """What it says is nothing; what it made must run and be what was asked for."""
    command = shlex.join([*agent, how, str(tmp_path / "prompt")])
    ran = tt("bootstrap", version, "--model", command)
    assert ran.code == 1
    assert ran.complaint[-2].endswith(reason)
    assert is_clean(tt)


def test_a_model_of_the_users(tt: Tt, agent: list[str], tmp_path: Path) -> None:
    """The CLIs of the user's global settings are known; there is no town."""
    home(tt).mkdir()
    command = shlex.join([*agent, "do", str(tmp_path / "prompt")])
    (home(tt) / "config.toml").write_text(f"[agent_clis]\nmine = {json.dumps(command)}\n")
    assert "   Using mine to download and build Redis...\n" in tt.ok("bootstrap", "--cli", "mine").err
