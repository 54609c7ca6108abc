"""The tools of a bootstrap: run a program with its output in the log, download with a checksum, build a source tree."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tinytown import clock
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.ids import new_id
from tinytown.model_cli.catalog import ModelCli
from tinytown.model_cli.readers import one_line
from tinytown.model_cli.run import ModelRun
from tinytown.processes import RUN_VARIABLE

if TYPE_CHECKING:
    from http.client import HTTPResponse

LOG_BYTES = 50_000_000
READ_TIMEOUT_S = 30.0
DOWNLOAD_WITHIN_S = 1800.0
DOWNLOAD_BYTES = 500_000_000
LIST_BYTES = 5_000_000
ASK_WITHIN_S = 120.0
BUILD_WITHIN_S = 3600.0
UNPACK_WITHIN_S = 300.0
TAIL_BYTES = 65536
_BLOCK = 1 << 18
_COMPLAINT = re.compile(r"^.*\berror: .+$", re.MULTILINE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class NoServer(Exception):
    """This source gives no server; the text says why."""


class Progress(Protocol):
    """Who watches a bootstrap."""

    def begin(self, command: str | None) -> None:
        """Work begins; `command` is the command line of the model CLI that does it, if one does."""

    def step(self, text: str) -> None:
        """What is done next."""

    def received(self, count: int, total: int | None) -> None:
        """So many bytes of the step's download."""

    def line(self, text: str) -> None:
        """What the step's program printed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which server: `exact`, or (None) the newest there is, `minimum` at least."""

    exact: tuple[int, ...] | None
    minimum: tuple[int, ...]

    def accepts(self, version: tuple[int, ...]) -> bool:
        """This version will do."""
        return version == self.exact if self.exact else version >= self.minimum

    @property
    def text(self) -> str:
        """As people write it."""
        return "latest" if self.exact is None else ".".join(map(str, self.exact))


