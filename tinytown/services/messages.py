"""Messages: send, look into mailboxes, dead letters."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from tinytown import clock, ids
from tinytown.domain.event import Event, task_changed
from tinytown.domain.message import Message, Priority, Sort, Unreadable, confirmation_of, parse
from tinytown.domain.states import TASK_RETRY, AgentState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, Forbidden, NotFound, TaskNotFound
from tinytown.services import agents, dependencies, mail, tasks
from tinytown.services.caller import Caller
from tinytown.store.inboxes import DeadLetter
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

KINDS = ("task", "query", "info", "ack")
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox: urgent mail first, then the inbox. `state` is None for the conductor's.

    `broken` are the texts in it that are no messages.
    """

    id: str
    name: str
    state: AgentState | None
    messages: list[Message]
    broken: list[str]
    claimed: int
    dead: int

    @property
    def unreadable(self) -> int:
        """How many texts are no messages."""
        return len(self.broken)

    def count(self, *sorts: Sort) -> int:
        """How many messages are of these sorts."""
        return sum(message.sort in sorts for message in self.messages)

    @property
    def actionable(self) -> int:
        """How many start a run."""
        return sum(message.is_actionable for message in self.messages)


def send(
    town: Town,
    to: str,
    text: str,
    caller: Caller,
    *,
    kind: str = "task",
    urgent: bool = False,
    sender: str | None = None,
) -> Message:
    """Put a message into a mailbox. Raises AgentNotFound for the recipient or the sender, Invalid."""
    clean = tasks.check_description(text)
    town.ensure_redis()
    from_id = agents.mailbox_of(town, sender)[0] if sender else caller.id
    body_type, payload = _body(kind, clean)
    priority = Priority.URGENT if urgent else Priority.NORMAL
    unaddressed = mail.compose(from_id, "", body_type, payload, priority=priority)

    def build(tx: Transaction) -> Message:
        to_id, _name = agents.mailbox_of(town, to)  # again in each try: a new agent may have taken over the name
        message = replace(unaddressed, to=to_id)
        tx.once(message.id)
        mail.deliver(town, tx, message)
        return message

    return change(town.store, build)


def mailbox(town: Town, reference: str) -> Mailbox:
    """One mailbox, whole. Raises AgentNotFound."""
    box_id, name = agents.mailbox_of(town, reference)
    state = None if box_id == ids.SUPERVISOR_ID else agents.resolve(town, box_id).agent.state
    return _mailboxes(town, [(box_id, name, state)])[0]


def all_mailboxes(town: Town) -> list[Mailbox]:
    """Every agent's mailbox in the order of names, the conductor's last."""
    boxes: list[tuple[str, str, AgentState | None]] = [
        (row.agent.id, row.agent.name, row.agent.state) for row in town.store.agents.all()
    ]
    return _mailboxes(town, [*boxes, (ids.SUPERVISOR_ID, "conductor", None)])


def acknowledge(town: Town, box: Mailbox) -> int:
    """Take what is in `box`, the conductor's, out of the mailbox; mail that came since it was read stays.

    Returns how many this call took: somebody else may have been quicker. Raises Forbidden for an agent's mailbox.
    """
    require_conductors(box)
    return len(_take_out(town, [message.raw for message in box.messages] + box.broken))


def acknowledge_read(town: Town, read: Iterable[str]) -> list[str]:
    """Take what has these ids (`Message.id`, `broken_id`) out of the conductor's mailbox, and nothing else.

    Returns the ids of what this call took: what is no longer there is passed over. By hundreds, each hundred whole or
    not at all; a repeat goes on. Texts that came by hand and are the same share an id: one goes each time it is named.
    """
    wanted, named = Counter(read), []
    box = mailbox(town, ids.SUPERVISOR_ID)
    texts = [(message.id, message.raw) for message in box.messages] + [(broken_id(text), text) for text in box.broken]
    for identifier, text in texts:
        if wanted[identifier]:
            wanted[identifier] -= 1
            named.append(text)
    return [mail.message_id(text) or broken_id(text) for text in _take_out(town, named)]


def require_conductors(box: Mailbox) -> None:
    """Raise Forbidden for an agent's mailbox: what it holds is for its rounds."""
    if box.id != ids.SUPERVISOR_ID:
        text = f"The mail of agent '{box.name}' is its own: its rounds take it."
        raise Forbidden(text, "Only the conductor's mail can be acknowledged: tt inbox conductor --ack-all")


def dead_letters(town: Town, reference: str | None = None) -> list[tuple[str, DeadLetter]]:
    """(agent name, letter) of one agent or of all, oldest first per agent."""
    rows = [agents.resolve(town, reference)] if reference else town.store.agents.all()
    return [(row.agent.name, letter) for row in rows for letter in town.store.inboxes.dead(row.agent.id)]


def retry_dead(town: Town, letter_id: str, agent: str | None = None) -> Message:
    """Put a dead letter back into the inbox with fresh attempts; its failed task is assigned again.

    `letter_id` is a prefix of the message's or its task's id, or its id in tasks.toml. Returns the message, addressed
    to who has it now. Raises NotFound, Conflict (also when its task cannot start: it goes on, is done, or depends on
    one that is not completed).
    """
    town.ensure_redis()

    def build(tx: Transaction) -> Message:
        agent_id, letter, message = _find_dead(town, letter_id, agent)
        if message is None:
            raise Conflict("It is no readable message.", f"Drop it with: tt inbox --dead --drop {letter_id}")
        if message.task_id:
            raw, task = _startable(town, message.task_id, lambda: _find_dead(town, letter_id, agent))
            again = task.retried(agent_id, clock.stamp())
            tx.save_task(raw, again, task)
            tx.event(task_changed("task_retried", "out of the dead letters", again, task.state, clock.stamp()))
        tx.expect_member(tx.keys.dead(agent_id), letter.raw)
        tx.do("LREM", tx.keys.dead(agent_id), 1, letter.raw)
        tx.do("HDEL", tx.keys.attempts(agent_id), message.id)
        tx.put(agent_id, message)
        tx.event(mail.message_event("message_retried", "out of the dead letters", message, agent_id))
        return replace(message, to=agent_id)  # a later agent of that name may have taken it over

    return change(town.store, build)


