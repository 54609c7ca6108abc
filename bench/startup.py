"""How long a command takes from exec to exit, beside the least that such a program takes."""

from __future__ import annotations

import compileall
import json
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Broken, Run, run
from bench.rig import TT, Bench, BenchTown, environment, running
from bench.table import Row, at_most, median, ratio, spread
from tinytown import cli
from tinytown.domain.states import TaskState
from tinytown.ids import SUPERVISOR_ID
from tinytown.services import messages
from tinytown.services.caller import Caller

AGENTS, TASKS, MANY_TASKS = 20, 1_000, 10_000
LIMIT, LIST_S = 1.3, 1.0

LAUNCHER = """#!{python}
import sys
sys.path.insert(0, {folder!r})
from {module} import main
if __name__ == '__main__':
    sys.exit(main())
"""

STATUS = '''"""What `tt status` shows, in the plainest way: one pipeline, no checks, no objects."""
import json

import redis
import rich_click as click

KEYS = json.loads({keys!r})


@click.command()
def main():
    client = redis.Redis(unix_socket_path=KEYS["socket"], decode_responses=True)
    pipe = client.pipeline(transaction=False)
    for command in KEYS["commands"]:
        pipe.execute_command(*command)
    names, wanted, info, backlog, conductor, *rest = pipe.execute()
    click.echo(f"Town: {{KEYS['town']}}")
    click.echo(f"Redis: {{info['redis_version']}}")
    click.echo(f"Agents: {{len(names)}}")
    counts, rest = rest[:KEYS["states"]], rest[KEYS["states"]:]
    for n in range(0, len(rest), 7):
        raw, stats, urgent, inbox, claimed, dead, activity = rest[n:n + 7]
        agent = json.loads(raw)
        wish = json.loads(wanted[agent["id"]])
        kinds = {{}}
        for text in urgent + inbox:
            kind = json.loads(text)["type"]
            kinds[kind] = kinds.get(kind, 0) + 1
        click.echo(f"   {{agent['name']}} ({{agent['state']}}) - {{sum(kinds.values())}} messages pending {{kinds}} "
                   f"{{len(urgent)}} urgent {{claimed}} {{dead}} {{wish['rounds']}} id {{agent['id'][:8]}}")
    click.echo(f"Tasks: {{sum(counts)}} total {{counts}}, backlog {{backlog}}, conductor {{conductor}}")
'''


def measure(bench: Bench) -> list[Row]:
    """The group."""
    pairs = bench.some(41, 15)
    rows = _help(bench, pairs)
    with running(bench, "startup", AGENTS) as (town, agent_ids):
        town.add_tasks(TASKS)
        for n in range(AGENTS):
            for text in ("The page on errors is done", "The schema has changed"):
                messages.send(town.town, f"a{n}", text, Caller(), kind="info")
        rows.append(_status(bench, town, agent_ids, pairs))
        town.add_tasks(MANY_TASKS - TASKS)
        rows.append(_list(bench, town, bench.some(11, 5)))
    return rows


def _help(bench: Bench, pairs: int) -> list[Row]:
    bench.say("startup: tt --help")
    bare = _program(bench.folder, "bare_help", _bare_source())
    rows = []
    for where, tty in (("output to a pipe", False), ("on a terminal", True)):
        ours, theirs = _pairs([str(TT), "--help"], [str(bare), "--help"], pairs, tty=tty)
        rows.append(
            _compared(f"`tt --help`, {where}", ours, theirs, f"a bare rich-click program of {len(cli.TABLE)} commands")
        )
    return rows


def _status(bench: Bench, town: BenchTown, agent_ids: Sequence[str], pairs: int) -> Row:
    bench.say("startup: tt status")
    script = _program(bench.folder, "bare_status", STATUS.format(keys=json.dumps(_status_reads(town, agent_ids))))
    command = [str(TT), "--town", str(town.root), "status"]
    ours, theirs = _pairs(command, [str(script)], pairs)
    for seen in (ours[0].output, theirs[0].output):
        if f"{TASKS} total" not in seen.decode() or f"a{AGENTS - 1} (" not in seen.decode():
            raise Broken(f"a status does not show everything: {seen[-400:]!r}")
    what = f"`tt status`, {AGENTS} agents, {TASKS:,} tasks"
    return _compared(what, ours, theirs, "rich-click, redis, the same records in one pipeline")


