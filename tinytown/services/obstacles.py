"""What stands between an agent and its mail: wish, flags, rounds, the CLI's hold, failures, the supervisor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tinytown import clock, ids
from tinytown.domain.agent import Agent
from tinytown.domain.message import Message
from tinytown.domain.record import load
from tinytown.domain.standing import Block, Standing, is_late
from tinytown.domain.states import AgentState
from tinytown.errors import Unavailable
from tinytown.services import messages, recovery, supervision
from tinytown.store.agents import AgentRow, counters
from tinytown.town import Town


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason. `remedy` is the command (or the deed) that helps; `until` the UTC time when it passes by itself."""

    code: str
    text: str
    remedy: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One moment of an agent. `standing` is None when it is not wanted; `hold` is its CLI's, as it is stored.

    By message id: `attempts` that failed, and `failures`, the events of those that this actor put back last.
    """

    row: AgentRow
    standing: Standing | None
    hold: dict[str, Any]
    box: messages.Mailbox
    attempts: dict[str, int]
    failures: dict[str, dict[str, Any]]

    def counts(self, message: Message) -> bool:
        """It starts a round in this life of the agent."""
        closed_at = self.standing.wish.closed_at if self.standing else None
        return message.is_actionable and not is_late(message.created_at, closed_at)

    @property
    def due(self) -> list[Message]:
        """The mail that counts, in its order."""
        return [message for message in self.box.messages if self.counts(message)]


def look(town: Town, row: AgentRow) -> Seen:
    """Read it all."""
    keys, agent = town.store.keys, row.agent
    stop, pause, left_ms, hold, tried = town.store.read(
        ("EXISTS", keys.stop(agent.id)),
        ("EXISTS", keys.pause(agent.id)),
        ("PTTL", keys.hold(agent.cli)),
        ("GET", keys.hold(agent.cli)),
        ("HGETALL", keys.attempts(agent.id)),
    )
    standing = None if row.wish is None else Standing(
        wish=row.wish,
        stop_flag=bool(stop),
        pause_flag=bool(pause),
        all_rounds=row.stats.get("rounds", 0),
        held_s=max(0, left_ms) / 1000,
    )  # fmt: skip
    attempts = counters(tried)
    box = messages.mailbox(town, agent.id)
    return Seen(row, standing, _decoded(hold), box, attempts, _failures(town, agent.id) if attempts else {})


def of_agent(town: Town, seen: Seen) -> list[Reason]:
    """Everything that keeps it from taking up work, the strongest first."""
    agent, standing = seen.row.agent, seen.standing
    if standing is None and not agent.state.is_terminal:
        return [Reason("not_run", f"nothing runs it ({agent.state.label})", f"tt restart {agent.name}")]
    if standing is None:
        text = f"it has ended ({agent.state.label}) at {local(agent.last_active_at)}"
        why = f": {shown(agent.reason, 300)}" if agent.reason else ""
        return [Reason(agent.state.value, text + why, f"tt restart {agent.name}")]
    reasons = without_process(town, seen)
    match standing.block:
        case Block.STOPPING:
            now = standing.stop == "now"
            how = "at once" if now else "after its round"
            reasons.append(
                Reason("stopping", f"it is asked to stop {how}", None if now else f"tt kill {agent.name} --now")
            )
        case Block.PAUSED:
            soon = "it pauses after its round" if seen.box.claimed else "it is to be paused"
            text = "it is paused" if agent.state is AgentState.PAUSED else soon
            reasons.append(Reason("paused", text, f"tt resume {agent.name}"))
        case Block.SPENT:
            text = f"it has used its {standing.wish.rounds} rounds and stops"
            reasons.append(Reason("spent", text, f"tt wait {agent.name} && tt restart {agent.name} --rounds N"))
        case Block.HELD:
            reasons.append(_held(seen, standing))
        case None:
            pass
    return reasons


def without_process(town: Town, seen: Seen) -> list[Reason]:
    """Why no process of a wanted agent lives; empty when one does."""
    agent, wish = seen.row.agent, seen.row.wish
    if wish is None or recovery.actor_of(town, agent) is not None:
        return []
    if wish.host not in (None, town.host):
        if town.store.agents.lease(agent.id) is not None:
            return []
        return [Reason("other_host", f"nobody runs it on host '{wish.host}'", "tt supervise --detach (on that host)")]
    if wish.foreground:
        return [Reason("no_terminal", "the terminal it ran in has gone", f"tt kill {agent.name}")]
    if not supervision.is_running(town):
        return [Reason("no_supervisor", "no supervisor is running", "tt supervise --detach")]
    return [_left_behind(town, agent) or _restarting(town, agent.id)]


def busy(town: Town, seen: Seen) -> Reason:
    """What the round that runs now is about."""
    agent = seen.row.agent
    found = town.store.tasks.get(agent.current_task) if agent.current_task else None
    what = f"task {ids.short(found[1].id)} ({shown(found[1].description)})" if found else "its messages"
    return Reason("working", f"it works on {what} since {local(agent.last_active_at)}", f"tt logs {agent.name}")


def backing_off(town: Town, seen: Seen, message: Message) -> Reason | None:
    """The message has failed and is not due again yet, as its actor was told; a new actor tries at once."""
    event = seen.failures.get(message.id, {})
    until = event.get("retry_at")
    if not isinstance(until, str) or until <= clock.stamp():
        return None
    count = f"{seen.attempts.get(message.id, 1)} of {town.config.agent.max_attempts}"
    text = f"attempt {count} failed ({shown(event.get('message'))}); the next is due at {local(until)}"
    return Reason("backing_off", text, f"tt logs {seen.row.agent.name}", until)


def local(at: str | None) -> str:
    """A time for people: `14:10:00` of this machine, with the date unless it is today."""
    try:
        moment = clock.parse(at or "").astimezone()
    except ValueError:
        return "an unknown time"
    is_today = moment.date() == clock.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def counted(number: int, noun: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown(text: object, width: int = 60) -> str:
    """One line of somebody's words."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."


