"""Documents as objectives: a task list's open items, else second-level headings, else the whole."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinytown.domain.work import WorkItem
from tinytown.errors import Invalid, brief
from tinytown.missions import markdown
from tinytown.missions.markdown import Line
from tinytown.missions.references import is_reference

LONGEST_TITLE = 160  # characters
LONGEST_ANCHOR = 80

_TASK = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\[([ xX])\](?:[ \t]+(.*))?")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
_BULLET = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])(?:[ \t]|$)")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_EMPHASIS = re.compile(r"\*\*|__|~~|`|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)")
_NO_WORD = re.compile(r"[^\w\s-]")
_BREAK = re.compile(r"[\s_-]+")


@dataclass(frozen=True, slots=True)
class Document:
    """A document given as an objective: its path as the user named it, and its Markdown text."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """What becomes a work item. `ref` is `path#anchor`, or the path when the document is one item."""

    ref: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Split:
    """A document's parts. `is_whole`: one item that holds all of the text. `ticked`: items that were done already."""

    parts: list[Part]
    is_whole: bool = False
    ticked: int = 0


def split(document: Document) -> Split:
    """The parts in the document's order. Raises Invalid for a document without text.

    The anchor comes from the title alone: other parts may come, go and be ticked, and texts may change, without moving
    it; parts of the same title are numbered.
    """
    if not document.text.strip():
        raise Invalid(f"{brief(document.path)} is empty.")
    path, lines = name_of(document), markdown.lines(document.text)
    tasks = list(_tasks(lines))
    if tasks:
        anchors = _anchors([title for _, title, _ in tasks])
        found = zip(tasks, anchors, strict=True)
        parts = [Part(f"{path}#{anchor}", _cut(title), body) for (done, title, body), anchor in found if not done]
        return Split(parts, ticked=len(tasks) - len(parts))
    sections = list(_sections(lines))
    if sections:
        anchors = _anchors([title for title, _ in sections])
        found_sections = zip(sections, anchors, strict=True)
        return Split([Part(f"{path}#{anchor}", _cut(title), body) for (title, body), anchor in found_sections])
    return Split([Part(path, _cut(_title(lines) or document.path), document.text)], is_whole=True)


def in_full(item: WorkItem, documents: Mapping[str, str]) -> str:
    """The item's own text and then, of a part of one of these documents (path -> text), the document's."""
    path = item.source_ref.rpartition("#")[0]
    whole = documents.get(path)
    if whole is None or is_reference(item.source_ref):
        return item.body
    return f"{item.body}\n\nThe document that this is a part of, {path}:\n\n{whole}".lstrip("\n")


def name_of(document: Document) -> str:
    """The document in records: its path, so that it does not read as an issue's reference."""
    return f"./{document.path}" if is_reference(document.path) else document.path


def _tasks(lines: Sequence[Line]) -> Iterator[tuple[bool, str, str]]:
    """Whether it is ticked, title and the rest of each item of the task list that is not inside another one."""
    at = 0
    while at < len(lines):
        found = _TASK.fullmatch(lines[at].said)
        title = _plain(found[2] or "") if found else ""
        if found is None or not title:
            at += 1
            continue
        end = _end_of_item(lines, at)
        yield found[1] != " ", title, _body(found[2], lines[at + 1 : end])
        at = end


def _end_of_item(lines: Sequence[Line], start: int) -> int:
    """The line behind a list's item: what is indented deeper belongs to it, and lines that go on with its text."""
    own, end, was_blank = markdown.width(lines[start].text), start + 1, False
    for n in range(start + 1, len(lines)):
        text = lines[n].text
        if not text.strip():
            was_blank = True
            continue
        goes_on = not was_blank and not _BULLET.match(text) and not _HEADING.fullmatch(text)
        if markdown.width(text) <= own and (not goes_on or text.lstrip().startswith(("```", "~~~", ">"))):
            break
        end, was_blank = n + 1, False
    return end


def _body(first: str, rest: Sequence[Line]) -> str:
    """The item's text: its first line (which the title may have cut or cleaned), then what belongs to it, dedented."""
    columns = min((markdown.width(line.text) for line in rest if line.text.strip()), default=0)
    return "\n".join([first.strip(), *(_dedented(line.text, columns) for line in rest)]).rstrip()


def _dedented(text: str, columns: int) -> str:
    kept = markdown.width(text)
    return " " * (kept - columns) + text.lstrip(" \t") if text.strip() else ""


def _sections(lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Title and text of each second-level heading, up to the next of its level or above."""
    title, body = "", list[str]()
    for line in lines:
        found = _HEADING.fullmatch(line.said)
        if found is None or len(found[1]) > 2:
            body.append(line.text)
            continue
        if title:
            yield title, "\n".join(body).strip("\n")
        title, body = _plain(found[2] or "") if len(found[1]) == 2 else "", []
    if title:
        yield title, "\n".join(body).strip("\n")


def _title(lines: Sequence[Line]) -> str:
    """The first heading that says something."""
    headings = (_HEADING.fullmatch(line.said) for line in lines)
    return next((title for found in headings if found and (title := _plain(found[2] or ""))), "")


def _plain(text: str) -> str:
    """One line without Markdown's marks."""
    return " ".join(_EMPHASIS.sub("", _LINK.sub(r"\1", text)).split())


def _cut(title: str) -> str:
    return title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"


def _anchors(titles: Sequence[str]) -> Iterator[str]:
    used: set[str] = set()
    counts: dict[str, int] = {}
    for title in titles:
        stem = anchor = _slug(title)
        while anchor in used:
            counts[stem] = counts.get(stem, 0) + 1
            anchor = f"{stem}-{counts[stem]}"
        used.add(anchor)
        yield anchor


def _slug(title: str) -> str:
    """Small letters and hyphens; never a number alone, which would read as an issue's."""
    words = _BREAK.sub("-", _NO_WORD.sub("", unicodedata.normalize("NFKC", title).lower()))
    slug = words.strip("-")[:LONGEST_ANCHOR].rstrip("-")
    return slug if slug and not slug.isdecimal() else f"part-{slug}".rstrip("-")
