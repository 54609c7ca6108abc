"""What runs in children of the supervisor."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable

from tinytown import processes
from tinytown.actors.agent import AgentActor
from tinytown.actors.mission import MissionActor
from tinytown.actors.post import Post
from tinytown.errors import TinytownError
from tinytown.services import retention
from tinytown.signals import SignalQueue
from tinytown.supervisor import missions
from tinytown.town import Town

ACTOR_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


def actor_main(
    town: Town, supervisor: processes.Identity, assignment: Callable[[], bytes], beat: Callable[[], None]
) -> int:
    """What runs in a forked child: everything is made ready before it is told what it is."""
    own = Town(town.root, town.config)
    own.store.on_retry = beat
    signals = SignalQueue(ACTOR_SIGNALS)
    with contextlib.suppress(TinytownError):
        own.store.call(lambda r: r.ping())
    told = assignment()
    if not told:  # not needed any more
        return 0
    what = json.loads(told)
    if what["kind"] == missions.KIND:
        return MissionActor(own, signals, beat).run()
    post = Post(what["id"], what["name"], what["epoch"], parent=supervisor)
    return AgentActor(own, post, signals, beat).run()


def upkeep(town: Town) -> int:
    """In a child of its own: apply `[retention]`."""
    retention.apply(Town(town.root, town.config))
    return 0
