"""What can be asked of a town, said once: from this the REST routes, the MCP tools and the parity test are made.

A verb is a plain function `(visit, **inputs) -> answer`; it runs in a thread, and may block. Its signature is its
input, its annotation its answer, its docstring its help.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from tinytown.services.caller import Caller
from tinytown.town import Town

GET, POST, DELETE = "GET", "POST", "DELETE"


class Scope(StrEnum):
    """What a visitor may do. `admin` grants all."""

    READ = "town.read"
    WRITE = "town.write"
    MANAGE = "agent.manage"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Visit:
    """One call: the town, on a connection of this thread's own, and who speaks."""

    town: Town
    caller: Caller


@dataclass(frozen=True)
class Verb:
    """See the module. `command`: the words of the `tt` command that does the same; `waits`: for something to happen."""

    name: str
    method: str
    path: str
    function: Callable[..., Any]
    scope: Scope
    command: str
    status: int = 200
    is_destructive: bool = False
    is_idempotent: bool = False
    waits: bool = False

    @property
    def is_read(self) -> bool:
        """It changes nothing."""
        return self.scope is Scope.READ

    @property
    def help(self) -> str:
        """What it does."""
        return inspect.cleandoc(self.function.__doc__ or "")

    @property
    def title(self) -> str:
        """Its name in words."""
        return title(self.name)

    @cached_property
    def inputs(self) -> dict[str, inspect.Parameter]:
        """Its inputs by name, with their types resolved."""
        hints = get_type_hints(self.function, include_extras=True)
        _visit, *rest = inspect.signature(self.function).parameters.values()
        return {p.name: p.replace(annotation=hints[p.name]) for p in rest}

    @cached_property
    def answer(self) -> type[BaseModel]:
        """The model of its answer."""
        model: type[BaseModel] = get_type_hints(self.function)["return"]
        return model

    @property
    def in_path(self) -> list[str]:
        """Inputs that are a part of the path."""
        return [name for name in self.inputs if f"{{{name}}}" in self.path]

    def model(self, names: list[str] | None = None, *, strict: bool = False) -> type[BaseModel]:
        """A model of these inputs (None: of all); it takes nothing else. `strict`: 1 is not true, "1" not 1."""
        wanted = self.inputs if names is None else {name: self.inputs[name] for name in names}
        fields: Mapping[str, Any] = {
            name: (p.annotation, ... if p.default is inspect.Parameter.empty else p.default)
            for name, p in wanted.items()
        }
        label = "".join(word.capitalize() for word in self.name.replace("_", ".").split("."))
        return create_model(f"{label}Input", __config__=ConfigDict(extra="forbid", strict=strict), **fields)


def title(name: str) -> str:
    """A verb's name in words: `task.assign_all` is "Task assign all"."""
    return name.replace(".", " ").replace("_", " ").capitalize()


F = TypeVar("F", bound=Callable[..., Any])
VERBS: dict[str, Verb] = {}


def verb(
    name: str, method: str, path: str, command: str, scope: Scope | None = None, **options: Any
) -> Callable[[F], F]:  # fmt: skip
    """Make a function a verb. Without a scope: to read for GET, else to write."""

    def register(function: F) -> F:
        assert name not in VERBS, name
        granted = scope or (Scope.READ if method == GET else Scope.WRITE)
        VERBS[name] = Verb(name, method, path, function, granted, command, **options)
        return function

    return register
