"""A round: one run of the model CLI (or a verification) on claimed messages, from journal to outcome."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tinytown import ids, logs
from tinytown.actors.mailroom import Claim, Look, Mailroom
from tinytown.actors.post import Post
from tinytown.actors.verification import Verification
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.task import Task
from tinytown.errors import TinytownError
from tinytown.journal import Journal, RoundEntry
from tinytown.model_cli import catalog
from tinytown.model_cli.catalog import ModelCli
from tinytown.model_cli.launch import own_path
from tinytown.model_cli.prompt import Prompt, render
from tinytown.model_cli.run import ModelRun
from tinytown.processes import RUN_VARIABLE
from tinytown.services import backlog, recovery, worktrees
from tinytown.town import Town


@dataclass(slots=True)
class Round:
    """The round in progress. `entry` is what the journal holds.

    `model` is what runs now. Where the agent's worktree is not ready that is the program which makes it ready; of a
    verification it is one of its commands. `then` takes how that ended, and gives the next run or the round's outcome.
    """

    town: Town
    entry: RoundEntry
    journal: Journal
    model: ModelRun | None
    failed: Outcome | None = None  # how it ended without a run, or after the last one
    then: Callable[[Outcome], ModelRun | Outcome] | None = None

    @classmethod
    def begin(
        cls, town: Town, post: Post, claim: Claim, number: int, look: Look, mail: Mailroom, log: logs.AgentLog
    ) -> Round:
        """Journal the claim, start the model, journal its process.

        Raises OSError when the claim cannot be journalled (nothing runs then), nothing for a CLI that cannot run.
        """
        run = f"{post.agent_id}:{post.epoch}:{number}"
        task_id = next(iter(claim.tasks), None)
        entry = RoundEntry(post.agent_id, post.epoch, number, run, tuple(m.raw for m in claim.messages), task_id)
        journal = town.journal(post.name)
        journal.write_round(entry, sync=False)  # against our own death; the fsync follows the model's start
        log.write(f"📍 Round {number} ({look.rounds + 1}/{look.wish.rounds}): {_summary(claim)}")
        begun = cls(town, entry, journal, None)
        make = begun._maker(post, log)
        settings = town.config.agent
        task = claim.tasks.get(task_id or "")
        if task is not None and task.is_verification:
            round_log = logs.round_log(town.logs_dir, post.name, number)
            checks = Verification(task.commands, make, settings.round_timeout_s, round_log, log.write)
            begun._set_out(post.name, make, checks.start, checks.after)
            return begun
        try:
            cli = catalog.lookup(claim.agent.cli, town.config)
        except TinytownError as error:
            begun.failed = Outcome(OutcomeKind.NOT_FOUND, str(error))
            return begun
        prompt = render(_prompt(town, post, claim, look, mail))
        begun._set_out(
            post.name, make, lambda cwd: make(cli, prompt, cwd=cwd, silence_timeout_s=settings.silence_timeout_s), None
        )
        return begun

    def _maker(self, post: Post, log: logs.AgentLog) -> Callable[..., ModelRun]:
        """What makes the round's runs: marked, logged, limited."""
        settings = self.town.config.agent
        return partial(
            ModelRun,
            env=_environment(self.town, post, self.entry.run, self.entry.task_id),
            log=logs.round_log(self.town.logs_dir, post.name, self.entry.number),
            runs_dir=self.town.runs_dir / post.name,
            log_bytes=settings.log_bytes,
            round_timeout_s=settings.round_timeout_s,
            final_grace_s=settings.final_grace_s,
            on_line=lambda line: log.write(f"   {line}", shown=False),
            tee=post.tee,
            not_ours=self.town.own_pids,
        )

    def _set_out(
        self,
        name: str,
        make: Callable[..., ModelRun],
        start: Callable[[Path], ModelRun],
        after: Callable[[Outcome], ModelRun | Outcome] | None,
    ) -> None:
        """Run what `start` gives in the agent's working directory; where that is not ready, make it so before."""

        def workdir() -> Path | None:
            return worktrees.workdir(self.town, name) if worktrees.is_isolated(self.town) else self.town.root

        def then(made: Outcome) -> ModelRun | Outcome:
            cwd = workdir() if made.kind is OutcomeKind.OK else None
            if cwd is not None:
                self.then = after
                return start(cwd)
            return made if made.kind is OutcomeKind.STOPPED else Outcome(OutcomeKind.UNPREPARED, _complaint(made))

        cwd = workdir()
        if cwd is None:
            self.then = then
            self.run(make(_preparation(self.town, name), "", cwd=self.town.root, silence_timeout_s=0.0))
        else:
            self.then = after
            self.run(start(cwd))

    def run(self, model: ModelRun) -> None:
        """Start it, and note its process in the journal."""
        self.model = model
        leader = model.start()
        if leader is not None:
            self.entry = self.entry.ran(leader)
            with contextlib.suppress(OSError):  # the mark of its processes still finds them
                self.journal.write_round(self.entry, sync=True)

    def proceed(self) -> list[int]:
        """When a run has ended that is not the last one, run the next. Returns the descriptors to watch from now on."""
        before = self.model
        while self.then is not None and self.model is not None and self.is_over:
            following, self.model = self.then(self.model.finish()), None
            if isinstance(following, Outcome):
                self.failed, self.then = following, None
            else:
                self.run(following)
        return self.fds if self.model is not before else []

    @property
    def fds(self) -> list[int]:
        """What the actor selects on: the model's output and its end."""
        if self.model is None:
            return []
        return [fd for fd in (self.model.output_fd, self.model.pidfd) if fd >= 0]

    @property
    def is_over(self) -> bool:
        """The model's leader has ended (or never began)."""
        return self.model is None or self.model.is_over

    def on_ready(self, fd: int) -> list[int]:
        """Read what is readable; returns the descriptors that need no more watching."""
        if self.model is None:
            return [fd]
        if fd == self.model.pidfd:
            self.model.on_exit()
            return [fd, self.model.output_fd] if self.model.is_over else []
        self.model.on_output()
        return []

    def on_timer(self, now: float) -> None:
        """Time limits."""
        if self.model is not None:
            self.model.on_timer(now)

    def next_due(self) -> float | None:
        """The next moment `on_timer` has something to do (monotonic)."""
        return None if self.model is None else self.model.next_due()

    def end(self, kind: OutcomeKind, detail: str) -> None:
        """End the model; the outcome is `kind`."""
        if self.model is not None:
            self.model.end(kind, detail)

    def kill(self) -> None:
        """End the model at once, without an outcome (somebody else holds the agent, or we fail)."""
        if self.model is not None:
            self.model.end(OutcomeKind.STOPPED, "abandoned", at_once=True)
            self.model.finish()

    def check_task(self) -> None:
        """End the run when its task was ended by anybody but this run, or is somebody else's."""
        if self.entry.task_id is None:
            return
        found = self.town.store.tasks.get(self.entry.task_id)
        if found is None or found[1].ended_by == self.entry.run:
            return
        if found[1].state.is_terminal:
            self.end(OutcomeKind.STOPPED, f"the task was {found[1].state} from outside")
        elif found[1].assigned_to != self.entry.agent_id:
            self.end(OutcomeKind.STOPPED, "the task was given to somebody else")

    def outcome(self) -> Outcome:
        """How it ended; in the journal, durably, before anybody acts on it."""
        if self.entry.outcome is None:
            ended = self.failed if self.model is None else self.model.finish()
            assert ended is not None
            self.entry = self.entry.ended(ended)
            with contextlib.suppress(OSError):  # no room: settled from memory, which is all there is
                self.journal.write_round(self.entry, sync=True)
        assert self.entry.outcome is not None
        return self.entry.outcome

    def reassert(self, claimed: list[str]) -> None:
        """After an outage: what this round holds and Redis lost (a moment of it) is claimed again."""
        missing = [text for text in self.entry.messages if text not in claimed]
        if missing:
            recovery.reclaim_lost(self.town, self.entry.agent_id, self.entry.epoch, missing)