@dataclass(frozen=True, slots=True)
class Job:
    """One bootstrap. Its result is `prefix/redis-server`; `work` is scratch; both are its own and empty at first."""

    wanted: Wanted
    prefix: Path
    work: Path
    log: Path
    progress: Progress
    mark: str = field(default_factory=lambda: f"bootstrap:{os.getpid()}:{new_id()}")

    def run(self, argv: list[str], within_s: float, cwd: Path | None = None) -> None:
        """Run it to its end. Raises NoServer when it fails."""
        outcome = self.drive(ModelCli(argv[0], tuple(argv)), "", within_s, cwd, {"LC_ALL": "C"})
        if outcome.kind is not OutcomeKind.OK:
            raise NoServer(f"{' '.join(argv[:2])}: {outcome.detail}")

    def drive(
        self, cli: ModelCli, prompt: str, within_s: float, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run a program to its end, its output into the log. However this ends, nothing of its tree is left."""
        run = ModelRun(
            cli,
            prompt,
            env={**(env or {}), RUN_VARIABLE: self.mark},
            cwd=cwd or self.work,
            log=self.log,
            runs_dir=self.work,
            log_bytes=LOG_BYTES,
            round_timeout_s=within_s,
            silence_timeout_s=0,
            final_grace_s=10,
            on_line=self.progress.line,
        )
        run.start()
        try:
            while not run.is_over:
                _step(run)
        except BaseException:
            run.end(OutcomeKind.STOPPED, "interrupted", at_once=True)
            run.finish()
            raise
        return run.finish()

    def ask(self, *argv: str) -> str:
        """What a quick program prints. Raises NoServer when it fails."""
        import subprocess  # noqa: PLC0415  as the run itself

        try:
            done = subprocess.run(
                argv,
                cwd=self.work,
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ASK_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoServer(f"{argv[0]}: {getattr(error, 'strerror', None) or 'no answer'}") from error
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
            raise NoServer(f"{argv[0]}: {said[-1][:200]}")
        return done.stdout.decode("utf-8", "replace")

    def download(self, url: str, sha256: str) -> Path:
        """A file with this checksum, in `work`. Raises NoServer."""
        name = url.rsplit("/", 1)[1]
        self.progress.step(f"Downloading {name}...")
        path, digest, count = self.work / name, hashlib.sha256(), 0
        deadline = clock.monotonic() + DOWNLOAD_WITHIN_S
        with _open(url) as answer, path.open("wb") as target:
            total = int(answer.headers.get("Content-Length") or 0) or None
            while block := _read(answer, _BLOCK, url):
                count += len(block)
                if count > DOWNLOAD_BYTES or clock.monotonic() > deadline:
                    raise NoServer(f"{url}: too large or too slow")
                digest.update(block)
                target.write(block)
                self.progress.received(count, total)
        if total is not None and count < total:
            raise NoServer(f"{url}: the connection ended after {count} of {total} bytes")
        _compare(digest.hexdigest(), sha256, name)
        return path

    def build(self, tarball: Path) -> None:
        """Compile a release of Redis into `prefix`. Raises NoServer."""
        missing = [tool for tool in ("make", "cc", "tar") if shutil.which(tool) is None]
        if missing:
            raise NoServer(f"not installed: {', '.join(missing)}")
        source = self.work / "source"
        source.mkdir()
        self.progress.step(f"Unpacking {tarball.name}...")
        self.run(["tar", "-xf", str(tarball), "-C", str(source), "--strip-components=1"], UNPACK_WITHIN_S)
        self.progress.step(f"Building it (log: {self.log})...")
        tls = ["BUILD_TLS=yes"] if _has_openssl() else []
        jobs = f"-j{len(os.sched_getaffinity(0))}"
        try:
            self.run(["make", jobs, "-C", str(source / "src"), *tls, "redis-server", "redis-cli"], BUILD_WITHIN_S)
        except NoServer as error:  # its last lines only say that it ended
            raise NoServer(f"the build failed: {_first_error(self.log) or error}") from error
        for name in ("redis-server", "redis-cli"):
            built = source / "src" / name
            if not built.is_file():
                raise NoServer(f"the build made no {name}")
            built.rename(self.prefix / name)


def text_at(url: str) -> str:
    """A short text file. Raises NoServer."""
    with _open(url) as answer:
        return _read(answer, LIST_BYTES, url).decode("utf-8", "replace")


def check_file(path: Path, sha256: str | None) -> None:
    """Raise NoServer unless the file is there and (if given) has this checksum."""
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise NoServer(f"{path}: {error.strerror}") from error
    if sha256 is not None:
        _compare(found, sha256, path.name)


def is_sha256(text: str) -> bool:
    """64 hexadecimal digits."""
    return _SHA256.fullmatch(text) is not None


def _compare(found: str, wanted: str, name: str) -> None:
    if found != wanted:
        raise NoServer(f"the checksum of {name} is wrong: {found}, not {wanted}")


def _first_error(log: Path) -> str | None:
    """What the compiler complained of, near the end of the log."""
    with contextlib.suppress(OSError), log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
        found = _COMPLAINT.search(stream.read().decode("utf-8", "replace"))
        return one_line(found[0]) if found else None
    return None


def _has_openssl() -> bool:
    import subprocess  # noqa: PLC0415  as the run itself

    if shutil.which("pkg-config") is None:
        return False
    return subprocess.run(["pkg-config", "--exists", "openssl"], check=False, timeout=ASK_WITHIN_S).returncode == 0


def _open(url: str) -> HTTPResponse:
    import urllib.error  # noqa: PLC0415  70 ms, for a download alone
    import urllib.request  # noqa: PLC0415  as above

    if not url.startswith(("http://", "https://")):
        raise NoServer(f"{url}: not an http(s) address")
    try:
        answer: HTTPResponse = urllib.request.urlopen(url, timeout=READ_TIMEOUT_S)  # noqa: S310  checked above
    except urllib.error.HTTPError as error:
        error.close()
        raise NoServer(f"{url}: HTTP {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise NoServer(f"{url}: {getattr(reason, 'strerror', None) or reason}") from error
    return answer


def _read(answer: HTTPResponse, most: int, url: str) -> bytes:
    import http.client  # noqa: PLC0415  loaded by urllib

    try:
        return answer.read(most)
    except (OSError, http.client.HTTPException) as error:
        raise NoServer(f"{url}: {error}") from error


def _step(run: ModelRun) -> None:
    due = run.next_due()
    poll = select.poll()
    poll.register(run.output_fd, select.POLLIN)
    poll.register(run.pidfd, select.POLLIN)
    poll.poll(None if due is None else max(0.0, due - clock.monotonic()) * 1000)
    run.on_output()
    run.on_exit()
    run.on_timer(clock.monotonic())
