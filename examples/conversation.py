"""Messages: ask an agent how it is and what it thinks, and read its answers in the conductor's mailbox."""

from __future__ import annotations

from here import dismiss, open_town

from tinytown import AgentId, Channel, Message, MessageType, Priority

ANSWER_WITHIN_S = 600.0


def answer(channel: Channel) -> None:
    """Show the next message to the conductor."""
    message = channel.receive(AgentId.supervisor(), ANSWER_WITHIN_S)
    match message.msg_type if message else None:
        case MessageType.StatusResponse(state=state):
            print(f"It is {state}")
        case MessageType.Informational(summary=summary):
            print(f"It says: {summary}")
        case other:
            print(f"Something else: {other}")


def main() -> None:
    """Run it in a scratch folder."""
    town, cli = open_town()
    with town:
        channel = town.channel()
        while channel.try_receive(AgentId.supervisor()) is not None:
            pass  # what an earlier run left

        helper = town.spawn_agent("helper", cli)
        helper.send(MessageType.StatusRequest())
        answer(channel)

        question = Message(AgentId.supervisor(), helper.id(), MessageType.Query(question="Which port do we use?"))
        channel.send(question.with_priority(Priority.HIGH))
        answer(channel)
        dismiss(helper)


if __name__ == "__main__":
    main()
