"""Tinytown: several AI coding CLIs on one project, supervised and fed with work.

The public Python API: `from tinytown import Town, Task`. Each name is loaded when it is first asked for.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # what typing's is at run time, without its import: every command pays for this module
if TYPE_CHECKING:
    from tinytown.api.agent import Agent, AgentModel, AgentState, AgentType
    from tinytown.api.channel import Channel
    from tinytown.api.errors import (
        AgentNotFound,
        ConfigInvalid,
        Conflict,
        Error,
        Forbidden,
        IllegalTransition,
        Invalid,
        NotFound,
        NotInitialized,
        RedisError,
        RedisNotInstalled,
        RedisVersionTooOld,
        TaskNotFound,
        Timeout,
        TinytownError,
        Unavailable,
    )
    from tinytown.api.handle import AgentHandle
    from tinytown.api.identifiers import AgentId, MessageId, TaskId
    from tinytown.api.message import ConfirmationType, Message, MessageBody, MessageType, Priority
    from tinytown.api.task import Task, TaskState
    from tinytown.api.town import Config, Town

_MODULES = {
    "agent": ("Agent", "AgentModel", "AgentState", "AgentType"),
    "channel": ("Channel",),
    "errors": (
        "AgentNotFound", "ConfigInvalid", "Conflict", "Error", "Forbidden", "IllegalTransition", "Invalid", "NotFound",
        "NotInitialized", "RedisError", "RedisNotInstalled", "RedisVersionTooOld", "TaskNotFound", "Timeout",
        "TinytownError", "Unavailable",
    ),
    "handle": ("AgentHandle",),
    "identifiers": ("AgentId", "MessageId", "TaskId"),
    "message": ("ConfirmationType", "Message", "MessageBody", "MessageType", "Priority"),
    "task": ("Task", "TaskState"),
    "town": ("Config", "Town"),
}  # fmt: skip
_HOMES = {name: f"tinytown.api.{module}" for module, names in _MODULES.items() for name in names}

__all__ = [  # noqa: RUF022  what one meets first comes first
    "Town",
    "AgentHandle",
    "Channel",
    "Config",
    "Agent",
    "AgentId",
    "AgentModel",
    "AgentState",
    "AgentType",
    "Task",
    "TaskId",
    "TaskState",
    "Message",
    "MessageBody",
    "MessageId",
    "MessageType",
    "ConfirmationType",
    "Priority",
    "Error",
    "TinytownError",
    "NotFound",
    "AgentNotFound",
    "TaskNotFound",
    "NotInitialized",
    "Conflict",
    "IllegalTransition",
    "Invalid",
    "ConfigInvalid",
    "Forbidden",
    "Unavailable",
    "RedisError",
    "RedisNotInstalled",
    "RedisVersionTooOld",
    "Timeout",
]

if not TYPE_CHECKING:  # else every name would seem to be there

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'tinytown' has no attribute {name!r}")
        import importlib  # noqa: PLC0415  only who uses the API needs it

        value = globals()[name] = getattr(importlib.import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
