"""Mail by the channel: send, receive, broadcast."""

from __future__ import annotations

import pytest

from tests.support import town as towns
from tests.support.builders import by_hand, make_wish
from tests.support.waiting import wait_until
from tinytown import (
    Agent,
    AgentId,
    AgentNotFound,
    AgentState,
    Channel,
    ConfirmationType,
    Conflict,
    Invalid,
    Message,
    MessageBody,
    MessageType,
    Priority,
    Task,
    TaskNotFound,
    TaskState,
    Town,
    clock,
)
from tinytown.store.agents import save_wish
from tinytown.town import Town as OpenTown
from tinytown.town import change

BOSS = AgentId.supervisor()


def worker(api: Town, name: str = "worker") -> Agent:
    """An agent that the test itself runs."""
    agent = Agent(name, "python")
    agent.state = AgentState.IDLE
    api.channel().set_agent_state(agent)
    return agent


def say(text: str) -> MessageBody:
    return MessageType.Informational(summary=text)


def received(channel: Channel, agent_id: str) -> list[str]:
    """What all waiting messages say."""
    found = []
    while (message := channel.try_receive(agent_id)) is not None:
        assert isinstance(message.msg_type, MessageType.Informational)
        found.append(message.msg_type.summary)
    return found


def test_a_message_arrives_as_it_was_sent(api: Town) -> None:
    """Body, priority, correlation, sender and id; then the mailbox is empty, with an event for the message."""
    channel, agent = api.channel(), worker(api)
    sent = Message(BOSS, agent.id, MessageType.Confirmation(ack_type=ConfirmationType.Rejected(reason="no tests")))
    channel.send(sent.with_correlation("other"))
    assert channel.inbox_len(agent.id) == 1
    assert channel.try_receive(agent.id) == sent.with_correlation("other")
    assert channel.try_receive(agent.id) is None
    assert channel.inbox_len(agent.id) == 0


def test_the_order_is_by_priority(api: Town) -> None:
    """Urgent ones first, then high ones (the last first), then the others in order."""
    channel, agent = api.channel(), worker(api)
    for text, priority in (
        ("normal", Priority.NORMAL), ("low", Priority.LOW), ("high", Priority.HIGH), ("urgent", Priority.URGENT),
        ("high 2", Priority.HIGH), ("urgent 2", Priority.URGENT),
    ):  # fmt: skip
        channel.send(Message(BOSS, agent.id, say(text), priority=priority))
    assert channel.inbox_len(agent.id) == 6
    assert received(channel, agent.id) == ["urgent", "urgent 2", "high 2", "high", "normal", "low"]


def test_names_do_for_ids(api: Town) -> None:
    """A message to and from names is stored with ids; the conductor's mailbox goes by its name, too."""
    channel, agent, other = api.channel(), worker(api), worker(api, "other")
    channel.send(Message("other", "worker", say("hello")))
    channel.send(Message("worker", "conductor", say("done")))
    first, second = channel.try_receive("worker"), channel.try_receive(BOSS)
    assert first is not None
    assert second is not None
    assert (first.sender, first.to, second.sender, second.to) == (other.id, agent.id, agent.id, BOSS)


def test_a_message_is_accepted_once(api: Town) -> None:
    """Sent again it changes nothing, also when it has been received."""
    channel, agent = api.channel(), worker(api)
    message = Message(BOSS, agent.id, say("once"))
    channel.send(message)
    channel.send(message)
    assert received(channel, agent.id) == ["once"]
    channel.send(message)
    assert received(channel, agent.id) == []


def test_wrong_messages_change_nothing(api: Town, town: OpenTown) -> None:
    """An unknown recipient or sender, a payload of the wrong type."""
    channel, agent = api.channel(), worker(api)
    before = towns.snapshot(town)
    with pytest.raises(AgentNotFound, match="nobody"):
        channel.send(Message(BOSS, "nobody", say("x")))
    with pytest.raises(AgentNotFound, match="nobody"):
        channel.send(Message("nobody", agent.id, say("x")))
    with pytest.raises(Invalid, match="needs 'summary' as str"):
        channel.send(Message(BOSS, agent.id, say(7)))  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="Not a message"):
        channel.send(Message(BOSS, agent.id, MessageType.Query(question=object())))  # type: ignore[arg-type]
    with pytest.raises(AgentNotFound):
        channel.try_receive("nobody")
    for timeout in (-1.0, float("nan")):
        with pytest.raises(Invalid, match="time-out"):
            channel.receive(agent.id, timeout)
    assert towns.snapshot(town) == before


