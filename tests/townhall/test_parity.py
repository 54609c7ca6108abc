"""One house, several doors: what `tt` can do, a visitor of the town hall can do, or there is a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from fastapi.routing import APIRoute

from tinytown.cli import FORMER, TABLE, root
from tinytown.cli.base import GLOBAL_OPTIONS
from tinytown.config import Config
from tinytown.config_townhall import Townhall
from tinytown.town import Town
from tinytown.townhall.mcp import tools
from tinytown.townhall.rest import app
from tinytown.townhall.rest.streams import STREAMS
from tinytown.townhall.verbs import VERBS, Scope

# Commands that no verb stands for, and why.
LOCAL = {
    "init": "a town must be there before its town hall",
    "start": "a terminal's own: it holds a connection until Ctrl-C",
    "stop": "of agents one by one: agent.kill; with --all it would end the Redis that the town hall lives on",
    "supervise": "a process of this machine, which outlives any visitor",
    "service install": "the machine's",
    "service uninstall": "the machine's",
    "service status": "the machine's; town.get_status says whether a supervisor runs",
    "history": "events.list with agent or task",
    "config": "settings are files of the machine, and may hold secrets",
    "towns": "a town hall is of one town; where others are is nobody's business there",
    "restore": "replaces everything the visitors see, and the keys that let them in stay: a person's decision, there",
    "reset": "deletes everything: as above",
    "migrate": "once, at an update",
    "worktree list": "about files of the machine",
    "worktree diff": "shows any file of the repository",
    "worktree merge": "changes the branch that somebody has checked out",
    "worktree remove": "deletes work that is in no other place",
    "conductor": "an interactive program on a terminal; its mail is agent.inbox of `conductor`",
    "web": "a link for whoever sits at the machine",
    "bootstrap": "installs a program",
    "auth gen-key": "prints a secret",
    "completion": "the shell's",
    "generate-api-key": "a former name of `tt auth gen-key`",
}
# Options of commands that are no input of a verb, and why. "*": of all commands.
OPTIONS = {
    ("*", "as_json"): "answers are JSON",
    ("status", "tasks"): "task.list",
    ("top", "once"): "an answer is one look",
    ("events", "follow"): "events.stream",
    ("logs", "follow"): "agent.log_stream, task.log_stream",
    ("spawn", "foreground"): "a terminal's own",
    ("restart", "foreground"): "a terminal's own",
    ("inbox", "everybody"): "agent.list counts everybody's mail, agent.inbox shows it",
    ("inbox", "dead"): "message.list_dead",
    ("inbox", "retry_id"): "message.retry_dead",
    ("inbox", "drop_id"): "message.drop_dead",
    ("inbox", "ack_all"): "message.acknowledge",
    ("reclaim", "orphans"): "recovery.orphan_tasks",
    ("reclaim", "cancel"): "recovery.orphan_tasks with action cancel",
    ("plan", "init"): "makes a file that a person writes on",
    ("sync", "direction"): "plan.push, plan.pull",
    ("mission start", "dry_run"): "mission.preview",
}
# The same under two names: the command's, the verb's.
NAMES = {
    "as_json": "", "count": "limit", "types": "type", "rounds": "max_rounds", "timeout": "timeout_s", "name": "agent",
    "number": "round", "everyone": "all", "everything": "all", "run": "mission_id", "run_id": "mission_id",
    "words": "message",
}  # fmt: skip
# Several commands take one thing or another: two verbs have an input for each.
EITHER = {"what": ("agent", "task_id")}
# Inputs of verbs that no option stands for, and why.
INPUTS = {
    ("*", "limit"): "a page",
    ("*", "after"): "a page",
    ("agent.get", "agent"): "one of the list",
    ("task.log", "task_id"): "`tt logs` takes an agent; the task's last round is found for it",
    ("backlog.add", "description"): "the command's word is TASK",
    ("message.acknowledge", "message_ids"): "--ack-all takes what it has printed; a visitor says what was read",
    ("message.retry_dead", "letter_id"): "the value of --retry",
    ("message.drop_dead", "letter_id"): "the value of --drop",
    ("recovery.orphan_tasks", "action"): "--orphans with --to-backlog or --cancel",
    ("mission.note", "mission_id"): "the first of the command's words",
}
PROBES = {"healthz", "readyz", "metrics"}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    top = root()
    for name in (*TABLE, *FORMER):
        command = top.load(click.Context(top), name)
        assert command is not None
        yield from walked(name, command)


def walked(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from walked(f"{words} {name}", one)
    elif not command.hidden:
        yield words, command


COMMANDS = dict(commands())
BY_COMMAND = {words: [verb for verb in VERBS.values() if verb.command == words] for words in COMMANDS}


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_has_its_verb_or_a_reason(words: str) -> None:
    """What cannot be done over HTTP and MCP is in LOCAL with the reason; nothing is in both."""
    assert bool(BY_COMMAND[words]) != (words in LOCAL), f"tt {words}: {BY_COMMAND[words]} {LOCAL.get(words)}"


def test_every_reason_is_about_something() -> None:
    """No reason is left of what is no more."""
    assert set(LOCAL) <= set(COMMANDS)
    for words, option in OPTIONS:
        assert words == "*" or option in {p.name for p in COMMANDS[words].params}, (words, option)
    for name, given in INPUTS:
        assert name == "*" or given in VERBS[name].inputs, (name, given)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_names_its_command(name: str) -> None:
    """The command that does the same is there."""
    assert VERBS[name].command in COMMANDS


@pytest.mark.parametrize("words", [words for words, verbs in BY_COMMAND.items() if verbs])
def test_options_and_inputs_are_the_same(words: str) -> None:
    """What a command can be told, its verbs can be told, and the other way round, or there is a reason."""
    options = {str(p.name) for p in COMMANDS[words].params if p not in GLOBAL_OPTIONS and not getattr(p, "hidden", 0)}
    known = {name for verb in BY_COMMAND[words] for name in verb.inputs}
    for option in options:
        meant = {option, NAMES.get(option, option), *EITHER.get(option, ())}
        is_said = ("*", option) in OPTIONS or (words, option) in OPTIONS
        assert bool(meant & known) or is_said or (words, option) == ("backlog add", "task"), f"tt {words}: {option}"
    meant = options | {NAMES.get(option, option) for option in options}
    meant |= {name for option in options for name in EITHER.get(option, ())}
    for verb in BY_COMMAND[words]:
        for name in verb.inputs:
            is_said = ("*", name) in INPUTS or (verb.name, name) in INPUTS
            assert name in meant or is_said, f"{verb.name}: {name}"


@pytest.mark.parametrize("name", VERBS)
def test_who_may_change_something(name: str) -> None:
    """A verb that only reads is a GET and the other way round, but for the doctor, which starts programs."""
    verb = VERBS[name]
    assert verb.is_read == (verb.method == "GET") or name == "town.doctor"
    assert verb.help.strip()


def test_rest_has_every_verb_and_no_other() -> None:
    """Routes are verbs, streams and probes; each verb has the method, path and scope that it says."""
    made = app.make(Town(Path("/no-town"), Config(name="my-project")), Townhall())
    routes = [route for route in made.router.routes if isinstance(route, APIRoute) and route.include_in_schema]
    found = {str(route.operation_id): route for route in routes}
    assert set(found) == {*VERBS, *STREAMS, *PROBES}
    for name, verb in VERBS.items():
        assert (found[name].path_format, found[name].methods) == (verb.path, {verb.method})
        extra = found[name].openapi_extra
        assert extra is not None
        assert Scope(extra["x-scope"]) is verb.scope


def test_mcp_has_every_verb_and_no_other() -> None:
    """Each verb is a tool of its name."""
    assert {tool.name for tool in tools.Tools().listed} == set(VERBS)
