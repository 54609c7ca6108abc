"""Save a town's state into one file, and restore it: proved by a test load, put in place in one step.

Save copies the town's keys beside them at one moment and reads the copies at leisure. Restore does the same
backwards: it works on the loaded file in a server of its own, copies the result beside the town's keys, and one script
puts it in their place. Whatever is killed on the way, the town and the old file are as they were; copies expire.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tinytown import clock, ids
from tinytown.domain.event import Event, task_changed
from tinytown.domain.message import Message
from tinytown.domain.states import AgentState, TaskState
from tinytown.errors import Conflict, Forbidden, NotFound, Unavailable
from tinytown.files import FileLock, make_private, sync_folder
from tinytown.services import mail, recovery
from tinytown.services.stopping import end_actors
from tinytown.store import Store, saved_file, server_conf, snapshot
from tinytown.store.agents import AgentRow
from tinytown.store.connection import Connector
from tinytown.store.inboxes import put_back
from tinytown.store.keys import split
from tinytown.store.saved_file import Damaged
from tinytown.store.scratch import Scratch
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

PATIENCE_S = 60.0  # of one step on the whole town
SAY_EVERY_S = 1.0
RESTORED = "restored"

Say = Callable[[str], None]


class NothingSaved(NotFound):
    """There is no file, or nothing in it."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a state holds."""

    agents: int
    tasks: int
    messages: int

    def __str__(self) -> str:
        counted = ((self.agents, "agent"), (self.tasks, "task"), (self.messages, "message"))
        agents, tasks, messages = (f"{n:,} {noun}{'' if n == 1 else 's'}" for n, noun in counted)
        return f"{agents}, {tasks} and {messages}"


@dataclass(frozen=True, slots=True)
class Saved:
    """What `save` wrote. `size` in bytes."""

    file: Path
    contents: Contents
    size: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What `restore` put in place; `former_name` is the name the town was saved under."""

    file: Path
    contents: Contents
    former_name: str


def file_of(town: Town) -> Path:
    """Where the town is saved: `redis.aof_path`, also of a town on a shared server. Raises ConfigInvalid."""
    return server_conf.aof_file(Connector(replace(town.config.redis, use_central=False), town.state_dir))


def save(town: Town, say: Say | None = None) -> Saved:
    """Write the state of one moment into the file, load it for a test, and only then replace the old file.

    Raises Conflict (another save or restore), Forbidden, Unavailable, RedisNotInstalled. `say` hears of what takes
    longer than a second.
    """
    file = file_of(town)
    town.ensure_redis()
    new = file.with_name(f"{file.name}.saving")
    with _alone(town), _in_words(file):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            written = _write(town, new, _Progress("Saving", say))
            with _loaded(town, new, _Progress("Verifying", say)) as copy:
                if written.digest != _digest(copy.store, town.store.keys.prefix, town.store.keys.prefix):
                    raise Unavailable(f"What was saved does not load as it was; {file} stays as it is.", "Try again.")
                contents = _proved(copy, file)
            saved_file.replace(new, file)
        finally:
            with contextlib.suppress(OSError):
                new.unlink()
    return Saved(file, contents, file.stat().st_size)


def restore(town: Town, *, force: bool = False, say: Say | None = None) -> Restored:
    """Put the saved state in the place of the town's own, which must be empty unless `force`: then agents are ended.

    Raises NothingSaved, Damaged, Conflict and what `save` raises; then the town's state is as it was.
    """
    file = file_of(town)
    if not file.is_file():
        raise NothingSaved(f"No AOF file found at: {file}", "Make one with: tt save")
    with _in_words(file):
        make_private(town.state_dir)  # in a clone git made it
        with _alone(town), _loaded(town, file, _Progress("Loading", say)) as source:
            contents = _prepare(source, file)
            if not is_full(source):
                raise NothingSaved(f"{file} holds no agents, tasks or messages.", "Save a town with: tt save")
            town.ensure_redis(for_saved_state=True)
            if not force and is_full(town):
                raise Conflict(
                    f"Town '{town.name}' is not empty: {count(town)} would be lost.",
                    "Replace them with: tt restore --force",
                )
            end_actors(town, town.store.agents.all(), say=say)
            _forget_rounds(town)
            restored = Restored(file, contents, source.name)
            _put_in_place(town, source, restored, _Progress("Restoring", say), force=force)
    return restored


def is_full(town: Town) -> bool:
    """The town has more than history and what passes by itself."""
    prefix = town.store.keys.prefix
    light = {*snapshot.LIGHT, *snapshot.STAYING}
    return any(n[len(prefix) :].partition(":")[0] not in light for n in snapshot.names_under(town.store, prefix))


def was_restored(town: Town) -> bool:
    """Nothing has happened since the town's state was restored."""
    newest = town.store.events.newest(1)
    return bool(newest) and newest[0][1].get("event_type") == "town_restored"


