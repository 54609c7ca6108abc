"""Files that people write: settings, or one line that names the file; quickly, and without anybody's secret."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fuzz import toml_material as material
from tests.fuzz.material import cases
from tinytown import clock, config
from tinytown.errors import ConfigInvalid, Forbidden, Invalid, NotInitialized, TinytownError
from tinytown.services import registry, settings
from tinytown.services.plan import entries, toml_file

pytestmark = pytest.mark.slow

WITHIN_S = 2.0
REFUSALS = (ConfigInvalid, Invalid, Forbidden)
LONGEST = 700


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own."""
    folder = tmp_path / "home" / ".tt"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder.parent))
    return folder


def refusal(
    read: Callable[[], object], what: object, kinds: tuple[type[TinytownError], ...] = REFUSALS
) -> TinytownError | None:
    """How it was refused, if it was: in one line and at most one more, in time."""
    began = clock.monotonic()
    found: TinytownError | None = None
    try:
        read()
    except kinds as error:
        found = error
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} for {what!r:.1000}") from error
    assert clock.monotonic() - began < WITHIN_S, f"slow: {what!r:.1000}"
    if found is not None:
        said = (str(found), found.remedy or "")
        assert not any("\n" in line or len(line) > LONGEST for line in said), said
        assert material.SECRET not in "".join(said), said
    return found


def test_town_files(tmp_path: Path) -> None:
    """tinytown.toml, read as a town and shown with its sources."""
    file = tmp_path / "tinytown.toml"
    for rng in cases("town", 250):
        data = material.spoilt(rng, material.TOWN)
        file.write_bytes(data)
        error = refusal(lambda: config.load(tmp_path), data)
        assert error is None or str(error).startswith(str(file)) or "$NOPE" in str(error), error
        assert (refusal(lambda: settings.overview(tmp_path), data) is None) == (error is None)
        assert file.read_bytes() == data


def test_global_files(tmp_path: Path, home: Path) -> None:
    """~/.tt/config.toml: what `tt config KEY VALUE` refuses stays as it is."""
    (tmp_path / "tinytown.toml").write_text('name = "t"\n')
    file = home / "config.toml"
    for rng in cases("global", 250):
        data = material.spoilt(rng, material.WORLD)
        file.write_bytes(data)
        error = refusal(lambda: config.load(tmp_path), data)
        assert error is None or str(file) in str(error) or str(tmp_path) in str(error), error
        if refusal(lambda: settings.set_global("default_cli", "claude"), data) is not None:
            assert file.read_bytes() == data


def test_registries(tmp_path: Path, home: Path) -> None:
    """~/.tt/towns.toml: listed, looked at, added to."""
    file = home / "towns.toml"
    for rng in cases("registry", 250):
        data = material.spoilt(rng, material.TOWNS)
        file.write_bytes(data)
        error = refusal(registry.listing, data)
        assert error is None or str(error).startswith(str(file)), error
        refusal(registry.survey, data)
        if refusal(lambda: registry.add("new", tmp_path), data) is not None:
            assert file.read_bytes() == data
        elif error is None:
            assert registry.Registered("new", str(tmp_path)) in registry.listing()


def test_plans() -> None:
    """tasks.toml: read as a plan, and edited without a change to anything else."""
    for rng in cases("plan", 250):
        with contextlib.suppress(UnicodeDecodeError):
            text = material.spoilt(rng, material.PLAN).decode()
            refusal(lambda text=text: entries.read(toml_file.parse(text)), text)  # type: ignore[misc]
            refusal(lambda text=text: _edit(text), text)  # type: ignore[misc]


def _edit(text: str) -> None:
    document = toml_file.parse(text)
    changes = {number: {"status": "completed"} for number in range(len(document.tasks))}
    new, _kept = toml_file.edited(document, changes, [{"id": "new", "description": "é\n"}])
    wanted = [task | {"status": "completed"} for task in document.tasks] + [{"id": "new", "description": "é\n"}]
    assert toml_file.parse(new).tasks == wanted


def _odd_files(file: Path) -> Iterator[str]:
    """In place of the file: things that are none. One after the other."""
    makers: dict[str, Callable[[], object]] = {
        "a folder": file.mkdir,
        "a pipe": lambda: os.mkfifo(file),
        "a loop": lambda: file.symlink_to(file.name),
        "a device": lambda: file.symlink_to("/dev/zero"),
        "a file below a file": lambda: file.symlink_to("/dev/null/x"),
        "unreadable": lambda: file.touch(0o000),
        "ten megabytes": lambda: file.write_bytes(b"# " + b"x" * 10_000_000),
        "ten megabytes of keys": lambda: file.write_bytes(b"".join(b"k%d = 1\n" % n for n in range(50_000))),
        "zeros": lambda: file.write_bytes(bytes(1_000_000)),
        "a mark": lambda: file.write_bytes(b'\xef\xbb\xbfname = "t"\n'),
        "UTF-16": lambda: file.write_bytes('name = "t"\n'.encode("utf-16")),
        "Latin-1": lambda: file.write_bytes('name = "caf\xe9"\n'.encode("latin-1")),
    }
    for name, make in makers.items():
        make()
        yield name
        file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()


def test_what_is_no_file(tmp_path: Path, home: Path) -> None:
    """Folders, pipes, devices, loops and floods in the place of each file are refused, and nobody waits for them."""
    town = tmp_path / "tinytown.toml"
    for what in _odd_files(town):
        refusal(lambda: config.load(tmp_path), what, (*REFUSALS, NotInitialized))
    town.write_text('name = "t"\n')
    for what in _odd_files(home / "config.toml"):
        refusal(lambda: config.load(tmp_path), what)
    for what in _odd_files(home / "towns.toml"):
        refusal(registry.survey, what)
