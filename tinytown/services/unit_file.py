"""The unit file of a town's service: what it says, where it is, whose it is."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tinytown.errors import Conflict, Forbidden, Invalid
from tinytown.files import make_private, write_atomic
from tinytown.town import Town

WATCHDOG_S = 30
# After the grace time: the supervisor kills what does not go, then leftovers are ended, then Redis writes its data.
STOP_MARGIN_S = 30
ENVIRONMENT_FILE = "service.env"

_TOWN_LINE = re.compile(r"^Town=(.*)$", re.MULTILINE)
_PATH_LINE = re.compile(r'^Environment="PATH=.*\n', re.MULTILINE)

_UNIT = """\
# Written by `tt service install`, which writes it again. Changes of your own: systemctl --user edit {unit}
[Unit]
Description=Tinytown supervisor of town '{town}'
StartLimitIntervalSec=300
StartLimitBurst=30

[Service]
Type=notify
NotifyAccess=main
WorkingDirectory=/
ExecStart={python} -m tinytown --town {root} supervise
ExecReload=/bin/sh -c 'kill -HUP $MAINPID'
# Acts after a stop only: actors outlive a supervisor that died, and the next one adopts them.
ExecStopPost={python} -m tinytown --town {root} service end-leftovers
KillMode=process
TimeoutStopSec={stop_s}
Restart=on-failure
RestartSec=1
WatchdogSec={watchdog_s}
# A supervisor may be killed at any moment; SIGABRT would not end a stopped one.
WatchdogSignal=SIGKILL
# A model that takes all memory is ended alone.
OOMPolicy=continue
Environment={path}
EnvironmentFile=-%h/.tt/{environment_file}
EnvironmentFile=-{state_dir}/{environment_file}

[Install]
WantedBy=default.target

[X-Tinytown]
Town={plain_root}
"""


def unit_name(town: Town) -> str:
    """Town names are legal in unit names as they are."""
    return f"tinytown-{town.name}.service"


def unit_path(town: Town) -> Path:
    """Where the user manager looks for it."""
    return _folder() / unit_name(town)


def link_path(town: Town) -> Path:
    """The link that makes it start with the user's manager."""
    return _folder() / "default.target.wants" / unit_name(town)


def is_enabled(town: Town) -> bool:
    """It starts with the user's manager."""
    return link_path(town).is_symlink()


def unit_text(town: Town) -> str:
    """The unit for this interpreter, this town and this shell's PATH. Raises Invalid."""
    root = str(town.root)
    if any(ord(character) < 32 or ord(character) == 127 for character in root):
        raise Invalid(f"A folder with control characters in its name cannot be a service: {root!r}")
    return _UNIT.format(
        unit=unit_name(town),
        town=town.name,
        python=_program(sys.executable),
        root=_argument(root),
        stop_s=int(town.config.supervisor.grace_s) + STOP_MARGIN_S,
        watchdog_s=WATCHDOG_S,
        path=quoted(f"PATH={_search_path()}"),
        state_dir=str(town.state_dir).replace("%", "%%"),
        environment_file=ENVIRONMENT_FILE,
        plain_root=root,
    )


def quoted(text: str) -> str:
    """As one word of a unit file (systemd.syntax(7)): specifiers doubled, C escapes."""
    escaped = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if ord(c) >= 32 else f"\\x{ord(c):02x}" for c in escaped) + '"'


def _argument(text: str) -> str:
    return quoted(text).replace("$", "$$")  # there `$` begins a variable; in the program's path it does not


def _program(path: str) -> str:
    """A program's path may hold no quote or backslash for systemd, however escaped; `env` takes it."""
    return f"/usr/bin/env {_argument(path)}" if set(path) & set("\"'\\") else quoted(path)


def is_same(one: str, other: str) -> bool:
    """Equal but for PATH: another shell makes no other service."""
    return _PATH_LINE.sub("", one) == _PATH_LINE.sub("", other)


def is_owned(town: Town) -> bool:
    """There is a unit, and it is this town's."""
    text = read(unit_path(town))
    return text is not None and _owner(text) == str(town.root)


def check_owner(town: Town) -> None:
    """Raise Conflict when the unit is not ours: towns in two folders may have one name."""
    path = unit_path(town)
    if path.is_symlink():
        raise Conflict(f"{path} is a link (to {os.readlink(path)}).", f"Remove it: systemctl --user unmask {path.name}")
    text = read(path)
    if text is None:
        return
    owner = _owner(text)
    if owner is None:
        raise Conflict(f"{path} was not written by 'tt service install'.", "Move it away first.")
    if owner != str(town.root) and os.path.isdir(owner):
        raise Conflict(
            f"{path.name} is the service of another town '{town.name}', in {owner}.",
            f"Remove it with: tt service uninstall --town '{owner}'",
        )


def read(path: Path) -> str | None:
    """The file's text; None when it cannot be read."""
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError:
        return None


def write(town: Town) -> bool:
    """Write the unit; False when it is there already, word for word. Raises Conflict, Forbidden, Invalid."""
    path, text = unit_path(town), unit_text(town)
    check_owner(town)
    if read(path) == text:
        return False
    try:
        _make_folder(path.parent)
        write_atomic(path, text, mode=0o644)
    except OSError as error:
        raise Forbidden(f"Cannot write {path}: {error.strerror}.") from error
    return True


def _make_folder(folder: Path) -> None:
    """What is missing is made for this user alone: whoever can write there says what the user manager runs."""
    if not folder.exists():
        make_private(folder, parents=True)


def remove(town: Town) -> None:
    """Remove unit and link. Raises Forbidden."""
    try:
        for left in (link_path(town), unit_path(town)):
            left.unlink(missing_ok=True)
    except OSError as error:
        raise Forbidden(f"Cannot remove {error.filename}: {error.strerror}.") from error


def _owner(text: str) -> str | None:
    found = _TOWN_LINE.search(text)
    return found[1] if found else None


def _folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path(os.path.expanduser(os.environ.get("HOME") or "~")) / ".config"
    return home / "systemd" / "user"


def _search_path() -> str:
    """This shell's PATH, so that the service finds the same AI CLIs: absolute folders, each once."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys(folder for folder in folders if os.path.isabs(folder)))
