"""The story of scripts/demo, told with the `tt` commands of any user's script.

Makes a town, gives three agents eight tasks, kills one agent and the supervisor while they have something to
lose, and reads back from the town and from its files whether every task was done exactly once.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from demo_tasks import AGENTS, FIRST, THEN, Job
from demo_view import View

DEADLINE_S = 50.0
POLL_S = 0.1
COMMAND_S = 40.0
GONE_WITHIN_S = 3.0
BIN = Path(sys.executable).parent  # where tt is


class Broken(Exception):
    """The demo failed; the text says why."""


class Interrupted(Exception):
    """Ctrl-C, or a signal that ends programs."""


@dataclass
class Town:
    """A folder with a town, and the `tt` that works on it."""

    folder: Path
    view: View
    jobs: dict[str, Job] = field(default_factory=dict)  # by task id
    pids: set[int] = field(default_factory=set)  # of all its processes that were seen
    signum: int = 0

    @property
    def root(self) -> Path:
        """Where the agents work."""
        return self.folder / "town"

    def tt(self, *arguments: str) -> str:
        """Run a command and return what it printed. Raises Broken, and Interrupted after its end."""
        code, out, err = self.run("tt", *arguments)
        if self.signum:
            raise Interrupted
        if code:
            raise Broken(f"tt {arguments[0]} -> {code}: {err.strip()}")
        return out

    def json(self, *arguments: str) -> Any:
        """What a reading command says."""
        return json.loads(self.tt(*arguments, "--json"))

    def run(self, *argv: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr. A Ctrl-C does not reach it: no command is cut off in the middle."""
        try:
            done = subprocess.run(
                argv,
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_S,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Broken(f"{' '.join(argv[:2])} did not end within {COMMAND_S:g} s") from error
        return done.returncode, done.stdout, done.stderr

    def _environment(self) -> dict[str, str]:
        """A home of its own, and no setting of the user's towns. A redis-server in ~/.tt/bin stays within reach."""
        foreign = ("TINYTOWN_", "REDIS_URL", "GIT_", "NO_COLOR")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath), str(Path.home() / ".tt" / "bin")])
        return kept | {"HOME": str(self.folder / "home"), "PATH": path}

    def look(self) -> dict[str, Any]:
        """The town as it is, shown on the way."""
        seen: dict[str, Any] = self.json("status", "--tasks")
        self.pids |= {agent["pid"] for agent in seen["agents"] if agent["pid"]}
        if seen["supervisor"]["pid"]:
            self.pids.add(seen["supervisor"]["pid"])
        self.view.show(seen)
        return seen

    def until(self, condition: Callable[[dict[str, Any]], Any], what: str) -> Any:
        """Look until there is an answer, and return it. Raises Broken when time is up."""
        while True:
            answer = condition(self.look())
            if answer:
                return answer
            if time.monotonic() - self.view.start > DEADLINE_S:
                raise Broken(f"waited {DEADLINE_S:g} s in vain for {what}")
            time.sleep(POLL_S)


# The story


def open_town(town: Town) -> None:
    """A git repository, a town in it, a supervisor, three agents."""
    for folder in (town.root, town.folder / "home"):
        folder.mkdir()
    code, _out, err = town.run("git", "init", "--quiet", ".")
    if code:
        raise Broken(f"git init: {err.strip()}")
    town.view.event(town.tt("init", "--name", "demo").splitlines()[0])
    town.view.event(town.tt("supervise", "--detach").splitlines()[0])
    for name in AGENTS:
        town.view.event(town.tt("spawn", name, "--cli", "demo").splitlines()[0])


def give(town: Town, jobs: tuple[Job, ...]) -> None:
    """Tasks for the agents, each shown as it is taken."""
    for job in jobs:
        task_id = town.tt("assign", job.agent, job.text).split()[2]  # Assigned task <id> to ...
        town.jobs[task_id] = job
        town.view.titles[task_id] = job.title
        town.look()


