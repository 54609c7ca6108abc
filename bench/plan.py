"""How long `tt sync push` and `pull` take for a large plan: whole processes, each with a town of its own."""

from __future__ import annotations

from bench.measure import Broken, run
from bench.rig import TT, Bench, BenchTown, environment
from bench.table import Row, at_most, median, spread

TASKS, AGENTS = 10_000, 10
LIMIT_S = 2.0
STEPS = ("first `tt sync push`", "the same again", "`tt sync pull`")


def measure(bench: Bench) -> list[Row]:
    """The group."""
    rows = []
    for agents in (0, AGENTS):
        where = f"to {agents} agents" if agents else "to the backlog"
        bench.say(f"plan: {TASKS:,} tasks {where}")
        found = [_once(bench, f"plan{agents}-{n}", agents) for n in range(bench.some(5, 2))]
        for step, seconds in zip(STEPS, zip(*found, strict=True), strict=True):
            shown = spread(seconds, "s", 2)
            rows.append(at_most(f"{step}, {TASKS:,} tasks {where}", shown, median(seconds), LIMIT_S, "s"))
    return rows


def _once(bench: Bench, name: str, agents: int) -> tuple[float, ...]:
    """Seconds of each step. The agents have ended: what is measured is the push, not their work."""
    town = BenchTown(bench, name)
    try:
        if agents:
            town.supervise()
            town.spawn(agents)
            town.tt("stop", "--all")
        owner = 'agent = "a{}"\n' if agents else ""
        blocks = (
            f'[[tasks]]\nid = "t{n}"\ndescription = "Write page {n} of the manual"\nstatus = "pending"\n'
            f'{owner.format(n % (agents or 1))}tags = ["docs"]\n'
            for n in range(TASKS)
        )  # fmt: skip
        (town.root / "tasks.toml").write_text("\n".join(blocks), "utf-8")
        town.town.ensure_redis()
        return tuple(_sync(town, word) for word in ("push", "push", "pull"))
    finally:
        town.close()


def _sync(town: BenchTown, word: str) -> float:
    done = run([str(TT), "--town", str(town.root), "sync", word], environment())
    if f"{TASKS} tasks" not in done.output.decode():
        raise Broken(f"tt sync {word} says {done.output.decode()[-300:]!r}")
    return done.wall_ms / 1e3
