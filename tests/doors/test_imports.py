"""What a quick command may import: nothing that it does not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import town as towns
from tinytown.town import Town

pytestmark = pytest.mark.slow

DUMP = (
    "import sys; from tinytown.cli import root, run; code = run(root(), sys.argv[1:]); "
    "sys.stderr.write('\\n'.join(sorted(sys.modules))); sys.exit(code)"
)


def imported(*args: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", DUMP, *args], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help() -> None:
    """--help loads click and the table of commands."""
    modules = imported("--help")
    heavy = {"redis", "pydantic", "psutil", "asyncio", "multiprocessing", "subprocess", "rich", "rich_click"}
    assert not modules & heavy
    ours = {name for name in modules if name.startswith("tinytown")}
    assert ours == {"tinytown", "tinytown.cli", "tinytown.cli.base", "tinytown.cli.render", "tinytown.terminal"}


@pytest.mark.parametrize("args", [("status",), ("list",)], ids=" ".join)
def test_status(town: Town, args: tuple[str, ...]) -> None:
    """Status and list load the store and what they read with; no model CLI, no actor, no supervisor, no rich."""
    towns.give_task(town, towns.register(town, wanted=False))
    modules = imported("--town", str(town.root), *args)
    assert "redis" in modules
    assert not modules & {
        "pydantic",
        "psutil",
        "rich",
        "rich_click",
        "tomli_w",
        "setproctitle",
        "tinytown.store.server",
    }
    for package in ("model_cli", "actors", "supervisor"):
        assert not [name for name in modules if name.startswith(f"tinytown.{package}")]
    services = {name for name in modules if name.startswith("tinytown.services.")}
    assert services == {f"tinytown.services.{name}" for name in ("servers", "shapes", "status", "supervision")} - (
        {"tinytown.services.shapes"} - modules
    )


def test_a_town_that_is_down_costs_nothing(town: Town) -> None:
    """That Redis does not run is found out without its client."""
    (town.root / "tinytown.toml").write_text('name = "down"\n')
    done = subprocess.run(
        [sys.executable, "-c", DUMP, "--town", str(town.root), "status"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "redis" not in done.stderr.splitlines()[2:]


def imported_by_townhall(program: str, town: Town) -> set[str]:
    """Run this with `town` opened; without an input."""
    start = f"import sys; from tinytown.town import open_town; town = open_town(sys.argv[1]); {program}; "
    dump = "sys.stderr.write('\\n'.join(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", start + dump, str(town.root)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stderr.split())


def test_mcp_over_stdio(town: Town) -> None:
    """It starts with every conversation: of the web nothing but what the SDK imports itself."""
    sdk = imported_by_townhall("import mcp", town)
    run = "from tinytown.townhall.mcp import stdio; stdio.serve(town, verbose=False, underscore=False)"
    modules = imported_by_townhall(run, town)
    assert "mcp" in modules
    web = {"fastapi", "starlette", "uvicorn", "h11", "jwt", "argon2", "cryptography", "prometheus_client"}
    assert not (modules - sdk) & web
    assert not modules & {f"tinytown.townhall.{name}" for name in ("rest", "server", "serving", "page", "auth.gate")}


def test_rest(town: Town) -> None:
    """REST and the page are served without the MCP SDK, which costs more than a second."""
    run = (
        "from tinytown.config_townhall import Townhall; from tinytown.townhall import serving; "
        "from tinytown.townhall.rest import app; app.make(town, Townhall())"
    )
    modules = imported_by_townhall(run, town)
    assert "fastapi" in modules
    assert not modules & {"mcp", "mcp_types"}
