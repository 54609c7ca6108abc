"""Where a bootstrap takes a server from: packages, Debian's sources, releases; with an apt that the test wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import mirror
from tinytown.errors import Unavailable
from tinytown.services.bootstrap import install as service
from tinytown.services.bootstrap import sources
from tinytown.services.bootstrap.build import Job, NoServer, Wanted
from tinytown.services.bootstrap.install import Request, bootstrap
from tinytown.store import binary

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="packages are made with dpkg-deb")

REAL = mirror.real_server().version_text
# Answers with files of its folder; notes what it was asked.
APT = """\
#!/bin/sh
here={folder}
echo "$(basename "$0") $*" >> $here/asked
for word; do case "$word" in
    policy) cat "$here/policy-$2"; exit;;
    showsrc) cat $here/showsrc; exit;;
    indextargets) cat $here/sites; exit;;
    install) cat $here/simulated; exit;;
    update) for o; do case "$o" in Dir::Etc::SourceList=*) cp "${{o#*=}}" $here/list;; esac; done; exit;;
    download) cp $here/*.deb .; exit;;
    source) cp $here/redis_*.orig.tar.gz .; exit;;
esac; done
exit 100
"""


class Apt:
    """A fake apt-get and apt-cache in a folder that is put in front of PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        for name in ("apt-get", "apt-cache"):
            (folder / name).write_text(APT.format(folder=folder))
            (folder / name).chmod(0o755)
        for name in ("policy-redis-server", "policy-valkey-server", "showsrc", "sites", "simulated"):
            (folder / name).write_text("")

    def offers(self, package: str, version: str) -> None:
        (self.folder / f"policy-{package}").write_text(f"{package}:\n  Installed: (none)\n  Candidate: {version}\n")

    def package(self, name: str, files: dict[str, str]) -> None:
        """A .deb with these files (text of scripts; `-> x` for a link), and its line in the simulated installation."""
        tree = self.folder / f"tree-{name}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.com>\nDescription: t\n"
        )
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("-> "):
                (tree / path).symlink_to(text[3:])
            else:
                (tree / path).write_text(text)
                (tree / path).chmod(0o755)
        subprocess.run(["dpkg-deb", "-b", tree, self.folder / f"{name}.deb"], check=True, capture_output=True)
        with (self.folder / "simulated").open("a") as lines:
            lines.write(f"Inst {name} (1 Debian:13/stable [amd64])\n")

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


class Watch:
    """Notes the steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def begin(self, command: str | None) -> None:
        assert command is None

    def step(self, text: str) -> None:
        self.steps.append(text)

    def received(self, count: int, total: int | None) -> None:
        pass

    def line(self, text: str) -> None:
        pass


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    """The machine's package manager, with nothing to offer yet; no server is there, and no address is reached."""
    made = Apt(tmp_path / "apt")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    return made


def server_says(text: str) -> str:
    return f'#!/bin/sh\necho "{text} v=$0-$LD_LIBRARY_PATH" >&2\necho "{text}"\n'


def refusal(request: Request) -> str:
    with pytest.raises(Unavailable) as caught:
        bootstrap(request, Watch())
    return str(caught.value)


def test_the_packages_server_is_taken_first(apt: Apt) -> None:
    """Unpacked with what it needs and no more asked of apt than a download; nothing is compiled."""
    apt.offers("redis-server", "5:8.0.9-3+deb13u1")
    apt.package("redis-tools", {"usr/bin/redis-check-rdb": server_says("Redis server v=8.0.9 sha=0")})
    apt.package("redis-server", {"usr/bin/redis-server": "-> redis-check-rdb"})
    apt.package("libfast", {"usr/lib/some-arch/libfast.so.1": ""})
    watch = Watch()
    with pytest.raises(Unavailable, match=r"apt: the packages have no redis-cli;"):
        bootstrap(Request(), watch)
    apt.package("redis-cli", {"usr/bin/redis-cli": "#!/bin/sh\necho cli\n"})
    watch = Watch()
    done = bootstrap(Request(), watch)
    assert (done.binary.name, done.binary.version, done.was_there) == ("redis", (8, 0, 9), False)
    assert done.binary.path == service.home() / "bin" / "redis-server"
    assert watch.steps == ["Downloading libfast, redis-cli, redis-server, redis-tools..."]
    said = subprocess.run([done.binary.path, "--version"], capture_output=True, text=True, check=True).stderr
    root = done.binary.path.resolve().parent / "root"
    assert said.endswith(f"-{root}/usr/lib/some-arch\n")
    assert not [line for line in apt.asked if " install " in line and " -s " not in line]
    assert subprocess.check_output([service.home() / "bin" / "redis-cli"], text=True) == "cli\n"


def test_valkey_only_when_no_version_is_asked_for(apt: Apt) -> None:
    """A new enough Valkey serves as the latest; a version is a version of Redis."""
    apt.offers("redis-server", "5:7.0.15-1")
    apt.offers("valkey-server", "8.1.1+dfsg1-3")
    files = {f"usr/bin/valkey-{name}": server_says("Valkey server v=8.1.1 sha=0") for name in ("server", "cli")}
    apt.package("valkey-server", files)
    assert "apt: only redis-server 7.0.15, valkey-server 8.1.1;" in refusal(Request("8.1.1"))
    done = bootstrap(Request(), Watch())
    assert service.describe(done.binary) == "Valkey 8.1.1"
    assert bootstrap(Request(), Watch()).was_there
    assert "apt: only redis-server 7.0.15, valkey-server 8.1.1;" in refusal(Request("8.1.1"))


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [(None, "apt: no package;"), ("(none)", "apt: no package;"), ("5:7.0.15-1", "apt: only redis-server 7.0.15;")],
)
def test_packages_that_will_not_do(apt: Apt, candidate: str | None, reason: str) -> None:
    """None, none for this machine, one that is too old."""
    if candidate is not None:
        apt.offers("redis-server", candidate)
    told = refusal(Request())
    assert reason in told
    assert "Debian's sources: this is no Debian;" in told


def test_debians_newer_source(apt: Apt) -> None:
    """Of all releases of Debian the newest that will do, or the very one; apt gets folders and a list of its own."""
    apt.offers("redis-server", "5:7.0.15-1")
    (apt.folder / "sites").write_text("http://mirror.example/debian/\nhttp://mirror.example/debian/\n")
    entry = "Package: redis\nBinary: redis, redis-server\nVersion: {}\nMaintainer: x\n\n"
    versions = ("5:7.4.0-1", f"5:{REAL}-3", "5:8.0.1-2+deb13u2")
    (apt.folder / "showsrc").write_text("".join(map(entry.format, versions)))
    mirror.release(apt.folder, REAL).rename(apt.folder / f"redis_{REAL}.orig.tar.gz")
    watch = Watch()
    done = bootstrap(Request(), watch)
    assert done.binary.version_text == REAL
    assert watch.steps[:2] == ["Reading Debian's list of sources...", f"Downloading Debian's redis 5:{REAL}-3..."]
    lines = (apt.folder / "list").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["deb-src", "deb-src"]
    assert [line.split()[-3:] for line in lines] == [
        ["http://mirror.example/debian/", suite, "main"] for suite in ("stable", "testing")
    ]
    (update,) = [line for line in apt.asked if line.endswith(" update")]
    for folder in ("SourceList", "State", "Cache"):
        assert f"{folder}={service.home()}/versions/redis-" in update
    assert "Dir::Etc::SourceParts=-" in update
    told = refusal(Request("8.0.2"))
    assert f"Debian's sources: only 7.4.0, 8.0.1, {REAL};" in told
    assert binary.inspect(service.home() / "bin" / "redis-server") is not None


def test_what_a_version_is(tmp_path: Path) -> None:
    """The newest of at least the minimum, or exactly the one; release candidates are not listed as releases."""
    (tmp_path / "README").write_text(
        "".join(f"hash redis-{v}.tar.gz sha256 {'0' * 64} x\n" for v in ("8.10.0", "8.2.1", "7.4.9", "9.0-rc1", "x"))
    )
    for exact, expected in ((None, "redis-8.10.0.tar.gz"), ((8, 2, 1), "redis-8.2.1.tar.gz")):
        job = Job(Wanted(exact, (8, 0)), tmp_path, tmp_path, tmp_path / "log", Watch())
        with pytest.raises(NoServer, match=expected):
            sources.given(str(tmp_path), None).fetch(job)


def test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot work it says what does."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Unavailable, match="needs Linux"):
        bootstrap(Request(), Watch())
