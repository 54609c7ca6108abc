"""`~/.tt/towns.toml`: the towns of this user."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytown.config import global_dir
from tinytown.errors import ConfigInvalid, Forbidden
from tinytown.files import locked, write_atomic


@dataclass(frozen=True, slots=True)
class Registered:
    """One entry."""

    name: str
    path: str


def path() -> Path:
    """The file."""
    return global_dir() / "towns.toml"


def listing() -> list[Registered]:
    """The towns, in the order of the file. Raises ConfigInvalid."""
    return [Registered(str(town["name"]), str(town["path"])) for town in _read()["towns"]]


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
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder / "towns.lock"):
            stored = _read()
            towns = change(stored["towns"])
            if towns != stored["towns"]:
                write_atomic(path(), tomli_w.dumps(stored | {"towns": towns}))
    except OSError as error:
        raise Forbidden(f"Cannot write {path()}: {error.strerror}.") from error


def _read() -> dict[str, Any]:
    try:
        stored = tomllib.loads(path().read_text("utf-8"))
    except FileNotFoundError:
        return {"towns": []}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path()}: not valid TOML: {error}", "Correct or remove the file.") from error
    except OSError as error:
        raise Forbidden(f"Cannot read {path()}: {error.strerror}.") from error
    towns = stored.setdefault("towns", [])
    if not isinstance(towns, list) or not all(isinstance(t, dict) and {"name", "path"} <= t.keys() for t in towns):
        raise ConfigInvalid(f"{path()}: 'towns' must be tables with name and path.", "Correct or remove the file.")
    return stored
