"""`tt bootstrap`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.services.bootstrap.install import Installed, Request

STEPS_SHOWN_S = 0.1


@base.command(
    examples="tt bootstrap\ntt bootstrap 8.0.2\ntt bootstrap --model claude\n"
    "tt bootstrap 8.0.2 --from https://mirror.example.com/redis\n"
    "tt bootstrap --from ./redis-8.0.2.tar.gz"
)
@click.argument("version", default="latest")
@click.option("--model", "-m", "--cli", "-c", "cli", metavar="CLI", help="Let this AI download and build it.")
@click.option(
    "--from", "origin", metavar="WHERE",
    help="A source tarball, or a mirror: a folder or address with redis-VERSION.tar.gz and the README of redis-hashes.",
)  # fmt: skip
@click.option("--sha256", metavar="HEX", help="The checksum of the tarball that --from names.")
@click.option("--force", is_flag=True, help="Install it again where a fitting server is already there.")
def bootstrap(version: str, *, cli: str | None, origin: str | None, sha256: str | None, force: bool) -> None:
    """Install a redis-server into ~/.tt/bin. VERSION is one such as 8.0.2, or latest (the default)."""
    from tinytown.services.bootstrap import install as service  # noqa: PLC0415  not for --help

    if origin is not None and cli is not None:
        raise click.UsageError("--from and --model exclude each other.")
    if sha256 is not None and origin is None:
        raise click.UsageError("--sha256 needs --from.")
    request = service.Request(version, cli, origin, sha256.lower() if sha256 else None, force)
    watch = (_Bar if render.is_terminal(sys.stderr) and cli is None else _Lines)(request)
    try:
        done = service.bootstrap(request, watch)
    finally:
        watch.end()
    _say(done)


def _say(done: Installed) -> None:
    from tinytown.services.bootstrap.install import describe  # noqa: PLC0415  not for --help

    server, folder = done.binary, render.clean(str(done.binary.path.parent))
    if done.was_there:
        render.out(f"{describe(server)} is already there: {render.clean(str(server.path))}")
        render.talk("Install it all the same with: tt bootstrap --force")
        return
    render.out(f"{render.icon('✅')}Redis installed successfully!")
    render.out(f"   Location: {folder}/redis-server ({describe(server)})\n")
    render.out(f'   Add to your PATH:\n   export PATH="{folder}:$PATH"\n')
    render.out("   Or add to ~/.zshrc or ~/.bashrc for persistence.\n")
    render.out("   Then run: tt init")
    if done.in_front is not None:
        other = done.in_front
        render.talk(
            f"Note: towns start {render.clean(str(other.path))} ({describe(other)}), which is on PATH. "
            f'To choose this one, set in tinytown.toml under [redis]: server = "{folder}/redis-server"'
        )


class _Lines:
    """Progress as lines on stderr; of a model CLI, what it says."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def begin(self, command: str | None) -> None:
        """The head, as soon as there is something to do."""
        from tinytown.services.bootstrap.install import home  # noqa: PLC0415  not for --help

        where = render.clean(str(home()))
        render.talk(f"{render.icon('🚀')}Bootstrapping Redis {render.clean(self._request.version)} to {where}")
        if command is not None:
            render.talk(f"   Using {render.clean(self._request.cli or '')} to download and build Redis...\n")
            render.talk(f"{render.icon('📋')}Running: {render.clean(command)}")
        render.talk("   (This may take a few minutes to download and compile)\n")

    def step(self, text: str) -> None:
        """A line for each."""
        render.talk(f"   {render.clean(text)}")

    def received(self, count: int, total: int | None) -> None:
        """Too much for lines."""

    def line(self, text: str) -> None:
        """What a model says is for the user; what make prints is in the log."""
        if self._request.cli is not None:
            render.talk(f"   {render.clean(text)}")

    def end(self) -> None:
        """Nothing is left on the screen that should not be."""


class _Bar(_Lines):
    """Progress on a terminal: one line that moves. Drawn only when something is reported: no thread."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._live: Any = None
        self._task: Any = None
        self._drawn_at = 0.0

    def begin(self, command: str | None) -> None:
        """The head, then the line."""
        from rich.console import Console  # noqa: PLC0415  50 ms
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415  as above

        super().begin(command)
        said = TextColumn("{task.fields[said]}", markup=False, style="dim")
        columns = (TextColumn("  "), SpinnerColumn(), BarColumn(20), TimeElapsedColumn(), said)
        self._live = Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
        self._live.start()

    def step(self, text: str) -> None:
        """Finish the last, begin the next."""
        if self._task is not None:
            self._live.remove_task(self._task)
        self._live.console.print(f"   {render.clean(text)}", markup=False, highlight=False)
        self._task = self._live.add_task("", total=None, said="")
        self._draw(at_once=True)

    def received(self, count: int, total: int | None) -> None:
        """Move the bar."""
        self._live.update(self._task, completed=count, total=total, said=f"{count / 1e6:.1f} MB")
        self._draw(at_once=count == total)

    def line(self, text: str) -> None:
        """Show the newest, so that one sees that it goes on."""
        if self._task is not None:
            self._live.update(self._task, said=render.clean(text, 40))
            self._draw()

    def end(self) -> None:
        """Take the line away."""
        if self._live is not None:
            self._live.stop()

    def _draw(self, *, at_once: bool = False) -> None:
        from tinytown import clock  # noqa: PLC0415  not for --help

        if at_once or clock.monotonic() - self._drawn_at > STEPS_SHOWN_S:
            self._drawn_at = clock.monotonic()
            self._live.refresh()
