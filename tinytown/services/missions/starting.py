"""Start a mission: fetch and compile first, then one step that stores all of it. An error leaves nothing behind."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace

from tinytown import clock, git, ids
from tinytown.domain.mission import Mission, MissionState, Policy
from tinytown.domain.pull_request import Issue
from tinytown.domain.work import WorkItem
from tinytown.errors import Conflict, Forbidden, Invalid, NotFound, brief
from tinytown.missions import documents, manifest, references
from tinytown.missions.compiling import Compiled, Objective, compile_mission
from tinytown.missions.documents import Document
from tinytown.missions.manifest import Manifest
from tinytown.services import supervision
from tinytown.services.caller import Caller
from tinytown.services.missions import fetching, steps
from tinytown.services.missions.control import name_of
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

DOCUMENT_BYTES = 1_000_000
PARALLEL_MOST = 1000
IN_FULL_CHARS = 2_000_000  # of all items together, when each carries the document that it is a part of

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What `tt mission start` was asked for; None: as the manifest or `[mission]` says. Paths are the caller's."""

    issues: tuple[str, ...] = ()
    docs: tuple[str, ...] = ()
    manifest: str | None = None
    max_parallel: int | None = None
    reviewer_required: bool | None = None
    auto_merge: bool | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A mission that could be stored: its record, its items in their order, lines for people, how `#N` is read."""

    run: Mission
    items: list[WorkItem]
    warnings: list[str]
    origin: str | None = None


def prepare(town: Town, request: StartRequest, say: Say | None = None) -> Prepared:
    """Fetch and compile; changes nothing, and needs no Redis. `say` hears of each issue that is fetched.

    Raises Invalid (references, documents, manifest, a circle, nothing to do), NotFound and Unavailable (GitHub).
    """
    policy, overrides = _policy(town, request)
    web = fetching.web_of(town)
    origin = git.origin_repository(town.root, web)
    wanted: dict[str, str] = {}
    for ref in (references.parse(text, origin, web) for text in request.issues):
        wanted.setdefault(references.key(ref), ref)
    read = [_document(town, path) for path in request.docs]
    found: list[Objective] = [*fetching.issues(town, list(wanted.values()), say), *read]
    run_id, at = ids.new_id(), clock.stamp()
    compiled = compile_mission(run_id, found, overrides, at, origin=origin, web=web)
    refs = [one.ref if isinstance(one, Issue) else one.path for one in found]
    homes = {references.split(i.source_ref)[0].lower() for i in compiled.items if references.is_reference(i.source_ref)}
    run = Mission(
        id=run_id, objectives=list(dict.fromkeys(refs)), created_at=at, updated_at=at, policy=policy,
        state=MissionState.RUNNING, repositories=sorted(homes | ({origin.lower()} if origin else set())),
    )  # fmt: skip
    items, waits = _with_outside(town, _with_documents(compiled), say)
    return Prepared(run, items, [*compiled.warnings, *waits], origin)


def _with_outside(town: Town, items: list[WorkItem], say: Say | None) -> tuple[list[WorkItem], list[str]]:
    """The items without issues outside the mission that are closed, and a line for each that is open.

    Raises NotFound, Forbidden, ... for one that cannot be read.
    """
    users = {ref: item for item in reversed(items) for ref in item.outside}
    found: dict[str, Issue] = {}
    for ref, item in users.items():
        try:
            (found[ref],) = fetching.issues(town, [ref], say)
        except (NotFound, Forbidden) as error:
            remedy = f"{item.source_ref} depends on it; to start without: depends_on = [] in a --manifest"
            raise type(error)(str(error), remedy) from error
    lines = [
        f"{ref} is open and not in the mission: {users[ref].source_ref} waits for it"
        for ref in users
        if found[ref].is_open
    ]
    return [replace(item, outside=[ref for ref in item.outside if found[ref].is_open]) for item in items], lines


def start(town: Town, request: StartRequest, caller: Caller, say: Say | None = None) -> Prepared:
    """Start it: record, items, indexes and event in one step, with a supervisor to work it off.

    Raises what `prepare` raises, and Conflict when a mission that has not ended works on the same; then nothing is
    left.
    """
    prepared = prepare(town, request, say)
    town.ensure_redis()
    supervision.ensure_running(town)
    who = name_of(town, caller)
    change(town.store, lambda tx: _store(town, tx, prepared, who))
    town.ring_supervisor()
    return prepared


def _policy(town: Town, request: StartRequest) -> tuple[Policy, Manifest]:
    """The settings, over them the manifest, over that the command's own options."""
    read = Manifest()
    if request.manifest is not None:
        read = manifest.read(_text(request.manifest), brief(request.manifest))
    settings = town.config.mission
    policy = Policy(
        max_parallel_items=settings.max_parallel_items,
        reviewer_required=settings.reviewer_required,
        auto_merge=settings.auto_merge,
        watch_interval_secs=settings.watch_interval_secs,
        max_rounds=settings.max_rounds,
        no_checks=settings.no_checks,
    )
    policy = read.policy_over(policy)
    if request.max_parallel is not None:
        if not 1 <= request.max_parallel <= PARALLEL_MOST:
            raise Invalid(f"--max-parallel must be 1 to {PARALLEL_MOST}.")
        policy = replace(policy, max_parallel_items=request.max_parallel)
    if request.reviewer_required is not None:
        policy = replace(policy, reviewer_required=request.reviewer_required)
    if request.auto_merge is not None:
        policy = replace(policy, auto_merge=request.auto_merge)
    return policy, read


