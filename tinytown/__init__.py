"""Tinytown: several AI coding CLIs on one project, supervised and fed with work."""

__version__ = "0.1.0"
