"""Codes of one-time links to the page: written by `tt web`, redeemed by the town hall, which may be another process.

`.tt/web-codes.json` (mode 0600) holds their digests and until when they are good; the code itself is in the link alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from pathlib import Path

from tinytown import clock
from tinytown.files import locked, read_json, write_atomic

FILE = "web-codes.json"
GOOD_S = 300.0
CODES_MOST = 20  # the oldest is good no more when there is one more


def create(state_dir: Path, good_s: float = GOOD_S) -> str:
    """A new code, good once within `good_s` seconds. Raises OSError (disk full), Forbidden."""
    code = secrets.token_urlsafe(32)
    with locked(state_dir / f"{FILE}.lock"):
        kept = _kept(state_dir)
        kept[_digest(code)] = clock.wall() + good_s
        _write(state_dir, dict(list(kept.items())[-CODES_MOST:]))
    return code


def redeem(state_dir: Path, code: str) -> bool:
    """Use a code up; False when it is none that is good. Raises OSError (disk full), Forbidden."""
    with locked(state_dir / f"{FILE}.lock"):
        kept = _kept(state_dir)
        found = next((digest for digest in kept if hmac.compare_digest(digest, _digest(code))), None)
        if found is None:
            return False
        del kept[found]
        _write(state_dir, kept)  # before anybody is let in: a code that is not struck off is not used
    return True


def _kept(state_dir: Path) -> dict[str, float]:
    now = clock.wall()
    stored = read_json(state_dir / FILE) or {}
    return {
        digest: until
        for digest, until in stored.items()
        if isinstance(until, float) and now < until <= now + GOOD_S  # nothing is good for long, whoever wrote it
    }


def _write(state_dir: Path, codes: dict[str, float]) -> None:
    write_atomic(state_dir / FILE, json.dumps(codes))


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
