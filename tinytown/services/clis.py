"""Model CLIs that a program registers: a table in tinytown.toml, where supervisor and actors read it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tinytown import config as settings
from tinytown import toml
from tinytown.config import TOWN_FILE, AgentCli, Config
from tinytown.config_values import is_secret
from tinytown.errors import ConfigInvalid, Conflict, Forbidden, Invalid
from tinytown.files import FileLock, write_atomic
from tinytown.model_cli import catalog
from tinytown.processes import send
from tinytown.services import supervision
from tinytown.town import Town


def register(town: Town, cli: AgentCli) -> Config:
    """Add `[agent_clis.<name>]` to the town's settings and tell a running supervisor; returns the settings.

    The rest of the file stays as it is. The same CLI again changes nothing. Raises Conflict (another CLI has that
    name), Invalid (a secret written out, a command that cannot be read), ConfigInvalid, Forbidden.
    """
    for name, value in cli.env.items():
        if is_secret(f"agent_clis.{cli.name}.env.{name}", value):
            raise Invalid(
                f"The environment of CLI '{cli.name}' holds a secret ({name}), which {TOWN_FILE} would show.",
                f'Give it as "${name}", and set {name} where the supervisor is started.',
            )
    path = town.root / TOWN_FILE
    lock = FileLock(town.state_dir / "settings.lock")
    lock.acquire(wait=True)
    try:
        config = settings.load(town.root)
        if config.agent_clis.get(cli.name) == cli:
            return config
        if cli.name in config.agent_clis or cli.name in catalog.PRESETS:
            raise Conflict(f"There is another CLI '{cli.name}' already.", "Choose another name.")
        config = _append(path, cli)
    finally:
        lock.release()
    _tell_supervisor(town)
    return config


def _append(path: Path, cli: AgentCli) -> Config:
    import tomli_w  # noqa: PLC0415  only who writes settings needs it

    table: dict[str, Any] = {"command": cli.command, "workdir": cli.workdir, "env": dict(cli.env)}
    given = {key: value for key, value in table.items() if value}
    try:
        old = toml.text_of(path)
        text = f"{old.rstrip()}\n\n{tomli_w.dumps({'agent_clis': {cli.name: given}})}"
        config = settings.build(toml.decode(text), path)
        catalog.lookup(cli.name, config)
        write_atomic(path, text, mode=path.stat().st_mode & 0o777)
    except ValueError as error:
        raise ConfigInvalid(f"{path}: [agent_clis.{cli.name}] cannot be added: {error}", "Add it by hand.") from error
    except OSError as error:
        raise Forbidden(f"Cannot write {path}: {error.strerror}.") from error
    return config


def _tell_supervisor(town: Town) -> None:
    """It reads the settings again before it looks at wishes that come after this."""
    running = supervision.process(town)
    if running is None:
        return
    send(running, signal.SIGHUP)
    for _ in range(2):  # the first answer may come from the very turn of its loop in which the signal arrived
        supervision.status(town)
