"""The town over HTTP."""
