"""`tt auth gen-key`: what it prints is what the town's settings take."""

from __future__ import annotations

import subprocess
import sys

import argon2
import pytest

from tests.support.cli import Tt
from tinytown.town import Town

pytestmark = pytest.mark.slow

PRINTED = """\
Generated new API key

API Key (store securely, shown only once):
{key}

API Key Hash (add to tinytown.toml):
{hash}

Add to your tinytown.toml:

  [townhall.auth]
  mode = "api_key"
  api_key_hash = "{hash}"

Then use the API key with townhall:
  curl -H 'Authorization: Bearer {start}...' http://localhost:{port}/v1/status
"""


@pytest.mark.parametrize("args", [("auth", "gen-key"), ("generate-api-key",)], ids=" ".join)
def test_gen_key(bare: Tt, args: tuple[str, ...]) -> None:
    """As the manual shows it, on stdout alone, also outside of a town; the former name does the same."""
    ran = bare.ok(*args)
    lines = ran.out.splitlines()
    key, key_hash = lines[3], lines[6]
    assert ran.out == PRINTED.format(key=key, hash=key_hash, start=key[:10], port=8787)
    assert ran.err == ""
    assert argon2.PasswordHasher().verify(key_hash, key)
    assert ran.out.count(key) == 1


def test_gen_key_as_json(bare: Tt) -> None:
    """Key and hash, nothing else."""
    made = bare.ok("auth", "gen-key", "--json").json
    assert made.keys() == {"api_key", "api_key_hash"}
    assert argon2.PasswordHasher().verify(made["api_key_hash"], made["api_key"])


def test_the_printed_settings_are_accepted(tt: Tt, town: Town) -> None:
    """Pasted into tinytown.toml the town works on; the port is used."""
    out = tt.ok("auth", "gen-key").out
    block = out[out.index("  [townhall.auth]") : out.index("Then use")]
    file = town.root / "tinytown.toml"
    file.write_text(f"{file.read_text()}\n[townhall]\nrest_port = 9000\n{block}")

    assert tt.ok("list").err == ""
    assert "http://localhost:9000/v1/status" in tt.ok("auth", "gen-key").out


def test_gen_key_in_a_broken_town(bare: Tt) -> None:
    """Settings that cannot be used are no obstacle; a folder that is no town is."""
    (bare.cwd / "tinytown.toml").write_text("name = ")
    assert "http://localhost:8787/" in bare.ok("auth", "gen-key").out
    assert "Town not initialized" in bare.fails("--town", "/nowhere", "auth", "gen-key").err


def test_the_former_name_is_not_listed(bare: Tt) -> None:
    """`generate-api-key` works and is in no list; the group alone shows its help."""
    assert "generate-api-key" not in bare.ok("--help").out
    assert "gen-key" in bare("auth").err + bare("auth").out
    assert "shown this once" in bare.ok("auth", "gen-key", "--help").out


def test_the_hash_library_is_loaded_for_a_key_alone() -> None:
    """Loading the command loads no argon2."""
    code = "import sys, tinytown.cli.auth, tinytown.services.api_keys; sys.exit('argon2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
