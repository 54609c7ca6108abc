"""What sort of work an item is and who should do it, guessed from its title and labels. The text has no say."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tinytown import ids
from tinytown.domain.work import WorkKind

_WORDS = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_PREFIXED = re.compile(r"(?:(kind|type)|(role|area|team|component))[ ]*[:/][ ]*(.+)")
_FOLLOW_UP = re.compile(r"\W*follow[ -]?ups?\b", re.IGNORECASE)
_MERGE = re.compile(r"\W*merge(?:[ -]?gate\b|\s*[:#]|\s*$|\s+(?:prs?|pull requests?|branch(?:es)?)\b)", re.IGNORECASE)
_DOING = frozenset({"implement", "fix", "feat"})  # whoever begins like this neither designs nor reviews
_KINDS = (
    dict.fromkeys(("design", "rfc", "proposal", "architecture"), WorkKind.DESIGN)
    | dict.fromkeys(("test", "tests", "testing"), WorkKind.TEST)
    | {"review": WorkKind.REVIEW}
)
_KIND_LABELS = (
    _KINDS
    | dict.fromkeys(("follow-up", "followup"), WorkKind.FOLLOWUP)
    | {kind.value: kind for kind in (WorkKind.IMPLEMENT, WorkKind.MERGEGATE)}
)
_ROLES = (
    dict.fromkeys(("backend", "back-end", "api", "server", "endpoint", "endpoints", "database"), "backend")
    | dict.fromkeys(("frontend", "front-end", "ui", "web", "css"), "frontend")
    | dict.fromkeys(("devops", "infra", "infrastructure", "deploy", "deployment"), "devops")
    | dict.fromkeys(("docs", "documentation"), "writer")
)
_ROLE_LABELS = _ROLES | {"qa": "tester", "security": "security"}
# Their kind names the role that suits them.
_SPECIAL = frozenset({WorkKind.DESIGN, WorkKind.TEST, WorkKind.REVIEW})


def kind_of(title: str, labels: Iterable[str] = ()) -> WorkKind:
    """What sort of work it is, by whole words of the title and by labels (`kind:design`, `tests`).

    A label that is more than the word (`needs-review`, `design-system`) says nothing.
    """
    given = [_label(label) for label in labels]
    for is_said in (True, False):
        for prefix, word in given:
            if word in _KIND_LABELS and (prefix == "kind") is is_said:
                return _KIND_LABELS[word]
    if _FOLLOW_UP.match(title):
        return WorkKind.FOLLOWUP
    if _MERGE.match(title):
        return WorkKind.MERGEGATE
    words = _WORDS.findall(title.lower())
    kind = next((_KINDS[word] for word in words if word in _KINDS), WorkKind.IMPLEMENT)
    return WorkKind.IMPLEMENT if words and words[0] in _DOING and kind is not WorkKind.TEST else kind


def role_of(title: str, labels: Iterable[str], kind: WorkKind) -> str | None:
    """Who should do it, by labels (`role:backend`, `frontend`) and whole words of the title; None: nothing says it."""
    given = [_label(label) for label in labels]
    for prefix, word in given:
        if prefix == "role" and ids.is_name(word):
            return _ROLE_LABELS.get(word, word)
    for _, word in given:
        if word in _ROLE_LABELS:
            return _ROLE_LABELS[word]
    if kind in _SPECIAL:
        return None
    return next((_ROLES[word] for word in _WORDS.findall(title.lower()) if word in _ROLES), None)


def _label(label: str) -> tuple[str, str]:
    """What a label is about (`kind`, `role` or nothing) and its word."""
    text = " ".join(label.lower().split())
    found = _PREFIXED.fullmatch(text)
    if found is None:
        return "", text
    return "kind" if found[1] else "role" if found[2] == "role" else "", found[3]
