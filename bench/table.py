"""What a measurement says, and how it is printed and kept."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HEAD = ("what", "figure", "reference, same run", "ratio", "target", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `met` is None where there is no target."""

    what: str
    figure: str
    reference: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of HEAD."""
        verdict = "" if self.met is None else "yes" if self.met else "NO"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (self.what, self.figure, self.reference, ratio, self.target, verdict)


def at_most(what: str, figure: str, value: float, limit: float, unit: str, **more: object) -> Row:
    """A row whose value has an upper limit."""
    return Row(what, figure, target=f"<= {limit:g} {unit}", met=value <= limit, **more)  # type: ignore[arg-type]


def ratio(what: str, figure: str, value: float, reference: str, limit: float | None = None) -> Row:
    """A row whose ratio to a reference may have an upper limit."""
    if limit is None:
        return Row(what, figure, reference, value)
    return Row(what, figure, reference, value, f"<= {limit:g} times", value <= limit)


def quantile(values: Sequence[float], part: float) -> float:
    """The value at this part (0 to 1) of the sorted values, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(part * len(ordered) + 0.5) - 1))]


def median(values: Sequence[float]) -> float:
    """The middle one, or between the middle two."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def spread(values: Sequence[float], unit: str, digits: int = 1) -> str:
    """Median [min-max]."""
    low, mid, high = min(values), median(values), max(values)
    return f"{mid:.{digits}f} [{low:.{digits}f}-{high:.{digits}f}] {unit}, n={len(values)}"


def tails(values: Sequence[float], unit: str, digits: int = 2) -> str:
    """p50, p99, the longest."""
    p50, p99 = median(values), quantile(values, 0.99)
    return f"p50 {p50:.{digits}f}, p99 {p99:.{digits}f}, max {max(values):.{digits}f} {unit}, n={len(values)}"


def markdown(rows: Sequence[Row]) -> str:
    """A table, aligned so that it can be read as it is."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEAD))]
    texts = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(texts)


def machine(server: str) -> str:
    """Where and when this was measured, in one line."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {server}, load average {load}, {datetime.now(UTC):%Y-%m-%d}"
    )


def keep(path: Path, group: str, machine_line: str, rows: Sequence[Row]) -> None:
    """Put a group's table into its place in the page: between its two marks."""
    begin, end = f"<!-- bench {group} -->\n", f"<!-- end {group} -->"
    text = path.read_text("utf-8")
    before, found, rest = text.partition(begin)
    _old, also_found, after = rest.partition(end)
    if not (found and also_found):
        raise ValueError(f"{path} has no place for '{group}'")
    path.write_text(f"{before}{begin}\n{machine_line}\n\n{markdown(rows)}\n\n{end}{after}", "utf-8")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
