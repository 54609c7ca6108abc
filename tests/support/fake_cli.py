"""A model CLI for tests: it does what its directives say, in order.

Directives are the arguments, or (without arguments) every line `fake: ...` of the prompt on stdin:

  print TEXT        a line on stdout             exit N             leave with that code
  err TEXT          a line on stderr             signal NAME        end itself by a signal
  flood N           one line of N bytes          sleep S / hang     wait; hang is for good
  bytes HEX         these bytes, no line end     ignore-term        TERM has no effect from here on
  cat / size        the prompt / its length      close-output       close stdout and stderr
  argv / env NAME   the last argument / a value  child S            a grandchild in a session of its own holds stdout
  append FILE TEXT  a line in a file             pid FILE           its own pid, into a file
  touch FILE        an empty file                await FILE         until that file exists
  outcome JSON      the outcome line of scripts  tt ARGS            run the tt on PATH
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time


def main() -> None:
    """Do the directives of the arguments, else of the prompt."""
    directives = sys.argv[1:]
    if not directives:
        lines = sys.stdin.buffer.read().decode("utf-8", "replace").splitlines()
        directives = [line[len("fake:") :].strip() for line in lines if line.startswith("fake:")]
    for directive in directives:
        name, _, rest = directive.partition(" ")
        do(name, rest)


def do(name: str, rest: str) -> None:
    """One directive."""
    if name in {"print", "outcome"}:
        out(("tinytown-outcome: " if name == "outcome" else "").encode() + rest.encode() + b"\n")
    elif name == "err":
        os.write(2, rest.encode() + b"\n")
    elif name == "flood":
        out(b"x" * int(rest) + b"\n")
    elif name == "bytes":
        out(bytes.fromhex(rest))
    elif name == "cat":
        out(sys.stdin.buffer.read())
    elif name == "size":
        out(b"%d\n" % len(sys.stdin.buffer.read()))
    elif name == "argv":
        out(sys.argv[-1].encode("utf-8", "surrogateescape") + b"\n")
    elif name == "env":
        out(os.environ.get(rest, "(unset)").encode() + b"\n")
    elif name == "exit":
        os._exit(int(rest))
    else:
        do_process(name, rest)


def do_process(name: str, rest: str) -> None:
    """One directive about time, processes and files."""
    if name == "signal":
        os.kill(os.getpid(), signal.Signals[rest])
    elif name in {"sleep", "hang"}:
        time.sleep(float(rest or 3600))
    elif name == "ignore-term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif name == "close-output":
        os.close(1)
        os.close(2)
    elif name == "child":
        if os.fork() == 0:
            os.setsid()
            time.sleep(float(rest))
            os._exit(0)
    elif name == "tt":
        subprocess.run(["tt", *shlex.split(rest)], check=False)
    else:
        do_file(name, rest)


def do_file(name: str, rest: str) -> None:
    """One directive about files."""
    path, _, text = rest.partition(" ")
    if name == "append":
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(text + "\n")
    elif name == "pid":
        with open(path + ".tmp", "w", encoding="utf-8") as stream:
            stream.write(str(os.getpid()))
        os.rename(path + ".tmp", path)
    elif name == "touch":
        open(path, "a", encoding="utf-8").close()
    elif name == "await":
        while not os.path.exists(path):
            time.sleep(0.005)


def out(data: bytes) -> None:
    """All of it, unbuffered."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
