"""Measurements of the whole thing: real towns, real processes, every comparison in the same run (`scripts/bench`)."""
