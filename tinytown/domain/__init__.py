"""The nouns of a town and their states. Pure: no I/O, no clock of its own."""
