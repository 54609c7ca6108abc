"""The built-in demo CLI: does simple tasks with files, without any model.

Reads a round's prompt from stdin, works in the current directory, reports with the `tt` on PATH.
What a task's text may say:

  write FILE: TEXT      replace FILE            count FILE           lines, words, characters -> FILE.count
  append FILE: TEXT     add a line to FILE      sum FILE             the sum of the numbers in FILE
  copy A to B           copy a file             table N to FILE      the multiplication table up to N
  upper FILE            to upper case           wait SECONDS         wait, at most 60 s
  sort FILE             sort the lines          fail REASON          fail
  ask AGENT: QUESTION   send a question         delegate AGENT: TASK give a task to another agent

Anything else becomes a note in notes/<task id>.md. Files stay inside the current directory.
A task that is run again leaves what its first run did as it is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tinytown import clock
from tinytown.model_cli.marks import Item, items

MAX_WAIT_S = 60.0
MAX_TABLE = 100
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Failed(Exception):
    """The task cannot be done; the text says why."""


def main() -> int:
    """Do every item of the prompt on stdin. 0 when all went well."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        say(__doc__ or "")
        return 0
    work = items(sys.stdin.buffer.read().decode("utf-8", "replace"))
    if not work:
        say("nothing to do: no item in the prompt")
    for item in work:
        say(f"{'task ' + item.task if item.task else item.type} from {item.sender}: {item.text.strip()[:100]}")
        try:
            result = do(item)
        except (Failed, OSError) as error:
            say(f"failed: {error}")
            return 1
        say(result)
        if item.task:
            report(item.task, result)
        elif item.type == "query":
            tell(item.sender, result)
    return 0


def do(item: Item) -> str:
    """Do one item; returns the result in one line. Raises Failed."""
    text = item.text.strip()
    for pattern, action in _KINDS:
        found = pattern.fullmatch(text)
        if found:
            return action(item, *found.groups())
    return note(item, text)


def say(line: str) -> None:
    """Print at once: the output is a pipe."""
    print(line, flush=True)  # noqa: T201  a program's own output


def inside(name: str) -> Path:
    """The path of a file in the current directory. Raises Failed."""
    here = Path.cwd()
    path = Path(name.strip().strip("'\""))
    parts = path.parts
    if path.is_absolute() or ".." in parts or not parts or parts[0] in {".tt", ".git"}:
        raise Failed(f"'{name}' is not a file in this directory")
    full = (here / path).resolve()
    if not full.is_relative_to(here.resolve()):
        raise Failed(f"'{name}' leads out of this directory")
    return full


def read(name: str) -> str:
    """A file's text. Raises Failed."""
    try:
        return inside(name).read_text("utf-8", "replace")
    except OSError as error:
        raise Failed(f"cannot read '{name}': {error.strerror}") from error