def kill_an_agent(town: Town, name: str) -> None:
    """SIGKILL to its actor in the middle of its long task."""

    def at_stake(seen: dict[str, Any]) -> Any:
        agent = agent_of(seen, name)
        return agent["pid"] and agent["current_task"] in long_ones(town) and agent

    victim = town.until(at_stake, f"{name} to be at its long task")
    os.kill(victim["pid"], signal.SIGKILL)
    killed = time.monotonic()
    title = town.view.titles[victim["current_task"]]
    town.view.event(f"KILL   kill -9 {victim['pid']}: agent {name}, at work on '{title}'", "red")

    def again(seen: dict[str, Any]) -> Any:
        agent = agent_of(seen, name)
        return agent["pid"] not in {None, victim["pid"]} and agent["current_task"] and agent

    successor = town.until(again, f"a new {name} at work")
    after = time.monotonic() - killed
    what = town.view.titles[successor["current_task"]]
    town.view.event(f"AFTER  {name} is pid {successor['pid']}, at work on '{what}' (seen after {after:.1f} s)", "green")


def kill_the_supervisor(town: Town) -> None:
    """SIGKILL while an agent has a running task; then started as a user or systemd would."""

    def at_stake(seen: dict[str, Any]) -> Any:
        busy = [agent["name"] for agent in seen["agents"] if agent["pid"] and agent["current_task"]]
        return busy and (seen["supervisor"]["pid"], " and ".join(busy))

    pid, busy = town.until(at_stake, "a task to run")
    os.kill(pid, signal.SIGKILL)
    town.view.event(f"KILL   kill -9 {pid}: the supervisor, with {busy} at work", "red")
    town.until(lambda seen: not seen["supervisor"]["running"], "the supervisor to be gone")
    town.tt("supervise", "--detach")
    while len((now := town.json("supervise", "--status"))["children"]) < len(AGENTS):
        time.sleep(POLL_S)
    adopted = [child["name"] for child in now["children"] if child["adopted"]]
    town.view.event(
        f"AFTER  tt supervise --detach: the supervisor is pid {now['pid']}, adopted: {', '.join(adopted) or 'none'}",
        "green",
    )


def long_ones(town: Town) -> set[str]:
    """The tasks that take seconds."""
    return {task_id for task_id, job in town.jobs.items() if job.text.startswith("wait")}


def agent_of(seen: dict[str, Any], name: str) -> dict[str, Any]:
    """One agent of a status."""
    return next(agent for agent in seen["agents"] if agent["name"] == name)


def at_rest(seen: dict[str, Any]) -> bool:
    """Every task has ended and every agent has put its round away."""
    counts = seen["tasks"]
    ended = counts["completed"] + counts["failed"] + counts["cancelled"]
    idle = all(a["state"] == "idle" and not a["pending"]["total"] + a["pending"]["claimed"] for a in seen["agents"])
    return bool(counts["total"] == ended and idle)


# Reading back


def faults(town: Town, tasks: list[dict[str, Any]]) -> list[str]:
    """What is not as promised: each task completed exactly once, and its file there."""
    found = []
    if {task["id"] for task in tasks} != set(town.jobs):
        found.append(f"the town has {len(tasks)} tasks, not the {len(town.jobs)} that were given")
    letters = town.json("inbox", "conductor")["messages"]
    told = Counter(message["task_id"] for message in letters if message["type"] == "task_done")
    for task in tasks:
        job = town.jobs.get(task["id"])
        if job is None:
            continue
        if task["state"] != "completed":
            found.append(f"'{job.title}' is {task['state']}: {task['result']}")
        if told[task["id"]] != 1:
            found.append(f"'{job.title}' was reported done {told[task['id']]} times")
        wrong = job.check(town.root, task["result"] or "")
        if wrong:
            found.append(f"'{job.title}': {wrong}")
    if town.json("inbox", "--all", "--dead"):
        found.append("there are dead letters")
    if (town.root / "oops").exists():
        found.append("the text of a task was executed by a shell")
    return found


