"""Where a bootstrap may take a server from. Each source fills the job's prefix, or raises NoServer."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinytown.services.bootstrap.build import Job, NoServer, check_file, text_at

RELEASES = "https://download.redis.io/releases"
HASHES = "https://raw.githubusercontent.com/redis/redis-hashes/master/README"
HASHES_NAME = "README"  # of a mirror: a copy of the above beside the tarballs
TARBALLS = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEBIAN_SUITES = ("stable", "testing")
FETCH_WITHIN_S = 1800.0

_HASH_LINE = re.compile(r"^hash redis-(\d+\.\d+\.\d+)\.tar\.gz sha256 ([0-9a-f]{64})\b", re.MULTILINE)
_CANDIDATE = re.compile(r"^  Candidate: (\S+)", re.MULTILINE)
_INSTALLED_BY = re.compile(r"^Inst (\S+)", re.MULTILINE)
_SOURCE = re.compile(r"^Package: redis\n(?:.+\n)*?Version: (\S+)", re.MULTILINE)
_UPSTREAM = re.compile(r"(?:\d+:)?(\d+(?:\.\d+)+)")  # of a Debian version: 5:8.0.2-3+deb13u1


@dataclass(frozen=True, slots=True)
class Source:
    """A place to try. `name` is what errors call it; `command` is the model CLI's, if one does it."""

    name: str
    fetch: Callable[[Job], None]
    command: str | None = None


def usual() -> list[Source]:
    """What needs no compiler first, then what this machine's package manager can vouch for, then redis.io."""
    return [Source("apt", from_apt), Source("Debian's sources", from_debian), Source("redis.io", from_upstream)]


def given(origin: str, sha256: str | None) -> Source:
    """What the user named: a tarball, or a mirror (a folder or base address with `redis-<version>.tar.gz`)."""
    is_url = "://" in origin
    if origin.endswith(TARBALLS):
        if is_url:
            return Source(origin, lambda job: job.build(job.download(origin, sha256 or "")))
        return Source(origin, lambda job: _from_file(job, Path(os.path.expanduser(origin)).absolute(), sha256))
    if is_url:
        base = origin.rstrip("/")
        return Source(origin, lambda job: _from_releases(job, base, f"{base}/{HASHES_NAME}"))
    return Source(origin, lambda job: _from_folder(job, Path(os.path.expanduser(origin)).absolute()))


def from_upstream(job: Job) -> None:
    """Build a release of Redis from its own site, checked by the list of checksums."""
    _from_releases(job, RELEASES, HASHES)


def from_apt(job: Job) -> None:
    """Unpack the distribution's packages beside the system; nothing is installed into it, no root is needed."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NoServer("not on this machine")
    package = _apt_package(job)
    names = {package, *_INSTALLED_BY.findall(job.ask("apt-get", "-s", "install", "--no-install-recommends", package))}
    job.progress.step(f"Downloading {', '.join(sorted(names))}...")
    job.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", *sorted(names)], FETCH_WITHIN_S)
    root = job.prefix / "root"
    for archive in sorted(job.work.glob("*.deb")):
        job.run(["dpkg-deb", "-x", str(archive), str(root)], FETCH_WITHIN_S)
    kind = package.removesuffix("-server")
    for name in ("server", "cli"):
        _wrap(root, root / "usr" / "bin" / f"{kind}-{name}", job.prefix / f"redis-{name}")


def from_debian(job: Job) -> None:
    """Build a newer Debian's source package, which apt fetches and checks by its own keys, in folders of our own."""
    if shutil.which("apt-get") is None:
        raise NoServer("not on this machine")
    sites = job.ask(
        "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian"
    )
    if not sites.strip():
        raise NoServer("this is no Debian")
    job.progress.step("Reading Debian's list of sources...")
    apt = _private_apt(job.work / "apt", sites.split()[0])
    job.run(["apt-get", *apt, "update"], FETCH_WITHIN_S)
    offers = {_numbers(version): version for version in _SOURCE.findall(job.ask("apt-cache", *apt, "showsrc", "redis"))}
    best = max((numbers for numbers in offers if job.wanted.accepts(numbers)), default=None)
    if best is None:
        raise NoServer(f"only {_listed(offers)}")
    job.progress.step(f"Downloading Debian's redis {offers[best]}...")
    job.run(["apt-get", *apt, "source", "--download-only", f"redis={offers[best]}"], FETCH_WITHIN_S)
    job.build(next(job.work.glob("redis_*.orig.tar.*")))


