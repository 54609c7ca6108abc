"""The conductor: an AI in the user's own terminal, which runs the town with `tt`."""

from __future__ import annotations

import os
import shlex
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, Forbidden
from tinytown.files import write_atomic
from tinytown.ids import SUPERVISOR_ID
from tinytown.model_cli import catalog, conductor_prompt, interactive, launch
from tinytown.model_cli.catalog import ModelCli
from tinytown.model_cli.conductor_prompt import SHOWN, Member, Scene, Work
from tinytown.services import status
from tinytown.services.caller import Caller
from tinytown.town import Town

CONTEXT_FILE = "conductor_context.md"
PLAN_FILE = "tasks.toml"
_TEXT = "\0"  # in the command that is shown, where the text is in the one that runs
OPEN = (TaskState.RUNNING, TaskState.ASSIGNED)


@dataclass(frozen=True, slots=True)
class Start:
    """A conductor that is ready to start. `shown` is its command line as a shell would take it."""

    context: Path
    argv: list[str]
    shown: str
    env: dict[str, str]
    cwd: Path


def choose(town: Town, name: str | None, caller: Caller) -> ModelCli:
    """The CLI that was asked for, else `conductor_cli`, else `default_cli`. Starts nothing.

    Raises Invalid, NotFound when it cannot be run, Conflict for a model in a round of an agent.
    """
    if caller.is_model:
        raise Conflict("An agent cannot start a conductor.", "Ask the one there is: tt send conductor --query '...'")
    config = town.config
    cli = interactive.lookup(name or config.conductor_cli or config.default_cli, config)
    catalog.check_exists(cli)
    return cli


def context(town: Town) -> str:
    """What a conductor that starts now is told. Raises RedisAway."""
    seen = status.read(town)
    names = {row.agent.id: row.agent.name for row in seen.agents}
    open_ids = town.store.tasks.ids(OPEN)
    current = {row.agent.current_task for row in seen.agents if row.agent.current_task}
    by_id = {task.id: task for task in town.store.tasks.many([*dict.fromkeys([*open_ids[:SHOWN], *current])])}
    mail = town.store.inboxes.lengths([SUPERVISOR_ID])[0]
    scene = Scene(
        town=town.name,
        root=str(town.root),
        context_file=f".tt/{CONTEXT_FILE}",
        agents=[_member(row, by_id) for row in seen.agents],
        counts=[(state.value, count) for state, count in seen.counts.items()],
        open_work=[_work(by_id[i], names) for i in open_ids[:SHOWN] if i in by_id],
        open_count=len(open_ids),
        backlog=[_work(task, {}) for task in town.store.tasks.many(town.store.tasks.backlog_ids(0, SHOWN - 1))],
        backlog_count=seen.backlog,
        mail=mail.inbox + mail.urgent,
        has_plan=(town.root / PLAN_FILE).exists(),
    )
    return conductor_prompt.render(scene)


def prepare(town: Town, cli: ModelCli) -> Start:
    """Write the context file and put the command together. Raises RedisAway, Forbidden."""
    text = context(town)
    path = town.state_dir / CONTEXT_FILE
    try:
        write_atomic(path, text)
    except OSError as error:
        raise Forbidden(f"Cannot write {path}: {error.strerror}.") from error
    if cli.prompt == "file":
        argv = launch.with_prompt(cli, str(path))
        shown = shlex.join(argv)
    else:
        argv = launch.with_prompt(cli, text)
        words = launch.with_prompt(cli, _TEXT)
        shown = " ".join(_as_typed(word, path) for word in words)
    return Start(path, argv, shown, _environment(town, cli), town.root / (cli.workdir or ""))


def become(start: Start) -> NoReturn:
    """Replace this process by the conductor: terminal, signals and exit code are its own. Raises Forbidden."""
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python, and exec would pass that on
        signal.signal(signum, signal.SIG_DFL)
    try:
        os.chdir(start.cwd)
        os.execvpe(start.argv[0], start.argv, start.env)  # noqa: S606  a list, no shell
    except OSError as error:
        raise Forbidden(f"Cannot run {start.argv[0]}: {error.strerror}.") from error


def _as_typed(word: str, path: Path) -> str:
    if _TEXT not in word:
        return shlex.quote(word)
    before, _, after = word.partition(_TEXT)
    return f'{shlex.quote(before) if before else ""}"$(cat {shlex.quote(str(path))})"{after}'


def _environment(town: Town, cli: ModelCli) -> dict[str, str]:
    given = {"TINYTOWN_TOWN": str(town.root), "TINYTOWN_AGENT_NAME": "conductor", "PATH": launch.own_path()}
    secret = os.environ.get("TINYTOWN_REDIS_PASSWORD")
    return launch.environment(cli, given | ({"TINYTOWN_REDIS_PASSWORD": secret} if secret else {}))


def _member(row: status.AgentStatus, tasks: dict[str, Task]) -> Member:
    agent, task = row.agent, tasks.get(row.agent.current_task or "")
    return Member(
        name=agent.name,
        role=agent.role_id,
        cli=agent.cli,
        state=agent.state.label,
        waiting=row.pending.total,
        dead=row.pending.dead,
        task=task.description if task else None,
    )


def _work(task: Task, names: dict[str, str]) -> Work:
    return Work(task.id, task.description, task.state.value, names.get(task.assigned_to or ""), task.tags or ())
