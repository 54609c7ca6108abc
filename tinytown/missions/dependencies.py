"""What an issue's text says it waits for: `depends on | after | blocked by | requires #N`, and links in task lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from functools import lru_cache

from tinytown.missions import markdown
from tinytown.missions.references import NUMBER, REPOSITORY, WEB, key, url_pattern

_LINK = re.compile(r"\[([^\[\]\n]*)\]\([ \t]*<?([^\s()<>]*)>?[^()\n]*\)")
_WORD = r"[^\W_]+(?:[_'\u2019-]+[^\W_]+)*"
_END = r"(?![^\W_]|[-_\u2019'][^\W_])"  # of a word
_GAP = r"[\s*_-]{1,8}"  # within a keyword: `Depends-On`, `**Depends** on`
_APART = r"(?<![^\W_])(?<![/.&#\\-])"  # no part of a word, a path or an entity
_NEGATED = r"(?:not|never|no[ \t]+longer|[a-z]{2,8}n['\u2019]t)(?:[ \t]+(?:yet|be|directly|strictly|really|actually))*"
_TOKENS = (
    ("blank", r"\n(?:[ \t]*\n)+"),
    ("newline", r"\n"),
    ("heading", r"^[ \t]*\#{1,6}(?=[ \t])"),
    ("bullet", r"^[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+(?P<box>\[[ xX]\](?=[ \t]))?"),
    ("indent", r"^[ \t]{2,}"),
    ("space", r"[^\S\n]+"),
    ("url", "{url}"),
    ("elsewhere", r"https?://[^\s<>()\[\]\"'|]+"),
    ("ref", rf"{_APART}(?:(?P<home>{REPOSITORY})\#|\#|GH-)(?P<number>{NUMBER})(?![^\W_])"),
    ("after", rf"after{_END}"),
    ("keyword", rf"(?:depends?{_GAP}on|blocked{_GAP}by|requires?){_END}"),
    ("negation", _NEGATED + _END),
    ("joiner", rf"[,;&+]|(?:and/or|and|or|plus|as[ \t]+well[ \t]+as){_END}"),
    ("noun", rf"(?:the|both|all[ \t]+of|issues?|tickets?|prs?|pull[ \t]+requests?){_END}"),
    ("word", _WORD),
    ("colon", ":"),
    ("open", r"\("),
    ("close", r"\)"),
    ("soft", r"[*_\"'\u2018-\u201f\[\]<>|~\\]"),
    ("dash", r"[=\u2012-\u2015\u2192-]"),
    ("hard", "."),
)


def find(text: str, repository: str, own: str | None = None, web: str = WEB) -> tuple[str, ...]:
    """The issues that a Markdown text says it waits for, as `owner/repo#N`, in its order, each once, never `own`.

    `#N` is one of `repository`. A keyword counts directly before a reference or a list of them (in its line, or below
    it as a list); a task list's item counts when it begins with one. Not in code, quotes, comments or struck text.
    """
    reader = _Reader(repository)
    for token in _tokens(text, web):
        reader.read(token)
    return tuple(ref for known, ref in reader.found.items() if own is None or known != key(own))


def leading(text: str, repository: str, web: str = WEB) -> str | None:
    """The issue that a line of Markdown begins with, as in a task list of links; None when it begins otherwise."""
    for token in _tokens(text, web):
        if token.lastgroup in {"url", "ref"}:
            return _reference(token, repository)
        if token.lastgroup not in {"space", "indent", "soft", "noun"}:
            break
    return None


def _tokens(text: str, web: str) -> Iterator[re.Match[str]]:
    """What the text says, piece by piece; of a link its address when that is an issue's, else its text."""
    urls = url_pattern(web)
    linked = _LINK.sub(lambda link: f" {link[2]} " if urls.fullmatch(link[2]) else link[1], markdown.said(text))
    return _pattern(web).finditer(linked)


def _reference(token: re.Match[str], repository: str) -> str:
    if token.lastgroup == "url":
        return f"{token['url_home']}#{token['url_number']}"
    return f"{token['home'] or repository}#{token['number']}"


@lru_cache(maxsize=8)
def _pattern(web: str) -> re.Pattern[str]:
    urls = url_pattern(web).pattern.replace("?P<repository>", "?P<url_home>").replace("?P<number>", "?P<url_number>")
    parts = (f"(?P<{name}>{urls if name == 'url' else source})" for name, source in _TOKENS)
    return re.compile("|".join(parts), re.IGNORECASE | re.MULTILINE)


class _Mode(Enum):
    """What the reader waits for."""

    KEYWORD = auto()  # nothing said yet
    FIRST = auto()  # a keyword was read: a reference, or a list below it
    BOX = auto()  # a task list's box was read: a reference
    ITEM = auto()  # in the list below a keyword, the first reference of this item
    LISTED = auto()  # a reference was read: the next one
    JOINED = auto()  # ... and a comma or "and"
    REMARK = auto()  # ... and in brackets
    REST = auto()  # nothing more in this line of a list
    BETWEEN = auto()  # the next line of a list


