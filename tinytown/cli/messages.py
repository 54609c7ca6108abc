"""`tt send`, `tt inbox`, and the former `tt tasks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.domain.message import Message
    from tinytown.services.messages import Mailbox
    from tinytown.store.inboxes import DeadLetter
    from tinytown.town import Town

PREVIEWS = 5


@base.command(
    examples="tt send backend 'The API spec is ready in docs/api.md'\ntt send backend --query 'Can you take auth?'\n"
    "tt send reviewer --info 'CI is green'\ntt send conductor --ack 'Received.'\n"
    "tt send backend --urgent 'Stop the merge!'"
)
@click.argument("to")
@click.argument("message")
@click.option("--query", "kind", flag_value="query", help="A question that expects an answer.")
@click.option("--info", "kind", flag_value="info", help="For information; starts no run by itself.")
@click.option("--ack", "kind", flag_value="ack", help="A confirmation.")
@click.option("--urgent", is_flag=True, help="Read first in the next round.")
@click.option("--from", "sender", metavar="AGENT", help="Who sends it.  [default: you]")
def send(to: str, message: str, kind: str | None, *, urgent: bool, sender: str | None) -> None:
    """Send an agent a message."""
    from tinytown.services import agents, messages  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    town = base.open_town()
    kind = kind or "task"
    sent = messages.send(town, to, message, from_environment(), kind=kind, urgent=urgent, sender=sender)
    name = agents.mailbox_of(town, sent.to)[1]
    if urgent:
        render.out(f"{render.icon('🚨')}Sent URGENT {kind} message to '{name}'")
    else:
        render.out(f"{render.icon('📤')}Sent {kind} message to '{name}'")


@base.command(
    examples="tt inbox backend\ntt inbox --all\ntt inbox backend --dead\ntt inbox --dead --retry 550e8400\n"
    "tt inbox --dead --drop 550e8400\ntt inbox conductor --ack-all"
)
@click.argument("agent", required=False)
@click.option("--all", "-a", "everybody", is_flag=True, help="All agents' mailboxes.")
@click.option("--dead", is_flag=True, help="Dead letters: messages that were given up.")
@click.option("--retry", "retry_id", metavar="ID", help="Put this dead letter back, with fresh attempts.")
@click.option("--drop", "drop_id", metavar="ID", help="Delete this dead letter for good.")
@click.option("--ack-all", is_flag=True, help="Show the conductor's mail in full and take it out of the mailbox.")
@base.json_option()
def inbox(
    agent: str | None, *, everybody: bool, dead: bool, retry_id: str | None, drop_id: str | None, ack_all: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Show pending messages and dead letters."""
    if agent and everybody:
        raise click.UsageError("AGENT and --all exclude each other.")
    if retry_id and drop_id:
        raise click.UsageError("--retry and --drop exclude each other.")
    if ack_all and (everybody or dead or retry_id or drop_id or not agent):
        raise click.UsageError("--ack-all is for one mailbox: tt inbox conductor --ack-all")
    if retry_id or drop_id:
        _settle_dead(agent, retry_id, drop_id)
    elif dead:
        _show_dead(base.open_to_read(), agent, as_json=as_json)
    elif everybody:
        _show_all(base.open_to_read(), as_json=as_json)
    else:
        from tinytown.cli.tasks import own_name  # noqa: PLC0415  not for --help

        reference = agent or own_name()
        if reference is None:
            raise click.UsageError("Give an AGENT, or --all.")
        _show_one(base.open_to_read(), reference, ack_all=ack_all, as_json=as_json)


@base.command(examples="tt tasks\ntt inbox --all", hidden=True)
@base.json_option()
def tasks(*, as_json: bool) -> None:
    """Deprecated: use tt inbox --all."""
    render.talk("'tt tasks' is deprecated. Use 'tt inbox --all' instead.")
    _show_all(base.open_to_read(), as_json=as_json)


def _show_one(town: Town, reference: str, *, ack_all: bool, as_json: bool) -> None:
    from tinytown import ids  # noqa: PLC0415  not for --help
    from tinytown.services import messages, previews  # noqa: PLC0415  not for --help

    box = messages.mailbox(town, reference)
    if ack_all:
        messages.require_conductors(box)
    texts = previews.texts(town, box.messages)
    if as_json:
        render.print_json(_shape(box, texts))
    elif box.state is None:
        _print_letters(town, box, texts)
    else:
        _print_box(box, texts)
    if ack_all:
        render.flush()  # what could not be shown is not acknowledged
        render.talk(f"Acknowledged {messages.acknowledge(town, box)} message(s).")
    elif box.state is None and _total(box):
        if any(message.type == "query" and message.sender != ids.SUPERVISOR_ID for message in box.messages):
            render.talk("Answer a question with: tt send AGENT 'TEXT'")
        render.talk("Take them out of the mailbox with: tt inbox conductor --ack-all")


def _print_letters(town: Town, box: Mailbox, texts: dict[str, str]) -> None:
    """The mail of a person: who, when, and every word of it."""
    from tinytown import ids  # noqa: PLC0415  not for --help
    from tinytown.cli.tasks import names  # noqa: PLC0415  as above

    known = names(town) | {ids.SUPERVISOR_ID: "conductor"}
    render.out(f"{render.icon('📬')}Inbox for '{box.name}': {_total(box)} messages")
    for message in box.messages:
        urgent = (render.icon("🚨") or "URGENT ") if message.priority == "urgent" else ""
        sender = known.get(message.sender, message.sender[:8])
        when = f", {_when(message.created_at)}" if message.created_at else ""
        kind = message.type.replace("_", " ")
        render.out(f"\n   {urgent}{render.colour(render.clean(f'{kind} from {sender}'), 'bold')}{when}")
        render.out(f"      {render.indented(render.shown(texts[message.id]))}")
    for text in box.broken:
        render.out(f"\n   unreadable\n      {render.indented(render.shown(text))}")


