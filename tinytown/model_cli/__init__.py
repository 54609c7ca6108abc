"""Run a model CLI once: which command, where the prompt goes, how its output is read, how it ended."""