def _held(seen: Seen, standing: Standing) -> Reason:
    """The hold of its CLI, in the words of the outcome that caused it."""
    cli, kind = seen.row.agent.cli, str(seen.hold.get("kind") or "held")
    until = clock.stamp(datetime.fromtimestamp(clock.wall() + standing.held_s, UTC))
    by = f" by '{shown(seen.hold.get('by'))}'" if seen.hold.get("by") else ""
    detail = f": {shown(seen.hold['detail'], 160)}" if seen.hold.get("detail") else ""
    remedies = {
        "auth_failed": f"log in to '{shown(cli)}'",
        "not_found": f"install '{shown(cli)}', or correct its command",
    }
    text = f"CLI '{shown(cli)}' is held until {local(until)} ({kind.replace('_', ' ')}{by}{detail})"
    return Reason("held", text, remedies.get(kind), until)


def _left_behind(town: Town, agent: Agent) -> Reason | None:
    """What keeps the supervisor from starting it: a process of its last round that cannot be killed."""
    left = recovery.leftovers(town.journal(agent.name), agent.id)
    if not left:
        return None
    pid = left[0].pid
    return Reason("leftovers", f"process {pid} of its last round has not ended yet", f"End it: sudo kill {pid}")


def _restarting(town: Town, agent_id: str) -> Reason:
    """What the supervisor says of a child without a process."""
    try:
        status = supervision.status(town) or {}
    except Unavailable:
        return Reason("no_process", "its process has gone, and the supervisor does not answer", "tt supervise --status")
    child: dict[str, Any] = next((c for c in status.get("children", ()) if c["id"] == agent_id), {})
    after_s, restarts = float(child.get("start_in_s") or 0.0), int(child.get("restarts") or 0)
    until = clock.stamp(datetime.fromtimestamp(clock.wall() + after_s, UTC)) if after_s else None
    policy = town.config.supervisor
    limit = f"it gives up after {policy.restart_intensity} in {policy.restart_period_s:g} s"
    when = f"at {local(until)}" if until else "now"
    text = f"its process has gone; the supervisor starts it again {when} (restart {restarts}; {limit})"
    return Reason(
        "restarting", text if restarts else "the supervisor is about to start it", "tt supervise --status", until
    )


def _failures(town: Town, agent_id: str) -> dict[str, dict[str, Any]]:
    """Message id -> the event that put it back last, since the agent's actor began (a new one tries at once)."""
    found: dict[str, dict[str, Any]] = {}
    for _id, event in town.store.events.backwards():
        if event.get("agent_id") != agent_id:
            continue
        if event.get("event_type") == "agent_started":
            break
        if event.get("event_type") == "message_requeued":
            found.setdefault(str(event.get("message_id")), event)
    return found


def _decoded(raw: str | None) -> dict[str, Any]:
    try:
        stored = load(raw or "{}")
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}
