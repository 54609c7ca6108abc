"""Resources: what can be read of the town by its address, each the answer of a verb."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, ReadResourceResult, Resource, ResourceTemplate
from mcp_types import TextResourceContents as Text

from tinytown.errors import Invalid, NotFound, TinytownError, brief
from tinytown.townhall.mcp import tools
from tinytown.townhall.mcp.tools import Ask
from tinytown.townhall.verbs import VERBS, Verb
from tinytown.townhall.verbs.inputs import MOST

MIME = "application/json"
URI_MOST = 500  # characters
_log = logging.getLogger("tinytown.townhall")


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource, or with a variable in its address a family of them. `input`: what the variable is for the verb."""

    uri: str
    name: str
    verb: str
    given: Mapping[str, Any] = field(default_factory=dict)
    input: str | None = None

    @property
    def family(self) -> str:
        """Its address, without the variable."""
        return self.uri.partition("/{")[0]


TOWN, AGENTS, BACKLOG = "tinytown://town/current", "tinytown://agents", "tinytown://backlog"
TASKS, MISSIONS = "tinytown://tasks", "tinytown://missions"
KINDS = (
    Kind(TOWN, "town", "town.get_status"),
    Kind(AGENTS, "agents", "agent.list"),
    Kind(BACKLOG, "backlog", "backlog.list", {"limit": MOST}),
    Kind(MISSIONS, "missions", "mission.list"),
    Kind(AGENTS + "/{agent_name}", "agent", "agent.get", input="agent"),
    Kind(TASKS + "/{task_id}", "task", "task.get", input="task_id"),
    Kind(MISSIONS + "/{mission_id}", "mission", "mission.get_status", {"work": True, "watch": True}, "mission_id"),
)
_TEMPLATES = [(kind, UriTemplate.parse(kind.uri)) for kind in KINDS]


@dataclass(frozen=True, slots=True)
class Address:
    """What a URI means: the kind, and which one of its family (None: it is none)."""

    kind: Kind
    reference: str | None

    @property
    def verb(self) -> Verb:
        """What answers it."""
        return VERBS[self.kind.verb]

    @property
    def inputs(self) -> dict[str, Any]:
        """What the verb is asked."""
        return dict(self.kind.given) | ({} if self.kind.input is None else {self.kind.input: self.reference})


def listed() -> list[Resource]:
    """The resources that are always there."""
    return [
        Resource(uri=kind.uri, name=kind.name, description=VERBS[kind.verb].help, mime_type=MIME)
        for kind in KINDS
        if kind.input is None
    ]


def templates() -> list[ResourceTemplate]:
    """The families of resources."""
    return [
        ResourceTemplate(uri_template=kind.uri, name=kind.name, description=VERBS[kind.verb].help, mime_type=MIME)
        for kind in KINDS
        if kind.input is not None
    ]


def find(uri: str) -> Address:
    """What this URI means. Raises MCPError for one that no resource has."""
    for kind, template in _TEMPLATES if len(uri) <= URI_MOST else ():
        found = template.match(uri)
        if found is not None and all(found.values()):
            return Address(kind, next((str(value) for value in found.values()), None))
    raise _unknown(uri, f"Unknown resource: {brief(uri)}")


async def read(uri: str, ask: Ask) -> ReadResourceResult:
    """The resource as JSON. Raises MCPError in the words of the town."""
    address = find(uri)
    try:
        answer = await ask(address.verb, address.inputs)
    except (NotFound, Invalid) as error:
        raise _unknown(uri, tools.one_line(error)) from error
    except TinytownError as error:
        raise MCPError(INTERNAL_ERROR, tools.one_line(error)) from error
    except Exception as error:
        _log.exception("unexpected %s in %s", type(error).__name__, brief(uri))
        raise MCPError(INTERNAL_ERROR, tools.UNEXPECTED) from error
    return ReadResourceResult(contents=[Text(uri=uri, mime_type=MIME, text=tools.text_of(tools.plain(answer)))])


def _unknown(uri: str, text: str) -> MCPError:
    return MCPError(INVALID_PARAMS, text, {"uri": uri[:URI_MOST]})
