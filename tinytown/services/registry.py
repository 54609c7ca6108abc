"""`~/.tt/towns.toml`: the towns of this user."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from tinytown import clock, config, toml
from tinytown.config import TOWN_FILE, global_dir
from tinytown.errors import ConfigInvalid, Forbidden, TinytownError
from tinytown.files import locked, make_private, write_atomic
from tinytown.services import servers
from tinytown.town import Town

SURVEY_S = 5.0


class State(StrEnum):
    """How a registered town is found."""

    ONLINE = "online"
    OFFLINE = "offline"
    NO_CONFIG = "no_config"
    BROKEN_CONFIG = "broken_config"
    NOT_FOUND = "not_found"


class Seen(NamedTuple):
    """One registered town. Counts of agents only online; `active`: those that are wanted to run."""

    name: str
    path: str
    state: State
    agents: int | None = None
    active: int | None = None
    problem: str | None = None


class Registered(NamedTuple):
    """One entry."""

    name: str
    path: str


def path() -> Path:
    """The file."""
    return global_dir() / "towns.toml"


def listing() -> list[Registered]:
    """The towns, in the order of the file. Raises ConfigInvalid."""
    return [Registered(town["name"], town["path"]) for town in _read()["towns"]]


def survey() -> list[Seen]:
    """Look at each registered town; starts nothing. Raises ConfigInvalid, Forbidden.

    Takes about SURVEY_S seconds at most, however many servers hang: who comes after that is not asked.
    """
    deadline = clock.monotonic() + SURVEY_S
    return [_look(entry, deadline) for entry in listing()]


def _look(entry: Registered, deadline: float) -> Seen:
    root = Path(os.path.expanduser(entry.path))
    if not os.path.isdir(root):
        return Seen(*entry, State.NOT_FOUND)
    if not os.path.isfile(root / TOWN_FILE):
        return Seen(*entry, State.NO_CONFIG)
    try:
        town = Town(root, config.load(root), is_hurried=True)
    except ConfigInvalid as error:
        return Seen(*entry, State.BROKEN_CONFIG, problem=str(error))
    entry = entry._replace(name=town.name)  # it may have been changed since it was registered
    if clock.monotonic() > deadline:
        return Seen(*entry, State.OFFLINE, problem="not asked: others took too long")
    return _ask(entry, town)


def _ask(entry: Registered, town: Town) -> Seen:
    keys, connector = town.store.keys, town.store.connector
    if connector.is_managed and connector.socket is not None and not servers.is_listening(town):
        return Seen(*entry, State.OFFLINE)
    try:
        agents, active = town.store.read(("HLEN", keys.agents), ("HLEN", keys.wanted))
    except TinytownError as error:
        return Seen(*entry, State.OFFLINE, problem=str(error))
    finally:
        town.store.close()
    return Seen(*entry, State.ONLINE, int(agents), int(active))


def add(name: str, root: Path) -> None:
    """Register the town, in the place of an entry with the same folder. Raises ConfigInvalid, Forbidden."""

    def change(towns: list[dict[str, Any]]) -> list[dict[str, Any]]:
        entry = {"name": name, "path": str(root)}
        mine = [n for n, town in enumerate(towns) if town["path"] == str(root)]
        if mine:
            return [entry if n == mine[0] else town for n, town in enumerate(towns) if n not in mine[1:]]
        return [*towns, entry]

    _rewrite(change)


def remove(root: Path) -> None:
    """Forget the town of this folder. Raises ConfigInvalid, Forbidden."""
    _rewrite(lambda towns: [town for town in towns if town["path"] != str(root)])


def _rewrite(change: Any) -> None:
    import tomli_w  # noqa: PLC0415  only init writes here

    folder = global_dir()
    try:
        make_private(folder, parents=True)
        with locked(folder / "towns.lock"):
            stored = _read()
            towns = change(stored["towns"])
            if towns != stored["towns"]:
                write_atomic(path(), tomli_w.dumps(stored | {"towns": towns}))
    except RecursionError as error:
        raise ConfigInvalid(f"{path()}: nested too deeply.", "Correct or remove the file.") from error
    except OSError as error:
        raise Forbidden(f"Cannot write {path()}: {error.strerror}.") from error


def _read() -> dict[str, Any]:
    try:
        stored = toml.decode(toml.text_of(path()))
    except FileNotFoundError:
        return {"towns": []}
    except ValueError as error:
        raise ConfigInvalid(f"{path()}: not valid TOML: {error}", "Correct or remove the file.") from error
    except OSError as error:
        raise Forbidden(f"Cannot read {path()}: {error.strerror}.") from error
    towns = stored.setdefault("towns", [])
    if not isinstance(towns, list) or not all(map(_is_entry, towns)):
        raise ConfigInvalid(f"{path()}: 'towns' must be tables with name and path.", "Correct or remove the file.")
    return stored


def _is_entry(town: Any) -> bool:
    return isinstance(town, dict) and all(isinstance(town.get(key), str) for key in ("name", "path"))
