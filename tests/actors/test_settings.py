"""Settings that an actor's look at its mailbox obeys."""

from __future__ import annotations

from tests.support.town import give_mail, mailroom, register, with_settings
from tinytown.town import Town


def test_the_byte_bound_of_a_round(town: Town) -> None:
    """`batch_bytes`: what does not fit beside the first message waits for the next round."""
    agent = register(town)
    for _ in range(3):
        give_mail(town, agent)
    small = with_settings(town, agent={"batch_bytes": 1})
    assert len(mailroom(small, agent).look("true", {}).batch.chosen) == 1
    small.store.close()
    assert len(mailroom(town, agent).look("true", {}).batch.chosen) > 1
