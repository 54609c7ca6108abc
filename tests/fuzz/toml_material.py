"""The TOML files that Tinytown reads, whole; and what becomes of them under hands and editors."""

from __future__ import annotations

import random
from typing import Any

import tomli_w

from tests.fuzz.material import WORDS, damaged, paths, replaced

SECRET = "hunter2secret"  # noqa: S105  must appear in no message
TOWN: dict[str, Any] = {
    "name": "t", "default_cli": "claude", "conductor_cli": "claude", "max_agents": 10,
    "redis": {
        "use_socket": True, "socket_path": ".tt/redis.sock", "host": "127.0.0.1", "port": 6379, "bind": "127.0.0.1",
        "password": SECRET, "tls_enabled": False, "tls_cert": "x", "persist": True, "aof_path": ".tt/redis.aof",
        "appendfsync": "always", "server": "x", "use_central": False, "url": f"redis://u:{SECRET}@h:1/0",
    },
    "agent": {
        "complete_on": "exit", "auto_claim": True, "max_attempts": 3, "retry_delay_s": 2.0, "batch_bytes": 5,
        "isolation": "none", "copy": ["a", "b"], "setup": "x",
    },
    "supervisor": {"restart_intensity": 5, "restart_period_s": 60.0, "hung_s": 30.0, "on_give_up": "keep"},
    "retention": {"tasks_days": 30.0, "events": 5},
    "mission": {"max_parallel_items": 2, "reviewer_required": True, "no_checks": "pass", "watch_interval_secs": 180},
    "agent_clis": {
        "mine": {"command": "foo --bar", "workdir": "x", "env": {"API_KEY": SECRET, "A": "b"}, "prompt": "stdin",
                 "format": "text", "round_timeout_s": 5.0},
    },
    "townhall": {
        "bind": "127.0.0.1", "rest_port": 8787, "request_timeout_ms": 5,
        "auth": {"mode": "none", "api_key_hash": f"$argon2id${SECRET}", "api_key_scopes": ["admin"]},
        "tls": {"enabled": False, "cert_file": "x"}, "mtls": {"enabled": False, "ca_path": "y"},
    },
}  # fmt: skip
WORLD: dict[str, Any] = {
    "default_cli": "claude", "conductor_cli": "x",
    "redis": {"use_central": True, "host": "h", "port": 5, "password": SECRET},
    "agent_clis": {"a": "foo", "b": {"command": "foo", "env": {"TOKEN": SECRET}}},
}  # fmt: skip
TOWNS: dict[str, Any] = {"towns": [{"name": "a", "path": "/x"}, {"name": "b", "path": "/y"}]}
PLAN: dict[str, Any] = {
    "meta": {"description": "d", "default_agent": "a"},
    "tasks": [
        {"id": "a", "description": "d", "agent": "x", "status": "pending", "tags": ["a"], "depends_on": ["b"]},
        {"id": "b", "description": "d", "parent": "a"},
    ],
}
# As text: most of it is what no writer makes.
VALUES = (
    "0", "-1", "true", "1.5", "nan", "inf", "-inf", "9" * 400, "9" * 5000, '""', '" "', "'x'", '"\\u0000"',
    '"\\u001b[2J"', '"\\u202e"', "[]", "{}", "[[]]", "[1,'a']", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z",
    '"""\nx\n"""', "0x10", "[" * 300 + "]" * 300, "[" * 900 + "]" * 900, "{a=" * 500 + "1" + "}" * 500,
    '"' + "x" * 5000 + '"', "{a=1}", "1e400", "[{a=1}]", '["x"]', '"$NOPE"', '"x:y"', "'\"'", '"../.."', '"foo \'"',
    "-0.0", "65536", '"~nobody/x"', '"/dev/null"',
)  # fmt: skip


def spoilt(rng: random.Random, value: dict[str, Any]) -> bytes:
    """The file with values of other types, lines twice, other line ends, or damaged as bytes."""
    kind = rng.randrange(10)
    if kind == 0:
        return rng.choice(WORDS).encode("utf-8", "surrogateescape")
    if kind < 3:
        return damaged(rng, tomli_w.dumps(value).encode())
    places = [path for path in paths(value) if path]
    wrong: dict[str, str] = {}
    for _ in range(rng.choice((1, 1, 2))):
        mark = f"@{len(wrong)}@"
        wrong[mark] = rng.choice(VALUES)
        value = replaced(value, rng.choice(places), mark)
    text = tomli_w.dumps(value)
    for mark, written in wrong.items():
        text = text.replace(f'"{mark}"', written)
    if kind == 3:
        text = text.replace("\n", "\r\n")
    if kind == 4:
        lines = text.split("\n")
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
        text = "\n".join(lines)
    return text.encode()