def _startable(town: Town, task_id: str, look_again: Callable[[], object]) -> tuple[str, Task]:
    """The letter's task, which can be given to its agent at once. `look_again` raises when the letter has gone."""
    drop = f"Drop the letter with: tt inbox --dead --drop {ids.short(task_id)}"
    try:
        raw, task = tasks.find(town, task_id)
    except TaskNotFound as error:
        raise NotFound(f"The task of this letter, {ids.short(task_id)}, is gone.", drop) from error
    if task.state not in TASK_RETRY:
        look_again()  # somebody else has just taken it out
        raise Conflict(f"The task of this letter, {ids.short(task_id)}, is {task.state}.", drop)
    tasks.check_not_of_mission(task)
    if others := dependencies.open_ones(town, task.depends_on or []):
        waits = dependencies.named([other for _raw, other in others])
        retry = f"To let it wait for that: tt task retry {ids.short(task_id)}"
        raise Conflict(f"The task of this letter depends on {waits}.", retry)
    return raw, task


def drop_dead(town: Town, letter_id: str, agent: str | None = None) -> DeadLetter:
    """Delete a dead letter for good, with an event. Raises NotFound, Conflict (ambiguous)."""
    town.ensure_redis()

    def build(tx: Transaction) -> DeadLetter:
        agent_id, letter, message = _find_dead(town, letter_id, agent)
        tx.expect_member(tx.keys.dead(agent_id), letter.raw)
        tx.do("LREM", tx.keys.dead(agent_id), 1, letter.raw)
        if message is not None:
            tx.event(mail.message_event("message_dropped", "dropped from the dead letters", message, agent_id))
        return letter

    return change(town.store, build)


def letter_id(letter: DeadLetter) -> str:
    """What `--retry` and `--drop` take for this letter."""
    message = letter.message
    return broken_id(letter.raw) if message is None else message.id


def broken_id(text: str) -> str:
    """What stands for the id of a text that is no message, made of it: the same text has the same."""
    import hashlib  # noqa: PLC0415  rare

    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _take_out(town: Town, texts: list[str]) -> list[str]:
    """Those of the texts that this call took out of the conductor's mailbox."""
    town.ensure_redis()
    chunks = (texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE))
    return [text for some in chunks for text in change(town.store, functools.partial(_acknowledge, town, some))]


def _acknowledge(town: Town, shown: list[str], tx: Transaction) -> list[str]:
    owner = ids.SUPERVISOR_ID
    urgent, inbox = (Counter(texts) for texts in town.store.inboxes.peek(owner))
    taken = []
    for text in shown:
        lies_in, home = (urgent, tx.keys.urgent(owner)) if urgent[text] else (inbox, tx.keys.inbox(owner))
        if not lies_in[text]:
            continue
        lies_in[text] -= 1
        tx.expect_member(home, text, "mail")
        tx.do("LREM", home, 1, text)
        said = "read and acknowledged"
        tx.event(Event("message_acked", said, clock.stamp(), agent_id=owner, message_id=mail.message_id(text)))
        taken.append(text)
    return taken


def _body(kind: str, text: str) -> tuple[str, dict[str, Any]]:
    match kind:
        case "query":
            return "query", {"question": text}
        case "info":
            return "informational", {"summary": text}
        case "ack":
            return "confirmation", {"ack_type": confirmation_of(text)}
        case _:
            return "task", {"description": text}


def _find_dead(town: Town, reference: str, agent: str | None) -> tuple[str, DeadLetter, Message | None]:
    rows = [agents.resolve(town, agent)] if agent else town.store.agents.all()
    text, planned = reference.strip().lower(), ids.derived_id(town.name, reference.strip())
    found = []
    for row in rows:
        for letter in town.store.inboxes.dead(row.agent.id):
            message = letter.message
            candidates = [letter_id(letter)] + ([message.task_id] if message and message.task_id else [])
            if planned in candidates or (len(text) >= ids.PREFIX_MIN and any(c.startswith(text) for c in candidates)):
                found.append((row.agent.id, letter, message))
    if not found:
        raise NotFound(f"No dead letter {reference}.", "See them with: tt inbox --all --dead")
    if len(found) > 1:
        raise Conflict(f"Dead letter '{reference}' is ambiguous ({len(found)} match).", "Give more of the id.")
    return found[0]


def _mailboxes(town: Town, boxes: list[tuple[str, str, AgentState | None]]) -> list[Mailbox]:
    keys = town.store.keys
    lengths = town.store.inboxes.lengths([box_id for box_id, _name, _state in boxes])
    lists = town.store.read(
        *(("LRANGE", kind(box_id), 0, -1) for box_id, _name, _state in boxes for kind in (keys.urgent, keys.inbox))
    )
    found = []
    for n, (box_id, name, state) in enumerate(boxes):
        messages, broken = _readable(lists[2 * n] + lists[2 * n + 1])
        found.append(Mailbox(box_id, name, state, messages, broken, lengths[n].claimed, lengths[n].dead))
    return found


def _readable(texts: list[str]) -> tuple[list[Message], list[str]]:
    messages, broken = [], []
    for text in texts:
        try:
            messages.append(parse(text))
        except Unreadable:
            broken.append(text)
    return messages, broken
