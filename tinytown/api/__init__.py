"""The Python door: towns, agents, tasks and messages for programs. `from tinytown import Town` is the way in."""
