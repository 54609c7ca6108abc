"""Missions."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from tinytown.errors import Forbidden, brief
from tinytown.services.missions import control, finding, preview, starting, status, verdicts
from tinytown.services.missions.starting import StartRequest
from tinytown.services.missions.status import Report
from tinytown.town import Town
from tinytown.townhall import models
from tinytown.townhall.verbs.inputs import ItemRef, MissionRef, Reason, Text
from tinytown.townhall.verbs.registry import GET, POST, Visit, verb

Refs = Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=500)]
PathInTown = Annotated[str, Field(max_length=1000, description="A file below the town's folder.")]


@verb("mission.start", POST, "/v1/missions", "mission start", status=201)
def start(
    visit: Visit, issues: Refs = [], docs: Refs = [], manifest: PathInTown | None = None,
    max_parallel: int | None = None, no_reviewer: bool = False, auto_merge: bool = False,
) -> models.MissionStarted:  # fmt: skip
    """Start a mission out of GitHub issues (23, owner/repo#23 or a URL) and documents of the town's folder."""
    request = _request(visit.town, issues, docs, manifest, max_parallel, no_reviewer=no_reviewer, auto_merge=auto_merge)
    done = starting.start(visit.town, request, visit.caller)
    report = status.one(visit.town, done.run.id).reports[0]
    return models.MissionStarted(warnings=done.warnings, mission=_mission(report, work=True))


@verb("mission.preview", POST, "/v1/missions/preview", "mission start", is_idempotent=True)
def show_preview(
    visit: Visit, issues: Refs = [], docs: Refs = [], manifest: PathInTown | None = None,
    max_parallel: int | None = None, no_reviewer: bool = False, auto_merge: bool = False,
) -> models.MissionPreview:  # fmt: skip
    """What a mission would be, and who would get what. Changes nothing."""
    request = _request(visit.town, issues, docs, manifest, max_parallel, no_reviewer=no_reviewer, auto_merge=auto_merge)
    prepared = starting.prepare(visit.town, request)
    shape = preview.shape(prepared, preview.assignment(visit.town, prepared))
    return models.MissionPreview(dry_run=True, warnings=prepared.warnings, mission=shape)


@verb("mission.list", GET, "/v1/missions", "mission list")
def list_missions(visit: Visit, all: bool = False) -> models.Missions:
    """The missions that have not ended; with `all` the others, too."""
    seen = status.all_of_them(visit.town, ended=all)
    rows = [_mission(report) for report in seen.reports]
    return models.Missions(missions=rows, count=len(rows), ended=seen.ended)


@verb("mission.get_status", GET, "/v1/missions/{mission_id}", "mission status")
def get_status(visit: Visit, mission_id: MissionRef, work: bool = False, watch: bool = False) -> models.Mission:
    """How a mission stands; with its work items, with its watches."""
    return _mission(_report(visit.town, mission_id), work=work, watch=watch)


@verb("mission.list_work", GET, "/v1/missions/{mission_id}/work", "mission status")
def list_work(visit: Visit, mission_id: MissionRef) -> models.Work:
    """Every work item of a mission, and why nobody works on it."""
    report = _report(visit.town, mission_id)
    rows = _items(report)
    return models.Work(mission_id=report.run.id, work_items=rows, count=len(rows))


@verb("mission.list_watches", GET, "/v1/missions/{mission_id}/watches", "mission status")
def list_watches(visit: Visit, mission_id: MissionRef) -> models.Watches:
    """Every watch of a mission: pull requests and issues."""
    report = _report(visit.town, mission_id)
    rows = [status.watch_shape(one) for one in report.file.watches.values()]
    return models.Watches(mission_id=report.run.id, watch_items=rows, count=len(rows))


@verb("mission.graph", GET, "/v1/missions/{mission_id}/graph", "mission graph")
def graph(visit: Visit, mission_id: MissionRef) -> models.Graph:
    """The work items of a mission and which waits for which."""
    report = _report(visit.town, mission_id)
    edges = [(before, item.id) for item in report.file.items.values() for before in item.depends_on]
    run = report.run
    return models.Graph(mission_id=run.id, state=run.state.value, nodes=_items(report), edges=edges)


@verb("mission.get_events", GET, "/v1/missions/{mission_id}/events", "mission status")
def get_events(
    visit: Visit, mission_id: MissionRef, limit: Annotated[int, Field(ge=1, le=100)] = 100
) -> models.MissionLog:
    """The newest lines of a mission's log, and its notes."""
    identifier = finding.mission_id(visit.town, mission_id)
    missions = visit.town.store.missions
    lines, notes = list(missions.events(identifier, limit)), list(missions.notes(identifier, limit))
    return models.MissionLog(mission_id=identifier, events=lines, notes=notes)


@verb("mission.stop", POST, "/v1/missions/{mission_id}/stop", "mission stop", is_destructive=True)
def stop(visit: Visit, mission_id: MissionRef, force: bool = False) -> models.MissionState:
    """Stop a mission: nothing new begins, running rounds end by themselves. `force`: for good."""
    done = control.stop(visit.town, mission_id, visit.caller, force=force)
    run = done.mission
    return models.MissionState(id=run.id, state=run.state.value, taken_back=done.taken_back, running=done.running)


@verb("mission.resume", POST, "/v1/missions/{mission_id}/resume", "mission resume")
def resume(visit: Visit, mission_id: MissionRef) -> models.MissionState:
    """Let a stopped mission go on where it was."""
    run = control.resume(visit.town, mission_id, visit.caller)
    return models.MissionState(id=run.id, state=run.state.value)


@verb("mission.note", POST, "/v1/missions/{mission_id}/note", "mission note", status=201)
def note(visit: Visit, mission_id: MissionRef, message: Text) -> models.MissionState:
    """Leave a note for whoever looks at the mission."""
    run = control.note(visit.town, mission_id, message, visit.caller)
    return models.MissionState(id=run.id, state=run.state.value)


@verb("mission.approve", POST, "/v1/missions/{mission_id}/work/{item}/approve", "mission approve")
def approve(visit: Visit, mission_id: MissionRef, item: ItemRef, reason: Reason = "") -> models.WorkItem:
    """Approve what was handed in for a work item."""
    done = verdicts.approve(visit.town, item, visit.caller, run=mission_id, reason=reason)
    return _item(visit.town, mission_id, done.id)


@verb("mission.reject", POST, "/v1/missions/{mission_id}/work/{item}/reject", "mission reject")
def reject(visit: Visit, mission_id: MissionRef, item: ItemRef, reason: Text) -> models.WorkItem:
    """Send what was handed in back to its author, with what must change."""
    done = verdicts.reject(visit.town, item, reason, visit.caller, run=mission_id)
    return _item(visit.town, mission_id, done.id)


@verb("mission.retry", POST, "/v1/missions/{mission_id}/work/{item}/retry", "mission retry")
def retry(visit: Visit, mission_id: MissionRef, item: ItemRef) -> models.WorkItem:
    """Let a work item go on that needs a person, or start a cancelled one again."""
    return _item(visit.town, mission_id, control.retry(visit.town, item, visit.caller, run=mission_id).id)


@verb("mission.cancel", POST, "/v1/missions/{mission_id}/work/{item}/cancel", "mission cancel", is_destructive=True)
def cancel(visit: Visit, mission_id: MissionRef, item: ItemRef, reason: Reason = "") -> models.WorkItem:
    """Take a work item out of its mission; a run of it ends."""
    done = control.cancel(visit.town, item, visit.caller, run=mission_id, reason=reason)
    return _item(visit.town, mission_id, done.id)


def _request(
    town: Town, issues: list[str], docs: list[str], manifest: str | None, max_parallel: int | None, *,
    no_reviewer: bool, auto_merge: bool,
) -> StartRequest:  # fmt: skip
    paths = tuple(_in_town(town, doc) for doc in docs)
    overrides = _in_town(town, manifest) if manifest is not None else None
    reviewer = False if no_reviewer else None
    return StartRequest(tuple(issues), paths, overrides, max_parallel, reviewer, auto_merge or None)


def _in_town(town: Town, given: str) -> str:
    """The file's path. Raises Forbidden for one outside: visitors see no other files of this machine."""
    root = os.path.realpath(town.root)
    path = os.path.realpath(os.path.join(root, given)) if "\0" not in given else ""
    if os.path.commonpath([root, path or "/"]) != root or path == root:
        raise Forbidden(f"Not a file of this town: {brief(given)}", "Give a path below the town's folder.")
    return path


def _report(town: Town, reference: str) -> Report:
    return status.one(town, reference).reports[0]


def _mission(report: Report, *, work: bool = False, watch: bool = False) -> models.Mission:
    return models.Mission(**status.mission_shape(report, work=work, watch=watch))


def _items(report: Report) -> list[models.WorkItem]:
    at_work = status.busy(report.file)
    return [models.WorkItem(**status.item_shape(report, item, at_work)) for item in report.file.items.values()]


def _item(town: Town, mission_id: str, item_id: str) -> models.WorkItem:
    report = _report(town, mission_id)
    return models.WorkItem(**status.item_shape(report, report.file.items[item_id]))