def _document(town: Town, given: str) -> Document:
    """A document as records name it: from the town's root if it is below that, else by its whole path."""
    text, real, root = _text(given), os.path.realpath(given), os.path.realpath(town.root)
    inside = os.path.relpath(real, root) if os.path.commonpath([real, root]) == root else real
    return Document(steps.storable(inside), text)


def _text(given: str) -> str:
    """The file's text. Raises NotFound, Forbidden, Invalid: no regular file, too long, no UTF-8."""
    shown = brief(given) or "''"
    try:
        fd = os.open(given, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Invalid(f"{shown} is no file.", "Give the path of a text in Markdown.")
            with open(fd, "rb", closefd=False) as stream:
                data = stream.read(DOCUMENT_BYTES + 1)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        code = getattr(error, "errno", None)
        if code in {errno.ENOENT, errno.ENOTDIR}:
            raise NotFound(f"{shown} does not exist.") from error
        raise Forbidden(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if len(data) > DOCUMENT_BYTES:
        raise Invalid(f"{shown} has more than {DOCUMENT_BYTES:,} bytes.", "Give the part that says what is to be done.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid(f"{shown} is no text in UTF-8 (byte {error.start}).") from error


def _with_documents(compiled: Compiled) -> list[WorkItem]:
    """Each part of a document with the whole of it, so that its agent knows what it is a part of.

    Where that would be too much for one mission, a line says where the document is.
    """
    full = [replace(item, body=documents.in_full(item, compiled.documents)) for item in compiled.items]
    if sum(len(item.body) for item in full) <= IN_FULL_CHARS:
        return full
    return [replace(item, body=_with_path(item, compiled)) for item in compiled.items]


def _with_path(item: WorkItem, compiled: Compiled) -> str:
    path = item.source_ref.rpartition("#")[0]
    if path not in compiled.documents or references.is_reference(item.source_ref):
        return item.body
    return f"{item.body}\n\nThis is a part of the document {path}: read it there.".lstrip("\n")


def _store(town: Town, tx: Transaction, prepared: Prepared, who: str) -> None:
    run, known = prepared.run, town.store.missions.all_ids()
    _check_others(town, known, prepared)
    tx.once(run.id)
    tx.expect_ranked(tx.keys.missions_all, len(known), "missions")
    steps.save_mission(tx, None, run)
    for item in prepared.items:
        steps.save_item(tx, None, item)
    text = f"Started by {who}: {len(run.objectives)} objective(s), {len(prepared.items)} work item(s)"
    steps.log(tx, "mission_started", text, run, old=MissionState.PLANNING)


def _check_others(town: Town, known: list[str], prepared: Prepared) -> None:
    """Raise Conflict when one of the items is worked on by another mission."""
    mine = {references.key(item.source_ref): item.source_ref for item in prepared.items}
    objectives = {references.key(ref) for ref in prepared.run.objectives} | mine.keys()
    runs = [run for _raw, run in town.store.missions.many(known) if not run.state.is_terminal]
    near = [run.id for run in runs if not objectives.isdisjoint(map(references.key, run.objectives))]
    for file in town.store.missions.files(near):
        for item in file.items.values():
            ref = mine.get(references.key(item.source_ref))
            if ref is not None and not item.status.is_terminal:
                short = ids.short(file.run.id)
                raise Conflict(
                    f"Mission {short} works on {ref} already.",
                    f"See: tt mission status --run {short}; to end it: tt mission stop {short} --force",
                )
