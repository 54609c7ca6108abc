"""Command lines by grammar: every command and option that click knows, with values that fit and values that do not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tests.fuzz.material import WORDS
from tinytown.cli import FORMER, TABLE, root
from tinytown.cli.base import Group

# They start servers, services or other programs, or go on until somebody ends them.
STARTS = frozenset({"init", "start", "supervise", "service", "bootstrap", "conductor", "spawn", "restart", "migrate"})
ENDLESS = frozenset({"-f", "--follow", "--foreground"})
NUMBERS = ("0", "1", "-1", "5", "1e9", "1.5", "nan", "inf", "-inf", "9" * 30, "9" * 5000, "٣", "0x10", " 7 ", "")
NAMES = ("ann", "bob", "boss", "conductor", "supervisor", "nobody", "ANN", "a n n", "-", "--", "..", "ann\n", "x" * 65)
BYTES = (b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80", b"\x80" * 100)
HUGE = b"x" * 100_000


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words, those of groups and former names included."""
    top = root()
    context = click.Context(top)
    for name in [*TABLE, *FORMER]:
        found = top.load(context, name)
        assert found is not None
        yield (name,), found
        if isinstance(found, Group):
            yield from (((name, inner), command) for inner, command in found.commands.items())


def line(
    rng: random.Random, words: tuple[str, ...], command: click.Command, known: list[str], folder: Path
) -> list[str]:
    """One command line. `known`: ids and names that mean something; `folder`: pipes, devices and other odd paths."""
    args: list[str] = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            count = rng.choice((1, 1, 1, 1, 0, 2)) if parameter.nargs == 1 else rng.randrange(4)
            args += [_value(rng, parameter, known, folder) for _ in range(count)]
        elif rng.random() < 0.25 and not ENDLESS & set(parameter.opts):
            for _ in range(rng.choice((1, 1, 1, 2))):
                args += _option(rng, parameter, known, folder)
    if rng.random() < 0.2:
        args.insert(rng.randrange(len(args) + 1), rng.choice(("--", "--nosuch", "-", "-Z", "--help", "", "-v", *WORDS)))
    if rng.random() < 0.1:
        rng.shuffle(args)
    args = [word.replace("\x00", "") for word in args if not ENDLESS & {word.partition("=")[0]}]
    if words == ("wait",):
        args += ["--timeout", "0"]
    if words[0] in STARTS:
        args.insert(0, "--nosuch")  # as far as the parser
    return [*words, *args]


def _option(rng: random.Random, option: click.Parameter, known: list[str], folder: Path) -> list[str]:
    name = rng.choice([*option.opts, *option.secondary_opts])
    if rng.random() < 0.1 and name.startswith("--"):
        name = name[: rng.randint(3, len(name))]
    if getattr(option, "is_flag", False):
        return [name] if rng.random() < 0.95 else [f"{name}=x"]
    value = _value(rng, option, known, folder)
    if rng.random() < 0.05:
        return [name]
    return [f"{name}={value}"] if name.startswith("--") and rng.random() < 0.3 else [name, value]


def _value(rng: random.Random, parameter: click.Parameter, known: list[str], folder: Path) -> str:
    kind: Any = parameter.type
    fitting = known
    if isinstance(kind, click.Choice):
        fitting = [str(choice) for choice in kind.choices]
    elif isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        fitting = list(NUMBERS[:4])
    strange = [word.decode("utf-8", "surrogateescape") for word in (*BYTES, HUGE)]
    sources = [fitting] * 10 + [NUMBERS, NAMES, WORDS] * 2 + [sorted(map(str, folder.iterdir())), strange]
    return rng.choice(rng.choice(sources))
