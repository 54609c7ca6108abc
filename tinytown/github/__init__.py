"""The door to GitHub: `client` (start here) asks it, `__main__` is the process that asks for the scheduler."""
