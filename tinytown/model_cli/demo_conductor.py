"""The built-in demo conductor: `tt conductor --cli demo`. No model: the person at the terminal is the conductor.

Shows where the context is, then runs each line that is typed as a `tt` command, until `quit` or the end of input.
"""

from __future__ import annotations

import shlex
import subprocess
import sys

HELP = "Type tt commands, such as: spawn backend, assign backend 'write hello.txt: hi', status, help. Leave with: quit"


def main() -> int:
    """Read, run, repeat. 0 at the end."""
    print(f"Demo conductor: no model runs here. A real one would begin by reading {sys.argv[-1]}\n{HELP}")  # noqa: T201
    while True:
        try:
            words = shlex.split(input("conductor> "))
        except (EOFError, KeyboardInterrupt):
            print()  # noqa: T201  a program's own output
            return 0
        except ValueError as error:
            print(f"This line cannot be read: {error}.")  # noqa: T201  as above
            continue
        if words[:1] in (["quit"], ["exit"]):
            return 0
        if words[:1] == ["tt"]:
            del words[0]
        if words:
            subprocess.run(["tt", *(["--help"] if words == ["help"] else words)], check=False)


if __name__ == "__main__":
    sys.exit(main())