def put(name: str, text: str) -> None:
    """Replace a file, so that a reader never sees half of it."""
    path = inside(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_text(text, "utf-8")
    beside.rename(path)


def write(_item: Item, name: str, text: str) -> str:
    """`write FILE: TEXT`."""
    put(name, text + "\n")
    return f"wrote {name} ({len(text) + 1} characters)"


def append(item: Item, name: str, text: str) -> str:
    """`append FILE: TEXT`. The marker holds the size before: what follows there is what this task added."""
    path = inside(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (text + "\n").encode()
    size = path.stat().st_size if path.exists() else 0
    marker = _marker(item)
    if marker is not None and marker.exists():
        before = int(marker.read_text() or 0)
        if path.exists() and line in path.read_bytes()[before:]:
            return f"{name} has the line already"
    elif marker is not None:
        _remember(marker, str(size))
    with path.open("ab") as stream:
        stream.write(line)
    return f"appended {len(text) + 1} characters to {name}"


def copy(_item: Item, source: str, target: str) -> str:
    """`copy A to B`."""
    put(target, read(source))
    return f"copied {source} to {target}"


def upper(_item: Item, name: str) -> str:
    """`upper FILE`."""
    put(name, read(name).upper())
    return f"{name} is in upper case"


def sort(_item: Item, name: str) -> str:
    """`sort FILE`."""
    lines = sorted(read(name).splitlines())
    put(name, "".join(f"{line}\n" for line in lines))
    return f"sorted {len(lines)} lines of {name}"


def count(_item: Item, name: str) -> str:
    """`count FILE`."""
    text = read(name)
    result = f"{len(text.splitlines())} lines, {len(text.split())} words, {len(text)} characters"
    put(f"{name}.count", result + "\n")
    return f"{name}: {result}"


def total(_item: Item, name: str) -> str:
    """`sum FILE`."""
    numbers = [float(n) for n in _NUMBER.findall(read(name))]
    return f"the sum of {len(numbers)} numbers in {name} is {sum(numbers):g}"


def table(_item: Item, size: str, name: str) -> str:
    """`table N to FILE`."""
    n = int(size)
    if not 1 <= n <= MAX_TABLE:
        raise Failed(f"a table has 1 to {MAX_TABLE} rows, not {n}")
    rows = [" ".join(f"{a * b:5d}" for b in range(1, n + 1)) for a in range(1, n + 1)]
    put(name, "\n".join(rows) + "\n")
    return f"wrote the table of {n} to {name}"


def wait(_item: Item, seconds: str) -> str:
    """`wait SECONDS`."""
    wanted = min(float(seconds), MAX_WAIT_S)
    start = clock.monotonic()
    while (rest := start + wanted - clock.monotonic()) > 0:
        say(f"waiting, {rest:.1f} s left")
        clock.sleep(min(1.0, rest))
    return f"waited {wanted:g} s"


def fail(_item: Item, reason: str) -> str:
    """`fail REASON`."""
    raise Failed(reason or "as asked")


def ask(item: Item, agent: str, question: str) -> str:
    """`ask AGENT: QUESTION`."""
    return _once(item, ["send", agent, "--query", question], f"asked {agent}")


def delegate(item: Item, agent: str, task: str) -> str:
    """`delegate AGENT: TASK`."""
    return _once(item, ["assign", agent, task], f"gave {agent} a task")


def note(item: Item, text: str) -> str:
    """Whatever else a task says."""
    name = f"notes/{_safe(item.task or item.message)[:8]}.md"
    put(name, text + "\n")
    return f"wrote a note to {name}"


def report(task: str, result: str) -> None:
    """Tell the town. Refused or not there: the town goes by this program's end."""
    code, said = _tt(["task", "complete", task, "--result", result])
    if code:
        say(f"tt task complete: {said}")


def tell(agent: str, answer: str) -> None:
    """Answer a question; the work itself is done in any case."""
    code, said = _tt(["send", agent, "--info", answer])
    if code:
        say(f"tt send: {said}")


def _once(item: Item, arguments: list[str], done: str) -> str:
    marker = _marker(item)
    if marker is not None and marker.exists():
        return f"{done} already"
    code, said = _tt(arguments)
    if code:
        raise Failed(f"tt {arguments[0]}: {said}")
    if marker is not None:
        _remember(marker, done)
    return done


def _tt(arguments: list[str]) -> tuple[int, str]:
    try:
        ended = subprocess.run(
            ["tt", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return 127, f"cannot run tt: {error.strerror}"
    return ended.returncode, (ended.stderr or ended.stdout).strip()


def _marker(item: Item) -> Path | None:
    if not item.task:
        return None
    return Path(os.environ.get("TINYTOWN_TOWN") or ".") / ".tt" / "demo" / _safe(item.task)


def _remember(marker: Path, text: str) -> None:
    marker.parent.mkdir(parents=True, exist_ok=True)
    beside = marker.with_name(f"{marker.name}.{os.getpid()}.tmp")
    beside.write_text(text)
    beside.rename(marker)


def _safe(identifier: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "_", identifier) or "_"


def _kind(pattern: str, action: Callable[..., str]) -> tuple[re.Pattern[str], Callable[..., str]]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL), action


_KINDS = (
    _kind(r"write ([^:\n]+):\s?(.*)", write),
    _kind(r"append ([^:\n]+):\s?(.*)", append),
    _kind(r"copy (\S+) to (\S+)", copy),
    _kind(r"upper (\S+)", upper),
    _kind(r"sort (\S+)", sort),
    _kind(r"count (\S+)", count),
    _kind(r"sum (\S+)", total),
    _kind(r"table (\d{1,4}) to (\S+)", table),
    _kind(r"wait (\d+(?:\.\d+)?)(?:\s*s(?:econds?)?)?", wait),
    _kind(r"fail\b\s*(.*)", fail),
    _kind(r"ask ([A-Za-z0-9._-]+):\s*(.+)", ask),
    _kind(r"delegate ([A-Za-z0-9._-]+):\s*(.+)", delegate),
)

if __name__ == "__main__":
    sys.exit(main())