def _apt_package(job: Job) -> str:
    found = {}
    for package in ("redis-server", "valkey-server"):
        candidate = _CANDIDATE.search(job.ask("apt-cache", "policy", package))
        numbers = _numbers(candidate[1]) if candidate else ()
        if numbers:
            found[package] = numbers
        if numbers and job.wanted.accepts(numbers) and (package == "redis-server" or job.wanted.exact is None):
            return package
    offers = ", ".join(f"{package} {'.'.join(map(str, numbers))}" for package, numbers in found.items())
    raise NoServer(f"only {offers}" if offers else "no package")


def _private_apt(folder: Path, site: str) -> list[str]:
    """Options for an apt that reads and writes nothing of the system's but its keys."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    keys = f"[signed-by={DEBIAN_KEYRING}] " if DEBIAN_KEYRING.exists() else ""
    lines = [f"deb-src {keys}{site} {suite} main\n" for suite in DEBIAN_SUITES]
    (folder / "sources.list").write_text("".join(lines))
    settings = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::State": folder / "state",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # else apt's own user must be able to enter this folder
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def _wrap(root: Path, program: Path, target: Path) -> None:
    """Make an unpacked program runnable where it lies, with the libraries that came along."""
    if not program.is_file():
        raise NoServer(f"the packages have no {program.name}")
    folders = sorted({str(path.parent) for path in root.rglob("*.so*")})
    libraries = f"LD_LIBRARY_PATH={shlex.quote(':'.join(folders))} " if folders else ""
    target.write_text(f'#!/bin/sh\nexec env {libraries}{shlex.quote(str(program))} "$@"\n')
    target.chmod(0o755)


def _from_file(job: Job, path: Path, sha256: str | None) -> None:
    check_file(path, sha256)
    job.build(path)


def _from_folder(job: Job, folder: Path) -> None:
    try:
        listed = (folder / HASHES_NAME).read_text("utf-8", "replace")
    except OSError as error:
        raise NoServer(f"{folder / HASHES_NAME}: {error.strerror}") from error
    name, sha256 = _pick(job, listed)
    _from_file(job, folder / name, sha256)


def _from_releases(job: Job, base: str, hashes: str) -> None:
    job.progress.step("Reading the list of releases...")
    name, sha256 = _pick(job, text_at(hashes))
    job.build(job.download(f"{base}/{name}", sha256))


def _pick(job: Job, listed: str) -> tuple[str, str]:
    """File name and checksum of the newest release that will do. Candidates for a release are not listed."""
    offers = dict(_releases(listed))
    best = max((numbers for numbers in offers if job.wanted.accepts(numbers)), default=None)
    if best is None:
        raise NoServer(f"Redis {job.wanted.text} is not in the list of releases" if offers else "no list of releases")
    return f"redis-{'.'.join(map(str, best))}.tar.gz", offers[best]


def _releases(listed: str) -> Iterator[tuple[tuple[int, ...], str]]:
    for version, sha256 in _HASH_LINE.findall(listed):
        yield _numbers(version), sha256


def _numbers(version: str) -> tuple[int, ...]:
    found = _UPSTREAM.match(version)
    return tuple(map(int, found[1].split("."))) if found else ()


def _listed(versions: dict[tuple[int, ...], str]) -> str:
    return ", ".join(".".join(map(str, numbers)) for numbers in sorted(versions)) or "no redis"
