"""A stage for missions: a running town, a GitHub of its own, agents that do what the test wrote for them."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.cli import Tt
from tests.support.github.server import GitHub, Request
from tests.support.github.state import Pull
from tests.support.missions import file_now
from tests.support.running_town import RunningTown, compile_stubborn
from tinytown import processes
from tinytown.domain.message import parse
from tinytown.domain.mission import Mission, MissionState
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.errors import TinytownError
from tinytown.ids import SUPERVISOR_ID
from tinytown.processes import Identity
from tinytown.services.missions.lease import NAME
from tinytown.store.missions import MissionFile

REPOSITORY = "acme/web"
PLAYER = Path(__file__).parent / "scripted_agent.sh"
PLANS = {"work": "stub: say done", "fix": "stub: say put right", "review": "stub: tt mission approve {item}"}
# The end of what an item was given: until one of these it has a task.
TASK_ENDS = {"handed_in", "taken_back", "approved", "rejected", "cancelled", "retried", "blocked", "done"}


def make_player(folder: Path) -> Path:
    """The scripted agent, with the stubborn CLI beside it."""
    compile_stubborn(folder)
    return Path(shutil.copy(PLAYER, folder))


class Stage:
    """One mission in a town whose repository is `acme/web` at that GitHub; a second one has a stage of its own."""

    def __init__(self, town: RunningTown, github: GitHub, player: Path) -> None:
        self.town, self.github, self.player, self.tt = town, github, player, Tt(town.root)
        self.mission_id = ""
        self.plan("").mkdir(exist_ok=True)
        for job, line in PLANS.items():
            self.plan(job).write_text(line + "\n")

    # What there is

    def issues(self, *titles: str, first: int = 1, chain: bool = True) -> None:
        """Issues `first`, ...; in a `chain` each depends on the one before it."""
        for number, title in enumerate(titles, first):
            after = f"\n\nDepends on #{number - 1}." if chain and number > first else ""
            self.github.issue(REPOSITORY, number, title=title, body=f"All about {title.lower()}.{after}")

    def pull(self, number: int, *checks: str | None) -> Pull:
        """An open pull request, with a check of each of these conclusions (None: it runs)."""
        made = self.github.pull(REPOSITORY, number, author="bot-of-the-town")
        for n, conclusion in enumerate(checks):
            made.check(f"build{n or ''}", conclusion)
        return made

    def plays(self, job: str, *directives: str, of: int | None = None, turn: int | None = None) -> None:
        """What agents do for this job: of this issue only, in the n-th task of that sort only."""
        name = job if of is None else f"{job}-{of}" if turn is None else f"{job}-{of}.{turn}"
        self.plan(name).write_text("".join(f"stub: {directive}\n" for directive in directives))

    def plan(self, name: str) -> Path:
        """The file with what agents do, by the name that the player knows it by."""
        return self.town.control / "plans" / name

    def opens(self, issue: int, pull: Pull, *before: str) -> None:
        """The work on this issue ends with this pull request."""
        self.plays("work", *before, f"say Opened {pull.url} for it", of=issue)

    def spawn(self, *names: str) -> None:
        """Agents of the role that is their name."""
        for name in names:
            self.town.spawn(name, role=name)

    def manifest(self, text: str) -> str:
        """Its path."""
        path = self.town.root / "mission.toml"
        path.write_text(text)
        return str(path)

    # The mission

    def start(self, *args: str, issues: tuple[int, ...] = ()) -> None:
        """`tt mission start` of these issues."""
        chosen = [part for number in issues for part in ("--issue", str(number))]
        self.mission_id = self.tt.ok("mission", "start", *chosen, *args, "--json").json["id"]

    def mission(self, verb: str, *args: str) -> str:
        """`tt mission VERB`, which must do; what it says."""
        return self.tt.ok("mission", verb, *args).out

    def status(self) -> dict[str, Any]:
        """What `tt mission status --json` says of it."""
        found: dict[str, Any] = self.tt.ok(
            "mission", "status", "--run", self.mission_id, "--work", "--watch", "--json"
        ).json
        return found

    def shown(self, number: int) -> dict[str, Any]:
        """What status says of the item of this issue."""
        ref = f"{REPOSITORY}#{number}"
        found: dict[str, Any] = next(i for i in self.status()["work_items"] if i["source_ref"] == ref)
        return found

    # Looking

    @property
    def file(self) -> MissionFile:
        """All of the mission as it is stored."""
        return file_now(self.town.town, Mission(id=self.mission_id, objectives=[], created_at="", updated_at=""))

    def item(self, number: int) -> WorkItem:
        """The item of this issue."""
        return next(item for item in self.file.items.values() if item.source_ref == f"{REPOSITORY}#{number}")

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The mission's events, oldest first; of these kinds (none: all)."""
        found = [event for _id, event in self.town.town.store.events.newest(10_000)]
        mine = [event for event in found if event.get("mission_id") == self.mission_id]
        return [event for event in mine if not kinds or event["event_type"] in kinds]

    def given(self) -> list[str]:
        """What was given to agents, in order: `work 1`, `review 1`, ..."""
        return [given for event in self.events("work_item_assigned") if (given := _given(event))]

    def told(self, job: str, issue: int) -> list[str]:
        """The prompts of the tasks of this job."""
        folder = self.town.control / "told" / f"{job}-{issue}"
        files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns) if folder.is_dir() else []
        return [path.read_text() for path in files]

    def asked(self) -> list[str]:
        """What the conductor was asked for."""
        mail = self.town.town.store.call(lambda r: r.lrange(self.town.town.store.keys.inbox(SUPERVISOR_ID), 0, -1))
        questions = [parse(text).payload.get("question", "") for text in mail]
        return [text for text in questions if text.startswith("[Mission help]") and self.mission_id[:8] in text]

    def until_asked(self) -> list[str]:
        """The same, as soon as there is something."""
        found: list[str] = self.town.wait(self.asked, "a question")
        return found

    def living_scheduler(self) -> Identity | None:
        """The mission actor that holds the lease, if it lives."""
        _host, pid, started = (self.town.town.store.agents.lease(NAME) or "::").rsplit(":", 2)
        found = Identity.from_dict({"pid": pid, "started": started})
        return found if processes.is_alive(found) else None

    def scheduler(self) -> Identity:
        """The same, as soon as there is one."""
        found: Identity = self.town.wait(self.living_scheduler, "a mission actor")
        return found

    # Waiting

    def until(self, number: int, status: WorkStatus, reason: str = "") -> WorkItem:
        """The item of this issue has come to this status, for a reason with these words."""

        def find() -> WorkItem | None:
            item = self.item(number)
            return item if item.status is status and reason in (item.reason or "") else None

        try:
            found: WorkItem = self.town.wait(find, f"#{number} to be {status} {reason}")
        except AssertionError as error:
            item = self.item(number)
            raise AssertionError(f"{error}; it is {item.status}, {item.reason}, {item.remedy}") from None
        return found

    def until_given(self, what: str, times: int = 1) -> WorkItem:
        """`fix 2` was given, so often; the item as it is."""
        self.town.wait(lambda: self.given().count(what) >= times, f"{what}, {times} times")
        return self.item(int(what.split()[1]))

    def until_touched(self, name: str) -> None:
        """An agent came to `touch NAME`."""
        self.town.wait((self.town.control / name).exists, name)

    def until_state(self, state: MissionState = MissionState.COMPLETED) -> None:
        """The mission has come to this state."""
        self.town.wait(lambda: self.file.run.state is state, f"the mission to be {state}")

    def tell(self) -> None:
        """Print where each item stands (pytest shows it for a test that failed)."""
        with contextlib.suppress(TinytownError, AssertionError):
            file = self.file
            print("--- mission", file.run.state, file.run.blocked_reason, file.run.remedy)  # noqa: T201
            for item in file.items.values():
                print(item.source_ref, item.status, item.job, item.assigned_to, item.reason, sep=" | ")  # noqa: T201
            for watch in file.watches.values():
                print(watch.target_ref, watch.kind, watch.status, watch.state, watch.text, sep=" | ")  # noqa: T201

    def check(self) -> None:
        """What must hold of a mission's whole history."""
        found = list(wrong(self.file, self.events()))
        assert not found, "\n".join(found)


