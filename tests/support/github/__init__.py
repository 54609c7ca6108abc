"""A small GitHub for tests: `server.GitHub` (start here), its things in `state`, their JSON in `shapes`."""
