"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "tinytown").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FILE_LIMIT = 400
FUNCTION_LIMIT = 50
MOCKS = {"mock", "unittest", "pytest_mock", "fakeredis", "responses", "freezegun", "time_machine"}


def test_files_stay_short() -> None:
    """No file of the package has more than 400 lines."""
    long = [f"{_name(path)}: {lines}" for path in PACKAGE if (lines := len(_text(path).splitlines())) > FILE_LIMIT]
    assert not long


def test_functions_stay_short() -> None:
    """No function of the package has more than 50 lines, its decorators and docstring included."""
    long = [
        f"{_name(path)}:{node.lineno} {node.name}"
        for path in PACKAGE
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _length(node) > FUNCTION_LIMIT
    ]
    assert not long


def test_every_module_says_what_it_is_for() -> None:
    """Every module of the package has a docstring."""
    assert not [_name(path) for path in PACKAGE if not ast.get_docstring(_tree(path))]


def test_only_the_key_table_formats_keys() -> None:
    """The text `tt:` (in titles a space follows it) is in no file but store/keys.py."""
    files = [*PACKAGE, *sorted((ROOT / "tinytown").rglob("*.lua"))]
    found = [
        f"{_name(path)}:{number}"
        for path in files
        if _name(path) != "tinytown/store/keys.py"
        for number, line in enumerate(_text(path).splitlines(), 1)
        if re.search(r"\btt:[^ ]", line)
    ]
    assert not found


def test_only_the_clock_reads_the_clock() -> None:
    """No module but clock.py uses the clocks of `time` and `datetime`."""
    found = [
        f"{_name(path)}:{line}"
        for path in PACKAGE
        if _name(path) != "tinytown/clock.py"
        for line in _clock_uses(_tree(path))
    ]
    assert not found


def test_tests_wait_for_what_they_want() -> None:
    """No test sleeps outside of tests/support/waiting.py; programs that tests start may take their time."""
    found = [
        f"{_name(path)}:{node.lineno}"
        for path in TESTS
        if _name(path) != "tests/support/waiting.py" and not _is_program(path)
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and _dotted(node.func).split(".")[-1] == "sleep"
    ]
    assert not found


def test_tests_use_the_real_thing() -> None:
    """No test imports a mock library."""
    found = [
        f"{_name(path)}: {module}"
        for path in TESTS
        for module in _imports(_tree(path))
        if module.split(".")[0] in MOCKS
    ]
    assert not found


def test_every_test_states_its_rule() -> None:
    """Every test has a docstring."""
    found = [
        f"{_name(path)}:{node.lineno} {node.name}"
        for path in TESTS
        if path.name.startswith("test_")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import time\ntime.monotonic()", [1]),
        ("def f():\n    from time import sleep", [2]),
        ("from datetime import datetime\ndatetime.now()", [2]),
        ("import datetime\ndatetime.datetime.now(datetime.UTC)", [2]),
        ("from datetime import date, timedelta\ndate.fromisoformat('2026-01-01')", []),
        ("from tinytown import clock\nclock.now()", []),
    ],
)
def test_the_clock_rule_sees_every_way_in(source: str, expected: list[int]) -> None:
    """The rule finds imports of `time` and calls of `now` however they are written, and nothing else."""
    assert list(_clock_uses(ast.parse(source))) == expected


def _clock_uses(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if any(alias.name == "time" for alias in names):
                yield node.lineno
            case ast.ImportFrom(module="time"):
                yield node.lineno
            case ast.Attribute(attr="now" | "utcnow" | "today", value=value):
                if _dotted(value).split(".")[-1] in {"datetime", "date"}:
                    yield node.lineno


def _is_program(path: Path) -> bool:
    return '\nif __name__ == "__main__":' in _text(path)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return (node.end_lineno or first) - first + 1


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _text(path: Path) -> str:
    return path.read_text("utf-8")


def _tree(path: Path) -> ast.Module:
    return ast.parse(_text(path), str(path))
