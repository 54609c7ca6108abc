"""What `tinytown` exports, at what cost, and that type checkers see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tinytown
from tinytown import errors

ROOT = Path(__file__).parents[2]
NAMES = """
    Town AgentHandle Channel Config Agent AgentId AgentModel AgentState AgentType Task TaskId TaskState
    Message MessageBody MessageId MessageType ConfirmationType Priority
    Error TinytownError NotFound AgentNotFound TaskNotFound NotInitialized Conflict IllegalTransition Invalid
    ConfigInvalid Forbidden Unavailable RedisError RedisNotInstalled RedisVersionTooOld Timeout
""".split()  # noqa: SIM905  easier to compare with the documentation


def test_the_names_are_these_and_no_others() -> None:
    """`__all__` is the documented list, each of its names is there, and `dir` shows it."""
    assert tinytown.__all__ == NAMES
    assert [name for name in NAMES if getattr(tinytown, name, None) is None] == []
    assert set(NAMES) <= set(dir(tinytown))


def test_a_name_that_is_not_there() -> None:
    """An unknown name is refused as in every module; a submodule is still found."""
    with pytest.raises(AttributeError, match="module 'tinytown' has no attribute 'Twon'"):
        tinytown.Twon  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        from tinytown import nothing  # type: ignore[attr-defined]  # noqa: F401, PLC0415


def test_the_import_costs_nothing() -> None:
    """`import tinytown` loads no other module of the package and none that Python has not loaded anyway."""
    script = "import sys; before = set(sys.modules); import tinytown; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tinytown"]


def test_values_load_no_redis() -> None:
    """Tasks and messages are made without Redis, click or psutil."""
    script = (
        "import sys; from tinytown import Message, MessageType, Task; Task('x'); "
        "Message('a', 'b', MessageType.Ping()); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"redis", "click", "psutil", "rich"} & set(done.stdout.split())


def test_errors_have_the_names_of_the_reference() -> None:
    """The aliases are the classes that services raise."""
    assert tinytown.Error is errors.TinytownError
    assert tinytown.Timeout is errors.TimedOut
    assert issubclass(errors.RedisAway, tinytown.RedisError)
    assert issubclass(tinytown.RedisNotInstalled, tinytown.RedisError)
    assert issubclass(tinytown.RedisVersionTooOld, tinytown.RedisError)
    for name in ("AgentNotFound", "TaskNotFound", "NotInitialized", "Timeout", "RedisError"):
        assert issubclass(getattr(tinytown, name), tinytown.Error)


@pytest.mark.slow
def test_type_checkers_see_it(tmp_path: Path) -> None:
    """The examples pass `mypy --strict`; it finds a wrong name and a wrong type, and knows the type of a field."""
    (tmp_path / "wrong.py").write_text(
        "from tinytown import Task, Twon\nTask(1)\ntask = Task('x')\nreveal_type(task.state)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", tmp_path / "wrong.py",
         *sorted((ROOT / "examples").glob("*.py"))],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "has no attribute" in done.stdout
    assert "incompatible type" in done.stdout
    assert 'Revealed type is "tinytown.api.task.TaskState"' in done.stdout
    assert "Found 2 errors in 1 file" in done.stdout, done.stdout


def test_the_marker_of_typed_packages_is_there() -> None:
    """py.typed lies beside the package's `__init__`, where the wheel takes it from."""
    assert (ROOT / "tinytown" / "py.typed").is_file()
