"""`tt mission ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.domain.work import WorkItem
    from tinytown.services.missions.starting import StartRequest
    from tinytown.services.missions.status import Overview
    from tinytown.town import Town

_PATIENCE_S = 1.0
_RUN_HELP = "The mission, if the item alone does not say which."
_run_option = click.option("--run", "-r", metavar="RUN_ID", help=_RUN_HELP)


@base.group(
    examples="tt mission start --issue 23 --issue 24\ntt mission status --work\ntt mission graph\n"
    "tt mission approve '#23'\ntt mission stop abc123"
)  # fmt: skip
def mission() -> None:
    """Work off GitHub issues and documents: start, watch and steer missions."""


@mission.command(
    "start", cls=base.Command,
    examples="tt mission start --issue 23\ntt mission start -i 23 -i my-org/other-repo#42 --doc docs/design.md\n"
    "tt mission start -i 23 -i 24 --max-parallel 4 --no-reviewer\ntt mission start -i 23 --manifest mission.toml "
    "--dry-run",
)  # fmt: skip
@click.option("--issue", "-i", "issues", multiple=True, metavar="ISSUE", help="23, owner/repo#23 or a URL; repeatable.")
@click.option("--doc", "-d", "docs", multiple=True, metavar="PATH", help="A document in Markdown; repeatable.")
@click.option("--manifest", metavar="PATH", help="A mission.toml with overrides for its items.")
@click.option("--max-parallel", type=int, metavar="N", help="How many items are worked on at once (default: 2).")
@click.option("--no-reviewer", is_flag=True, help="Nothing has to be approved by a reviewer.")
@click.option("--auto-merge", is_flag=True, help="Merge pull requests when every gate holds.")
@click.option("--dry-run", is_flag=True, help="Only show the graph and who would get what.")
@base.json_option()
def start(  # noqa: PLR0913  its options
    *, issues: tuple[str, ...], docs: tuple[str, ...], manifest: str | None, max_parallel: int | None,
    no_reviewer: bool, auto_merge: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Start a mission out of issues and documents."""
    from tinytown.cli import mission_text  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above
    from tinytown.services.missions import starting  # noqa: PLC0415  as above

    town = base.open_town()
    request = starting.StartRequest(
        issues, docs, manifest, max_parallel, False if no_reviewer else None, auto_merge or None
    )
    if dry_run:
        _preview(town, request, as_json=as_json)
        return
    done = starting.start(town, request, from_environment(), _Progress())
    _warn(done.warnings)
    if as_json:
        from tinytown.services.missions import status as service  # noqa: PLC0415  only with --json

        render.print_json(service.mission_shape(service.one(town, done.run.id).reports[0], work=True))
        return
    mission_text.started(done, dry_run=False)
    render.talk(f"Check status with: tt mission status --run {done.run.id[:8]}")


@mission.command(
    "status", cls=base.Command,
    examples="tt mission status\ntt mission status --run abc123 --work\ntt mission status -r abc123 --work --watch\n"
    "tt mission status --json",
)  # fmt: skip
@click.option("--run", "-r", metavar="RUN_ID", help="This mission, also one that has ended.")
@click.option("--work", is_flag=True, help="Every work item, and why it is not running.")
@click.option("--watch", is_flag=True, help="Every watch of pull requests and issues.")
@base.json_option()
def status(*, run: str | None, work: bool, watch: bool, as_json: bool) -> None:
    """Show how missions stand. With --json: a list, or with --run one object."""
    from tinytown.cli import mission_text  # noqa: PLC0415  not for --help

    seen = _look(run)
    if as_json:
        _print_json(seen, one=run is not None, work=work, watch=watch)
        return
    if not seen.reports:
        render.out(f"{render.icon('📋')}No active missions")
        render.out("   Start one with: tt mission start --issue <N>")
        if seen.ended:
            render.talk(f"{seen.ended} ended. See them with: tt mission list --all")
        return
    if len(seen.reports) == 1 or work or watch:
        for number, report in enumerate(seen.reports):
            if number:
                render.out()
            mission_text.detail(report, work=work, watch=watch)
    else:
        render.out(f"{render.icon('📋')}Active Missions: {len(seen.reports)}")
        for report in seen.reports:
            mission_text.summary(report)
    if not seen.is_supervised and any(report.run.is_active for report in seen.reports):
        render.talk("No supervisor runs, so nothing goes on. Start it with: tt supervise --detach")
    for line in seen.stands_still or ():
        render.talk(render.clean(line))