def _when(at: str) -> str:
    """A time of this machine's zone, and how long ago that was."""
    from tinytown import clock  # noqa: PLC0415  not for --help
    from tinytown.services.obstacles import local  # noqa: PLC0415  as above

    return f"{local(at)} ({render.duration(clock.seconds_since(at))} ago)"


def _print_box(box: Mailbox, texts: dict[str, str]) -> None:
    render.out(f"{render.icon('📬')}Inbox for '{box.name}': {_total(box)} messages")
    if _total(box):
        _counts(box, "   ")
        _previews(box.messages, texts, "   ", limit=None)
    if box.claimed:
        render.out(f"   {box.claimed} more in the round that runs now")
    if box.dead:
        render.talk(f"{box.dead} dead letter(s). See them with: tt inbox {box.name} --dead")


def _show_all(town: Town, *, as_json: bool) -> None:
    from tinytown.services import messages, previews  # noqa: PLC0415  not for --help

    boxes = messages.all_mailboxes(town)
    texts = previews.texts(town, (m for box in boxes for m in box.messages))
    if as_json:
        render.print_json([_shape(box, texts) for box in boxes])
        return
    render.out(f"{render.icon('📋')}Pending Messages by Agent:")
    shown = [box for box in boxes if box.state is not None or _total(box)]
    for box in shown:
        render.out(f"\n  {box.name}{f' ({box.state.label})' if box.state else ''}:")
        _counts(box, "    ")
        _previews(box.messages, texts, "    ", limit=PREVIEWS)
    if not shown:
        render.out("\n  No agents. Run 'tt spawn <name>' to create one.")
    render.out(f"\nTotal: {sum(box.actionable for box in boxes)} actionable message(s)")
    dead = sum(box.dead for box in boxes)
    if dead:
        render.talk(f"{dead} dead letter(s). See them with: tt inbox --all --dead")


def _counts(box: Mailbox, indent: str) -> None:
    from tinytown.domain.message import Sort  # noqa: PLC0415  not for --help

    render.out(f"{indent}[T] {box.count(Sort.TASK)} tasks requiring action")
    render.out(f"{indent}[Q] {box.count(Sort.QUERY)} queries awaiting response")
    render.out(f"{indent}[I] {box.count(Sort.INFORMATION)} informational")
    render.out(f"{indent}[C] {box.count(Sort.CONFIRMATION)} confirmations")
    if control := box.count(Sort.CONTROL):
        render.out(f"{indent}[-] {control} for the agent's process itself")
    if box.unreadable:
        render.out(f"{indent}[!] {box.unreadable} unreadable")


def _previews(messages: list[Message], texts: dict[str, str], indent: str, limit: int | None) -> None:
    for message in messages[:limit]:
        urgent = (render.icon("🚨") or "URGENT ") if message.priority == "urgent" else ""
        render.out(f"{indent}- {urgent}{render.clean(texts[message.id], 100)}")
    if limit is not None and len(messages) > limit:
        render.out(f"{indent}- ... and {len(messages) - limit} more")


def _total(box: Mailbox) -> int:
    return len(box.messages) + box.unreadable


def _shape(box: Mailbox, texts: dict[str, str]) -> dict[str, Any]:
    from tinytown.services import shapes  # noqa: PLC0415  only with --json

    return shapes.mailbox(box, texts)


def _show_dead(town: Town, agent: str | None, *, as_json: bool) -> None:
    from tinytown.services import messages, previews, shapes  # noqa: PLC0415  not for --help

    found = messages.dead_letters(town, agent)
    if as_json:
        render.print_json([shapes.dead_letter(name, messages.letter_id(letter), letter) for name, letter in found])
        return
    if not found:
        render.out("No dead letters.")
        return
    texts = previews.texts(town, (letter.message for _name, letter in found if letter.message))
    render.out(f"{render.icon('💀')}Dead letters ({len(found)}):")
    for name, letter in found:
        _print_dead(name, letter, texts)
    render.talk("Put one back with: tt inbox --dead --retry ID; delete it with: tt inbox --dead --drop ID")


def _print_dead(name: str, letter: DeadLetter, texts: dict[str, str]) -> None:
    from tinytown import clock  # noqa: PLC0415  not for --help
    from tinytown.services import messages  # noqa: PLC0415  as above

    message = letter.message
    text = texts[message.id] if message else letter.text
    age = f"{render.duration(clock.seconds_since(letter.at))} ago, " if letter.at else ""
    identifier = messages.letter_id(letter)
    render.out(f"   {identifier[:13]} [{name}] {render.clean(text, 80)}")
    render.out(f"      {age}{letter.attempts} attempt(s): {render.clean(letter.reason, 160)}")


def _settle_dead(agent: str | None, retry_id: str | None, drop_id: str | None) -> None:
    from tinytown.services import agents, messages  # noqa: PLC0415  not for --help

    town = base.open_town()
    if retry_id:
        message = messages.retry_dead(town, retry_id, agent)
        where = agents.mailbox_of(town, message.to)[1]
        render.out(f"{render.icon('🔁')}Put message {message.id} back into the inbox of '{where}'")
    else:
        letter = messages.drop_dead(town, drop_id or "", agent)
        render.out(f"{render.icon('🗑️ ')}Dropped dead letter {messages.letter_id(letter)}")
