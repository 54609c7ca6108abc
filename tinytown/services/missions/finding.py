"""Which mission and which work item is meant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tinytown import ids
from tinytown.domain.mission import Mission
from tinytown.domain.work import WorkItem
from tinytown.errors import Conflict, NotFound, brief
from tinytown.missions import references
from tinytown.store.missions import MissionFile
from tinytown.town import Town

LIST = "See the missions with: tt mission list --all"


@dataclass(frozen=True, slots=True)
class Found:
    """A work item with the mission that it belongs to."""

    file: MissionFile
    item: WorkItem

    @property
    def raw(self) -> str:
        """The item's record as it is stored."""
        return self.file.raws[self.item.id]

    @property
    def hint(self) -> str:
        """The command that shows how things stand."""
        return f"See: tt mission status --run {ids.short(self.file.run.id)} --work"


def mission_id(town: Town, reference: str) -> str:
    """The id that this is, or is the beginning of. Raises NotFound, Conflict (ambiguous)."""
    found = ids.match_prefix(reference, town.store.missions.all_ids(), "Mission")
    if found is None:
        raise NotFound(f"Mission {brief(reference)} not found", LIST)
    return found


def mission(town: Town, reference: str) -> MissionFile:
    """The mission of this id or beginning of one. Raises NotFound, Conflict (ambiguous)."""
    return require(town, mission_id(town, reference))


def the_only_one(town: Town) -> str:
    """The id of the one mission that has not ended. Raises NotFound, Conflict (several)."""
    runs = [run for _raw, run in town.store.missions.many(town.store.missions.all_ids())]
    live = [run.id for run in runs if not run.state.is_terminal]
    if not live:
        raise NotFound("No mission is at work.", LIST)
    if len(live) > 1:
        raise Conflict(f"There are {len(live)} missions at work.", "Name one (see: tt mission list)")
    return live[0]


def require(town: Town, identifier: str) -> MissionFile:
    """The mission of this id. Raises NotFound."""
    found = town.store.missions.file(identifier)
    if found is None:
        raise NotFound(f"Mission {ids.short(identifier)} not found", LIST)
    return found


def item(town: Town, reference: str, run: str | None = None) -> Found:
    """The work item that is meant: by the beginning of its id, its source (`owner/repo#23`, `#23`, a path) or number.

    It is looked for in the mission `run`, else in those that have not ended; a number needs one mission. What is only
    found in an ended mission counts, too. Raises NotFound, Conflict (ambiguous).
    """
    if run is not None:
        found = _among([mission(town, run)], reference)
        return _one(found, reference, run)
    known = [run for _raw, run in town.store.missions.many(town.store.missions.all_ids())]
    live, ended = ([m.id for m in known if m.state.is_terminal is over] for over in (False, True))
    files = town.store.missions.files(live)
    found = _among(files, reference)
    if not found and (len(files) > 1 or not files) and reference.strip().isdecimal():
        others = "Several missions are" if files else "No mission is"
        raise Conflict(f"{others} at work, and '{brief(reference)}' names no item of one.", _WITH_RUN)
    return _one(found or _among(town.store.missions.files(ended), reference), reference)


def check_open(run: Mission) -> None:
    """Raise Conflict for a mission that has ended."""
    if run.state.is_terminal:
        raise Conflict(
            f"Mission {ids.short(run.id)} is {run.state}, and nothing of it changes any more.",
            f"See: tt mission status --run {ids.short(run.id)} --work",
        )


_WITH_RUN = "Name the mission: --run ID (see: tt mission list)"


def _among(files: Iterable[MissionFile], reference: str) -> list[Found]:
    """By number (of one mission) or number of an issue, else by source, else by the beginning of the id."""
    text, all_files = reference.strip(), list(files)
    if text.isdecimal() and len(all_files) == 1:
        items = list(all_files[0].items.values())
        issues = [i for i in items if _is_source(i.source_ref, f"#{text}") and references.is_reference(i.source_ref)]
        numbered = [i for i in items if i.number == int(text)]
        if found := [*numbered, *(i for i in issues if i not in numbered)]:
            return [Found(all_files[0], i) for i in found]
    everything = [Found(file, i) for file in all_files for i in file.items.values()]
    named = [found for found in everything if _is_source(found.item.source_ref, text)]
    if named:
        return named
    prefix = ids.match_prefix(text, (found.item.id for found in everything), "Work item")
    return [found for found in everything if found.item.id == prefix]


def _is_source(source: str, text: str) -> bool:
    known, wanted = source.lower(), text.lower()
    return bool(wanted) and (known == wanted or (wanted.startswith("#") and known.endswith(wanted)))


def _one(found: list[Found], reference: str, run: str | None = None) -> Found:
    if not found:
        see = f"tt mission status --run {run} --work" if run else "tt mission status --work"
        raise NotFound(f"Work item not found: {brief(reference)}", f"See the items with: {see}")
    if len(found) > 1:
        some = ", ".join(f"{f.item.source_ref} ({ids.short(f.item.id)})" for f in found[:5])
        issue = f" or, for an issue, '#{reference.strip()}'" if reference.strip().isdecimal() else ""
        raise Conflict(
            f"'{brief(reference)}' names several work items: {some}", f"Give the beginning of its id{issue}."
        )
    return found[0]