def report(town: Town, tasks: list[dict[str, Any]]) -> None:
    """What was done, by whom, in how many runs."""
    logs = {name: town.tt("logs", name, "--lines", "1000") for name in AGENTS}
    rows: list[tuple[str, ...]] = [("TASK", "AGENT", "RUNS", "STATE", "SECONDS", "RESULT")]
    for task in tasks:
        job = town.jobs[task["id"]]
        runs = logs[job.agent].count(f"task {task['id']} from")  # what the demo CLI says first
        rows.append((job.title, job.agent, str(runs), task["state"], seconds(task), (task["result"] or "")[:44]))
    town.view.say()
    town.view.table(rows)


def seconds(task: dict[str, Any]) -> str:
    """How long the run took that ended it."""
    if not task["started_at"] or not task["completed_at"]:
        return "-"
    began, ended = (datetime.fromisoformat(task[key]) for key in ("started_at", "completed_at"))
    return f"{(ended - began).total_seconds():.1f}"


# The end


def close_town(town: Town, *, now: bool) -> str | None:
    """Stop everything; says what is left running, if anything is."""
    if not (town.root / "tinytown.toml").exists():
        return None
    code, _out, err = town.run("tt", "stop", "--all", *(["--now"] if now else []))
    deadline = time.monotonic() + GONE_WITHIN_S
    while (left := still_there(town)) and time.monotonic() < deadline:
        time.sleep(0.02)
    if left:
        return f"left running: pid {', '.join(map(str, left))}"
    return f"tt stop -> {code}: {err.strip()}" if code else None


def still_there(town: Town) -> list[int]:
    """Processes of this town: seen at work, or at home in its folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (entry / "cmdline").read_bytes()
            inside = (entry / "cwd").resolve().is_relative_to(town.folder)
            if title and (inside or (int(entry.name) in town.pids and title.startswith(b"tt:"))):
                found.append(int(entry.name))
    return sorted(found)


def play(town: Town) -> None:
    """From the first command to the table. Raises Broken."""
    open_town(town)
    give(town, FIRST)
    kill_an_agent(town, "backend")
    give(town, THEN)
    kill_the_supervisor(town)
    town.until(at_rest, "all tasks to end")
    took = time.monotonic() - town.view.start
    tasks = town.json("task", "list")
    found = faults(town, tasks)
    report(town, tasks)
    if found:
        raise Broken("; ".join(found))
    town.view.say()
    town.view.say(f"All {len(tasks)} tasks were completed, each exactly once, in {took:.1f} s.", "green")


def main() -> int:
    """0: as promised. 1: not. 128 + n: ended by a signal."""
    folder = Path(tempfile.mkdtemp(prefix="tinytown-demo-")).resolve()
    town = Town(folder, View())
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, _frame: setattr(town, "signum", number))
    failure: str | None = None
    try:
        play(town)
    except Interrupted:
        failure = "interrupted"
    except (Broken, OSError) as error:  # OSError: also a reader of our output that has gone
        failure = str(error)
    left = close_town(town, now=failure is not None)
    with contextlib.suppress(OSError):
        farewell(town, failure, left)
    return 128 + town.signum if town.signum else int(bool(failure or left))


def farewell(town: Town, failure: str | None, left: str | None) -> None:
    """What went wrong, and where the files are."""
    for text in filter(None, (failure, left)):
        sys.stderr.write(f"Error: {text}\n")
    if "--remove" in sys.argv[1:]:
        shutil.rmtree(town.folder, ignore_errors=True)
    if not left:
        town.view.say("The town is stopped; nothing is left running.")
    if town.folder.exists():
        town.view.say(f"Files: {town.root}   (logs in .tt/logs, the supervisor's in .tt/supervisor.log)")


if __name__ == "__main__":
    sys.exit(main())
