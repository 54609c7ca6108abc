"""What GitHub answered, on disk with its ETag: asked again, an unchanged answer costs nothing of the rate limit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytown import files
from tinytown.errors import Forbidden

MOST_BYTES = 20_000_000
ONE_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer: `following` is the address of the next page."""

    etag: str
    body: Any
    following: str | None


class Cache:
    """A folder with a file for each address, for this user alone; never fails: at worst it keeps nothing.

    `owner` is whose answers they are (a token): another one never sees them. Several processes may share it.
    """

    def __init__(self, folder: Path, owner: str | None, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._owner = owner or ""
        self._most = most_bytes
        self._written = most_bytes  # so that the first file looks after what others left
        with contextlib.suppress(OSError, Forbidden):
            files.make_private(folder, parents=True)

    def get(self, url: str) -> Kept | None:
        """The answer that is kept for this address."""
        path = self._path(url)
        found = files.read_json(path)
        if found is None or not isinstance(found.get("etag"), str) or "body" not in found:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the one that was used last goes last
        return Kept(found["etag"], found["body"], found.get("following"))

    def put(self, url: str, kept: Kept) -> None:
        """Keep an answer for this address."""
        text = json.dumps({"etag": kept.etag, "following": kept.following, "body": kept.body})
        if len(text) > ONE_BYTES:
            return
        with contextlib.suppress(OSError):
            files.write_atomic(self._path(url), text, sync=False)
        self._written += len(text)
        if self._written > self._most // 4:
            self._trim()

    def _trim(self) -> None:
        """Down to three quarters of the most that is kept, the longest unused first."""
        self._written = 0
        files.remove_half_written(self._folder)
        with contextlib.suppress(OSError):
            found = [(entry.stat().st_mtime_ns, entry.stat().st_size, entry.path) for entry in os.scandir(self._folder)]
            size = sum(each[1] for each in found)
            for _, its, path in sorted(found):
                if size <= self._most * 3 // 4:
                    break
                size -= its
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _path(self, url: str) -> Path:
        name = hashlib.sha256(f"{self._owner} {url}".encode()).hexdigest()[:40]
        return self._folder / f"{name}.json"
