"""The chaos run: a real town, real trouble, and a reading of everything afterwards (`scripts/chaos`)."""