def watch_merges(github: GitHub) -> list[str]:
    """From now on, a line for each merge that the town asks for while a check of the commit is not green."""
    found: list[str] = []

    def look(request: Request) -> None:
        if request.method == "PUT" and (named := re.search(r"/repos/(.+)/pulls/(\d+)/merge", request.path)):
            pull = github.pulls[named[1], int(named[2])]
            newest = {check.name: check.conclusion for check in pull.checks.get(pull.head, [])}
            red = [name for name, conclusion in newest.items() if conclusion != "success"]
            if red or (request.body or {}).get("sha") != pull.head:
                found.append(f"{pull.url}: merged at {request.body}, head {pull.head}, not green: {red}")

    github.before = look
    return found


def wrong(file: MissionFile, events: list[dict[str, Any]]) -> Iterator[str]:
    """Tasks given beside an open one or before their time, and gates that were skipped; `events` are all of it."""
    for item in file.items.values():
        mine = [event for event in events if event.get("work_item_id") == item.id]
        yield from _tasks(item, mine)
        yield from _gates(item, mine, file)
    done = {e["work_item_id"]: n for n, e in enumerate(events) if e["event_type"] == "work_item_done"}
    for item in file.items.values():
        begun = next((n for n, e in enumerate(events) if _given(e) and e["work_item_id"] == item.id), None)
        if begun is not None and any(done.get(i, begun) >= begun for i in item.depends_on):
            yield f"{item.source_ref}: begun before what it depends on was done"


