"""The settings file of a new town."""

from __future__ import annotations

from tinytown.services.toml_lines import quoted

_TEXT = """\
# The settings of this town. What is commented out shows the default. See what counts with: tt config

name = {name}
default_cli = {cli}   # claude, auggie, codex, codex-mini, aider, gemini, copilot, cursor, opencode, demo
# conductor_cli = "claude"         # what tt conductor runs; default_cli if not set
max_agents = 10

[redis]
use_socket = true                  # false: TCP, with host and port
socket_path = ".tt/redis.sock"
persist = true                     # keep everything on disk, in an append-only file
aof_path = ".tt/redis.aof"
# appendfsync = "always"           # "everysec" is faster and may lose the last two seconds
# host = "127.0.0.1"
# port = 6379
# bind = "127.0.0.1"
# password = "$MY_PASSWORD"        # or set TINYTOWN_REDIS_PASSWORD
# url = "rediss://user@example.com:6379"   # a server of somebody else's; or set REDIS_URL
# tls_enabled = false              # with tls_cert, tls_key, tls_ca_cert
# server = "/opt/redis/bin/redis-server"

# [agent]
# complete_on = "exit"             # "explicit": a task is done when its agent calls tt task complete
# auto_claim = true                # idle agents with a role take backlog work whose tag is their role
# max_attempts = 3
# retry_delay_s = 2
# round_timeout_s = 3600
# silence_timeout_s = 0            # end a round that prints nothing for so long; 0: never
# isolation = "none"               # "worktree": each agent has a git worktree and branch of its own
# copy = []                        # files to copy into a new worktree, such as [".env", "config/*.local"]
# setup = ""                       # a shell command to run once in a new worktree, such as "npm ci"

# [supervisor]
# restart_intensity = 5            # restarts of one agent in restart_period_s before giving it up
# restart_period_s = 60
# backoff_s = 0.2
# backoff_max_s = 30
# hung_s = 30                      # an agent whose beat stands still for so long is restarted
# grace_s = 30                     # how long agents may finish their round when the supervisor ends
# on_give_up = "keep"              # "backlog": move the work of an agent that was given up

# [retention]
# tasks_days = 30                  # 0 keeps for good
# dead_letters = 1000
# events = 10000
# round_logs = 100
# missions_days = 30

# [mission]                        # of new missions
# max_parallel_items = 2           # work items that are worked on at once
# reviewer_required = true         # what is handed in has to be approved
# auto_merge = false               # true: merge pull requests when every gate holds
# watch_interval_secs = 180        # seconds between two looks at a pull request
# max_rounds = 5                   # fixes of one item before a person is asked
# no_checks = "pass"               # a pull request without checks; "wait" for one

# [github]
# api_url = "https://api.github.com"   # Enterprise: https://HOST/api/v3; the token is GITHUB_TOKEN, or that of gh

# [townhall]                       # the town over HTTP and in a browser: townhall; its keys: tt auth gen-key
# bind = "127.0.0.1"
# rest_port = 8787
# mcp_port = 8788

# A model CLI of your own, or changes to one of the above:
# [agent_clis.my-model]
# command = "my-model --batch"     # ~ and $VARS are expanded
# prompt = "stdin"                 # stdin, file or argument; or write {{prompt_file}} or {{prompt}} in the command
# format = "text"
# env = {{ MY_MODEL_KEY = "$MY_MODEL_KEY" }}
"""


def town_file(name: str, default_cli: str) -> str:
    """`tinytown.toml` with comments."""
    return _TEXT.format(name=quoted(name), cli=quoted(default_cli))
