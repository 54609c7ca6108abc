"""A power loss that can be repeated: what was not synced is taken back. See power.c, disk.py, failure.py."""
