"""mission.toml: what is otherwise read from the issues, said by a person. Every error is one line with file and key."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tinytown import ids
from tinytown.domain.mission import Policy
from tinytown.domain.work import WorkKind
from tinytown.errors import Invalid, brief

NAME = "mission.toml"
TABLES = ("overrides", "policy")
NO_CHECKS = ("pass", "wait")
HIGHEST_PRIORITY = 1_000_000
LONGEST_WATCH = 86_400  # seconds between two looks
_SHORT_POLICY = {"max_parallel": "max_parallel_items"}
_POLICY_KEYS = (*(f.name for f in dataclasses.fields(Policy) if f.name != "extra"), *_SHORT_POLICY)
_BOUNDS = {"max_parallel_items": (1, 1000), "watch_interval_secs": (1, LONGEST_WATCH), "max_rounds": (1, 1000)}


@dataclass(frozen=True, slots=True)
class Override:
    """What the file says of one item; None where it says nothing. `where` names it in errors.

    `issue` and `depends_on`: a number, `owner/repo#N`, a URL, `path#anchor`, a path or an item's title.
    """

    issue: str
    where: str
    title: str | None = None
    kind: WorkKind | None = None
    owner_role: str | None = None
    priority: int | None = None
    depends_on: tuple[str, ...] | None = None
    skip: bool = False
    verify: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The file's overrides in their order, and the keys of the policy that it sets."""

    overrides: tuple[Override, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)

    def policy_over(self, policy: Policy) -> Policy:
        """This policy with what the file sets."""
        return dataclasses.replace(policy, **self.policy)


def read(text: str, name: str = NAME) -> Manifest:
    """The manifest in this text; `name` is the file in errors. Raises Invalid for the first thing that is wrong."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else brief(str(error))
        raise Invalid(f"{name}: not valid TOML: {said}", "Correct the file.") from error
    for key in data:
        if key not in TABLES:
            raise _unknown(name, key, TABLES)
    overrides = data.get("overrides", [])
    if not isinstance(overrides, list) or not all(isinstance(table, dict) for table in overrides):
        raise Invalid(f"{name}: 'overrides' must be tables: [[overrides]].")
    policy = data.get("policy", {})
    if not isinstance(policy, dict):
        raise Invalid(f"{name}: 'policy' must be a table: [policy].")
    found = tuple(_override(table, f"{name}: override {n}") for n, table in enumerate(overrides, 1))
    return Manifest(found, _policy(policy, f"{name}: policy"))


def nearest(text: str, known: Iterable[str]) -> str | None:
    """What somebody may have meant."""
    from difflib import get_close_matches  # noqa: PLC0415  only an error needs it

    return next(iter(get_close_matches(text, known, n=1, cutoff=0.7)), None)


def _override(table: Mapping[str, Any], where: str) -> Override:
    for key in table:
        if key not in _READERS:
            raise _unknown(where, key, tuple(_READERS))
    if "issue" not in table:
        raise Invalid(f"{where}: 'issue' is missing.", "Name the item: a number, owner/repo#N, path#anchor or a title.")
    issue = _item(table["issue"], where, "issue")
    where = f"{where} ('{brief(issue)}')"
    values = {key: read_value(table[key], where, key) for key, read_value in _READERS.items() if key in table}
    return Override(**(values | {"issue": issue, "where": where}))


def _unknown(where: str, key: str, known: tuple[str, ...]) -> Invalid:
    near = nearest(key.lower(), known)
    remedy = f"Did you mean '{near}'?" if near else f"Known: {', '.join(known)}."
    return Invalid(f"{where}: unknown key '{brief(key)}'.", remedy)


def _wrong(where: str, key: str, wanted: str, value: object) -> Invalid:
    return Invalid(f"{where}: '{key}' must be {wanted}, not {brief(_shown(value))}.")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return "that"


def _item(value: object, where: str, key: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**10:
        return str(value)
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise _wrong(where, key, "an issue's number or a text", value)


def _line(value: object, where: str, key: str) -> str:
    if isinstance(value, str) and value.strip() and value.strip().isprintable():
        return value.strip()
    raise _wrong(where, key, "one line of text", value)


def _list(value: object, where: str, key: str) -> list[object]:
    if isinstance(value, list):
        return value
    raise _wrong(where, key, "a list", value)


def _whole(value: object, where: str, key: str, least: int, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise _wrong(where, key, f"a whole number from {least} to {most}", value)


def _flag(value: object, where: str, key: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(where, key, "true or false", value)


def _items(value: object, where: str, key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_item(one, where, key) for one in _list(value, where, key)))


def _commands(value: object, where: str, key: str) -> tuple[str, ...]:
    return tuple(_line(one, where, key) for one in _list(value, where, key))


def _priority(value: object, where: str, key: str) -> int:
    return _whole(value, where, key, -HIGHEST_PRIORITY, HIGHEST_PRIORITY)


def _role(value: object, where: str, key: str) -> str:
    role = _line(value, where, key)
    if not ids.is_name(role):
        raise _wrong(where, key, "a role (letters, digits, '.', '_', '-')", value)
    return role


def _kind(value: object, where: str, key: str) -> WorkKind:
    text = _line(value, where, key)
    try:
        return WorkKind(text)
    except ValueError as error:
        near = nearest(text.lower(), WorkKind)
        remedy = f"Did you mean '{near}'?" if near else f"Valid: {', '.join(WorkKind)}"
        raise Invalid(f"{where}: unknown kind '{brief(text)}'.", remedy) from error


_READERS: dict[str, Callable[[object, str, str], Any]] = {
    "issue": _item,
    "title": _line,
    "kind": _kind,
    "owner_role": _role,
    "priority": _priority,
    "depends_on": _items,
    "skip": _flag,
    "verify": _commands,
}


def _policy(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _POLICY_KEYS:
            raise _unknown(where, key, _POLICY_KEYS)
        name = _SHORT_POLICY.get(key, key)
        if name in values:
            raise Invalid(f"{where}: '{key}' is said twice.", f"Leave out one of {name} and {key}.")
        if name == "no_checks":
            if value not in NO_CHECKS:
                raise _wrong(where, key, " or ".join(f"'{choice}'" for choice in NO_CHECKS), value)
            values[name] = value
        elif name in _BOUNDS:
            values[name] = _whole(value, where, key, *_BOUNDS[name])
        else:
            values[name] = _flag(value, where, key)
    return values