_M = _Mode


class _Reader:
    """Takes tokens one after the other."""

    def __init__(self, repository: str) -> None:
        self.found: dict[str, str] = {}
        self._repository = repository
        self._mode = _M.KEYWORD
        self._list: int | None = None  # columns before the bullets of the list below a keyword
        self._by_lines = False  # ... or a list without bullets
        self._is_after = False  # the keyword is "after", which means other things as well
        self._is_open = False  # behind the keyword there was a colon, or nothing else in its line
        self._is_negated = False
        self._has_words = False  # before, in this line
        self._is_indented = False
        self._is_new_line = True

    def read(self, token: re.Match[str]) -> None:
        """The next token."""
        kind = token.lastgroup or ""
        handle = getattr(self, f"_{kind}", None)
        if handle is not None:
            handle(token)
        if kind not in {"space", "soft", "indent"}:
            self._is_negated = kind == "negation"
            self._is_new_line = kind in {"newline", "blank"}

    def _newline(self, _: re.Match[str]) -> None:
        self._has_words = self._is_indented = False
        if self._list is not None or (self._by_lines and self._mode in {_M.LISTED, _M.REST, _M.REMARK}):
            self._mode = _M.BETWEEN
        elif self._mode not in {_M.FIRST, _M.JOINED}:
            self._mode = _M.KEYWORD

    def _blank(self, _: re.Match[str]) -> None:
        self._has_words = self._is_indented = False
        if self._list is not None:
            self._mode = _M.BETWEEN
        elif self._mode is not _M.FIRST or self._is_after or not self._is_open:
            self._reset()

    def _heading(self, _: re.Match[str]) -> None:
        self._reset()

    def _bullet(self, token: re.Match[str]) -> None:
        columns = markdown.width(token[0])
        if self._list is not None and columns < self._list:
            self._reset()
        if self._list is not None:
            self._mode = _M.ITEM if columns <= self._list + 1 else _M.BOX if token["box"] else _M.REST
        elif self._mode in {_M.FIRST, _M.JOINED} and not self._is_after:
            self._list, self._mode = columns, _M.ITEM
        else:
            self._reset()
            self._mode = _M.BOX if token["box"] else _M.KEYWORD

    def _indent(self, _: re.Match[str]) -> None:
        self._is_indented = True

    def _ref(self, token: re.Match[str]) -> None:
        if self._mode is _M.BETWEEN and not self._by_lines:
            self._leave()
        if self._mode in {_M.KEYWORD, _M.REMARK, _M.REST}:
            return
        if self._mode is _M.FIRST and self._is_new_line and self._is_open and not self._is_after:
            self._by_lines = True
        reference = _reference(token, self._repository)
        self.found.setdefault(key(reference), reference)
        self._mode = _M.LISTED

    _url = _ref

    def _after(self, token: re.Match[str]) -> None:
        self._keyword(token)
        self._is_after = True

    def _keyword(self, token: re.Match[str]) -> None:
        if self._mode is _M.BETWEEN:
            self._leave()
        if self._is_negated:
            self._word(token)
            return
        self._mode, self._by_lines, self._is_after = _M.FIRST, False, False
        self._is_open, self._has_words = not self._has_words, True

    def _joiner(self, token: re.Match[str]) -> None:
        if self._mode in {_M.LISTED, _M.JOINED}:
            self._mode = _M.JOINED
        else:
            self._word(token)

    def _noun(self, token: re.Match[str]) -> None:
        if self._mode not in {_M.FIRST, _M.JOINED, _M.BOX}:
            self._word(token)

    def _word(self, _: re.Match[str]) -> None:
        self._has_words = True
        if self._mode is _M.BETWEEN:
            self._leave()
        elif self._mode in {_M.LISTED, _M.JOINED} and (self._list is not None or self._by_lines):
            self._mode = _M.REST
        elif self._mode not in {_M.ITEM, _M.REMARK, _M.REST}:
            self._mode = _M.REST if self._list is not None else _M.KEYWORD

    _elsewhere = _hard = _negation = _word

    def _colon(self, token: re.Match[str]) -> None:
        if self._mode is _M.FIRST:
            self._is_open = True
        else:
            self._word(token)

    def _dash(self, token: re.Match[str]) -> None:
        if self._mode is not _M.FIRST:
            self._word(token)

    def _open(self, _: re.Match[str]) -> None:
        if self._mode is _M.LISTED:
            self._mode = _M.REMARK

    def _close(self, _: re.Match[str]) -> None:
        if self._mode is _M.REMARK:
            self._mode = _M.LISTED

    def _leave(self) -> None:
        """A line that is no item of the list: part of the item above it when it is indented, else the list's end."""
        if self._list is not None and self._is_indented:
            self._mode = _M.REST
        else:
            self._reset()

    def _reset(self) -> None:
        self._mode, self._list, self._by_lines, self._has_words = _M.KEYWORD, None, False, False
