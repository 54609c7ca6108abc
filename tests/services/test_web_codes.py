"""Codes of links to the page: once, for a while, by nobody who reads the file."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.support.waiting import wait_until
from tinytown.services import web_codes


def test_a_code_is_good_once(tmp_path: Path) -> None:
    """The first time, and then no more; another text never."""
    code, other = web_codes.create(tmp_path), web_codes.create(tmp_path)
    assert not web_codes.redeem(tmp_path, "x")
    assert not web_codes.redeem(tmp_path, "\udcff")
    assert web_codes.redeem(tmp_path, code)
    assert not web_codes.redeem(tmp_path, code)
    assert web_codes.redeem(tmp_path, other)


def test_the_file_tells_nobody(tmp_path: Path) -> None:
    """It is for this user alone, and a code is not in it."""
    code = web_codes.create(tmp_path)
    (file,) = (path for path in tmp_path.iterdir() if path.suffix == ".json")
    assert code not in file.read_text()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_code_is_good_for_a_while(tmp_path: Path) -> None:
    """Then it is gone; nothing in the file is good for longer than five minutes."""
    code = web_codes.create(tmp_path, 0.02)
    wait_until(lambda: '"' not in _kept_text(tmp_path), what="the end of the code")
    assert not web_codes.redeem(tmp_path, code)
    late = web_codes.create(tmp_path, 3600)
    assert not web_codes.redeem(tmp_path, late)


def _kept_text(folder: Path) -> str:
    web_codes.redeem(folder, web_codes.create(folder))  # leaves what is still good
    return (folder / web_codes.FILE).read_text()


def test_few_codes_are_kept(tmp_path: Path) -> None:
    """The oldest gives way."""
    codes = [web_codes.create(tmp_path) for _ in range(web_codes.CODES_MOST + 1)]
    assert not web_codes.redeem(tmp_path, codes[0])
    assert web_codes.redeem(tmp_path, codes[1])


def test_a_broken_file_lets_nobody_in(tmp_path: Path) -> None:
    """Whatever is in the file: no code is good, and new ones are made."""
    for text in ("", "[]", '{"x": "y"}', '{"x": true}', "\x00"):
        (tmp_path / web_codes.FILE).write_text(text)
        assert not web_codes.redeem(tmp_path, "x")
    assert web_codes.redeem(tmp_path, web_codes.create(tmp_path))


def test_many_at_once_get_in_once(tmp_path: Path) -> None:
    """Of those who use one code at the same time one comes in."""
    code = web_codes.create(tmp_path)
    let_in: list[bool] = []
    visitors = [threading.Thread(target=lambda: let_in.append(web_codes.redeem(tmp_path, code))) for _ in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert let_in.count(True) == 1
