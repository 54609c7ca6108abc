"""Write docs/openapi/townhall-v1.yaml and the table of docs/townhall.md, from the code. With --check, only look."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinytown.config import Config
from tinytown.config_townhall import Townhall
from tinytown.town import Town
from tinytown.townhall.rest import app, openapi

DOCS = Path(__file__).parents[1] / "docs"
CONTRACT = DOCS / "openapi" / "townhall-v1.yaml"
PAGE = DOCS / "townhall.md"
HEAD = "# Generated from the code by scripts/openapi; the tests check that it is current.\n"
BEGIN, END = "<!-- endpoints: scripts/openapi -->\n", "<!-- end -->\n"
SCOPES = {
    None: "For everybody",
    "town.read": "To read: `town.read`",
    "town.write": "To work: `town.write`",
    "agent.manage": "To manage agents: `agent.manage`",
    "admin": "For all of it: `admin`",
}


def main() -> int:
    """Write or check; the exit code."""
    document = made()
    wanted = {CONTRACT: HEAD + openapi.as_yaml(document), PAGE: with_table(PAGE.read_text("utf-8"), document)}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" not in sys.argv[1:]:
        for path in stale:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], "utf-8")
        return 0
    for path in stale:
        sys.stderr.write(f"Error: {path.relative_to(DOCS.parent)} is not current.\n")
    if stale:
        sys.stderr.write("Write it anew with: scripts/openapi\n")
    return int(bool(stale))


def made() -> dict[str, Any]:
    """The document as the town hall serves it."""
    found: dict[str, Any] = app.make(Town(Path("/no-town"), Config(name="my-project")), Townhall()).openapi()
    return found


def with_table(page: str, document: dict[str, Any]) -> str:
    """The page with its endpoints as they are."""
    head, _begin, rest = page.partition(BEGIN)
    _old, _end, tail = rest.partition(END)
    return head + BEGIN + "\n".join(table(document)) + "\n" + END + tail


def table(document: dict[str, Any]) -> Iterator[str]:
    """Every endpoint, by the scope that it needs."""
    rows = [
        (operation.get("x-scope"), f"| `{method.upper()} {path}` | {_first(operation)} | {_command(operation)} |")
        for path, operations in sorted(document["paths"].items())
        for method, operation in operations.items()
    ]
    for scope, title in SCOPES.items():
        found = [row for needed, row in rows if needed == scope]
        if found:
            yield f"\n### {title}\n\n| endpoint | what it does | as |\n|---|---|---|"
            yield from found


def _first(operation: dict[str, Any]) -> str:
    text = operation.get("description") or operation.get("summary") or ""
    return " ".join(text.partition("\n")[0].split()).replace("|", "\\|")


def _command(operation: dict[str, Any]) -> str:
    command = operation.get("x-command")
    return f"`tt {command}`" if command else ""


if __name__ == "__main__":
    sys.exit(main())
