"""Real certificates for tests, made with the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """A CA of its own in a folder."""

    folder: Path
    name: str

    @property
    def ca(self) -> Path:
        """Its certificate."""
        return self.folder / f"{self.name}.pem"

    @classmethod
    def make(cls, folder: Path, name: str = "ca") -> Authority:
        """Make key and certificate."""
        made = cls(folder, name)
        made._openssl("req", "-x509", *_new(made._key(name)), "-subj", f"/CN={name}", "-out", str(made.ca))
        return made

    def issue(self, name: str) -> Path:
        """A certificate for 127.0.0.1 and localhost, with its key in the same file."""
        path, key = self.folder / f"{name}.pem", self._key(name)
        self._openssl(
            "req", "-x509", *_new(key), "-subj", f"/CN={name}", "-out", str(path),
            "-CA", str(self.ca), "-CAkey", str(self._key(self.name)),
            "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-addext", "basicConstraints=critical,CA:FALSE",
        )  # fmt: skip
        path.write_text(path.read_text() + key.read_text())
        return path

    def _key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    @staticmethod
    def _openssl(*argv: str) -> None:
        subprocess.run(["openssl", *argv], check=True, capture_output=True)


def _new(key: Path) -> tuple[str, ...]:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    return (*curve, "-nodes", "-days", "2", "-keyout", str(key))
