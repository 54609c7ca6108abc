"""What a disk still holds after a power loss, by the record that power.c keeps of every sync.

Two disks that are both allowed to exist:

- one that **forgets names**: what was created, renamed or removed in a folder since that folder's last fsync never
  happened (POSIX promises no more);
- one that **keeps names**: its journal had written them all, but not the content of the files behind them.

On both a file is cut back to its last synced length; or, `torn`, somewhere behind that: the disk had begun with the
rest. A folder that was never synced is empty on the first, a file that was never synced is empty on the second.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("power.c")
_RECORD = struct.Struct("3q")
_FOLDER, _FILE, _LINK = 4, 8, 10  # d_type of <dirent.h>


def compile_shim(folder: Path) -> Path:
    """The library, built in `folder`."""
    library = folder / "power.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@dataclass
class Failure:
    """How the disk behaves: see above. `choice`, which the seed decides, says where what is torn ends."""

    seed: int
    forgets_names: bool = True
    torn: bool = False

    def __post_init__(self) -> None:
        self.choice = random.Random(self.seed)  # noqa: S311  no secret


@dataclass(frozen=True)
class Disk:
    """The files below `root`, with the record in `folder` (on the same file system)."""

    root: Path
    folder: Path

    def environment(self, library: Path) -> dict[str, str]:
        """What a process needs whose syncs are to be noticed; makes the record's folders."""
        for name in ("inodes", "folders"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        return {"LD_PRELOAD": str(library), "POWER_ROOT": str(self.root), "POWER_DIR": str(self.folder)}

    def lengths(self) -> dict[int, int]:
        """The synced length of each file, by inode."""
        found: dict[int, int] = {}
        with contextlib.suppress(FileNotFoundError):
            data = (self.folder / "lengths").read_bytes()
            for kind, inode, length in _RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size]):
                known = found.get(inode, 0)
                found[inode] = max(known, length) if kind == ord("S") else min(known, length)
        return found

    def lose(self, failure: Failure) -> int:
        """Take back what was not synced; what is left counts as synced. Returns the bytes that were cut off files.

        Every process that could write must be dead.
        """
        if failure.forgets_names:
            self._forget_names(self.root)
        lengths = self.lengths()
        lost = sum(_cut(path, lengths.get(path.stat().st_ino, 0), failure) for path in self._files())
        self._all_is_synced()
        return lost

    def _names(self, inode: int) -> dict[str, tuple[int, int]]:
        """Name -> (kind, inode) of what the folder durably holds."""
        listing = self.folder / "folders" / str(inode)
        rows = [line.split(" ", 2) for line in listing.read_text().splitlines()] if listing.exists() else []
        return {name: (int(kind), int(number)) for kind, number, name in rows}

    def _forget_names(self, folder: Path, inode: int | None = None) -> None:
        """`inode`: of the folder's earlier self, when it is a new one."""
        durable = self._names(folder.stat().st_ino if inode is None else inode)
        for path in list(folder.iterdir()):
            if durable.get(path.name, (0, 0))[1] != path.lstat().st_ino:
                _remove(path)
        for name, (kind, number) in durable.items():
            path, kept = folder / name, self.folder / "inodes" / str(number)
            if kind == _FOLDER:
                is_new = not path.exists()
                path.mkdir(mode=0o700, exist_ok=True)
                self._forget_names(path, number if is_new else None)
            elif kind in {_FILE, _LINK} and not os.path.lexists(path):
                os.link(kept, path, follow_symlinks=False)

    def _files(self) -> list[Path]:
        found = (path for path in self.root.rglob("*") if stat.S_ISREG(path.lstat().st_mode))
        return sorted(found)

    def _all_is_synced(self) -> None:
        rows = [(path.stat().st_ino, path.stat().st_size) for path in self._files()]
        with (self.folder / "lengths").open("ab") as stream:
            stream.writelines(_RECORD.pack(ord(k), inode, size) for inode, size in rows for k in "ST")
        for path in self._files():
            with contextlib.suppress(FileExistsError):
                os.link(path, self.folder / "inodes" / str(path.stat().st_ino))
        for folder in [self.root, *(path for path in self.root.rglob("*") if path.is_dir() and not path.is_symlink())]:
            listing = self.folder / "folders" / str(folder.stat().st_ino)
            rows_of = ((_kind(entry), entry.inode(), entry.name) for entry in os.scandir(folder))
            listing.write_text("".join(f"{kind} {inode} {name}\n" for kind, inode, name in rows_of))


def _kind(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return _LINK
    return _FOLDER if entry.is_dir() else _FILE if entry.is_file() else 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _cut(path: Path, synced: int, failure: Failure) -> int:
    size = path.stat().st_size
    kept = min(synced, size)
    if failure.torn and size > kept:
        kept = failure.choice.randint(kept, size)
    os.truncate(path, kept)
    return size - kept
