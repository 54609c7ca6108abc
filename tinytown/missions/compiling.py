"""Objectives to work items: what each of them is, what it waits for, and its place in the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tinytown import ids
from tinytown.domain.pull_request import Issue
from tinytown.domain.work import WorkItem
from tinytown.errors import Invalid, brief
from tinytown.missions import dependencies, documents, graph, kinds, references
from tinytown.missions.documents import Document
from tinytown.missions.manifest import Manifest, Override, nearest
from tinytown.missions.references import is_reference

Objective = Issue | Document

_NOWHERE = "-/-"  # in place of the repository that `#N` in a document means when the town has no origin
_LISTED = 10  # items in an error's remedy


@dataclass(frozen=True, slots=True)
class Compiled:
    """A mission's items in their order, and lines for the user about what was left out.

    `documents` (path -> text) are those that several items are parts of: an item's `body` is its own part, and
    `documents.in_full` puts both together.
    """

    items: list[WorkItem]
    warnings: list[str] = field(default_factory=list)
    documents: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    """What becomes an item. `home`: the repository that `#N` in its text means. `is_done`: nobody waits for it."""

    ref: str
    title: str
    body: str
    home: str
    url: str | None = None
    labels: tuple[str, ...] = ()
    is_done: bool = False
    override: Override | None = None


def compile_mission(
    mission_id: str,
    objectives: Sequence[Objective],
    manifest: Manifest,
    at: str,
    *,
    origin: str | None = None,
    web: str = references.WEB,
) -> Compiled:
    """The graph of a mission, in topological order (numbers from 1); of equals the higher priority, then as given.

    The same objectives give the same items. An objective given twice counts once. Closed issues and items that the
    manifest skips are left out, and nobody waits for them. Raises Invalid: a pull request, an empty document, an
    unknown reference, a circle, nothing to do.
    """
    if not objectives:
        raise Invalid("At least one --issue or --doc is required.", "For example: tt mission start --issue 23")
    mission = _Compiler(origin, web)
    for objective in objectives:
        mission.add(objective)
    mission.resolve(manifest)
    return mission.compiled(mission_id, at)


class _Compiler:
    """Collects the objectives, then looks at them together."""

    def __init__(self, origin: str | None, web: str) -> None:
        self._origin, self._web = origin, web
        self._nodes: dict[str, _Node] = {}  # by key of the reference
        self._linked: dict[str, str] = {}  # issue that a document's list links to -> the document
        self._documents: dict[str, str] = {}
        self._warnings: list[str] = []

    def add(self, objective: Objective) -> None:
        """Take an objective."""
        if isinstance(objective, Document):
            self._add_document(objective)
            return
        if objective.is_pull:
            raise Invalid(f"{objective.ref} is a pull request, not an issue.", "Give the issue that it is for.")
        home, _ = references.split(objective.ref)
        node = _Node(objective.ref, _line(objective.title), _text(objective.body), home, objective.url)
        node.labels, node.is_done = objective.labels, not objective.is_open
        if references.key(node.ref) not in self._nodes and node.is_done:
            self._warnings.append(f"{self._short(node.ref)} is closed and counts as done.")
        self._nodes.setdefault(references.key(node.ref), node)

    def _add_document(self, document: Document) -> None:
        name = documents.name_of(document)
        if self._documents.get(name) == document.text:
            return
        found = documents.split(document)
        self._documents[name] = document.text
        if found.ticked and not found.parts:
            self._warnings.append(f"{name}: everything in its task list is ticked.")
        home = self._origin or _NOWHERE
        for part in found.parts:
            linked = None if found.is_whole else dependencies.leading(part.body or part.title, home, self._web)
            if linked:
                self._linked.setdefault(self._reachable(linked, name), name)
                continue
            if part.ref in self._nodes:
                raise Invalid(f"{brief(part.ref)} means two things: parts of two documents have the same name.")
            self._nodes[part.ref] = _Node(part.ref, _line(part.title), _text(part.body), home)

    def _reachable(self, reference: str, name: str) -> str:
        if reference.startswith(_NOWHERE):
            _, number = references.split(reference)
            raise Invalid(
                f"{name}: #{number} does not say which repository: the town has no GitHub origin.",
                f"Write owner/repo#{number}.",
            )
        return reference

    def resolve(self, manifest: Manifest) -> None:
        """Give each override to its item."""
        for override in manifest.overrides:
            node = self._nodes[self._named(override.issue, override.where, "issue")]
            if node.override:
                raise Invalid(f"{override.where}: {node.ref} is there twice.", "Write one [[overrides]] for each item.")
            node.override = override
            node.is_done = node.is_done or override.skip

    def _named(self, text: str, where: str, key: str, *, may_be_outside: bool = False) -> str:
        """The key of the item that the manifest names. Raises Invalid."""
        reference = self._reference(text)
        if reference is not None:
            known = references.key(reference)
            if known in self._nodes or (may_be_outside and not text.removeprefix("#").isdecimal()):
                return known if known in self._nodes else reference
        else:
            path = text.removeprefix("./")
            fits = [known for known in self._nodes if known.removeprefix("./") == path] or [
                known for known, node in self._nodes.items() if node.title.casefold() == _line(text).casefold()
            ]
            if len(fits) == 1:
                return fits[0]
            if fits:
                refs = ", ".join(self._nodes[known].ref for known in fits[:_LISTED])
                raise Invalid(f"{where}: '{key}': several items are called '{brief(text)}'.", f"Say which one: {refs}")
        raise self._unknown(text, where, key, may_be_outside=may_be_outside and reference is not None)

    def _reference(self, text: str) -> str | None:
        number = text.removeprefix("#")
        if self._origin is None and number.isdecimal():
            fits = [
                node.ref for node in self._nodes.values() if is_reference(node.ref) and node.ref.endswith(f"#{number}")
            ]
            return fits[0] if len(fits) == 1 else f"{_NOWHERE}#{number}"
        try:
            return references.parse(text, self._origin, self._web)
        except Invalid:
            return None

    def _unknown(self, text: str, where: str, key: str, *, may_be_outside: bool) -> Invalid:
        names = {name: node.ref for node in self._nodes.values() for name in (self._short(node.ref), node.title)}
        near = nearest(text, names)
        listed = ", ".join(self._short(node.ref) for node in list(self._nodes.values())[:_LISTED])
        remedy = f"Did you mean '{near}'?" if near else f"The mission has: {listed}"
        if may_be_outside:
            remedy = "For an issue outside the mission write owner/repo#N."
        return Invalid(f"{where}: '{key}': '{brief(text)}' is not in the mission.", remedy)

    def compiled(self, mission_id: str, at: str) -> Compiled:
        """The items."""
        self._check_links()
        open_ones = {known: node for known, node in self._nodes.items() if not node.is_done}
        if not open_ones:
            raise self._nothing()
        waits = {known: self._waits_for(node) for known, node in self._nodes.items()}
        priority = {known: _priority(node) for known, node in open_ones.items()}
        order = graph.in_order(open_ones, waits, priority, lambda known: self._short(self._nodes[known].ref))
        item_ids = {known: ids.derived_id(mission_id, self._nodes[known].ref) for known in order}
        items = []
        for number, known in enumerate(order, 1):
            inside = [item_ids[other] for other in waits[known] if other in item_ids]
            outside = [other for other in waits[known] if other not in self._nodes]
            item = _item(self._nodes[known], item_ids[known], mission_id, number, at)
            item.depends_on.extend(inside)
            item.outside.extend(outside)
            items.append(item)
        parts = {item.source_ref.rpartition("#")[0] for item in items if not is_reference(item.source_ref)}
        shared = {name: text for name, text in self._documents.items() if name in parts and name not in item_ids}
        return Compiled(items, self._warnings, shared)

    def _nothing(self) -> Invalid:
        why = " ".join(self._warnings[:3]) or "the manifest skips everything."
        return Invalid(f"There is nothing to do: {why}", "Give an open issue, or a document with something left to do.")

    def _check_links(self) -> None:
        for reference, name in self._linked.items():
            if references.key(reference) not in self._nodes:
                shown = self._short(reference)
                self._warnings.append(f"{name}: {shown} is an issue outside the mission; add it with --issue.")

    def _waits_for(self, node: _Node) -> list[str]:
        """Keys of items, and outside the mission references, in the order said."""
        override = node.override
        if override is not None and override.depends_on is not None:
            named = (
                self._named(text, override.where, "depends_on", may_be_outside=True) for text in override.depends_on
            )
            return list(dict.fromkeys(named))
        if node.is_done:
            return []
        own = node.ref if is_reference(node.ref) else None
        found = dependencies.find(f"{node.title}\n\n{node.body}", node.home, own, self._web)
        reachable = [self._reachable(reference, node.ref) for reference in found]
        keyed = ((references.key(reference), reference) for reference in reachable)
        return [known if known in self._nodes else reference for known, reference in keyed]

    def _short(self, reference: str) -> str:
        return references.short(reference, self._origin)


def _priority(node: _Node) -> int:
    return (node.override.priority if node.override else None) or 0


def _item(node: _Node, item_id: str, mission_id: str, number: int, at: str) -> WorkItem:
    override = node.override or Override("", "")
    title = override.title or node.title or node.ref
    kind = override.kind or kinds.kind_of(title, node.labels)
    return WorkItem(
        id=item_id,
        mission_id=mission_id,
        number=number,
        title=title,
        body=node.body,
        source_ref=node.ref,
        source_url=node.url,
        created_at=at,
        updated_at=at,
        kind=kind,
        owner_role=override.owner_role or kinds.role_of(title, node.labels, kind),
        is_role_strict=override.owner_role is not None,
        priority=_priority(node),
        verify=list(override.verify or ()),
    )


def _line(text: str) -> str:
    return " ".join(_text(text).split())


def _text(text: str) -> str:
    """Without halves of characters, which cannot be stored."""
    return text.encode("utf-8", "replace").decode("utf-8")