@mission.command("list", cls=base.Command, examples="tt mission list\ntt mission list --all\ntt mission list --json")
@click.option("--all", "everything", is_flag=True, help="Also those that have ended.")
@base.json_option()
def list_missions(*, everything: bool, as_json: bool) -> None:
    """List the missions that have not ended."""
    from tinytown.cli import mission_text  # noqa: PLC0415  not for --help
    from tinytown.services.missions import status as service  # noqa: PLC0415  as above

    seen = service.all_of_them(base.open_to_read(), ended=everything)
    if as_json:
        _print_json(seen, one=False)
    elif not seen.reports:
        render.out(f"{render.icon('📋')}No missions found")
    else:
        render.out(f"{render.icon('📋')}Missions: {len(seen.reports)}")
        for report in seen.reports:
            mission_text.summary(report)


@mission.command("graph", cls=base.Command, examples="tt mission graph\ntt mission graph --run abc123")
@click.option("--run", "-r", metavar="RUN_ID", help="This mission, also one that has ended.")
@base.json_option()
def graph(*, run: str | None, as_json: bool) -> None:
    """Draw the work items below what they wait for."""
    from tinytown.cli import mission_text  # noqa: PLC0415  not for --help

    seen = _look(run)
    if as_json:
        _print_json(seen, one=run is not None, work=True)
        return
    if not seen.reports:
        render.out(f"{render.icon('📋')}No active missions")
    for number, report in enumerate(seen.reports):
        if len(seen.reports) > 1:
            if number:
                render.out()
            render.out(f"{render.icon('🎯')}Mission {report.run.id[:8]}")
        arrow = {i.id: report.names.get(i.assigned_to or "", "") for i in report.file.items.values() if i.assigned_to}
        mission_text.graph(report.run, list(report.file.items.values()), arrow)


@mission.command("stop", cls=base.Command, examples="tt mission stop abc123\ntt mission stop abc123 --force")
@click.argument("run_id")
@click.option("--force", is_flag=True, help="For good: running rounds end too, and it cannot be resumed.")
def stop(run_id: str, *, force: bool) -> None:
    """Stop a mission: nothing new begins, running rounds end by themselves."""
    from tinytown.services.caller import from_environment  # noqa: PLC0415  not for --help
    from tinytown.services.missions import control  # noqa: PLC0415  as above

    done = control.stop(base.open_town(), run_id, from_environment(), force=force)
    render.out(f"{render.icon('⏹️ ')}Mission {done.mission.id} stopped")
    if done.taken_back:
        render.out(f"   {done.taken_back} task(s) {'ended' if force else 'taken back'}")
    if done.running:
        render.out(f"   {done.running} running round(s) go on to their end")
    if not force:
        render.talk(f"Let it go on with: tt mission resume {done.mission.id[:8]}")


@mission.command("resume", cls=base.Command, examples="tt mission resume abc123")
@click.argument("run_id")
def resume(run_id: str) -> None:
    """Let a stopped mission go on where it was."""
    from tinytown.services.caller import from_environment  # noqa: PLC0415  not for --help
    from tinytown.services.missions import control  # noqa: PLC0415  as above

    done = control.resume(base.open_town(), run_id, from_environment())
    render.out(f"{render.icon('▶️ ')}Mission {done.id} resumed")


@mission.command(
    "note", cls=base.Command,
    examples="tt mission note 'Staging is down until Monday'\ntt mission note abc123 'Use the new API'",
)  # fmt: skip
@click.argument("words", nargs=-1, required=True, metavar="[RUN_ID] TEXT")
def note(words: tuple[str, ...]) -> None:
    """Leave a note for whoever looks at the mission."""
    from tinytown.services.caller import from_environment  # noqa: PLC0415  not for --help
    from tinytown.services.missions import control  # noqa: PLC0415  as above

    if len(words) > 2:
        raise click.UsageError("Put the text in quotes: tt mission note [RUN_ID] 'TEXT'")
    run_id = words[0] if len(words) == 2 else None
    done = control.note(base.open_town(), run_id, words[-1], from_environment())
    render.out(f"{render.icon('📝')}Noted for mission {done.id}")