def _prompt(town: Town, post: Post, claim: Claim, look: Look, mail: Mailroom) -> Prompt:
    agent = claim.agent
    mates = mail.mates(claim.names)
    fitting: list[Task] = backlog.for_role(town, agent.role_id, 8) if agent.role_id else []
    return Prompt(
        town=town.name,
        agent_name=post.name,
        agent_id=post.agent_id,
        role=agent.role_id,
        round_number=look.rounds + 1,
        max_rounds=look.wish.rounds,
        team=[(m.name, m.role_id, m.state.label) for m in mates],
        items=[m for m in claim.messages if m.is_actionable],
        tasks=claim.tasks,
        informational=[m for m in claim.messages if m.sort == "information"],
        confirmations=[m for m in claim.messages if m.sort == "confirmation"],
        backlog=fitting,
        attempts={m.id: claim.attempts.get(m.id, 0) + 1 for m in claim.messages},
        names={m.id: m.name for m in mates} | {ids.SUPERVISOR_ID: "conductor"},
        complete_on=town.config.agent.complete_on,
        branch=worktrees.find(town, post.name).branch if worktrees.is_isolated(town) else None,
        main_checkout=str(town.root),
    )


def _preparation(town: Town, name: str) -> ModelCli:
    """The program that makes the agent's worktree ready: bounded, logged and ended as a model is."""
    # -P: a file in the working directory must not shadow a module.
    program = (sys.executable, "-P", "-m", "tinytown", "--town", str(town.root))
    return ModelCli("worktree", (*program, "worktree", "prepare", name))


def _complaint(made: Outcome) -> str:
    """The error that the preparation ended with, and its remedy or the line before it (of `setup`); else its end."""
    lines = [line for line in made.result.splitlines() if line.strip()]
    at = max((n for n, line in enumerate(lines) if line.startswith("Error: ")), default=None)
    if at is None:
        return made.detail or "the worktree is gone again"
    error, *remedy = lines[at:]
    context = " ".join(remedy) or (f"({lines[at - 1]})" if at else "")
    return f"{error.removeprefix('Error: ')} {context}".strip()


def _environment(town: Town, post: Post, run: str, task_id: str | None) -> dict[str, str]:
    return {
        "TINYTOWN_TOWN": str(town.root),
        "TINYTOWN_AGENT_ID": post.agent_id,
        "TINYTOWN_AGENT_NAME": post.name,
        "TINYTOWN_TASK_ID": task_id or "",
        RUN_VARIABLE: run,
        **({"TINYTOWN_REDIS_PASSWORD": secret} if (secret := os.environ.get("TINYTOWN_REDIS_PASSWORD")) else {}),
        "PATH": own_path(),
        **(worktrees.find(town, post.name).env if worktrees.is_isolated(town) else {}),
    }


def _summary(claim: Claim) -> str:
    lead = next((m for m in claim.messages if m.is_actionable), claim.messages[0])
    task = claim.tasks.get(lead.task_id or "")
    text = (task.description if task else lead.text).splitlines() or [""]
    more = f" (+{len(claim.messages) - 1} more)" if len(claim.messages) > 1 else ""
    return f"{text[0][:100]}{more}"
