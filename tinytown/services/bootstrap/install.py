"""Put a redis-server into `~/.tt/bin`.

Everything of one installation is in a folder of its own under `~/.tt/versions`; `~/.tt/bin/redis-server` becomes a link
to it in one step, after the server there has answered. Killed at any moment, `bin` holds the former server or the
new one, and the next bootstrap removes what was left.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinytown import config as settings
from tinytown import ids
from tinytown.config import RedisConfig
from tinytown.domain.outcome import OutcomeKind
from tinytown.errors import Conflict, Forbidden, Invalid, RedisVersionTooOld, TinytownError, Unavailable
from tinytown.files import FileLock, make_private, write_atomic
from tinytown.model_cli import catalog
from tinytown.model_cli.catalog import ModelCli
from tinytown.services.bootstrap import sources
from tinytown.services.bootstrap.build import Job, NoServer, Progress, Wanted, is_sha256
from tinytown.services.bootstrap.sources import Source
from tinytown.store import binary
from tinytown.store.binary import MINIMUM, ServerBinary

LATEST = "latest"
SERVER = "redis-server"
PROGRAMS = ("redis-cli", SERVER)  # the server last: it decides
PROMPT_FILE = "bootstrap_prompt.md"
MODEL_WITHIN_S = 7200.0
_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for. `cli` delegates to that model CLI; `origin` is a tarball or a mirror."""

    version: str = LATEST
    cli: str | None = None
    origin: str | None = None
    sha256: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Installed:
    """The server there is now. `in_front` is another one that towns find first."""

    binary: ServerBinary
    was_there: bool
    in_front: ServerBinary | None = None


def home() -> Path:
    """Where it all goes."""
    return settings.global_dir()


def log_path() -> Path:
    """What the last bootstrap's programs printed."""
    return home() / "bootstrap.log"


def bootstrap(request: Request, progress: Progress) -> Installed:
    """Install a server unless a fitting one is there; one bootstrap at a time.

    Raises Invalid, RedisVersionTooOld, NotFound (no such CLI), Conflict (another one runs), Forbidden (cannot
    write), Unavailable (no source gave one). Then `~/.tt/bin` is as it was.
    """
    wanted, sources = _understood(request)
    if sys.platform != "linux":
        raise Unavailable("tt bootstrap needs Linux.", binary.install_hint())
    lock = FileLock(home() / "bootstrap.lock")
    try:
        make_private(home(), parents=True)
        if not lock.acquire():
            raise Conflict("Another bootstrap is running.", f"Watch it with: tail -f {log_path()}")
        found = None if request.force else _present(wanted)
        if found is not None:
            return Installed(found, was_there=True)
        return _install(wanted, sources, progress)
    except OSError as error:
        raise Forbidden(f"Cannot write {error.filename or home()}: {error.strerror}.") from error
    finally:
        lock.release()


def describe(server: ServerBinary) -> str:
    """`Redis 8.0.2`."""
    return f"{server.name.capitalize()} {server.version_text}"


def _understood(request: Request) -> tuple[Wanted, list[Source]]:
    wanted = Wanted(_version(request.version), MINIMUM)
    if request.sha256 is not None and not is_sha256(request.sha256):
        raise Invalid("A SHA-256 checksum has 64 hexadecimal digits.")
    if request.cli is not None:
        config = settings.build({"name": "bootstrap"}, settings.global_file())
        cli = catalog.lookup(request.cli, config)
        catalog.check_exists(cli)
        command = f"{shlex.join(cli.argv)} < {home() / PROMPT_FILE}"
        return wanted, [Source(cli.name, lambda job: _by_model(job, cli), command)]
    if request.origin is None:
        return wanted, sources.usual()
    is_tarball = request.origin.endswith(sources.TARBALLS)
    if "://" in request.origin and is_tarball and request.sha256 is None:
        raise Invalid("A tarball from the network needs its checksum.", "Give it with: --sha256 HEX")
    if request.sha256 is not None and not is_tarball:
        raise Invalid("--sha256 is for one tarball; a mirror has a list of checksums.")
    return wanted, [sources.given(request.origin, request.sha256)]


def _version(text: str) -> tuple[int, ...] | None:
    if text == LATEST:
        return None
    found = _VERSION.fullmatch(text)
    if found is None:
        raise Invalid(f"Not a version of Redis: {text}", "Write it as 8.0.2, or: latest")
    numbers = tuple(int(number) for number in found.groups())
    if numbers < MINIMUM:
        raise RedisVersionTooOld(text)
    return numbers


def _present(wanted: Wanted) -> ServerBinary | None:
    """A fitting server that towns find by itself: on PATH, or from an earlier bootstrap."""
    on_path = shutil.which(SERVER)
    for path in filter(None, [Path(on_path) if on_path else None, home() / "bin" / SERVER]):
        found = binary.inspect(path)
        if found is not None and _fits(wanted, found):
            return found
    return None