def test_half_a_character_is_replaced(api: Town) -> None:
    """A lone surrogate, which Redis could not store."""
    channel, agent = api.channel(), worker(api)
    channel.send(Message(BOSS, agent.id, say("half \ud83d")))
    assert received(channel, agent.id) == ["half " + 3 * "\ufffd"]


def test_who_is_run_by_the_town_reads_alone(api: Town, town: OpenTown) -> None:
    """Receive is refused for an agent that is wanted to run, and takes nothing."""
    agent = towns.register(town)
    towns.give_mail(town, agent)
    before = towns.snapshot(town)
    with pytest.raises(Conflict, match="'backend' is run by the town") as refused:
        api.channel().try_receive(agent.id)
    assert refused.value.remedy == "Stop it: tt kill backend"
    assert towns.snapshot(town) == before


def test_what_cannot_be_read_is_kept(api: Town, town: OpenTown) -> None:
    """Elements that are no messages, and assignments of tasks that are not there, go to the dead letters."""
    channel, agent = api.channel(), worker(api)
    for text in ("nonsense", by_hand("task_assign")):
        town.store.redis.rpush(town.store.keys.inbox(agent.id), text)
    channel.send(Message(BOSS, agent.id, say("good")))
    assert received(channel, agent.id) == ["good"]
    reasons = [letter.reason for letter in town.store.inboxes.dead(agent.id)]
    assert reasons[0].startswith("not JSON")
    assert reasons[1].startswith("no task 1111")


def test_receive_waits_for_a_message(api: Town, town: OpenTown) -> None:
    """It returns as soon as the message is there, long before its time-out; meanwhile the server is left in peace."""
    agent = worker(api)

    def work(number: int) -> float:
        mine = towns.same_town(town)
        channel = Town(mine).channel()
        if number == 0:
            message = channel.receive(agent.id, 20.0)
            assert message is not None
            return clock.monotonic()
        wait_until(lambda: mine.store.call(lambda r: r.info("clients"))["blocked_clients"], what="a blocked receiver")
        commands = mine.store.call(lambda r: r.info("stats"))["total_commands_processed"]
        mine.store.events.after(mine.store.events.last_id(), 1.0)
        assert mine.store.call(lambda r: r.info("stats"))["total_commands_processed"] - commands < 40
        at = clock.monotonic()
        channel.send(Message(BOSS, agent.id, say("now")))
        return at

    arrived, sent = towns.in_processes(2, work)
    assert arrived - sent < 1.0


@pytest.mark.slow
def test_receive_gives_up(api: Town) -> None:
    """None after the time-out, also one that is longer than a single wait; other people's mail does not end it."""
    agent, other = worker(api), worker(api, "other")
    api.channel().send(Message(BOSS, other.id, say("for the other")))
    start = clock.monotonic()
    assert api.channel().receive(agent.id, 1.5) is None
    assert 1.5 <= clock.monotonic() - start < 5.0


def test_receivers_share_a_mailbox(api: Town, town: OpenTown) -> None:
    """Of four processes each message goes to exactly one."""
    channel, agent = api.channel(), worker(api)
    for number in range(40):
        channel.send(Message(BOSS, agent.id, say(str(number))))

    def work(_number: int) -> list[str]:
        return received(Town(towns.same_town(town)).channel(), agent.id)

    found = [text for texts in towns.in_processes(4, work) for text in texts]
    assert sorted(found, key=int) == [str(number) for number in range(40)]