def _tasks(item: WorkItem, events: list[dict[str, Any]]) -> Iterator[str]:
    """One at a time."""
    is_open = False
    for event in events:
        if _given(event):
            if is_open:
                yield f"{item.source_ref}: {event['message']}, and it had a task already"
            is_open = True
        elif event["event_type"].removeprefix("work_item_") in TASK_ENDS:
            is_open = False
    if sum(event["event_type"] == "work_item_done" for event in events) > 1:
        yield f"{item.source_ref}: done twice"


def _gates(item: WorkItem, events: list[dict[str, Any]], file: MissionFile) -> Iterator[str]:
    """Merged by the town, or done without a pull request: verified and approved since it was handed in last."""
    is_verified = is_approved = False
    for event in events:
        kind, text = event["event_type"].removeprefix("work_item_"), event["message"]
        if kind == "moved" or (kind == "handed_in" and " handed in by " in text):
            is_verified = is_approved = False
        is_verified = is_verified or ": verified" in text
        if kind in {"approved", "rejected"}:
            is_approved = kind == "approved"
        if kind == "merging" or (kind == "done" and " was merged by " not in text):
            if item.verify and not is_verified:
                yield f"{item.source_ref}: {text}, without a verification"
            if file.run.policy.reviewer_required and not is_approved:
                yield f"{item.source_ref}: {text}, without an approval"
        if (_given(event) or "").startswith("review") and item.verify and not is_verified:
            yield f"{item.source_ref}: reviewed before it was verified"


def _given(event: dict[str, Any]) -> str | None:
    """`work 1` of the event of a task that was given to an agent."""
    if event["event_type"] != "work_item_assigned" or " given to " not in event["message"]:
        return None
    ref, _, rest = event["message"].partition(": ")
    return f"{rest.split()[0]} {ref.rpartition('#')[2]}"
