"""What can be done to what is selected in `tt top`, by which key; and doing it, in one line of answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinytown import ids
from tinytown.services import agents, messages, steering, tasks, why
from tinytown.services.caller import from_environment
from tinytown.services.missions import control, verdicts
from tinytown.town import Town

Row = dict[str, Any]


class Offer(NamedTuple):
    """A key, the word that is shown for it, and the verb it does to `target` (an id).

    `asks`: for the text that the verb needs, `confirms`: whether it is really meant; in words. With both, the text is
    the target, and `{}` of the question is it. `run` is the mission of a work item.
    """

    key: str
    word: str
    verb: str
    target: str
    asks: str | None = None
    confirms: str | None = None
    run: str | None = None

    def aimed(self, text: str) -> Offer:
        """The same at what was typed: it only has to be confirmed."""
        return self._replace(target=text, asks=None, confirms=(self.confirms or "").format(text))


def offers(kind: str, row: Row) -> list[Offer]:
    """The keys that do something to this need, agent, task or mission, as it is now."""
    return _OFFERS[kind](row)


def do(town: Town, offer: Offer, text: str = "") -> str:
    """Do it; what came of it. Raises TinytownError. May wait some seconds for an agent to obey."""
    return _VERBS[offer.verb](town, offer, text)


def explain(town: Town, reference: str) -> str:
    """What the agent or task of this id waits for, over several lines. Raises NotFound."""
    found = why.explain(town, reference)
    head = f"Agent '{found.name}'" if found.kind == "agent" else f"Task {found.id[:8]}"
    parts = [f"{head} ({found.state})", ""]
    for reason in found.reasons:
        parts += [f"- {reason.text}", *([f"    Remedy: {reason.remedy}"] if reason.remedy else [])]
    return "\n".join(parts)


def _of_agent(row: Row) -> list[Offer]:
    target, name = row["id"], row["name"]
    found = [Offer("m", "message", "message.send", target, asks=f"Message to {name}")]
    if row["wanted"] and (row["pausing"] or row["state"] == "paused"):
        found.append(Offer("r", "resume", "agent.resume", target))
    elif row["wanted"] and not row["stopping"]:
        found.append(Offer("i", "interrupt", "agent.interrupt", target))
    if row["wanted"] and row["stopping"] is None:
        sure = f"Stop agent '{name}' after its round?"
        found.append(Offer("s", "stop", "agent.kill", target, confirms=sure))
    elif row["stopping"] == "graceful":
        sure = f"End the round of agent '{name}' now?"
        found.append(Offer("s", "stop now", "agent.kill_now", target, confirms=sure))
    if not row["wanted"]:
        found.append(Offer("R", "restart", "agent.restart", target))
    return found


def _of_task(row: Row) -> list[Offer]:
    if row["state"] in {"failed", "cancelled"} and not row["mission_id"]:
        return [Offer("t", "retry", "task.retry", row["id"])]
    return [] if row["state"] in {"completed", "failed", "cancelled"} else [_cancel_task(row["id"])]


def _cancel_task(task_id: str) -> Offer:
    sure = f"Cancel task {ids.short(task_id)}? A run of it ends."
    return Offer("c", "cancel", "task.cancel", task_id, confirms=sure)


def _of_mission(row: Row) -> list[Offer]:
    if row["state"] in {"completed", "failed"}:
        return []
    mission_id, short = row["id"], ids.short(row["id"])
    out = f"Take item {{}} out of mission {short}? A run of it ends."
    which = "Which item is to be cancelled (its number)"
    rest = [
        _note(mission_id),
        Offer("c", "cancel an item", "mission.cancel", "", run=mission_id, asks=which, confirms=out),
    ]
    if row["stopped"]:
        return [Offer("r", "resume", "mission.resume", mission_id), *rest]
    sure = f"Stop mission {short}? Running rounds end by themselves."
    return [Offer("s", "stop", "mission.stop", mission_id, confirms=sure), *rest]


def _note(mission_id: str) -> Offer:
    asks = f"Note for those who work on mission {ids.short(mission_id)}"
    return Offer("n", "note", "mission.note", mission_id, asks=asks)


def _of_need(row: Row) -> list[Offer]:
    item, run, task, letter = (row[name] or "" for name in ("item_id", "mission_id", "task_id", "letter_id"))
    must = "What must change (its author gets this)"
    sure = f"Take {row['title'].partition(': ')[0]} out of its mission? A run of it ends."
    known = [
        Offer("a", "approve", "mission.approve", item, run=run),
        Offer("x", "reject", "mission.reject", item, run=run, asks=must),
        Offer("t", "retry", "mission.retry", item, run=run),
        Offer("t", "retry", "task.retry", task),
        Offer("c", "cancel", "mission.cancel", item, run=run, confirms=sure),
        _cancel_task(task),
        _note(run),
        Offer("t", "retry", "message.retry_dead", letter),
        Offer("R", "restart", "agent.restart", row["agent"] or ""),
    ]
    found = [offer for offer in known if offer.verb in row["actions"]]
    if row["agent"]:
        found.append(Offer("m", "message", "message.send", row["agent"], asks=f"Message to {row['agent']}"))
    return found


def _send(town: Town, offer: Offer, text: str) -> str:
    sent = messages.send(town, offer.target, text, from_environment())
    return f"Sent to '{agents.mailbox_of(town, sent.to)[1]}' ({sent.id[:8]})."


def _interrupt(town: Town, offer: Offer, _text: str) -> str:
    done = steering.interrupt(town, offer.target, from_environment())
    when = "is paused" if done.agent.state == "paused" else "pauses after its round"
    return f"Agent '{done.agent.name}' {when if done.is_attended else 'is paused as soon as somebody runs it'}."


def _resume(town: Town, offer: Offer, _text: str) -> str:
    return f"Resumed agent '{steering.resume(town, offer.target).agent.name}'."


def _kill(town: Town, offer: Offer, _text: str) -> str:
    is_now = offer.verb == "agent.kill_now"
    name = agents.kill(town, offer.target, now=is_now).agent.name
    return f"Agent '{name}' is asked to stop {'at once' if is_now else 'after its round'}."


def _restart(town: Town, offer: Offer, _text: str) -> str:
    return f"Restarted agent '{agents.restart(town, offer.target).name}'."


def _retry_task(town: Town, offer: Offer, _text: str) -> str:
    done = tasks.retry(town, offer.target, from_environment())
    return f"Task {ids.short(done.id)} runs again ({done.state})."


def _end_task(town: Town, offer: Offer, _text: str) -> str:
    done = tasks.cancel(town, offer.target, None, from_environment())
    return f"Task {ids.short(done.id)} is cancelled."


def _retry_dead(town: Town, offer: Offer, _text: str) -> str:
    back = messages.retry_dead(town, offer.target)
    return f"Put back for '{agents.mailbox_of(town, back.to)[1]}' ({ids.short(back.id)})."


def _approve(town: Town, offer: Offer, _text: str) -> str:
    return f"Approved {verdicts.approve(town, offer.target, from_environment(), run=offer.run).source_ref}."


def _reject(town: Town, offer: Offer, text: str) -> str:
    done = verdicts.reject(town, offer.target, text, from_environment(), run=offer.run)
    return f"Rejected {done.source_ref}: it goes back to its author."


def _retry_item(town: Town, offer: Offer, _text: str) -> str:
    return f"{control.retry(town, offer.target, from_environment(), run=offer.run).source_ref} goes on."


def _cancel_item(town: Town, offer: Offer, _text: str) -> str:
    done = control.cancel(town, offer.target, from_environment(), run=offer.run)
    return f"{done.source_ref} is taken out of its mission."


def _leave_note(town: Town, offer: Offer, text: str) -> str:
    noted = control.note(town, offer.target, text, from_environment())
    return f"The note is in the log of mission {ids.short(noted.id)}."


def _stop_mission(town: Town, offer: Offer, _text: str) -> str:
    return f"Stopped mission {control.stop(town, offer.target, from_environment()).mission.id[:8]}."


def _resume_mission(town: Town, offer: Offer, _text: str) -> str:
    return f"Resumed mission {control.resume(town, offer.target, from_environment()).id[:8]}."


_OFFERS: dict[str, Callable[[Row], list[Offer]]] = {
    "agent": _of_agent,
    "task": _of_task,
    "mission": _of_mission,
    "need": _of_need,
}
_VERBS: dict[str, Callable[[Town, Offer, str], str]] = {
    "message.send": _send,
    "message.retry_dead": _retry_dead,
    "agent.interrupt": _interrupt,
    "agent.resume": _resume,
    "agent.kill": _kill,
    "agent.kill_now": _kill,
    "agent.restart": _restart,
    "task.retry": _retry_task,
    "task.cancel": _end_task,
    "mission.approve": _approve,
    "mission.reject": _reject,
    "mission.retry": _retry_item,
    "mission.cancel": _cancel_item,
    "mission.note": _leave_note,
    "mission.stop": _stop_mission,
    "mission.resume": _resume_mission,
}
