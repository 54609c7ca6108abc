"""Write the tables of docs/mcp.md, from the code. With --check, only say whether they are current."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tinytown.townhall.mcp.tools import FORMER_INPUTS, FORMER_NAMES
from tinytown.townhall.verbs import VERBS, Scope, Verb

PAGE = Path(__file__).parents[1] / "docs" / "mcp.md"
TITLES = {
    Scope.READ: "To read: `town.read`",
    Scope.WRITE: "To work: `town.write`",
    Scope.MANAGE: "To manage agents: `agent.manage`",
    Scope.ADMIN: "For all of it: `admin`",
}


def main() -> int:
    """Write or check; the exit code."""
    now = PAGE.read_text("utf-8")
    current = filled(filled(now, "tools", tools()), "former", former())
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(current, "utf-8")
        return 0
    if now == current:
        return 0
    sys.stderr.write("Error: the tables of docs/mcp.md are not current.\nWrite them anew with: scripts/mcp_tools\n")
    return 1


def filled(page: str, name: str, lines: Iterable[str]) -> str:
    """The page with these lines between its marks."""
    begin = f"<!-- {name}: scripts/mcp_tools -->\n"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition("<!-- end -->\n")
    return before + begin + "\n" + "\n".join(lines).strip() + "\n\n<!-- end -->\n" + after


def tools() -> Iterator[str]:
    """A table for each scope."""
    for scope, title in TITLES.items():
        found = sorted((verb for verb in VERBS.values() if verb.scope is scope), key=lambda verb: verb.name)
        if found:
            yield from (f"### {title}", "", "| tool | what it does | inputs | |", "|---|---|---|---|")
            yield from map(_row, found)
            yield ""


def former() -> Iterator[str]:
    """Names of tools, names of inputs."""
    yield from ("| name | here |", "|---|---|")
    yield from (f"| `{old}` | `{new}` |" for old, new in FORMER_NAMES.items())
    for name, inputs in FORMER_INPUTS.items():
        yield from (f"| `{name}`: `{old}` | `{new}` |" for old, new in inputs.items())


def _row(verb: Verb) -> str:
    inputs = ", ".join(_input(name, given) for name, given in verb.inputs.items())
    hints = {"R": verb.is_read, "D": verb.is_destructive, "I": verb.is_idempotent and not verb.is_read}
    text = re.sub(r"\s+", " ", verb.help).replace("|", "\\|")
    return f"| `{verb.name}` | {text} | {inputs} | {' '.join(hint for hint, holds in hints.items() if holds)} |"


def _input(name: str, given: inspect.Parameter) -> str:
    return f"`{name}`" if given.default is inspect.Parameter.empty else f"*`{name}`*"


if __name__ == "__main__":
    sys.exit(main())
