"""Missions: objectives to a graph of work items, and what happens next. Pure: no clock, no I/O."""