def _fits(wanted: Wanted, found: ServerBinary) -> bool:
    return wanted.accepts(found.version) and (wanted.exact is None or found.name == "redis")


def _install(wanted: Wanted, sources: list[Source], progress: Progress) -> Installed:
    versions, token = home() / "versions", ids.short(ids.new_id())
    for folder in (versions, home() / "bin"):
        folder.mkdir(mode=0o700, exist_ok=True)
    _sweep(versions)
    with contextlib.suppress(FileNotFoundError):
        log_path().unlink()
    with _stage(versions / f"redis-{token}") as prefix:
        got = _first_that_works(wanted, sources, prefix, progress)
        for name in PROGRAMS:
            if (prefix / name).exists():
                _link(prefix / name, home() / "bin" / name)
    _sweep(versions)
    first = _found_by_towns()
    installed = ServerBinary(home() / "bin" / SERVER, got.name, got.version)
    in_front = first if first is not None and first.path.resolve() != installed.path.resolve() else None
    return Installed(installed, was_there=False, in_front=in_front)


def _first_that_works(wanted: Wanted, sources: list[Source], prefix: Path, progress: Progress) -> ServerBinary:
    reasons = []
    progress.begin(sources[0].command)
    for source in sources:
        work = prefix / "work"
        work.mkdir(parents=True)
        try:
            source.fetch(Job(wanted, prefix, work, log_path(), progress))
            return _checked(wanted, prefix / SERVER)
        except NoServer as error:
            reasons.append(f"{source.name}: {error}")
            shutil.rmtree(prefix)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    log = f"Log: {log_path()}. " if log_path().exists() else ""  # nothing may have been run
    raise Unavailable(
        f"Redis {wanted.text} could not be installed. {'; '.join(reasons)}.",
        f"{log}A quicker alternative: {binary.pip_command()}",
    )


def _checked(wanted: Wanted, server: Path) -> ServerBinary:
    if not server.exists():
        raise NoServer(f"no {SERVER} was made")
    found = binary.inspect(server)
    if found is None:
        raise NoServer(f"the {SERVER} that was made does not run here")
    if not _fits(wanted, found):
        asked = f"Redis {wanted.text}" if wanted.exact else "8.0 or later"
        raise NoServer(f"the {SERVER} that was made is {describe(found)}, not {asked}")
    return found


@contextlib.contextmanager
def _stage(prefix: Path) -> Iterator[Path]:
    """The folder of one installation; gone again when the block fails."""
    try:
        yield prefix
    except BaseException:
        shutil.rmtree(prefix, ignore_errors=True)
        raise


def _link(program: Path, place: Path) -> None:
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(program)
    beside.replace(place)


def _sweep(versions: Path) -> None:
    """Remove installations that `bin` does not link to: former ones, and those of a bootstrap that was killed."""
    used = {(home() / "bin" / name).resolve().parent for name in PROGRAMS}
    for folder in versions.glob("redis-*"):
        if folder.resolve() not in used:
            shutil.rmtree(folder)


def _found_by_towns() -> ServerBinary | None:
    try:
        return binary.find(RedisConfig())
    except TinytownError:
        return None


def _by_model(job: Job, cli: ModelCli) -> None:
    """Let a model CLI do it. What it says it did is checked like everything else."""
    prompt, file = _prompt(job), home() / PROMPT_FILE
    write_atomic(file, prompt, sync=False)
    try:
        outcome = job.drive(cli, prompt, MODEL_WITHIN_S)
    finally:
        file.unlink(missing_ok=True)
    if outcome.kind is not OutcomeKind.OK:
        raise NoServer(f"{outcome.kind}: {outcome.detail}" if outcome.detail else outcome.kind)


def _prompt(job: Job) -> str:
    which = f"Redis {job.wanted.text}" if job.wanted.exact else "the latest stable release of Redis, 8.0 or newer"
    return f"""\
# Download and build Redis

Get {which} for this machine, from its source. Nobody watches this session: do not ask, do it.

1. Find the release: https://github.com/redis/redis/releases
2. Download its source tarball into {job.work}
3. Compare its SHA-256 with the line for it in https://raw.githubusercontent.com/redis/redis-hashes/master/README
   and stop with an error when it differs.
4. Unpack it in {job.work} and build it there with make, using all cores.
5. Copy src/redis-server and src/redis-cli to {job.prefix}
6. Check that `{job.prefix}/redis-server --version` answers.

Write only below {job.prefix}. Install nothing into the system, and do not use sudo.
If you cannot do it, say why and end with an error.
"""
