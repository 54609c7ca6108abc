"""Prompts: what an AI that runs the town, or takes an agent's part in it, is to know first."""

from __future__ import annotations

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    GetPromptRequestParams,
    GetPromptResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from tinytown.domain.agent import Agent
from tinytown.domain.task import Task
from tinytown.errors import AgentNotFound, brief
from tinytown.services import agents, backlog, conductor
from tinytown.town import Town

STARTUP, ROLE = "conductor.startup_context", "agent.role_hint"
FITTING_MOST = 10
LENGTH_MOST = 200  # characters of an argument
LISTED = [
    Prompt(name=STARTUP, title="Run the town", description="What a conductor that starts now is to know."),
    Prompt(
        name=ROLE,
        title="Take an agent's part",
        description="What an agent is there for, what it is on, and what in the backlog fits it.",
        arguments=[
            PromptArgument(name="agent_name", description="Name of the agent; it need not exist yet.", required=True),
            PromptArgument(name="tags", description="Tags of tasks that fit as well, with commas between."),
        ],
    ),
]


def get(town: Town, params: GetPromptRequestParams) -> GetPromptResult:
    """The prompt's text; blocks. Raises MCPError for what is not there, and what the services raise."""
    found = next((prompt for prompt in LISTED if prompt.name == params.name), None)
    if found is None:
        raise MCPError(INVALID_PARAMS, f"Unknown prompt: {brief(params.name)}")
    given = params.arguments or {}
    for argument in found.arguments or []:
        if argument.required and not given.get(argument.name, "").strip():
            raise MCPError(INVALID_PARAMS, f"The prompt {found.name} needs {argument.name}.")
    if any(len(value) > LENGTH_MOST for value in given.values()):
        raise MCPError(INVALID_PARAMS, f"An argument has at most {LENGTH_MOST} characters.")
    text = conductor.context(town) if found.name == STARTUP else _role_hint(town, **_names(given))
    message = PromptMessage(role="user", content=TextContent(type="text", text=text))
    return GetPromptResult(description=found.description, messages=[message])


def _names(given: dict[str, str]) -> dict[str, str]:
    return {name: given.get(name, "").strip() for name in ("agent_name", "tags")}


def _role_hint(town: Town, agent_name: str, tags: str) -> str:
    try:
        agent: Agent | None = agents.resolve(town, agent_name).agent
    except AgentNotFound:
        agent = None
    found = town.store.tasks.get(agent.current_task) if agent is not None and agent.current_task else None
    words = [word.strip() for word in tags.split(",") if word.strip()]
    role = agent.role_id if agent is not None else None
    fitting: dict[str, Task] = {}
    for word in dict.fromkeys([*([role] if role else []), *words]):
        fitting |= {task.id: task for task in backlog.for_role(town, word, FITTING_MOST)}
    return render(town.name, agent, agent_name, found[1] if found else None, list(fitting.values())[:FITTING_MOST])


def render(town: str, agent: Agent | None, asked: str, current: Task | None, fitting: list[Task]) -> str:
    """The hint: for an agent that exists, or for a name that somebody has in mind (None)."""
    name = agent.name if agent is not None else brief(asked)
    role = (agent.role_id if agent is not None else None) or name
    lines = [f"# {name}, an agent of the town {town}", "", f"Its role is {role}: it does the work that is for {role}."]
    if agent is None:
        lines.append(f"There is no agent of that name yet; agent.spawn makes it (name {name}, role {role}).")
    else:
        lines.append(f"It runs {agent.cli} and is {agent.state.label}; its id is {agent.id}.")
    lines += ["", "## Its task", "", _line(current) if current is not None else "It has none now."]
    if fitting:
        lines += ["", "## In the backlog, and fit for it", "", *map(_line, fitting)]
        lines += ["", f"backlog.claim gives it one (agent {name})."]
    lines += [
        "",
        "## How it works",
        "",
        f"- agent.inbox (agent {name}) shows its mail, task.current its task in full.",
        "- Whoever has finished a task says so with task.complete and a result that others can build on.",
        f"- Questions and news go by message.send: to another agent, or to conductor; its sender is {name}.",
        "- Work for another role goes to an agent of it (task.assign), or into the backlog, tagged (backlog.add).",
    ]
    return "\n".join(lines) + "\n"


def _line(task: Task) -> str:
    return f"- {task.id}: {brief(task.description)}"
