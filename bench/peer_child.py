"""The child that every peer keeps: imports redis and pydantic, connects, says so, blocks on a list."""

import os
import sys

import pydantic
import redis


class Message(pydantic.BaseModel):
    """As an actor would have one."""

    id: str
    text: str


def main() -> None:
    """Never returns."""
    client = redis.Redis(unix_socket_path=sys.argv[1])
    client.rpush(f"bench:ready:{sys.argv[2]}", os.getpid())
    client.blpop(["bench:never"], 0)


main()