@mission.command(
    "approve", cls=base.Command,
    examples="tt mission approve 550e8400\ntt mission approve '#23' --reason 'Reads well'\n"
    "tt mission approve 2 --run abc123",
)  # fmt: skip
@click.argument("item")
@click.option("--reason", default="", metavar="TEXT", help="What speaks for it.")
@_run_option
def approve(item: str, *, reason: str, run: str | None) -> None:
    """Approve what was handed in for a work item."""
    from tinytown.services.caller import from_environment  # noqa: PLC0415  not for --help
    from tinytown.services.missions import verdicts  # noqa: PLC0415  as above

    done = verdicts.approve(base.open_town(), item, from_environment(), run=run, reason=reason)
    _did("✅", "Approved", done)


@mission.command(
    "reject", cls=base.Command,
    examples="tt mission reject 550e8400 --reason 'Errors are swallowed in login()'\n"
    "tt mission reject '#23' -r abc123 --reason 'No tests'",
)  # fmt: skip
@click.argument("item")
@click.option("--reason", required=True, metavar="TEXT", help="What must change, in full: its author gets this.")
@_run_option
def reject(item: str, *, reason: str, run: str | None) -> None:
    """Send what was handed in back to its author."""
    from tinytown.services.caller import from_environment  # noqa: PLC0415  not for --help
    from tinytown.services.missions import verdicts  # noqa: PLC0415  as above

    done = verdicts.reject(base.open_town(), item, reason, from_environment(), run=run)
    _did("↩️ ", "Rejected", done)
    render.talk("It goes back to its author as a fix task.")


@mission.command("retry", cls=base.Command, examples="tt mission retry 550e8400\ntt mission retry '#23' --run abc123")
@click.argument("item")
@_run_option
def retry(item: str, *, run: str | None) -> None:
    """Let a work item go on that needs a person, or start a cancelled one again."""
    from tinytown.services.caller import from_environment  # noqa: PLC0415  not for --help
    from tinytown.services.missions import control  # noqa: PLC0415  as above

    _did("🔄", "Retrying", control.retry(base.open_town(), item, from_environment(), run=run))


@mission.command(
    "cancel", cls=base.Command, examples="tt mission cancel 550e8400\ntt mission cancel '#23' --run abc123"
)
@click.argument("item")
@click.option("--reason", default="", metavar="TEXT", help="Why.")
@_run_option
def cancel(item: str, *, reason: str, run: str | None) -> None:
    """Take a work item out of its mission; a run of it ends."""
    from tinytown.services.caller import from_environment  # noqa: PLC0415  not for --help
    from tinytown.services.missions import control  # noqa: PLC0415  as above

    _did("🚫", "Cancelled", control.cancel(base.open_town(), item, from_environment(), run=run, reason=reason))


def _look(run: str | None) -> Overview:
    from tinytown.services.missions import status as service  # noqa: PLC0415  not for --help

    town = base.open_to_read()
    return service.one(town, run) if run is not None else service.all_of_them(town)


def _print_json(seen: Overview, *, one: bool, work: bool = False, watch: bool = False) -> None:
    from tinytown.services.missions.status import mission_shape  # noqa: PLC0415  only with --json

    shapes = [mission_shape(report, work=work, watch=watch) for report in seen.reports]
    render.print_json(shapes[0] if one else shapes)


def _preview(town: Town, request: StartRequest, *, as_json: bool) -> None:
    from tinytown.cli import mission_text  # noqa: PLC0415  not for --help
    from tinytown.services.missions import preview, starting  # noqa: PLC0415  as above

    prepared = starting.prepare(town, request, _Progress())
    who = preview.assignment(town, prepared)
    _warn(prepared.warnings)
    if as_json:
        render.print_json(preview.shape(prepared, who))
        return
    mission_text.started(prepared, dry_run=True)
    mission_text.graph(prepared.run, prepared.items, who)
    if who is None:
        render.talk("Who would get what is not known: Redis does not run. Start it with: tt supervise --detach")


def _did(icon: str, what: str, item: WorkItem) -> None:
    render.out(f"{render.icon(icon)}{what}: {render.clean(f'{item.source_ref}: {item.title}', 100)} ({item.id[:8]})")


def _warn(warnings: list[str]) -> None:
    for line in warnings:
        render.talk(f"Warning: {render.clean(line)}")


class _Progress:
    """Say what is fetched, once it takes longer than a second."""

    def __init__(self) -> None:
        self._began: float | None = None

    def __call__(self, line: str) -> None:
        from tinytown import clock  # noqa: PLC0415  not for --help

        now = clock.monotonic()
        self._began = now if self._began is None else self._began
        if now - self._began >= _PATIENCE_S:
            render.talk(render.clean(line))