def test_a_broadcast_goes_to_each_mailbox(api: Town, town: OpenTown) -> None:
    """Every agent that has not ended gets a copy, the sender and the conductor none; observers get one by pub/sub."""
    sender, idle = worker(api, "sender"), worker(api, "idle")
    alive, ended = towns.register(town, "alive"), towns.register(town, "ended", wanted=False)
    listener = town.store.redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    listener.subscribe(town.store.keys.broadcast)
    wait_until(lambda: town.store.call(lambda r: r.pubsub_numsub(town.store.keys.broadcast))[0][1], what="a listener")
    channel = api.channel()
    message = Message(sender.id, sender.id, say("pull main"))
    assert channel.broadcast(message) == 2
    assert [channel.inbox_len(a.id) for a in (sender, idle)] == [0, 1]
    assert [channel.inbox_len(i) for i in (alive.id, ended.id, BOSS)] == [1, 0, 0]
    copy = channel.try_receive(idle.id)
    assert copy is not None
    assert (copy.to, copy.correlation_id, copy.msg_type) == (idle.id, message.id, say("pull main"))
    assert copy.id != message.id
    heard = wait_until(lambda: listener.get_message(timeout=1.0), what="the observers' copy")
    assert message.id in heard["data"]
    listener.close()
    assert channel.broadcast(message) == 2  # again: nothing is sent, and the answer is the same
    assert channel.inbox_len(idle.id) == 0


def test_a_task_cannot_be_broadcast(api: Town) -> None:
    """It has one agent."""
    with pytest.raises(Invalid, match="one agent"):
        api.channel().broadcast(Message(BOSS, BOSS, MessageType.TaskAssign(task_id="abc123")))
    with pytest.raises(AgentNotFound):
        api.channel().broadcast(Message("nobody", BOSS, say("x")))


def test_a_message_assigns_a_backlog_task(api: Town, town: OpenTown) -> None:
    """The task leaves the backlog in the same step; a second assignment and one to nobody are refused.

    The same message a second time changes nothing.
    """
    channel, agent = api.channel(), worker(api)
    task = Task("build it")
    channel.set_task(task)
    assert town.store.tasks.backlog_ids() == [task.id]
    with pytest.raises(AgentNotFound):
        channel.send(Message(BOSS, BOSS, MessageType.TaskAssign(task_id=task.id)))
    message = Message(BOSS, agent.id, MessageType.TaskAssign(task_id=task.id[:8])).with_priority(Priority.URGENT)
    channel.send(message)
    assert town.store.tasks.backlog_ids() == []
    before = towns.snapshot(town)
    channel.send(message)
    with pytest.raises(Conflict, match="is assigned; a message assigns one that is in the backlog"):
        channel.send(Message(BOSS, agent.id, MessageType.TaskAssign(task_id=task.id)))
    assert towns.snapshot(town) == before
    with pytest.raises(TaskNotFound):
        channel.send(Message(BOSS, agent.id, MessageType.TaskAssign(task_id="abc123")))
    taken = channel.try_receive(agent.id)
    assert taken is not None
    assert (taken.id, taken.msg_type) == (message.id, MessageType.TaskAssign(task_id=task.id))
    now = channel.get_task(task.id)
    assert now is not None
    assert now.state is TaskState.RUNNING


def test_a_ring_is_not_stolen(api: Town, town: OpenTown) -> None:
    """Receiving leaves the bell alone: an actor that begins meanwhile hears of its mail."""
    channel, agent = api.channel(), worker(api)
    channel.send(Message(BOSS, agent.id, say("x")))
    assert received(channel, agent.id) == ["x"]
    assert towns.texts(town, "wake", agent.id) == ["1"]


def test_the_agent_begins_while_somebody_waits(api: Town, town: OpenTown) -> None:
    """A wish that comes up during `receive` ends it, and the message stays for the actor."""
    agent = worker(api)

    def work(number: int) -> str:
        mine = towns.same_town(town)
        if number == 0:
            with pytest.raises(Conflict, match="run by the town"):
                Town(mine).channel().receive(agent.id, 20.0)
            return "refused"
        wait_until(lambda: mine.store.call(lambda r: r.info("clients"))["blocked_clients"], what="a blocked receiver")
        wish = make_wish(agent.name, host=mine.host, since=clock.wall())
        change(mine.store, lambda tx: save_wish(tx, agent.id, None, wish))
        towns.give_mail(mine, agent.record)
        Town(mine).channel().send(Message(BOSS, agent.id, say("for the actor")))
        return "wished"

    assert towns.in_processes(2, work) == ["refused", "wished"]
    assert api.channel().inbox_len(agent.id) == 2
