"""One of the people who feed the town, a process of its own. Notes what was accepted, and only that."""

from __future__ import annotations

import functools
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from redis import Redis

from chaos import quests, script
from chaos.world import ROLE
from tinytown.errors import AgentNotFound, NotFound, TinytownError, Unavailable
from tinytown.services import backlog, messages, tasks
from tinytown.services.caller import Caller
from tinytown.store.connection import translate
from tinytown.town import Town, open_town

USER = Caller()
PAUSE_S = 0.05  # after a refusal
MESSAGES = 0.4  # for each task
MISSION_EVERY = 100  # tasks, beginning with the first
TYPED_BY_HAND = (  # as somebody at redis-cli does: without an id (the text is it, hence N), without a bell
    '{"type": "query", "question": "which port? N"}',
    '{"type": "informational", "summary": "the port is N"}',
    '{"type": "task_done", "task_id": "t", "result": "done N"}',
    '{"type": "confirmation", "ack_type": {"type": "received"}, "n": "N"}',
    '{"type": "status_request", "n": "N"}',
    '{"type": "ping", "n": "N"}',
    '{"type": "custom", "kind": "deploy", "payload": "N"}',
    '{"type": "task", "description": "stub: work 5\\nN"}',
    "no message at all: N",
)


@dataclass
class Writer:
    """Gives `count` tasks within `seconds`, and messages between them."""

    town: Town
    agents: list[str]
    choice: random.Random
    journal: TextIO
    limited: bool

    @functools.cached_property
    def redis_cli(self) -> Redis:
        """As that program does, it repeats nothing: a push whose answer was lost would be there twice."""
        return self.town.store.connector.client(retries=0)

    def run(self, count: int, seconds: float) -> None:
        """Return when all were accepted."""
        started = time.monotonic()
        for number in range(count):
            due = started + seconds * number / count
            time.sleep(max(0.0, due - time.monotonic()))
            if number % MISSION_EVERY == 0:
                self._insist(self._give_mission)
            self._insist(self._give_hopeless if self.limited and number == 0 else self._give_task)
            while self.choice.random() < MESSAGES:
                self._insist(self._give_message)

    def _insist(self, give: Callable[[], str]) -> None:
        """Until it is accepted. What was not confirmed may be there all the same, and does not count."""
        while True:
            try:
                self._note(give())
            except (Unavailable, NotFound):  # Redis is away, or the agent has just been pruned
                time.sleep(PAUSE_S)
            except TinytownError as error:
                self._note(f"error {type(error).__name__} {error}")
                time.sleep(PAUSE_S)
            else:
                return

    def _give_task(self) -> str:
        return self._give(script.description(self.choice, limited=self.limited))

    def _give_hopeless(self) -> str:
        return self._give(script.hopeless())

    def _give(self, text: str) -> str:
        behaviour = script.behaviour_of(text)
        assert behaviour is not None
        if self.choice.random() < 0.4:
            task = backlog.add(self.town, text, [ROLE], USER)
        else:
            task = tasks.assign(self.town, self.choice.choice(self.agents), text, USER, [ROLE])
        return f"task {task.id} {behaviour.name}"

    def _give_mission(self) -> str:
        return f"mission {quests.start(self.town, self.choice, Path(self.journal.name).parent)}"

    def _give_message(self) -> str:
        name, kind = self.choice.choice(self.agents), self.choice.choice((*messages.KINDS, "hand"))
        if kind == "hand":
            agent_id = self.town.store.agents.names().get(name)
            if agent_id is None:
                raise AgentNotFound(name)
            box = self.town.store.keys.inbox(agent_id)
            text = self.choice.choice(TYPED_BY_HAND).replace("N", f"{self.choice.random():.16f}")
            with translate(self.town.store.connector):
                self.redis_cli.rpush(box, text)
            return f"hand {text}"
        sent = messages.send(self.town, name, "stub: work 3", USER, kind=kind, urgent=self.choice.random() < 0.3)
        return f"message {sent.id}"

    def _note(self, line: str) -> None:
        self.journal.write(f"{time.time():.3f} {line}\n")
        self.journal.flush()


def main() -> None:
    """Arguments: town, journal, seed, how many tasks, in how many seconds, whether attempts are limited, the agents."""
    root, journal, seed, count, seconds, limited, *agents = sys.argv[1:]
    with Path(journal).open("a", encoding="utf-8") as notes:
        choice = random.Random(seed)  # noqa: S311  no secret
        Writer(open_town(root), agents, choice, notes, limited == "limited").run(int(count), float(seconds))


if __name__ == "__main__":
    main()
