"""The run in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chaos.trouble import STATES

if TYPE_CHECKING:
    from chaos.run import Run

MOST_LINES = 50


def text(run: Run) -> str:
    """All of it."""
    return "\n".join(_lines(run))


def _lines(run: Run) -> Iterator[str]:
    kills = run.trouble.kills
    yield ""
    rate = kills.total() / run.trouble_s * 60
    yield f"Killed: {kills.total()} processes in {run.trouble_s:.0f} s, {rate:.0f} a minute"
    for target, states in STATES.items():
        yield f"  {target:<11}" + "  ".join(f"{state} {kills[target, state]}" for state in states)
    yield "And:    " + _counted(run.trouble.done)
    yield "Typed:  " + _counted(run.callers.ended) + f" of {run.callers.ended.total()} commands at random"
    yield from _town(run)
    yield from _verdict(run)


def _town(run: Run) -> Iterator[str]:
    reading = run.reading
    yield f"Tasks:  {_counted(reading.tasks)}; {len(run.accepted.tasks)} accepted from {run.options.writers} writers"
    names = dict.fromkeys(name for name, _state in sorted(reading.behaviours))
    for name in names:
        ended = Counter({state: count for (of, state), count in reading.behaviours.items() if of == name})
        yield f"  {name:<24}{_counted(ended)}"
    yield f"Mail:   {len(run.accepted.messages)} messages and {run.accepted.by_hand} typed by hand accepted"
    yield f"        {len(run.accepted.missions)} missions, {reading.events['work_item_done']} of their items done"
    if reading.dead:
        yield "Dead letters, by reason:"
        yield from (f"  {count:>5}  {reason}" for reason, count in reading.dead.most_common(12))
    if reading.given_up:
        yield "Agents given up:"
        yield from (f"  {name}: {reason}" for name, reason in sorted(reading.given_up.items()))
    if run.options.limited:
        yield f"Afterwards: {run.retried} failed tasks were retried, the agents started again, and all was done"
    yield f"Seen:   {run.witness.samples} samples of the process table, {run.checks} of all keys during the trouble"
    if (grown := run.witness.growth()) is not None:
        seconds, first, last = grown
        yield (
            f"Growth: supervisor in its last {seconds:.0f} s: {first.descriptors} -> {last.descriptors} descriptors, "
            f"{first.own_bytes / 1e6:.1f} -> {last.own_bytes / 1e6:.1f} MB"
        )
    yield "Keys:   " + _counted(reading.keys)
    yield f"Rest:   everything settled {run.settled_s:.1f} s after the last trouble"


def _verdict(run: Run) -> Iterator[str]:
    if not run.violations:
        yield "Found:  nothing. Nothing lost, nothing done twice, nothing left over."
        return
    yield f"Found:  {len(run.violations)} violations"
    yield from (f"  {line}" for line in run.violations[:MOST_LINES])
    if len(run.violations) > MOST_LINES:
        yield f"  ... and {len(run.violations) - MOST_LINES} more"
    options = run.options
    flags = " --default-limits" if options.limited else ""
    yield (
        f"Again:  scripts/chaos --seed {options.seed} --agents {options.agents} --tasks {options.tasks} "
        f"--seconds {options.seconds:g}{flags}"
    )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"
