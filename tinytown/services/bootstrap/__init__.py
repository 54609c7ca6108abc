"""Putting a redis-server into `~/.tt/bin`."""