def _status_reads(town: BenchTown, agent_ids: Sequence[str]) -> dict[str, object]:
    """The records that services/status.py reads, the agents' ids known beforehand."""
    keys = town.town.store.keys
    commands: list[tuple[object, ...]] = [
        ("HGETALL", keys.agents),
        ("HGETALL", keys.wanted),
        ("INFO", "server"),
        ("LLEN", keys.backlog),
        ("LLEN", keys.inbox(SUPERVISOR_ID)),
        *(("ZCARD", keys.tasks(state)) for state in TaskState),
    ]
    for i in agent_ids:
        commands += [
            ("GET", keys.agent(i)),
            ("HGETALL", keys.stats(i)),
            ("LRANGE", keys.urgent(i), 0, -1),
            ("LRANGE", keys.inbox(i), 0, -1),
            ("LLEN", keys.claimed(i)),
            ("LLEN", keys.dead(i)),
            ("LRANGE", keys.activity(i), 0, 4),
        ]
    return {
        "socket": str(town.socket), "town": town.town.name, "states": len(TaskState), "commands": commands,
    }  # fmt: skip


def _list(bench: Bench, town: BenchTown, count: int) -> Row:
    bench.say(f"startup: tt task list --json, {MANY_TASKS:,} tasks")
    command = [str(TT), "--town", str(town.root), "task", "list", "--json"]
    runs = [run(command, environment()) for _ in range(count)]
    found = json.loads(runs[0].output)
    listed = found["tasks"] if isinstance(found, dict) else found
    if len(listed) != MANY_TASKS:
        raise Broken(f"tt task list --json shows {len(listed)} tasks")
    seconds = [r.wall_ms / 1e3 for r in runs]
    cpu = median([r.cpu_ms for r in runs])
    what = f"`tt task list --json`, {MANY_TASKS:,} tasks (CPU {cpu:.0f} ms)"
    return at_most(what, spread(seconds, "s", 2), median(seconds), LIST_S, "s")


def _pairs(ours: list[str], theirs: list[str], count: int, *, tty: bool = False) -> tuple[list[Run], list[Run]]:
    """Run both in turn, the first one changing; the first pair of all warms the caches and does not count."""
    env = environment()
    found: tuple[list[Run], list[Run]] = ([], [])
    for n in range(count + 1):
        for which in (0, 1) if n % 2 else (1, 0):
            done = run((ours, theirs)[which], env, tty=tty)
            if n:
                found[which].append(done)
    return found


def _compared(what: str, ours: list[Run], theirs: list[Run], than: str) -> Row:
    times = median([a.wall_ms / b.wall_ms for a, b in zip(ours, theirs, strict=True)])
    cpu = median([a.cpu_ms / b.cpu_ms for a, b in zip(ours, theirs, strict=True)])
    figure, reference = (spread([r.wall_ms for r in runs], "ms", 0) for runs in (ours, theirs))
    return ratio(f"{what} (by CPU time: {cpu:.2f} times)", figure, times, f"{than}: {reference}", LIMIT)


def _bare_source() -> str:
    lines = ["import rich_click as click", "", "", "@click.group()", "def main():", '    """Tinytown."""']
    for name, entry in cli.TABLE.items():
        function = f"command_{name.replace('-', '_')}"
        lines += [
            "", "", f"@main.command({name!r}, help={entry.help!r})",
            '@click.option("--verbose", "-v", is_flag=True, help="Say more.")',
            f"def {function}(verbose):", "    click.echo(verbose)",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _program(folder: Path, module: str, source: str) -> Path:
    """A compiled module and a launcher like the one pip writes for `tt`."""
    (folder / f"{module}.py").write_text(source, "utf-8")
    compileall.compile_file(folder / f"{module}.py", quiet=2)
    launcher = folder / module
    launcher.write_text(LAUNCHER.format(python=sys.executable, folder=str(folder), module=module), "utf-8")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    return launcher
