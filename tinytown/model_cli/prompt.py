"""The prompt of one round, in markdown. Pure.

What users and agents wrote stands in fences, verbatim and in full; the rest is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tinytown.domain.message import Message, Priority
from tinytown.domain.task import Task
from tinytown.ids import SUPERVISOR_ID
from tinytown.model_cli.marks import fenced, mark

_LINE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a round is about.

    `team` is (name, role, state); `attempts` the number of this attempt by message id; `names` those of senders by id.
    `branch` is that of the agent's own worktree, None in the main checkout.
    """

    town: str
    agent_name: str
    agent_id: str
    items: Sequence[Message]
    role: str | None = None
    round_number: int = 1
    max_rounds: int = 1
    team: Sequence[tuple[str, str | None, str]] = ()
    tasks: Mapping[str, Task] = field(default_factory=dict)
    informational: Sequence[Message] = ()
    confirmations: Sequence[Message] = ()
    backlog: Sequence[Task] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    complete_on: str = "exit"
    branch: str | None = None
    main_checkout: str = ""


def render(p: Prompt) -> str:
    """The text that the model CLI gets."""
    sections = [_who(p), _work(p), _context(p), _backlog(p), _commands(p), _finish(p)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _who(p: Prompt) -> str:
    role = f", role {p.role}" if p.role else ""
    lines = [
        f"# You are {p.agent_name}{role}, an agent of the town {p.town}",
        "",
        f"Your agent id is {p.agent_id}. This is round {p.round_number} of at most {p.max_rounds}.",
        "Nobody watches this session: do the work below now, without asking for confirmation.",
    ]
    if p.branch is not None:
        lines += [
            "",
            f"You are in a git worktree of your own, on the branch `{p.branch}`; nobody else works in it.",
            "Commit there what you finish, and stay on that branch. What you commit is merged into the main checkout",
            f"by whoever reviews it: change nothing in {p.main_checkout} yourself.",
        ]
    if p.team:
        lines += ["", "Your team mates:", ""]
        lines += [f"- {name}{f' ({role})' if role else ''}: {state}" for name, role, state in p.team]
    return "\n".join(lines)


def _work(p: Prompt) -> str:
    urgent_first = sorted(p.items, key=lambda message: message.priority is not Priority.URGENT)
    blocks = [_item(p, number, message) for number, message in enumerate(urgent_first, 1)]
    return "\n\n".join(["## Your work", *blocks])


def _item(p: Prompt, number: int, message: Message) -> str:
    task = message.task_id
    sender = _sender(p, message)
    kind = {"task_assign": "Task", "task": "Task", "query": "Question"}.get(message.type, "Message")
    urgent = "URGENT: " if message.priority is Priority.URGENT else ""
    about = f"Task id {task}, message id {message.id}." if task else f"Message id {message.id}."
    if message.type == "query":
        about += f' Answer with: tt send {sender} --info "..."'
    attempt = p.attempts.get(message.id, 1)
    if attempt > 1:
        about += (
            f"\n\nThis is attempt {attempt}: an earlier run ended before it was done. "
            "Look first at what is already there, and do not do it twice."
        )
    return "\n\n".join(
        [
            f"### {number}. {urgent}{kind} from {sender}",
            about,
            mark(message.id, task, message.type, sender) + "\n" + fenced(_text(p, message)),
        ],
    )


def _text(p: Prompt, message: Message) -> str:
    if message.task_id is None:
        return message.text
    task = p.tasks.get(message.task_id)
    return task.description if task else f"(The record of task {message.task_id} is missing.)"


def _context(p: Prompt) -> str:
    if not p.informational and not p.confirmations:
        return ""
    blocks = ["## For your information (nothing to do)"]
    blocks += [f"From {_sender(p, m)}, {m.type}:\n\n{fenced(m.text)}" for m in p.informational]
    if p.confirmations:
        blocks.append("Confirmations:\n\n" + "\n".join(f"- {_sender(p, m)}: {_short(m.text)}" for m in p.confirmations))
    return "\n\n".join(blocks)


def _backlog(p: Prompt) -> str:
    if not p.backlog:
        return ""
    lines = [f"- {task.id}: {_short(task.description)}" for task in p.backlog]
    return "\n".join(
        [
            "## Backlog that fits your role (nobody has it yet)",
            "",
            f"Claim one only when your work above is done: tt backlog claim <task id> {p.agent_name}",
            "",
            *lines,
        ],
    )


def _commands(p: Prompt) -> str:
    return "\n".join(
        [
            "## Commands you may use",
            "",
            '- `tt task complete <task id> --result "what you did"`: your task is done',
            "- `tt task current`: the task you are on",
            '- `tt send <agent> --query "..."`, `tt send <agent> --info "..."`: ask or tell a team mate',
            '- `tt assign <agent> "..."`: give a team mate a task',
            "- `tt status`: the town",
            f"- `tt backlog list`, `tt backlog claim <task id> {p.agent_name}`: work that nobody has",
        ],
    )


def _finish(p: Prompt) -> str:
    if p.complete_on == "explicit":
        how = (
            "A task is done only when you have called `tt task complete` for it. "
            "Call it for every task above that you finished, then end the session."
        )
    else:
        how = (
            "When a task is done, call `tt task complete` for it with a short result, then end the session. "
            "If you end the session well without that, the task counts as done, with the end of your output as result."
        )
    failing = "If you cannot do it, say why and end with an error, or ask the sender with `tt send`."
    return f"## How to finish\n\n{how}\n\n{failing}"


def _sender(p: Prompt, message: Message) -> str:
    if message.sender == SUPERVISOR_ID:
        return "supervisor"
    return p.names.get(message.sender) or _short(message.sender)


def _short(text: str) -> str:
    flat = " ".join(text.replace("`", "'").replace("<!--", "<! --").split())
    return flat if len(flat) <= _LINE else flat[: _LINE - 1] + "…"