def count(town: Town) -> Contents:
    """What the town holds. An agent whose record cannot be read is none, as in `tt list`."""
    lengths = town.store.inboxes.lengths([*town.store.agents.names().values(), ids.SUPERVISOR_ID])
    messages = sum(each.inbox + each.urgent + each.claimed for each in lengths)
    return Contents(len(town.store.agents.all()), sum(town.store.tasks.counts().values()), messages)


class _Progress:
    """Says how much is done, once a second, if it takes longer than that."""

    def __init__(self, what: str, say: Say | None) -> None:
        self._what, self._say = what, say
        self._next = clock.monotonic() + SAY_EVERY_S

    def __call__(self, done: int) -> None:
        if self._say is not None and clock.monotonic() >= self._next:
            self._say(f"   {self._what}: {done:,} so far...")
            self._next = clock.monotonic() + SAY_EVERY_S


@contextlib.contextmanager
def _alone(town: Town) -> Iterator[None]:
    lock = FileLock(town.state_dir / "snapshot.lock")
    if not lock.acquire():
        raise Conflict(f"Town '{town.name}' is being saved or restored already.", "Try again in a moment.")
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _in_words(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Forbidden(f"Cannot use {error.filename or file}: {error.strerror}.") from error


def _patient(town: Town) -> Store:
    """A store whose one answer may take long, and that repeats nothing: its commands must not be done twice."""
    return Store(town.name, town.config.redis, town.state_dir, timeout_s=PATIENCE_S, retries=0)


def _write(town: Town, new: Path, progress: _Progress) -> saved_file.Written:
    store, token = _patient(town), ids.new_id()
    try:
        snapshot.copy(store, token)
        made = snapshot.commands(store, snapshot.copies(store, token), store.keys.prefix, progress)
        return saved_file.write(new, town.name, made)
    finally:
        with contextlib.suppress(Unavailable):
            snapshot.drop(store, token)
        store.close()


@contextlib.contextmanager
def _loaded(town: Town, file: Path, progress: _Progress) -> Iterator[Town]:
    """The saved town on a server for the moment, without journals and processes. Raises Damaged."""
    ours = _counted((c for c in saved_file.read(file) if split(c[1]) is not None), progress)
    with Scratch(town.state_dir / "scratch", town.config.redis, town.root, ours) as scratch:
        with contextlib.closing(Store(town.name, scratch.config, scratch.connector.folder)) as store:
            found = snapshot.towns(store)
        name = town.name if town.name in found or not found else found[0]
        if len(found) > 1 and name != town.name:
            raise Damaged(file, f"it holds the towns {', '.join(found)}, and none is called '{town.name}'")
        if not ids.is_stored_name(name):
            raise Damaged(file, "it holds keys of no town")
        copy = Town(scratch.root, replace(town.config, name=name, redis=scratch.config))
        try:
            yield copy
        finally:
            copy.store.close()


def _counted(made: Iterator[saved_file.Command], progress: _Progress) -> Iterator[saved_file.Command]:
    for done, command in enumerate(made):
        progress(done)
        yield command


def _proved(copy: Town, file: Path) -> Contents:
    """A restore would take it, up to its last step. Raises Conflict."""
    try:
        return _prepare(copy, file)
    except Damaged as error:
        raise Conflict(
            f"This state could not be restored: {error.why}; {file} stays as it is.",
            "If an older version wrote it: tt migrate",
        ) from error


def _prepare(source: Town, file: Path) -> Contents:
    """Make it a town at rest: no agent runs on this machine, so what they held goes back; missions are stopped.

    Raises Damaged.
    """
    if (what := snapshot.strange(source.store)) is not None:
        raise Damaged(file, what)
    index = source.store.agents.names()
    rows = source.store.agents.rows(index.values(), strangers=True)
    names = [*index, *(row.agent.name for row in rows)]
    if bad := [name for name in names if not ids.is_stored_name(name)]:
        raise Damaged(file, f"{bad[0][:40]!r} is no name of an agent")
    known = {i for i in index.values() if ids.is_id(i)}
    if bad := sorted({*index.values(), *(row.agent.id for row in rows)} - known):  # or of another than the index says
        raise Damaged(file, f"{bad[0][:40]!r} is the id of no agent")
    for row in rows:
        _bring_to_rest(source, row)
    if source.store.call(lambda r: r.exists(source.store.keys.missions_active)):
        from tinytown.services.missions import control  # noqa: PLC0415  few towns have missions

        control.stop_all(source, RESTORED)  # the town that was saved may still work on them
    return count(source)


def _bring_to_rest(source: Town, row: AgentRow) -> None:
    key = source.store.keys.claimed(row.agent.id)

    def build(tx: Transaction) -> None:
        held = source.store.call(lambda r: r.lrange(key, 0, -1))
        messages = [mail.read(text) or Message("", "", "", "", {}, raw=text) for text in held]
        put_back(tx, row.agent.id, messages)
        tx.do("DEL", key)
        for message in messages:
            if message.id:
                tx.event(mail.message_event("message_requeued", RESTORED, message, row.agent.id))
        _put_tasks_back(source, tx, [m.task_id for m in messages if m.id and m.task_id])
        if not row.agent.state.is_terminal:
            recovery.last_record(tx, row, AgentState.STOPPED, RESTORED)

    change(source.store, build)


def _put_tasks_back(source: Town, tx: Transaction, task_ids: list[str]) -> None:
    for task_id, raw in zip(task_ids, source.store.tasks.raws(task_ids) if task_ids else [], strict=True):
        task = read_task(raw, task_id)
        if task is not None and task.state is TaskState.RUNNING:
            again = task.put_back(clock.stamp())
            tx.save_task(raw, again, task)
            tx.event(task_changed("task_requeued", RESTORED, again, task.state, clock.stamp()))


def _forget_rounds(town: Town) -> None:
    """The outcomes in the journals are those of a state that goes: none of them counts for the same messages again."""
    for folder in (town.state_dir / "agents").glob("*/"):
        town.journal(folder.name).close_round(keep=False)
        sync_folder(folder)  # nor does one come back with a power loss


def _put_in_place(town: Town, source: Town, restored: Restored, progress: _Progress, *, force: bool) -> None:
    store, token = _patient(town), ids.new_id()
    copies, prefix = snapshot.copies(store, token), source.store.keys.prefix
    event = Event("town_restored", f"{restored.contents} from {os.path.basename(restored.file)}", clock.stamp())
    try:
        count = snapshot.fill(store, snapshot.commands(source.store, prefix, copies), tick=progress)
        as_read, as_taken = _digest(source.store, prefix), _digest(store, copies)
        snapshot.swap(store, token, count if as_taken == as_read else -1, event.to_json(), force=force)
    except BaseException:
        with contextlib.suppress(Exception):
            snapshot.drop(store, token)
        raise
    finally:
        store.close()


def _digest(store: Store, prefix: str, home: str = "") -> str:
    return saved_file.digest_of(snapshot.commands(store, prefix, home))
